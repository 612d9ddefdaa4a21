"""Everything around supervision, and supervision as the product makes it."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.store.memory import MemoryStore
from tests.supervision.fake_host import (
    FakeBrowsers,
    FakeClock,
    FakeDocuments,
    FakeMeter,
    FakeWitness,
    NoChance,
)
from tests.supervision.fake_inbox import FakeInbox
from tests.supervision.fake_ownership import FakeOwnership
from tests.supervision.fake_workers import KILLED, FakeProcess, FakeSpawn
from tests.waiting import wait_until
from waguard.config.sections import Config, Paths
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.fleet.slots import READ_AGAIN
from waguard.core.host.admission import Reading
from waguard.core.metrics.tally import Tally
from waguard.core.session.restart import Remembered
from waguard.errors import DatabaseUnavailableError
from waguard.host.memory.lived import LivedTime
from waguard.ports.bus import BusEvent
from waguard.profile import layout
from waguard.supervision.event_bus import Bus
from waguard.supervision.proxy_records import ProxyRecords
from waguard.supervision.supervisor import Ports, Supervisor
from waguard.supervision.timings import Timings
from waguard.supervision.versions.decision import Packed
from waguard.wire.protocol import PROTOCOL
from waguard.wire.worker import WorkerRecord

SOON: Final = 0.9  # s
PACKED: Final = "0" * 64
"""The digest of the wa-js that waguard ships."""
QUICK: Final = Timings(stop_grace=0.1, write_retry=0.01)


@dataclass(frozen=True)
class LeftBehind:
    """A worker that an earlier daemon started."""

    record: WorkerRecord
    process: FakeProcess


class World:
    """What supervision reaches, as fakes. Its folder has a short name: Unix sockets need one."""

    def __init__(self, folder: Path, store: MemoryStore, timings: Timings) -> None:
        paths = Paths(sessions=folder / "sessions", runtime=folder / "run", state=folder / "state")
        self.folder = folder
        self.config = Config(paths=paths)
        self.timings = timings
        self.store = store
        self.spawn = FakeSpawn()
        self.clock = FakeClock()
        self.meter = FakeMeter()
        self.witness = FakeWitness()
        self.browsers = FakeBrowsers(lambda: self.config)
        self.documents = FakeDocuments()
        self.network = NetworkReading()
        self.cpu_is_saturated = False
        self.abandoned: list[tuple[str, str]] = []
        """Sessions whose unsent messages were to fail, and why."""
        self.unabandoned = 0
        """How often that still cannot be written."""
        self.lent_until: float | None = None
        self.shipping: Any = None
        self.ownership: FakeOwnership | None = None
        self.key: bytes | None = None
        self.remembered: Mapping[str, Remembered] = {}
        self.bus = Bus(self.clock)
        self.tally = Tally()
        self.inbox = FakeInbox(self.bus.publish, self.clock.wall)
        self.published_events: list[BusEvent] = []
        self.host_reads = 0
        self._host = Reading()
        self.unpaired: Collection[Path] = ()
        """Profiles whose sessions have nothing to miss, as they were when the host was read."""

    def supervisor(self) -> Supervisor:
        """As a daemon makes it at its start; it needs the loop that runs."""
        return Supervisor(
            lambda: self.config,
            Ports(
                store=self.store,
                inbox=self.inbox,
                messages=self.inbox,
                spawn=self.spawn,
                documents=self.documents,
                clock=self.clock,
                ages=LivedTime(self.config.paths.state, self.clock),
                meter=self.meter,
                witness=self.witness,
                browsers=self.browsers,
                proxies=ProxyRecords(lambda: self.config.paths.state, self.store.proxies, self.key),
                host=self._read_host,
                network=lambda: self.network,
                abandon=self.abandon,
                cpu_is_saturated=lambda: self.cpu_is_saturated,
                remembered=lambda: self.remembered,
                lent_until=lambda: self.lent_until,
                shipping=self.shipping,
                ownership=self.ownership,
                tally=self.tally,
                timers=self._soon,
                chance=NoChance(),
            ),
            self.bus,
            instance="test",
            packed=Packed(PACKED, "4.6.0"),
            timings=self.timings,
        )

    @property
    def host(self) -> Reading:
        """What the host has left."""
        return self._host

    @host.setter
    def host(self, left: Reading) -> None:
        """Also seen at once: what was read before is old by now."""
        self._host = left
        self.clock.advance(READ_AGAIN)

    def _read_host(self, unpaired: Callable[[], Collection[Path]]) -> Reading:
        self.host_reads += 1
        self.unpaired = unpaired()
        return self._host

    def _soon(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
        """What is due within a moment comes by itself; for all else a test moves the clock and ticks."""
        if not 0 < when - self.clock.monotonic() < SOON:
            return None
        return self.clock.timer(when, callback)

    async def abandon(self, session_id: str, why: str) -> None:
        """As the outbox does."""
        if self.unabandoned:
            self.unabandoned -= 1
            raise DatabaseUnavailableError("the database is away")
        self.abandoned.append((session_id, why))

    def in_cluster(self) -> FakeOwnership:
        """From the next supervisor on: this host owns what it claims."""
        self.ownership = made = FakeOwnership()
        self.store.owned = made.epochs.__contains__
        return made

    def change(self, section: str, **keys: Any) -> None:
        """Change the configuration."""
        old = getattr(self.config, section)
        new = msgspec.structs.replace(old, **keys)
        self.config = msgspec.structs.replace(self.config, **{section: new})

    def profile(self, session_id: str, workspace_id: int = 7) -> Path:
        """Give the session a profile with credentials."""
        path = layout.path(self.config.paths.sessions, workspace_id, session_id)
        (path / "Default/IndexedDB").mkdir(parents=True)
        return path

    def record(self, session_id: str, *, generation: int = 1, pid: int = 0) -> WorkerRecord:
        """What a worker writes about itself."""
        name = layout.key(session_id)
        return WorkerRecord(
            protocol=PROTOCOL,
            pid=pid,
            start_time=1,
            boot_id="boot",
            instance="earlier",
            session=session_id,
            generation=generation,
            profile=str(layout.path(self.config.paths.sessions, 7, session_id)),
            socket=str(self.folder / f"old-{name}-{len(self.spawn.started)}.sock"),
        )

    async def left_behind(self, session_id: str, *, generation: int = 1) -> LeftBehind:
        """A living worker of an earlier daemon."""
        record = self.record(session_id, generation=generation)
        script = self.spawn.scripts.get(session_id, self.spawn.script)
        process = await self.spawn.begin(record, script)
        return LeftBehind(msgspec.structs.replace(record, pid=process.pid), process)

    def events(self, *names: str, session: str | None = None) -> list[BusEvent]:
        """What the bus told so far, of these kinds."""
        return [
            event
            for event in self.published_events
            if (not names or event.event in names) and session in {None, event.session_id}
        ]

    def names(self, *names: str) -> list[str]:
        return [event.event for event in self.events(*names)]

    def row_status(self, session_id: str) -> tuple[str, str | None]:
        account = self.store.accounts[session_id]
        return account.status, account.disconnect_reason

    def audited(self, kind: str) -> list[tuple[str | None, str | None, str | None]]:
        """(before, after, reason) of the entries of a kind."""
        return [(e.before, e.after, e.reason) for e in self.store.entries if e.kind == kind]


@contextlib.asynccontextmanager
async def world(**seconds: float) -> AsyncIterator[World]:
    """Everything, with a listener on the bus; ends with no worker alive and no task left."""
    before = _others()
    folder = Path(tempfile.mkdtemp(prefix="wg-"))
    store = MemoryStore()
    await store.open()
    made = World(folder, store, msgspec.structs.replace(QUICK, **seconds))
    store.wall = made.clock.wall
    (folder / "run" / "workers").mkdir(parents=True)
    async with made.bus.subscribe() as events:
        listening = asyncio.create_task(_listen(events, made.published_events))
        try:
            yield made
        finally:
            for process in made.spawn.alive:
                process.exit(KILLED)
            made.bus.close()
            await listening
            for process in made.spawn.started:
                process.close()
            shutil.rmtree(folder)
    await wait_until(lambda: not _others() - before, "every task has ended")


def _others() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def _listen(events: AsyncIterator[BusEvent], published: list[BusEvent]) -> None:
    async for event in events:
        published.append(event)  # noqa: PERF401 - as it comes
