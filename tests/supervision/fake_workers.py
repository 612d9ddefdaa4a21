"""Workers without a browser.

A worker lives in this process, but speaks the real protocol over a real Unix socket. Tests say
what it tells, and how it ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.supervision.fake_host import START
from waguard.errors import WaguardError
from waguard.ports.process import Effort, Process, Swept
from waguard.wire.calls import Call, CatchUp, Failed, Sent, Value
from waguard.wire.channel import Channel
from waguard.wire.events import Event, Lasting
from waguard.wire.protocol import FromDaemon, Hello, Lend, Reply, Request, StartBrowser, Stored
from waguard.wire.reports import Heartbeat, PageVersion, Report
from waguard.wire.worker import WorkerRecord, WorkerSpec

TERMINATED: Final = 0


KILLED: Final = -9


Answer = Callable[[Call], Awaitable[Sent | Value | Failed | None]]


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
    effort: Callable[[], Effort | None] = lambda: None
    """What keeps it from answering TERM; None: that cannot be read."""
    exits: int | None = None
    """Its exit code, when it ends by itself at its start."""
    refuses: str | None = None
    """Why the system does not start it at all."""
    backfills: Value | Failed = field(default_factory=Value)
    while_read: Callable[[], object] = lambda: None
    """Happens between the question for a backfill and its answer."""
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
        self.lent: list[float | None] = []
        self._may_start = not getattr(spec, "waits", False)
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

    def effort(self) -> Effort | None:
        return self.script.effort() if self.alive else None

    async def stopped(self) -> None:
        await self.stands_still.wait()

    async def wait(self) -> int | None:
        return await asyncio.shield(self._exit)

    # ---- what a test has it do ----

    @property
    def alive(self) -> bool:
        return not self._exit.done()

    @property
    def begun(self) -> bool:
        """Whether it may start its Chromium."""
        return self._may_start

    def wait_for_slot(self) -> None:
        """It was started without one, and nobody has greeted it yet."""
        self._may_start = False

    def _begin_reports(self) -> None:
        for reported in self.script.reports:
            self.report(**{"version": self.script.loads(self.spec), **reported})

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
            "proxy": self.spec.proxy.mark
            if isinstance(self.spec, WorkerSpec) and self.spec.proxy
            else None,
        }
        self.send(Report(**(reported | fields)))

    def beat(self, page: float | None = 0.01, *, unrecoverable: bool = False) -> None:
        self.send(Heartbeat(devtools=0.01, page=page, hopeless=unrecoverable))

    def event(self, body: Lasting) -> int:
        self._seq += 1
        self.send(Event(seq=self._seq, at=START, body=body))
        return self._seq

    def send(self, *messages: msgspec.Struct) -> None:
        for channel in self._channels:
            channel.post(*messages)

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
            if self.begun:
                self._begin_reports()
            else:
                self.report("unknown", phase="launching", browser_pid=None, waits=True)
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
                self.script.while_read()
                channel.post(Reply(id=number, outcome=self.script.backfills))
            case Request(id=number, call=call):
                self.calls.append(call)
                task = asyncio.create_task(self._reply(channel, number, call))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Stored(seq=seq):
                self.stored.append(seq)
            case StartBrowser():
                if not self.begun:
                    self._may_start = True
                    self._begin_reports()
            case Lend(until=until):
                self.lent.append(until)
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
        self.remains: set[int] = set()
        """Process groups of which something is left."""
        self.sweeps: list[tuple[str, str, set[int]]] = []
        self.cleared: list[int] = []
        """Process groups that were ended."""
        self.full: set[int] = set()
        """Process groups of dead workers in which something is left."""
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

    def is_empty(self, group: int) -> bool:
        return group not in self.full

    def end_remains(self, browser: int) -> bool:
        self.cleared.append(browser)
        return browser in self.remains

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
    def begun(self) -> list[FakeProcess]:
        """Those that may start, or have started, their Chromium."""
        return [process for process in self.started if process.begun]

    @property
    def alive(self) -> list[FakeProcess]:
        return [process for process in self.started if process.alive]
