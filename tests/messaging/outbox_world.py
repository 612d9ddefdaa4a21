"""An outbox on scripted sessions over a real SQLite file; daemons come and go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION, WORKSPACE, FakeSessions
from tests.store import template
from tests.waiting import DEADLINE
from waguard.config.sections import Config
from waguard.core.metrics.tally import Tally
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import EVENTS
from waguard.errors import DatabaseUnavailableError
from waguard.host.files.media import MediaFolder
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.commands import Command, text
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.outbox.pending_sends import Options, PendingSend
from waguard.messaging.timings import BOUNDS, SendBounds, SendTimings
from waguard.ports.outbox import Outgoing
from waguard.ports.outcomes import Acked, Uncertain
from waguard.store.sql import BUSY_TIMEOUT, SqlStore

CHAT = "6281234567890@c.us"
START = 1_732_233_600.0


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now, self.step = 1_000.0, 0.0
        """``step``: how far the wall clock was set, back where it is negative."""

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return START + self.now + self.step


# a disk that is slow now and then is slow for one write, not for the test
PATIENT = SendTimings(keeping=DEADLINE)


class UncertainSendError(Exception):
    """``World.result`` raises it for such an end."""


class World:
    """An outbox and what is around it. ``published`` has the events of how
    messages ended."""

    def __init__(
        self,
        folder: Path,
        config: Callable[[], Config] = Config,
        timings: SendTimings = PATIENT,
        bounds: SendBounds = BOUNDS,
    ) -> None:
        self.path = folder / "w.db"
        self.files = MediaFolder(folder / "outgoing")
        self.config = config
        self.timings = timings
        self.bounds = bounds
        self.busy_timeout = BUSY_TIMEOUT
        self.bring: Callable[[str], Awaitable[None]] | None = None
        """In a cluster: has a file come from another host."""
        self.owners: dict[str, int] | None = None
        """In a cluster: the epochs of sessions that nobody owns."""
        self.sessions = FakeSessions()
        self.tally = Tally()
        self.clock = Clock()
        self.published: list[tuple[Any, ...]] = []
        self.store: SqlStore
        self.journal: Journal
        self.outbox: Outbox

    async def start(self, *, begin: bool = True) -> None:
        """A daemon comes; the first one has a new database."""
        if not self.path.exists():
            await template.copy_to(self.path)
        url, clock = f"sqlite+aiosqlite:///{self.path}", self.clock
        self.store = SqlStore(url, busy_timeout=self.busy_timeout, wall=clock.wall)
        self.store._database.answers_within = 60.0  # a lock is waited for, not the machine
        await self.store.open()
        self.journal = Journal(
            self.store.messages,
            MediaFolder(self.path.parent / "media"),
            base="",
            for_global=lambda: EVENTS,
            publish=self._on_event,
        )
        await self.journal.__aenter__()
        self.outbox = Outbox(
            self.sessions,
            self.store.outbox,
            self.journal,
            lambda: self.config(),  # noqa: PLW0108 - a test may change it
            self.clock,
            timings=self.timings,
            bounds=self.bounds,
            tally=self.tally,
            file=self._file,
            bring=self.bring,
            epoch_seen=None if self.owners is None else self.owners.get,
        )
        if begin:
            await self.outbox.begin()

    def _file(self, name: str) -> Path | None:
        found = self.files.find(name)
        return found and found[0]

    def _on_event(self, event: str, *rest: Any, **_: Any) -> None:
        if event in {"message_sent", "message_failed"}:
            self.published.append((event, *rest))

    async def stop(self, grace: float = 5.0) -> None:
        """In order."""
        await self.outbox.close(grace)
        await self.journal.__aexit__(None, None, None)
        await self.store.close()

    async def kill(self) -> None:
        """As SIGKILL does: whatever is not committed is lost; the workers live on."""
        mine = [
            task
            for task in asyncio.all_tasks()
            if task.get_name().startswith(("outbox", "send", "queue", "poll", "journal"))
        ]
        self.outbox._dispatcher._timers.close()
        self.outbox._reports.close()
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        await self.store.close()

    def send(self, body: str = "hi", chat: str = CHAT, **how: Any) -> PendingSend:
        return self.accept(text(chat, body), **how)

    def accept(self, command: Command, session: str = SESSION, **how: Any) -> PendingSend:
        return self.outbox.accept(session, WORKSPACE, command, Options(**how))

    async def result(self, pending: PendingSend) -> Acked | None:
        """As the outbox has it, but what is not sent is raised."""
        match await self.outbox.result(pending):
            case Acked() | None as outcome:
                return outcome
            case Uncertain(why):
                raise UncertainSendError(why)
            case outcome:
                raise outcome.error

    def tear(self, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
        """The answer to the next commit of the outbox is lost; later writes wait for the event."""
        write, lost, back = self.store.messages.write, [True], asyncio.Event()

        async def torn(*given: Any, **more: Any) -> Any:
            if lost and more["outgoing"]:
                lost.pop()
                await write(*given, **more)
                raise DatabaseUnavailableError("the connection was lost in the commit")
            await back.wait()
            return await write(*given, **more)

        monkeypatch.setattr(self.store.messages, "write", torn)
        return back

    async def row(self, pending: PendingSend) -> Outgoing:
        """As it is when everything that was to be kept is kept."""
        await asyncio.shield(pending.stored)
        assert await self.journal.flushed(10.0)
        found = await self.store.outbox.find(pending.id)
        assert found
        return found


@contextlib.asynccontextmanager
async def outbox(
    folder: Path, timings: SendTimings = PATIENT, bounds: SendBounds = BOUNDS
) -> AsyncIterator[World]:
    """One that runs, and is ended in order."""
    world = World(folder, timings=timings, bounds=bounds)
    await world.start()
    try:
        yield world
    finally:
        world.sessions.free.set()
        await world.stop(0.0)


def with_timings(**seconds: Any) -> pytest.MarkDecorator:
    """For a test whose world waits otherwise."""
    return pytest.mark.parametrize("timings", [replace(PATIENT, **seconds)], ids=["quick"])


def with_bounds(**counts: int) -> pytest.MarkDecorator:
    """For a test whose world takes otherwise."""
    return pytest.mark.parametrize("bounds", [SendBounds(**counts)], ids=["small"])
