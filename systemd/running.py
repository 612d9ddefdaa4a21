"""The running daemon, by its socket and by systemd."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from systemd.release import CONFIG, UNIT, FailedError, Host, run, say

CRASHES: Final = 3  # of a new version, after which the old one comes back
POLL: Final = 0.2  # s
ANSWER_WITHIN: Final = 10.0  # s for one answer of the daemon
OK: Final = 200


def configured(host: Host, release: PurePosixPath) -> dict[str, str]:
    """The value of every key. Raises ``FailedError``."""
    shown = json.loads(host.waguard(release, "config", "show", "--json", "--config", CONFIG))
    return {row["key"]: row["value"] for row in shown["keys"]}


class Daemon:
    """The running service, by the socket that its configuration names."""

    def __init__(self, host: Host, release: PurePosixPath) -> None:
        self._socket = Path(configured(host, release)["paths.runtime"]) / "waguard.sock"

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Raises ``OSError``, ``http.client.HTTPException`` or ``ValueError`` where no waguard answers."""
        connection = http.client.HTTPConnection("localhost", timeout=ANSWER_WITHIN)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(ANSWER_WITHIN)
        try:
            connection.sock.connect(str(self._socket))
            connection.request("GET", path)
            response = connection.getresponse()
            answer = json.loads(response.read())
            if not isinstance(answer, dict):
                raise http.client.HTTPException(f"it answers {type(answer).__name__}")
            return response.status, answer
        finally:
            connection.close()

    def why_not_ready(self) -> str | None:
        """In words; None: it is, and so is a standby, which waits for the lease of another host."""
        try:
            status, answer = self.get("/health/ready")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"it does not answer: {error}"
        return (
            None if status == OK or answer.get("status") == "standby" else str(answer.get("error"))
        )

    def workers(self) -> dict[str, int]:
        """Of each session that is connected, by its worker's own word: the worker's pid."""
        try:
            _, answer = self.get("/health/detailed")
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        return {
            it["session_id"]: it["worker_pid"]
            for it in answer.get("details") or ()  # none where it cannot tell
            if it["status"] == "connected" and it["worker_pid"] and it["browser_pid"]
        }


def is_up(host: Host, release: PurePosixPath) -> bool:
    """Whether the unit runs. One that fails counts, too, where another release than this is current: this one ran, or
    is to."""
    if not host.is_live or is_active():
        return host.is_live
    if release == host.current():
        return False
    state = run("systemctl", "show", "-p", "ActiveState", "--value", UNIT).strip()
    return state in {"failed", "activating"}


def is_active() -> bool:
    """Whether the unit runs, by systemd."""
    return is_what("is-active")


def is_what(question: str) -> bool:
    """systemctl's "is-active" or "is-failed"."""
    asked = subprocess.run(["systemctl", "--quiet", question, UNIT], check=False)
    return asked.returncode == 0


def restart(daemon: Daemon, wanted: Mapping[str, int], within: float) -> None:
    """Restart it, and wait until it is ready and what was connected is connected again. Raises
    ``FailedError``."""
    run("systemctl", "reset-failed", UNIT)
    began = time.monotonic()
    try:
        run("systemctl", "restart", UNIT)
    except FailedError:
        raise FailedError(f"it does not start:\n{last_lines()}") from None
    for missing, workers in states(daemon, wanted):
        took = time.monotonic() - began
        if missing is None:
            kept = sum(workers[name] == pid for name, pid in wanted.items())
            say(f"ready after {took:.1f} s; sessions: {len(wanted)} connected, {kept} adopted")
            return
        if is_what("is-failed") or crashes() >= CRASHES:
            raise FailedError(f"it has failed:\n{last_lines()}")
        if took > within:
            raise FailedError(f"not ready after {within:.0f} s: {missing}\n{last_lines()}")
        time.sleep(POLL)


def states(
    daemon: Daemon, wanted: Mapping[str, int]
) -> Iterator[tuple[str | None, Mapping[str, int]]]:
    """Again and again: what is still missing, and the workers."""
    while True:
        workers = daemon.workers()
        missing = daemon.why_not_ready()
        if missing is None and (absent := sorted(wanted.keys() - workers.keys())):
            missing = f"not connected: {', '.join(absent)}"
        yield missing, workers


def crashes() -> int:
    """Since it was started by hand."""
    return int(run("systemctl", "show", "-p", "NRestarts", "--value", UNIT))


def last_lines() -> str:
    """Its own: systemd warns of each process that goes on."""
    return run("journalctl", "-o", "cat", "-n", "8", f"_SYSTEMD_UNIT={UNIT}").strip()
