"""What can be known of a daemon that does not answer: its lock, its process, its workers."""

from collections.abc import Iterator
from pathlib import Path

from waguard.cli.client import ApiCallError
from waguard.config.sections import Config
from waguard.host.files.lock import LOCK_FILE, read_pid_file
from waguard.host.process import procfs
from waguard.host.process.children import read_records


def explained(error: ApiCallError, config: Config) -> ApiCallError:
    """The error, with that in it where a daemon is there."""
    runtime = config.paths.runtime
    holder = _holder(runtime)
    found = read_pid_file(runtime)
    pid = found.pid if found else holder
    if pid is None:
        return error
    said = ", ".join(_known(runtime, pid, holder))
    if procfs.is_stopped(pid):
        remedy = "SIGCONT lets it go on; `systemctl restart waguard` replaces it, and adopts its sessions"
    else:
        remedy = "`waguard logs --level WARNING -n 20` says more; `systemctl restart waguard` costs no session"
    return ApiCallError(f"{error.message}; {said}", answered=0, remedy=remedy)


def _known(runtime: Path, pid: int, holder: int | None) -> Iterator[str]:
    stopped = procfs.is_stopped(pid)
    yield f"pid {pid} is stopped (SIGSTOP or a debugger)" if stopped else f"pid {pid} runs"
    yield f"the lock of {runtime} is {'held' if holder else 'free'}"
    workers = sum(
        procfs.is_same(record.pid, record.start_time, record.boot_id)
        for _, record in read_records(runtime / "workers")
    )
    yield f"workers that run: {workers}"


def _holder(runtime: Path) -> int | None:
    try:
        return procfs.flock_holder(runtime / LOCK_FILE)
    except OSError:
        return None
