"""A worker without a browser, and what else supervision needs around it.

The worker lives in this process, but speaks the real protocol over a real Unix socket. Tests say
what it tells, and how it ends.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.store.memory import MemoryStore
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Config, Paths
from waguard.core.blame import Condition
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Cause, Reading
from waguard.core.messages.identity import People
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.undecryptable import Waiting
from waguard.core.session import views
from waguard.core.session.facts import Beat, Unusable
from waguard.core.session.restart import Remembered
from waguard.errors import WaguardError
from waguard.host.documents import Document, DocumentError
from waguard.host.lived import LivedTime
from waguard.messaging.announcer import Announcer
from waguard.ports.bus import BusEvent
from waguard.ports.inbox import Stored as StoredCall
from waguard.ports.process import Process, Swept, Usage
from waguard.profile import layout
from waguard.supervision.actor import SessionActor
from waguard.supervision.bus import Bus
from waguard.supervision.fleet import Fleet
from waguard.supervision.mailbox import Mailbox
from waguard.supervision.session_context import SessionContext
from waguard.supervision.timings import Timings
from waguard.supervision.versions.decision import VersionDecision
from waguard.supervision.versions.observer import VersionObserver
from waguard.supervision.versions.operators import VersionOperators
from waguard.wire.calls import Call, CatchUp, Failed, Sent, Value
from waguard.wire.channel import Channel
from waguard.wire.events import Event, InboundMessage, Lasting
from waguard.wire.protocol import PROTOCOL, FromDaemon, Hello, Reply, Request, Stored
from waguard.wire.reports import Heartbeat, PageVersion, QrCode, Report
from waguard.wire.worker import WorkerRecord, WorkerSpec

START: Final = 1_732_233_600.0  # s, unix time
TERMINATED: Final = 0
KILLED: Final = -9

SOON: Final = 0.9  # s
PACKED: Final = "0" * 64
"""The digest of the wa-js that waguard ships."""

Answer = Callable[[Call], Awaitable[Sent | Value | Failed | None]]


class FakeClock:
    """Stands until it is moved; both clocks together."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ahead = 0.0
        """Seconds by which somebody has set the wall clock."""

    def wall(self) -> float:
        return START + self.now + self.ahead

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeMeter:
    """Measures what it is told to."""

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}
        self.measured_at: Mapping[str, Collection[int]] = {}

    def sample(self, groups: Mapping[str, Collection[int]], now: float) -> dict[str, Usage]:
        self.measured_at = groups
        return self.usage


class NoChance(random.Random):
    """Draws what it is told to."""

    drawn = 0.5

    def random(self) -> float:
        return self.drawn


async def _sent(call: Call) -> Sent | Value:
    message_id = getattr(call, "message_id", None)
    if message_id is None:
        return Value()
    return Sent(outcome="sent", message_id=message_id, timestamp=int(START))


@dataclass(kw_only=True)
class Script:
    """How the workers to come behave. Each test changes its own copy."""

    reports: tuple[dict[str, Any], ...] = (
        {"phase": "ready", "link": "connected", "phone": "4915112345678"},
    )
    """What it reports, one after the other, when its daemon has greeted it."""
    loads: Callable[[WorkerSpec | WorkerRecord], PageVersion | None] = lambda _: None
    """What its page is, by what it was told to load."""
    listens: bool = True
    """False: it dies, or hangs, before anybody can connect."""
    obeys: bool = True
    """Whether it ends on TERM."""
    exits: int | None = None
    """Its exit code, when it ends by itself at its start."""
    refuses: str | None = None
    """Why the system does not start it at all."""
    backfills: Value | Failed = field(default_factory=Value)
    answer: Answer = _sent
    held: asyncio.Event | None = None
    """Its start takes until this is set."""


class FakeProcess:
    """One worker: ``ports.process.Process``, with a server behind it."""

    def __init__(self, pid: int, spec: WorkerSpec | WorkerRecord, script: Script) -> None:
        self._pid = pid
        self.spec = spec
        self.script = script
        self.signals: list[str] = []
        self.greeting: Hello | None = None
        self.calls: list[Call] = []
        self.caught_up: list[CatchUp] = []
        self.stored: list[int] = []
        self._exit: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.Event()
        self.stands_still = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._lines: set[Channel[FromDaemon]] = set()
        self._channels: set[Channel[FromDaemon]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seq = 0

    # ---- ports.Process ----

    @property
    def pid(self) -> int:
        return self._pid

    async def listening(self) -> None:
        await self._listening.wait()

    def terminate(self) -> None:
        self.signals.append("TERM")
        if self.script.obeys:
            self.exit(TERMINATED)

    def kill(self) -> None:
        self.signals.append("KILL")
        self.exit(KILLED)

    async def stopped(self) -> None:
        await self.stands_still.wait()

    async def wait(self) -> int | None:
        return await asyncio.shield(self._exit)

    # ---- what a test has it do ----

    @property
    def alive(self) -> bool:
        return not self._exit.done()

    @property
    def connected(self) -> bool:
        """Whether its daemon has greeted it and is there."""
        return self.alive and self.greeting is not None and bool(self._channels)

    async def begin(self) -> None:
        if self.script.listens:
            socket = Path(self.spec.socket)
            socket.parent.mkdir(parents=True, exist_ok=True)
            socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, socket)
            self._listening.set()
        if self.script.exits is not None:
            self.exit(self.script.exits)

    def exit(self, code: int | None) -> None:
        """End as a process does: what was said is still read, then the line is dead."""
        if self._exit.done():
            return
        if self._server:
            Path(self.spec.socket).unlink(missing_ok=True)
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        self._listening.set()
        self._exit.set_result(code)

    def close(self) -> None:
        """At the end of a test. Not in ``exit``: asyncio loses a connection that it accepts then."""
        if self._server:
            self._server.close()

    def hang_up(self) -> None:
        """The line dies, the process does not."""
        for channel in self._lines:
            channel.close()

    def report(self, link: str = "connected", *, phase: str = "ready", **fields: Any) -> None:
        """It may say what no worker says: nothing is checked here."""
        reported: dict[str, Any] = {
            "session": self.spec.session,
            "generation": self.spec.generation,
            "phase": phase,
            "link": link,
            "browser_pid": self._pid + 1,
        }
        self.send(Report(**(reported | fields)))

    def beat(self, page: float | None = 0.01, *, unrecoverable: bool = False) -> None:
        self.send(Heartbeat(devtools=0.01, page=page, hopeless=unrecoverable))

    def event(self, body: Lasting) -> int:
        self._seq += 1
        self.send(Event(seq=self._seq, at=START, body=body))
        return self._seq

    def send(self, message: msgspec.Struct) -> None:
        for channel in self._channels:
            channel.post(message)

    def write(self, content: bytes) -> None:
        """Anything at all."""
        for channel in self._channels:
            channel._writer.write(content)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel: Channel[FromDaemon] = Channel(reader, writer, FromDaemon)
        self._lines.add(channel)
        if not self.alive:
            channel.close()
        try:
            hello = await channel.receive()
            assert isinstance(hello, Hello)
            self.greeting = hello
            self._channels.add(channel)
            for reported in self.script.reports:
                self.report(**{"version": self.script.loads(self.spec), **reported})
            while True:
                self._handle(channel, await channel.receive())
        except EOFError:
            return
        finally:
            self._channels.discard(channel)
            self._lines.discard(channel)
            channel.close()

    def _handle(self, channel: Channel[FromDaemon], message: FromDaemon) -> None:
        match message:
            case Request(id=number, call=CatchUp() as call):
                self.caught_up.append(call)
                channel.post(Reply(id=number, outcome=self.script.backfills))
            case Request(id=number, call=call):
                self.calls.append(call)
                task = asyncio.create_task(self._reply(channel, number, call))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Stored(seq=seq):
                self.stored.append(seq)
            case _:
                raise AssertionError(message)

    async def _reply(self, channel: Channel[FromDaemon], number: int, call: Call) -> None:
        if (outcome := await self.script.answer(call)) is not None:
            channel.post(Reply(id=number, outcome=outcome))


class FakeSpawn:
    """``ports.process.Spawn``. ``scripts`` are for sessions by id; ``script`` for all others."""

    def __init__(self) -> None:
        self.script = Script()
        self.scripts: dict[str, Script] = {}
        self.started: list[FakeProcess] = []
        self.starting = 0
        self.swept = Swept()
        """What the next sweeps find."""
        self.sweeps: list[tuple[str, str, set[int]]] = []
        self._pids = 4_000

    async def spawn(self, spec: WorkerSpec) -> Process:
        script = self.scripts.get(spec.session, self.script)
        if script.held:
            self.starting += 1
            await script.held.wait()
            self.starting -= 1
        if script.refuses:
            raise WaguardError(script.refuses)
        return await self.begin(spec, script)

    async def sweep(self, *, records: str, profiles: str, kept: Collection[int] = ()) -> Swept:
        self.sweeps.append((records, profiles, set(kept)))
        return self.swept

    def adopt(self, record: WorkerRecord) -> Process | None:
        return next((p for p in self.started if p.pid == record.pid and p.alive), None)

    async def begin(self, spec: WorkerSpec | WorkerRecord, script: Script) -> FakeProcess:
        self._pids += 10
        # as its browser does at once
        (Path(spec.profile) / "Default/IndexedDB").mkdir(parents=True, exist_ok=True)
        process = FakeProcess(self._pids, spec, script)
        self.started.append(process)
        await process.begin()
        return process

    def of(self, session: str) -> list[FakeProcess]:
        return [process for process in self.started if process.spec.session == session]

    @property
    def alive(self) -> list[FakeProcess]:
        return [process for process in self.started if process.alive]


class FakeInbox:
    """``ports.inbox.Inbox``: stores at once, each key once. While ``free`` is clear, nothing is stored."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], InboxRecord] = {}
        self.free = asyncio.Event()
        self.free.set()
        self.full = False
        self.waits = 0
        self.empty = asyncio.Event()
        self.empty.set()
        self.waiting: list[tuple[Sequence[InboxRecord], StoredCall]] = []
        self.named: Callable[[InboxRecord], InboxRecord] = lambda one: one
        """As the application is told of it."""
        self.wall: Callable[[], float] = lambda: START
        self.error: WaguardError | None = None
        self.asked: list[str] = []
        self.undecrypted: dict[tuple[str, str], Waiting] = {}
        """What is remembered, by session and id."""
        self.given_up: list[tuple[str, str]] = []
        """Ids, and why."""
        self.announcer = Announcer(lambda *_, **__: None)

    def put(self, received: Sequence[InboxRecord], stored: StoredCall) -> None:
        self.waiting.append((received, stored))
        if self.free.is_set():
            self.store()

    async def flushed(self, timeout: float) -> bool:
        self.waits += 1
        await self.empty.wait()
        return True

    async def people(self, session_id: str) -> People:
        """Nobody has a LID."""
        return People()

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """Of what is kept."""
        newest: dict[str, float] = {}
        for one in self.kept.values():
            if one.session_id == session_id and one.chat and one.at >= after:
                newest[one.chat] = max(newest.get(one.chat, 0.0), one.at)
        return newest

    async def undecryptable(self, session_id: str, *, limit: int) -> tuple[list[Waiting], int]:
        self.asked.append(session_id)
        if self.error:
            raise self.error
        mine = [one for (name, _), one in self.undecrypted.items() if name == session_id]
        return sorted(mine, key=lambda one: one.since)[:limit], len(mine)

    async def no_messages(self, session_id: str, message_ids: Collection[str]) -> None:
        for message_id in message_ids:
            del self.undecrypted[session_id, message_id]

    async def give_up(
        self,
        why: str,
        *,
        session_id: str | None = None,
        before: float | None = None,
        message_ids: Collection[str] | None = None,
        limit: int,
    ) -> list[tuple[str, str]]:
        chosen = [
            (name, one)
            for (name, _), one in sorted(self.undecrypted.items(), key=lambda it: it[1].since)
            if session_id in {None, name} and (before is None or one.since <= before)
            if message_ids is None or one.message_id in message_ids
        ][:limit]
        found = [(name, one.message_id) for name, one in chosen]
        for key in found:
            del self.undecrypted[key]
        self.given_up += [(message_id, why) for _, message_id in found]
        return found

    def store(self) -> None:
        """All that waits, in order."""
        while self.waiting:
            received, stored = self.waiting.pop(0)
            news = [self.named(one) for one in received if self._is_news(one)]
            self.announcer.stored(stored, news)

    def _is_news(self, one: InboxRecord) -> bool:
        keys = [(one.session_id, key) for key in (one.key, *one.unless)]
        if any(key in self.kept for key in keys):
            return False
        self.kept[keys[0]] = one
        if one.ref and one.kind is Kind.UNDECRYPTABLE:
            waiting = Waiting(message_id=one.ref[1], since=self.wall())
            self.undecrypted[one.session_id, one.ref[1]] = waiting
        elif one.ref:
            self.undecrypted.pop((one.session_id, one.ref[1]), None)
        return True


@dataclass
class FakeDocuments:
    """``ports.versions.Documents`` in memory."""

    there: set[int] = field(default_factory=set)

    def known(self) -> Collection[int]:
        return tuple(sorted(self.there))

    def path(self, revision: int) -> Path:
        return Path("/documents") / str(revision)

    def discard(self, revision: int) -> None:
        self.there.discard(revision)

    def load(self, revision: int) -> Document:
        raise DocumentError(f"version {revision} is not stored")


@dataclass
class World:
    """All around a session. Its folder has a short name: Unix sockets need one."""

    folder: Path
    config: Config
    store: MemoryStore
    inbox: FakeInbox = field(default_factory=FakeInbox)
    spawn: FakeSpawn = field(default_factory=FakeSpawn)
    cpu_is_saturated: bool = False
    clock: FakeClock = field(default_factory=FakeClock)
    chance: NoChance = field(default_factory=NoChance)
    meter: FakeMeter = field(default_factory=FakeMeter)
    network: NetworkReading = field(default_factory=NetworkReading)
    published_events: list[BusEvent] = field(default_factory=list)
    remembered: Mapping[str, Remembered] = field(default_factory=dict)
    documents: FakeDocuments = field(default_factory=FakeDocuments)

    def __post_init__(self) -> None:
        self._host, self._timings = Reading(), Timings(stop_grace=0.1)
        self.inbox.wall = self.clock.wall
        self.bus = Bus(self.clock)
        self.inbox.announcer = Announcer(self.bus.publish)
        self.next_daemon()

    def next_daemon(self) -> None:
        """What a daemon keeps in memory is gone."""
        self.fleet = Fleet(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            host=lambda: self._host,
            network=lambda: self.network,
        )
        self.mailbox = Mailbox(
            lambda: self.config,
            self.clock,
            self.fleet,
            timings=self._timings,
            timers=self._soon,
            chance=self.chance,
        )
        self.versions = VersionDecision(
            lambda: self.config,
            self.clock,
            self.fleet,
            self.mailbox,
            packed=PACKED,
            documents=self.documents,
        )
        self.observer = VersionObserver(self.versions)
        self.operators = VersionOperators(self.versions)
        self.ctx = SessionContext(
            versions=self.observer,
            config=lambda: self.config,
            instance="test",
            store=self.store,
            inbox=self.inbox,
            undecryptable=self.inbox,
            spawn=self.spawn,
            bus=self.bus,
            clock=self.clock,
            ages=LivedTime(self.folder / "state", self.clock),
            fleet=self.fleet,
            mailbox=self.mailbox,
            meter=self.meter,
            cpu_is_saturated=lambda: self.cpu_is_saturated,
            remembered=lambda: self.remembered,
        )

    @property
    def host(self) -> Reading:
        """What the host has left."""
        return self._host

    @host.setter
    def host(self, left: Reading) -> None:
        """Also seen at once: a second has passed since it was read last."""
        self._host = left
        engine = self.mailbox._engine
        again = engine.fleet.read_host_at < float("inf")
        engine.fleet = msgspec.structs.replace(
            engine.fleet,
            host_at=float("-inf"),
            read_host_at=self.clock.monotonic() if again else engine.fleet.read_host_at,
        )

    def _soon(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
        """What is due within a moment comes by itself; for all else a test moves the clock and ticks."""
        if not 0 < (delay := when - self.clock.monotonic()) < SOON:
            return None
        return asyncio.get_running_loop().call_later(delay, callback)

    def timings(self, **seconds: float) -> None:
        """Change what everything here waits for."""
        self.mailbox.timings = msgspec.structs.replace(self.mailbox.timings, **seconds)
        self.config = msgspec.structs.replace(self.config)  # read anew, as at a reload

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

    async def left_behind(self, session_id: str, *, generation: int = 1) -> "LeftBehind":
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


@dataclass(frozen=True)
class LeftBehind:
    """A worker that an earlier daemon started."""

    record: WorkerRecord
    process: FakeProcess


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Everything, with a listener on the bus; ends with no worker alive and no task left."""
    before = _others()
    folder = Path(tempfile.mkdtemp(prefix="wg-"))
    paths = Paths(sessions=folder / "sessions", runtime=folder / "run", state=folder / "state")
    store = MemoryStore()
    await store.open()
    made = World(folder, Config(paths=paths), store)
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


async def until(session: SessionActor, condition: Callable[[SessionActor], bool]) -> None:
    """Wait for something of a session."""
    reported = await session.wait_until(condition, timeout=DEADLINE)
    assert reported, (session.lifecycle, views.details(session.state))


def message(number: int = 1, **fields: Any) -> InboundMessage:
    reported: dict[str, Any] = {
        "id": f"false_49170@c.us_{number}",
        "chat": "49170@c.us",
        "sender": "49170@c.us",
        "to": "49151@c.us",
        "body": f"text {number}",
        "timestamp": int(START),
        "from_me": False,
        "kind": "chat",
    }
    return InboundMessage(**(reported | fields))


def qr(raw: str = "a,b,c,d", count: int = 1) -> QrCode:
    return QrCode(raw=raw, count=count, expires_at=START + 2_000.0)


def heard(session: SessionActor) -> None:
    """Its worker and its page answer now."""
    if worker := session.state.worker:
        now = session._ctx.clock.monotonic()
        session.post(Beat(worker=worker.number, at=now, page_at=now))


def unusable(session: SessionActor, why: str) -> None:
    """Nothing can be done with its worker."""
    if worker := session.state.worker:
        session.post(Unusable(worker=worker.number, why=why))


def found(session: SessionActor) -> tuple[Condition, ...]:
    """Its conditions beside those that its status says already."""
    return tuple(
        it
        for it in views.conditions(session.state)
        if it.type not in {"start", "link", "parked", "page"}
    )


def cause(session: SessionActor) -> Cause | None:
    """What it waits for."""
    wait = session.state.held_back
    return wait.cause if wait else None


def heard_at(session: SessionActor) -> float | None:
    """Monotonic time at which its worker was heard last."""
    worker = session.state.worker
    return worker.heard_at if worker else None
