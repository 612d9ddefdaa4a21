"""Daemons and commands of the tests, forked from a process that has their imports done: 0.5 s of CPU a start instead of 1.6.

One launcher for each process of pytest, started at the first daemon, ended with pytest. What a daemon can
observe of itself is as after an exec: a session of its own, no descriptor but three, the system's signal
handlers, its arguments and environment, and an interpreter that ends as always. Only /proc/PID/environ is
the launcher's, so a test about that, or one of the real start, runs a fresh Python (``Daemon.executed``).
"""

import asyncio
import atexit
import contextlib
import functools
import gc
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

from waguard.host.process.title import Title, with_room

_LIMIT: Final = 1 << 20  # bytes of a request: an environment
_STANDARD: Final = 3
_ARGUMENTS: Final = ("-P", "-m", "waguard")


class _Start(msgspec.Struct, frozen=True):
    arguments: tuple[str, ...]
    folder: str
    environment: dict[str, str]


class Launched:
    """A daemon, with what a test uses of ``asyncio.subprocess.Process``."""

    def __init__(self, pid: int, exits: int) -> None:
        """``exits``: where the launcher writes the exit code."""
        self.pid = pid
        self._exits = exits
        self._code: int | None = None

    def __del__(self) -> None:
        os.close(self._exits)

    @property
    def returncode(self) -> int | None:
        """None: it runs."""
        if self._code is None:
            # what has been read stays readable, at its end: nobody who waits misses it
            with contextlib.suppress(BlockingIOError):
                self._code = int(os.read(self._exits, 16) or b"-9")
        return self._code

    async def wait(self) -> int:
        """The exit code, or minus the signal."""
        while (code := self.returncode) is None:
            await _readable(self._exits)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        # its parent has reaped it only when the code is written
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    loop.add_reader(descriptor, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(descriptor)


class Launcher:
    """The process, as pytest has it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv, environ = with_room(
            [sys.executable, "-P", __file__, str(theirs.fileno())], dict(os.environ)
        )
        with theirs:
            self._process = subprocess.Popen(
                argv, env=environ, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self.pid = self._process.pid
        atexit.register(self._end)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()

    def start(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        log: IO[bytes],
        errors: IO[bytes] | None = None,
    ) -> Launched:
        """``python -P -m waguard ARGUMENTS`` in ``folder``, with its output in ``log``, and its errors too, or
        in ``errors``."""
        request = msgspec.json.encode(_Start(tuple(arguments), str(folder), dict(environ)))
        ours, theirs = os.pipe()
        try:
            outputs = [log.fileno(), (errors or log).fileno()]
            socket.send_fds(self._control, [request], [*outputs, theirs])
        finally:
            os.close(theirs)
        answer = self._control.recv(16)
        assert answer, f"the launcher has ended: {self._process.wait()}"
        os.set_blocking(ours, False)
        return Launched(int(answer), ours)


@functools.cache
def launcher() -> Launcher:
    """The launcher of this process."""
    return Launcher()


def launcher_pid() -> int | None:
    """None: nobody needed one yet."""
    return launcher().pid if launcher.cache_info().currsize else None


def main() -> int:
    """Serve until pytest is gone: 0. In a daemon: its exit code."""
    title = Title.claim()
    title.show("waguard.starts", sys.orig_argv, {})
    gc.disable()
    _import_all()
    gc.freeze()
    gc.enable()
    control = socket.socket(fileno=int(sys.argv[1]))
    start = serve(control)
    if start is None:
        return 0
    control.detach()  # closed already
    title.show(Path(sys.executable).name, [sys.executable, *_ARGUMENTS, *start.arguments], {})
    return _waguard(start)


def _import_all() -> None:
    import alembic.context  # noqa: PLC0415
    import alembic.op  # noqa: F401, PLC0415

    import waguard.cli.run  # noqa: PLC0415
    import waguard.daemon.root  # noqa: PLC0415
    import waguard.store.migrate  # noqa: F401, PLC0415

    assert threading.active_count() == 1, "a fork copies no thread"


def serve(control: socket.socket) -> _Start | None:
    """Fork a daemon for each request, and write down how it ended, until pytest is gone: None.

    In a daemon: what to start.
    """
    exits: dict[int, tuple[int, int]] = {}  # pid and the pipe for its exit code, by pidfd
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != control.fileno():
                poll.unregister(descriptor)
                _report_end(*exits.pop(descriptor))
                os.close(descriptor)
                continue
            message, passed, *_ = socket.recv_fds(control, _LIMIT, 3)
            if not message:
                return None
            *outputs, pipe = passed
            if (pid := os.fork()) == 0:
                _become_daemon(outputs)
                return msgspec.json.decode(message, type=_Start)
            for output in outputs:
                os.close(output)
            pidfd = os.pidfd_open(pid)
            exits[pidfd] = (pid, pipe)
            poll.register(pidfd, select.POLLIN)
            control.send(b"%d" % pid)


def _report_end(pid: int, pipe: int) -> None:
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # the test is over
        os.write(pipe, b"%d" % os.waitstatus_to_exitcode(status))
    os.close(pipe)


def _become_daemon(outputs: Sequence[int]) -> None:
    os.setsid()
    for standard, output in enumerate(outputs, 1):
        os.dup2(output, standard)
    os.closerange(_STANDARD, os.sysconf("SC_OPEN_MAX"))


def _waguard(start: _Start) -> int:
    from waguard import __main__ as program  # noqa: PLC0415
    from waguard.api import health  # noqa: PLC0415

    os.environ.clear()
    os.environ.update(start.environment)
    time.tzset()
    os.chdir(start.folder)
    sys.argv[:] = [program.__file__, *start.arguments]
    vars(health).update(STARTED=time.monotonic())
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
