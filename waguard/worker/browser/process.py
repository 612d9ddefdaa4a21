"""The processes of one Chromium: started so that they cannot outlive the worker, watched, ended.

Three ties hold the browser to its worker: the DevTools pipe (Chromium ends at its end of file),
PR_SET_PDEATHSIG, and a process group of its own. The death signal has to be set in the child, after
the fork and before Chromium. A ``preexec_fn`` would do that in a copy of the whole worker, which
Python deprecates once there is any second thread; a stub of an interpreter does it after ``vfork``
and ``exec`` instead, for 9 ms of the stub's own time and none of the event loop's.
"""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from waguard.host.process.executable import VERSION
from waguard.host.process.procfs import group_members, is_stopped, pids
from waguard.host.process.standstill import Standstill

# argv: parent, read end, write end, Chromium and its arguments
STUB = """
import ctypes, os, sys
parent, read, write = map(int, sys.argv[1:4])
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == parent:
    os.dup2(read, 3)
    os.dup2(write, 4)
    os.close(read)
    os.close(write)
    os.execv(sys.argv[4], sys.argv[4:])
"""
FIRST_FREE_FD = 10  # above 3 and 4, which Chromium reads and writes
POLL = 0.01  # s; there is no event for "the last process of a group is gone"
UNKNOWN_EXIT = 255  # somebody else reaped it
STRAGGLERS = 1.0  # s that the storage service has to write what it holds when the browser has ended
UNKILLABLE = 10.0  # s; a process that waits for a dead disk cannot be waited for


async def version_of(executable: Path, timeout: float) -> str | None:
    """What ``--version`` prints: four numbers with dots, or ``None``. Takes about 20 ms.

    Raises ``OSError`` when it cannot be run, ``TimeoutError`` when it does not end.
    """
    loop = asyncio.get_running_loop()
    read, write = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(read, "rb") as output:
        os.set_blocking(read, False)
        try:
            pid = os.posix_spawn(  # noqa: ASYNC221  # vfork and exec, some 1 ms
                executable,
                [os.fspath(executable), "--version"],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, write, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setpgroup=0,  # what a script starts ends with it
            )
        finally:
            os.close(write)
        pidfd = os.pidfd_open(pid)
        ended = asyncio.Event()
        loop.add_reader(pidfd, ended.set)
        try:
            async with asyncio.timeout(timeout):
                await ended.wait()
        finally:
            loop.remove_reader(pidfd)
            os.killpg(pid, signal.SIGKILL)  # not reaped yet: the number is its own
            os.waitpid(pid, 0)  # noqa: ASYNC222  # it is dead
            os.close(pidfd)
        text = (output.read() or b"").decode(errors="replace")
    found = VERSION.search(text)
    return found[0] if found else None


class BrowserProcess:
    """A running Chromium and its process group.

    ``exited`` is the browser process's exit code, negative for a signal. ``gone`` completes when its
    group and crash handlers are gone as well; what stays ``STRAGGLERS`` seconds is killed.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", tmpdir: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._tmpdir = tmpdir
        self.pid = process.pid
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)
        self.standstill = Standstill(self.pid, self._pidfd, child=True)
        self._sweep: asyncio.Task[None] | None = None

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        marks: Mapping[str, str],
        tmpdir: Path,
        inherited_fds: Sequence[int] = (),
    ) -> tuple[Self, int, int]:
        """Start it; returns also the ends of the pipe to read from and to write to.

        Must be called in the main thread: the death signal follows the thread that forked.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a browser is started from the main thread only")
        from_browser, to_worker = os.pipe2(os.O_CLOEXEC)
        from_worker, to_browser = os.pipe2(os.O_CLOEXEC)
        # Low numbers are out of the way of 3 and 4; a lock goes with every copy of its descriptor.
        theirs = [_high(fd) for fd in (from_worker, to_worker, *inherited_fds)]
        stub = [sys.executable, "-I", "-S", "-c", STUB, str(os.getpid()), *map(str, theirs[:2])]
        try:
            process = subprocess.Popen(  # noqa: S603  # the arguments are checked
                [*stub, *argv],
                env={
                    **os.environ,
                    **marks,
                    "TMPDIR": str(tmpdir),
                    # else dumps, which hold the session's memory, gather in the home folder
                    "BREAKPAD_DUMP_LOCATION": str(tmpdir / "crashes"),
                },
                pass_fds=theirs,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except BaseException:
            os.close(from_browser)
            os.close(to_browser)
            raise
        finally:
            for fd in (*theirs, from_worker, to_worker):
                os.close(fd)
        return cls(process, tmpdir), from_browser, to_browser

    @property
    def stopped(self) -> bool:
        """Whether the browser process stands still by SIGSTOP (or a debugger), as evidence."""
        return not self.exited.done() and is_stopped(self.pid)

    def check_stopped(self) -> None:
        """To be called at SIGCHLD, which a browser that stops raises too."""
        if not self.exited.done():
            self.standstill.check()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the group. Its number stays ours until ``gone``: the leader is reaped last."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def gone(self) -> None:
        """Until nothing of it is left."""
        await asyncio.shield(self.exited)
        if self._sweep is not None:
            await asyncio.shield(self._sweep)

    def _on_exit(self) -> None:
        # WNOWAIT: while the zombie holds the number, no foreign process group can have it
        code = UNKNOWN_EXIT
        with suppress(ChildProcessError):  # someone else's wait took it
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            by_itself = found.si_code == os.CLD_EXITED
            code = found.si_status if by_itself else -found.si_status
        self._loop.remove_reader(self._pidfd)
        if not self.exited.done():
            self.exited.set_result(code)
        self._sweep = self._loop.create_task(
            self._sweep_group(), name=f"the end of Chromium {self.pid}"
        )

    async def _sweep_group(self) -> None:
        ended = self._loop.time()
        try:
            while left := [*group_members(self.pid), *crash_handlers(self._tmpdir)]:
                waited = self._loop.time() - ended
                if waited > UNKILLABLE:
                    break
                if waited > STRAGGLERS:
                    for pid in left:
                        kill_if(pid, self.pid, self._tmpdir)
                await asyncio.sleep(POLL)
        finally:
            # also when cancelled: nothing of the group may stay
            self.signal_group(signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222
            os.close(self._pidfd)
            # we reaped it ourselves: Popen must not try
            self._process.returncode = self.exited.result()


def _high(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)


def _stat(pid: int) -> list[str]:
    """The fields after the command's name: state, parent, group, …; nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def crash_handlers(tmpdir: Path) -> list[int]:
    """Desktop Chromium's two crash handlers, which leave the group: known by name and TMPDIR."""
    return [pid for pid in pids() if _is_crash_handler(pid, tmpdir)]


def _is_crash_handler(pid: int, tmpdir: Path) -> bool:
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0]
        if not name.endswith(b"/chrome_crashpad_handler"):
            return False
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"TMPDIR=" + os.fsencode(tmpdir) in environment


def kill_if(pid: int, group: int, tmpdir: Path) -> None:
    """SIGKILL one of ours, and never whoever may have its number by now."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        fields = _stat(pid)
        if (fields and int(fields[2]) == group) or _is_crash_handler(pid, tmpdir):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def command_line(pid: int) -> list[str]:
    """The arguments of a running process; empty when it is gone."""
    try:
        return [
            os.fsdecode(part) for part in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
    except OSError:
        return []
