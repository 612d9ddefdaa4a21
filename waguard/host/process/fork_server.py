"""Workers forked from a process that has done their imports; a fresh Python each where it cannot.

Worker or server, each is a ``PidfdProcess``: the server too says one line when it is ready. What goes
wrong with the server costs no session: one that died is replaced at the next spawn; one that is
silent is killed, and for ``HOLD_OFF`` seconds workers are started by exec. Living workers are not its
children and notice nothing. Some workers are forked ahead (``spares``).
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Self

import msgspec
from loguru import logger
from msgspec import Struct

from waguard.host.process import strays
from waguard.host.process.children import ExecSpawn, PidfdProcess, environment, execute, not_started
from waguard.host.process.spares import LIMITS, Blank, Limits, Spares
from waguard.host.process.subreaper import Subreaper
from waguard.host.process.title import with_room
from waguard.ports.process import Swept
from waguard.wire.forking import LIMIT, Fork, Forked
from waguard.wire.worker import WorkerRecord, WorkerSpec

SERVER: Final = ("-P", "-m", "waguard.worker.fork_server")
ATTEMPTS: Final = 2  # one that was killed is replaced at once, one that always ends is not
STDERR: Final = 2
AT_A_TIME: Final = (
    4  # forks that a server is asked for: what it is sent takes room, and each has a deadline
)


class Deadlines(Struct, frozen=True, kw_only=True):
    """Seconds."""

    start: float = 10.0
    """For the server to start, which takes 0.2 s; more while a whole fleet starts."""
    answer: float = 5.0
    """A fork takes 4 ms."""
    hold_off: float = 60.0
    """Without a server, after one that was unusable."""
    closing: float = 1.0
    """For a server to see that the daemon has gone."""


class _GoneError(Exception):
    """The server has ended: another may do better."""


class _UselessError(Exception):
    """The fork server cannot be started, or does not answer."""


class _Server:
    """One fork server, and what was asked of it."""

    def __init__(self, process: PidfdProcess, control: socket.socket) -> None:
        self.process = process
        self._control = control
        self._asked: dict[int, asyncio.Future[Forked]] = {}
        self._number = 0
        control.settimeout(0)
        asyncio.get_running_loop().add_reader(control, self._on_answers)

    @classmethod
    def start(cls, program: Sequence[str]) -> Self:
        """Raises ``OSError``."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            argv = [sys.executable, *program, str(theirs.fileno())]
            process = execute(*with_room(argv, environment()), pass_fds=(theirs.fileno(),))
            undo.pop_all()
        return cls(process, ours)

    @property
    def ended(self) -> bool:
        """Whether it is unusable; its socket may show it before its exit."""
        return self.process.ended or self._control.fileno() < 0

    async def ready(self, deadline: float) -> None:
        """Wait until it can be asked."""
        try:
            async with asyncio.timeout(deadline):
                await self.process.listening()
        except TimeoutError:
            raise _UselessError(f"was not ready within {deadline:g} s") from None
        if self.ended:
            raise _GoneError

    async def fork(self, descriptors: Sequence[int], deadline: float) -> Forked:
        """Ask for a worker that has these as its standard input, output and log."""
        self._number += 1
        number = self._number
        answer: asyncio.Future[Forked] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        gone = asyncio.ensure_future(self.process.wait())
        try:
            self._send(Fork(number=number), descriptors)
            await asyncio.wait(
                (answer, gone), timeout=deadline, return_when=asyncio.FIRST_COMPLETED
            )
            if answer.done():
                return answer.result()
            if gone.done():
                raise _GoneError
            raise _UselessError(f"did not answer within {deadline:g} s")
        finally:
            del self._asked[number]
            gone.cancel()

    def _send(self, message: Fork, descriptors: Sequence[int]) -> None:
        if self.ended:
            raise _GoneError
        try:
            socket.send_fds(self._control, [msgspec.json.encode(message)], descriptors)
        except ConnectionError:
            raise _GoneError from None
        except OSError as error:  # many questions wait for an answer
            raise _UselessError(f"accepts no more requests: {error.strerror}") from None

    def _on_answers(self) -> None:
        try:
            message = self._control.recv(LIMIT)
        except BlockingIOError:
            return
        except ConnectionError:
            message = b""
        if not message:
            self.end()
            return
        forked = msgspec.json.decode(message, type=Forked)
        # a worker that nobody waits for any more ends by itself: its instructions ended
        if (answer := self._asked.get(forked.number)) and not answer.done():
            answer.set_result(forked)

    def hang_up(self) -> None:
        """Close the server's socket: it sees that and ends."""
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()

    def end(self) -> None:
        """At once; harmless to repeat."""
        self.hang_up()
        self.process.kill()


class ForkSpawn:
    """Fills ``ports.process.Spawn``. Makes this process a subreaper between ``start`` and ``close``."""

    def __init__(
        self,
        program: Sequence[str] = SERVER,
        deadlines: Deadlines | None = None,
        *,
        spares: Limits = LIMITS,
    ) -> None:
        """``program``: Python's arguments for the server. ``spares``: how many workers are forked ahead."""
        self._program = program
        self._deadlines = deadlines or Deadlines()
        self._exec = ExecSpawn()
        self._subreaper = Subreaper(self._spared, self._on_sigchld)
        self._server: _Server | None = None
        self._scans = strays.Scans()
        self._spares = Spares(self._ahead, spares)
        self._asking = asyncio.Semaphore(AT_A_TIME)
        self._children: set[PidfdProcess] = set()
        self._servers: set[PidfdProcess] = set()
        self._under_way = 0
        self._held_until = 0.0
        self._falls_back = False

    def start(self) -> None:
        """Begin: the server does its imports while the caller goes on."""
        self._subreaper.start()
        self._living_server()
        self._spares.fill()

    async def close(self) -> None:
        """End the server and the spares; workers are not touched."""
        dropped = await self._spares.close()
        if self._server:
            self._server.hang_up()
            self._server = None
        for process in (*self._servers, *dropped):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._deadlines.closing):
                    await process.wait()
            process.kill()
            await process.wait()
        self._subreaper.stop()

    @property
    def server_pid(self) -> int | None:
        """The pid of the fork server; None: there is none at the moment."""
        return self._server.process.pid if self._server else None

    async def spawn(self, spec: WorkerSpec) -> PidfdProcess:
        """Fork a worker, or start one by exec where that fails."""
        server = self._living_server()  # where it has ended, so do its spares
        if server and (process := self._spares.begin(spec)):
            return process
        with self._not_reaping():
            if blank := await self._forked():
                blank.begin(spec)
                return blank.process
            return self._known(await self._exec.spawn(spec))

    async def _ahead(self) -> Blank | None:
        """A spare; None: there is no server that forks one."""
        with self._not_reaping():
            return await self._forked()

    @contextlib.contextmanager
    def _not_reaping(self) -> Iterator[None]:
        """A worker is on its way here that nobody knows yet."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._subreaper.reap()

    def _known(self, process: PidfdProcess) -> PidfdProcess:
        self._children = {one for one in self._children if not one.ended} | {process}
        process.on_sigchld()  # its SIGCHLD may have come before it was known
        return process

    def adopt(self, record: WorkerRecord) -> PidfdProcess | None:
        """How a worker was started makes no difference."""
        return self._exec.adopt(record)

    def is_empty(self, group: int) -> bool:
        """See ``ports.process.Spawn``."""
        return self._exec.is_empty(group)

    def end_remains(self, browser: int) -> bool:
        """See ``ports.process.Spawn``."""
        return self._exec.end_remains(browser)

    async def sweep(self, *, records: str, profiles: str, kept: Collection[int] = ()) -> Swept:
        """See ``ports.process.Spawn``. Workers that were started meanwhile are no strays, nor are spares."""
        seen = await self._scans.read()
        ours = {process.pid for process in self._children if not process.ended}
        return await strays.clear(seen, records=records, profiles=profiles, kept={*kept, *ours})

    async def _forked(self) -> Blank | None:
        for _ in range(ATTEMPTS):
            if (server := self._living_server()) is None:
                return None
            try:
                async with self._asking:
                    blank = await self._fork(server)
            except _GoneError:
                logger.warning("the fork server has ended", event="fork_server_ended")
                self._drop(server)
            except _UselessError as error:
                self._drop(server)
                self._hold_off(str(error))
                return None
            else:
                if self._falls_back:
                    logger.info(
                        "workers are forked again",
                        event="fork_server_back",
                        condition="fork_server_unusable",
                    )
                    self._falls_back = False
                return blank
        self._hold_off("ends whenever it is started")
        return None

    async def _fork(self, server: _Server) -> Blank:
        await server.ready(self._deadlines.start)
        with contextlib.ExitStack() as ours:
            try:
                spec_in, spec_out = _pipe(ours.callback)
                ready_in, ready_out = _pipe(ours.callback)
                forked = await server.fork((spec_in, ready_out, STDERR), self._deadlines.answer)
                if forked.error:
                    raise OSError(forked.error, os.strerror(forked.error))  # noqa: TRY301 - one wording for all
                process = self._known(_watched(forked.pid, ready_in))
                return Blank(process, os.dup(spec_out))
            except OSError as error:
                raise not_started(error) from None

    def _living_server(self) -> _Server | None:
        """A new one where the last has ended; None: it is better to do without."""
        if self._server and self._server.ended:
            logger.warning("the fork server has ended", event="fork_server_ended")
            self._drop(self._server)
        if self._server is None and asyncio.get_running_loop().time() >= self._held_until:
            try:
                self._server = _Server.start(self._program)
            except OSError as error:
                self._hold_off(f"cannot be started: {error.strerror}")
                return None
            self._servers = {p for p in self._servers if not p.ended} | {self._server.process}
        return self._server

    def _drop(self, server: _Server) -> None:
        server.end()
        self._spares.drop()
        if self._server is server:
            self._server = None

    def _hold_off(self, why: str) -> None:
        self._held_until = asyncio.get_running_loop().time() + self._deadlines.hold_off
        if not self._falls_back:
            logger.warning(
                "the fork server {}: workers are started by exec, which is slower",
                why,
                event="fork_server_unusable",
                condition="fork_server_unusable",
            )
            self._falls_back = True

    def _on_sigchld(self) -> None:
        news, which = None, os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            news = os.waitid(os.P_ALL, 0, which)  # nearly always none: one call instead of hundreds
        for process in self._children if news else ():
            process.on_sigchld()

    def _spared(self) -> set[int] | None:
        """None while a worker may be on its way here that nobody knows yet."""
        if self._under_way:
            return None
        return {p.pid for p in self._children | self._servers if not p.ended}


def _pipe(at_the_end: Callable[..., object]) -> tuple[int, int]:
    read, write = os.pipe()
    at_the_end(os.close, read)
    at_the_end(os.close, write)
    return read, write


def _watched(pid: int, output: int) -> PidfdProcess:
    """Nobody can have reaped it: until this returns no orphan is reaped."""
    pidfd = os.pidfd_open(pid)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, pidfd)
        output = os.dup(output)
        undo.pop_all()
    return PidfdProcess(pid, pidfd, stdout=output)
