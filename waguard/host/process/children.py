"""Worker processes: started by exec, or adopted from a daemon that died (``fork_server``: forked).

An exit is seen through a pidfd on the event loop: no thread, no polling, and no confusion with a
later process that got the same pid.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from waguard.config.reading import ENV_PREFIX
from waguard.errors import UnavailableError, WaguardError
from waguard.host import small_file
from waguard.host.lacking import lacks
from waguard.host.process import procfs
from waguard.host.process.standstill import TIMINGS, Standstill, Timings
from waguard.host.small_file import UnreadableError
from waguard.ports.process import Effort
from waguard.wire.worker import WorkerRecord, WorkerSpec


class PidfdProcess:
    """Fills ``ports.process.Process``. Must be made on the loop that waits for it."""

    def __init__(self, pid: int, pidfd: int, *, stdout: int | None) -> None:
        """``stdout``: read end of a child's standard output; None: adopted, it listens already."""
        self._pid = pid
        self._pidfd = pidfd
        self._child = stdout is not None
        self._loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int | None] = self._loop.create_future()
        self._listening: asyncio.Future[None] = self._loop.create_future()
        self._stdout = stdout
        self._standstill = Standstill(pid, pidfd, child=self._child)
        self._loop.add_reader(pidfd, self._on_exit)
        if stdout is None:
            self._listening.set_result(None)
        else:
            self._loop.add_reader(stdout, self._on_listening)

    @property
    def pid(self) -> int:
        """The worker's process id, which is also its process group."""
        return self._pid

    @property
    def ended(self) -> bool:
        """Whether its end has been seen, and it is reaped where it was a child."""
        return self._exit.done()

    async def listening(self) -> None:
        """Wait until the worker says that it listens, or is gone."""
        await asyncio.shield(self._listening)

    def terminate(self) -> None:
        """SIGTERM to the worker, which closes its Chromium itself."""
        self._signal(signal.SIGTERM)
        if not self._exit.done():
            self._standstill.hasten()

    def kill(self) -> None:
        """SIGKILL to the whole group, and before to Chromium's: its worker is its parent and knows
        its number as long as it lives. Chromium would follow, its stopped renderers would not."""
        if not self._exit.done():
            with contextlib.suppress(OSError):  # this host may lack the descriptor to read them
                for child in procfs.children(self._pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    async def wait(self) -> int | None:
        """Exit code, negative signal, or None (adopted: the kernel notifies its parent only)."""
        return await asyncio.shield(self._exit)

    def effort(self) -> Effort | None:
        """See ``ports.process.Process``."""
        if self._exit.done() or (rests := procfs.rests(self._pid)) is None:
            return None
        return Effort(rests=rests, cpu=procfs.cpu(self._pid))

    async def stopped(self, timings: Timings = TIMINGS) -> None:
        """Return when it has stood still for a while; ``terminate`` makes it a short one."""
        await self._standstill.lasting(timings)

    def on_sigchld(self) -> None:
        """A child stopped, continued or ended."""
        if self._child and not self._exit.done():
            self._standstill.check()

    def _signal(self, number: signal.Signals) -> None:
        if not self._exit.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _on_listening(self) -> None:
        # closed or written to: either way there is nothing more to wait for
        if self._stdout is not None:
            self._loop.remove_reader(self._stdout)
            os.close(self._stdout)
            self._stdout = None
        if not self._listening.done():
            self._listening.set_result(None)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        code = self._reap() if self._child else None
        os.close(self._pidfd)
        self._on_listening()  # a child of its own may hold its output open for long
        if not self._exit.done():
            self._exit.set_result(code)

    def _reap(self) -> int | None:
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            return None
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


class ExecSpawn:
    """A fresh Python for each worker; starts and adopts as ``ports.process.Spawn`` says."""

    async def spawn(self, spec: WorkerSpec) -> PidfdProcess:
        """Start ``python -m waguard.worker`` in a session and process group of its own."""
        argv = [sys.executable, "-P", "-m", "waguard.worker", spec.session]
        try:
            return execute(argv, environment() | spec.marks(), stdin=msgspec.json.encode(spec))
        except OSError as error:
            raise not_started(error) from None

    def is_empty(self, group: int) -> bool:
        """See ``ports.process.Spawn``."""
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def end_remains(self, browser: int) -> bool:
        """See ``ports.process.Spawn``. While anything of the group lives, no process gets its number."""
        try:
            if procfs.start_time(browser) is not None:
                return False  # it lives, or the number is another's
            os.killpg(browser, signal.SIGKILL)
        except OSError:  # nothing is left; or who has the number cannot be read now
            return False
        return True

    def adopt(self, record: WorkerRecord) -> PidfdProcess | None:
        """See ``ports.process.Spawn``. The pidfd first, then the identity: in between the pid cannot change hands."""
        try:
            with contextlib.ExitStack() as undo:
                pidfd = os.pidfd_open(record.pid)
                undo.callback(os.close, pidfd)
                if not procfs.is_same(record.pid, record.start_time, record.boot_id):
                    return None
                undo.pop_all()
        except OverflowError:
            return None
        except OSError as error:
            if not lacks(error):
                return None
            raise UnavailableError(
                f"whether worker {record.pid} lives is not known: {error.strerror}",
                remedy="check ulimit -n and free memory",
                retry_after=5,
            ) from None
        return PidfdProcess(record.pid, pidfd, stdout=None)


def environment() -> dict[str, str]:
    """The daemon's, without what is its own: its configuration, which may hold the database's
    password, and the service manager's socket."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
        and not (name.startswith(ENV_PREFIX) and "__" in name)
    }


def execute(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: bytes = b"",
    pass_fds: Collection[int] = (),
) -> PidfdProcess:
    """Run a program in a session of its own, with ``stdin`` as its standard input.

    It gets no other descriptor than those and our log. Raises ``OSError``.
    """
    child = subprocess.Popen(  # noqa: S603 - our own interpreter; returns in 1 ms
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=environ,
        pass_fds=pass_fds,
    )
    with child:  # closes both pipes
        process = _watched(child)
        assert child.stdin  # noqa: S101 - asked for above
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(stdin)
    return process


def _watched(child: "subprocess.Popen[bytes]") -> PidfdProcess:
    """A child that cannot be watched, because descriptors are missing, is ended: nobody would miss it."""
    assert child.stdout  # noqa: S101 - it was started with a pipe
    with contextlib.ExitStack() as undo:
        undo.callback(child.kill)
        pidfd = os.pidfd_open(child.pid)
        undo.callback(os.close, pidfd)
        stdout = os.dup(child.stdout.fileno())
        undo.pop_all()
    child.returncode = 0  # reaped through the pidfd, not by Popen
    return PidfdProcess(child.pid, pidfd, stdout=stdout)


def not_started(error: OSError) -> WaguardError:
    """What a spawner says when the system refuses."""
    return WaguardError(
        f"no worker could be started: {error.strerror}",
        remedy="check TasksMax, ulimit -u, ulimit -n and free memory",
    )


def read_records(workers: Path) -> list[tuple[Path, WorkerRecord]]:
    """Every worker record in the folder, with its file; what cannot be read is no record."""
    found = []
    for path in sorted(workers.glob("*.json")):
        with contextlib.suppress(FileNotFoundError, UnreadableError):
            found.append((path, _record(path)))
    return found


def quarantine_unreadable_records(workers: Path) -> dict[Path, str]:
    """Where each lay, and what was wrong with it; its worker is a stray by its mark. ``refused_records`` stay."""
    found = {}
    for path, error in _unreadable(workers):
        if not error.by_system:
            found[path] = str(error)
            with contextlib.suppress(OSError):  # it is reported all the same
                small_file.quarantine(path)
    return found


def refused_records(workers: Path) -> dict[Path, str]:
    """Those that the system does not let be read now, and why: their workers may live."""
    return {path: str(error) for path, error in _unreadable(workers) if error.by_system}


def _unreadable(workers: Path) -> Iterator[tuple[Path, UnreadableError]]:
    for path in sorted(workers.glob("*.json")):
        try:
            _record(path)
        except FileNotFoundError:  # its worker has just ended
            continue
        except UnreadableError as error:
            yield path, error


def _record(path: Path) -> WorkerRecord:
    """Raises as ``small_file.read``."""
    content = small_file.read(path)
    try:
        return msgspec.json.decode(content, type=WorkerRecord)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without an end
        raise UnreadableError(f"it is not a record of a worker: {error}") from None
