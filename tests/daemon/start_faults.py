"""Starts of a daemon in each of which one write fails. ``python -m tests.daemon.start_faults FOLDER``, with the
faults as JSON on stdin: an outcome as JSON on each line of stdout.

Everything is imported once, and each start is a fork of this process.
"""

import contextlib
import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

ALONE: Final = {
    "WAGUARD_API__PORT": "0",
    "WAGUARD_FLEET__NETWORK": "off",
    "WAGUARD_BROWSER__SANDBOX": "false",  # the tests may run as root
}
LONGEST: Final = 20.0  # s for a start to end one way or the other
STAYS: Final = 1.0  # s that a daemon stays up with what it lacks
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_PATHS: Final = {
    "open": 0,
    "os.mkdir": 0,
    "os.rename": 0,
    "os.link": 1,
    "socket.bind": 1,
    "sqlite3.connect": 0,
}
"""Audit events of calls that write, and which of the arguments is the path."""


class Fault(msgspec.Struct, frozen=True):
    """The call named ``event`` (of ``sys.audit``) fails for a path that contains ``path``."""

    event: str
    path: str
    error: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one start, and of the next one without a fault."""

    fault: Fault | None
    hit: bool
    """The call was made."""
    up: bool
    code: int | None
    """Exit code; None: it had to be killed."""
    stderr: str
    left: tuple[str, ...]
    """Names in the folders of the daemon, after its end."""
    next_code: int | None
    next_stderr: str


def main() -> None:
    """See above."""
    import waguard.daemon.root  # noqa: F401, PLC0415 - once for all

    root = Path(sys.argv[1])
    for number, fault in enumerate(msgspec.json.decode(sys.stdin.buffer.read(), type=list[Fault])):
        folder = root / str(number)
        outcome = tried(folder, fault)
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.flush()
        shutil.rmtree(folder)


def tried(folder: Path, fault: Fault | None) -> Outcome:
    """One start with the fault, and one without it."""
    folder.mkdir(mode=0o700)
    up, code, stderr = started(folder, "first", fault)
    left = tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
    _, next_code, next_stderr = started(folder, "next", None)
    return Outcome(
        fault=fault,
        hit=(folder / "hit").exists(),
        up=up,
        code=code,
        stderr=stderr,
        left=left,
        next_code=next_code,
        next_stderr=next_stderr,
    )


def started(folder: Path, name: str, fault: Fault | None) -> tuple[bool, int | None, str]:
    """Whether it came up, how it ended, and what it wrote."""
    log = folder / f"{name}.log"
    pid = os.fork()
    if pid == 0:
        _become_daemon(folder, log, fault)
    up, code = False, None
    end, stop = time.monotonic() + LONGEST, float("inf")
    while code is None and time.monotonic() < end:
        said = log.read_text() if log.exists() else ""
        if stop == float("inf") and "event=daemon_up" in said:
            up, stop = True, time.monotonic() + STAYS
        if "event=daemon_restored" in said or time.monotonic() > stop:
            stop = float("inf")
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.02)
        gone, status = os.waitpid(pid, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if gone else None
    if code is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return up, code, log.read_text()


def _become_daemon(folder: Path, log: Path, fault: Fault | None) -> None:
    """Never returns."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.chdir(folder)
    os.environ.update(ALONE)
    sys.argv[1:] = ["run"]
    if fault:
        sys.addaudithook(_failing(fault, folder / "hit"))
    code = 1
    try:
        from waguard.__main__ import main as waguard  # noqa: PLC0415

        code = waguard()
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _failing(fault: Fault, hit: Path) -> Any:
    number = getattr(errno, fault.error)
    made = os.open(hit.parent, os.O_RDONLY)

    def hook(event: str, arguments: Sequence[Any]) -> None:
        if event != fault.event or fault.path not in str(arguments[_PATHS[event]]):
            return
        if event == "open" and not (arguments[2] or 0) & _WRITING:
            return
        with contextlib.suppress(FileExistsError):
            os.mkdir(hit.name, dir_fd=made)
        raise OSError(number, os.strerror(number), str(arguments[_PATHS[event]]))

    return hook


if __name__ == "__main__":
    main()
