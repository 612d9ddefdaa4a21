"""The daemon itself: its lock, its pid file, its socket, its port."""

from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.doctor.report import Check, RemoveStale, failed, ok, skipped, warning

START: Final = "systemctl start waguard"
RESTART: Final = "systemctl restart waguard"
START_ENDS: Final = 60.0  # s after which a start that does nothing is a fault
JOURNAL: Final = "journalctl -u waguard -n 50"


class PidFile(StrEnum):
    """What ``waguard.pid`` says."""

    ABSENT = auto()
    UNREADABLE = auto()
    DEAD = auto()
    LIVING = auto()


class Socket(StrEnum):
    """What a connection to ``waguard.sock`` comes to."""

    ABSENT = auto()
    REFUSED = auto()
    """The file is there, and nobody listens."""
    DENIED = auto()
    SILENT = auto()
    """Somebody listens and does not answer in time."""
    ANSWERS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What lies in the runtime folder. ``pid`` of the pid file, ``holder`` of the lock. Where the socket
    is denied, so is the folder, and nothing else is known."""

    runtime: str
    pid_file: PidFile = PidFile.ABSENT
    pid: int | None = None
    api: str | None = None
    locked: bool = False
    holder: int | None = None
    socket: Socket = Socket.ABSENT
    machine: str = ""
    """As a lease names this machine."""
    age: float | None = field(default=None, compare=False)
    """Seconds since its process began; None: unknown."""

    @property
    def up(self) -> bool:
        """Whether a daemon answers."""
        return self.socket is Socket.ANSWERS

    @property
    def lives(self) -> bool:
        """Whether there is a daemon, answering or not."""
        return self.up or self.locked or self.pid_file is PidFile.LIVING

    @property
    def starts(self) -> bool:
        """Whether it may still be starting: what is not there yet is no fault."""
        return self.lives and self.age is not None and self.age < START_ENDS


def instance(seen: Instance) -> list[Check]:
    """The daemon, its lock and its socket."""
    if seen.socket is Socket.DENIED:
        return _socket(seen)
    return [*_lock(seen), *_socket(seen)]


def _lock(seen: Instance) -> list[Check]:
    pid = seen.pid or seen.holder
    if seen.pid_file is PidFile.LIVING and not seen.locked:
        return [
            warning(
                "instance",
                f"waguard runs, pid {pid}, and its lock in {seen.runtime} is not held: the file was"
                " removed",
                "Wait a second: the daemon makes it again. If it does not, restart it",
                RESTART,
            )
        ]
    if seen.lives:
        return [ok("instance", f"one waguard runs, pid {pid}")]
    if seen.pid_file is PidFile.ABSENT:
        return [warning("instance", "no waguard runs", "Start it", START)]
    left = (
        "is unreadable"
        if seen.pid_file is PidFile.UNREADABLE
        else f"names {seen.pid}, which is gone"
    )
    return [
        failed(
            "instance",
            f"no waguard runs, and the last one did not stop in order: its pid file {left}",
            f"Read why ({JOURNAL}), then start it",
            START,
            RemoveStale(seen.runtime, "waguard.pid"),
        )
    ]


def _socket(seen: Instance) -> list[Check]:
    where = f"{seen.runtime}/waguard.sock"
    match seen.socket:
        case Socket.ANSWERS:
            return [ok("socket", f"{where} answers")]
        case Socket.DENIED:
            return [
                failed(
                    "socket",
                    f"this user may not look into {seen.runtime}: nothing else is checked",
                    "Run the doctor as root, or as the daemon's user",
                    "sudo waguard doctor",
                )
            ]
        case Socket.SILENT:
            return [
                failed(
                    "socket",
                    f"the daemon listens on {where} and does not answer: it hangs, or was stopped",
                    "Restart it; the sessions are adopted",
                    RESTART,
                )
            ]
        case Socket.REFUSED if not seen.lives:
            return [
                failed(
                    "socket",
                    f"{where} belongs to a daemon that no longer runs",
                    "Start waguard, which replaces it",
                    START,
                    RemoveStale(seen.runtime, "waguard.sock"),
                )
            ]
        case Socket.REFUSED | Socket.ABSENT if seen.starts:
            return [
                skipped("socket", f"waguard began {seen.age:.0f} s ago and does not listen yet")
            ]
        case Socket.REFUSED | Socket.ABSENT if seen.lives:
            return [
                failed(
                    "socket",
                    f"waguard runs and does not listen on {where}",
                    "Wait a second: the daemon makes it again. If it does not, restart it",
                    RESTART,
                )
            ]
        case _:
            return []


class Port(Struct, frozen=True, kw_only=True):
    """The port of the API. ``pid`` and ``command``: who listens there, where that is visible; ``ours``: one of those
    holds the lock, whether it answers yet or not."""

    host: str
    port: int
    taken: bool
    pid: int | None = None
    command: str = ""
    ours: bool = False
    refusal: str | None = None
    """Why nobody could listen there, whoever has it."""


def port(seen: Port, daemon: Instance) -> Check:
    """Free for the daemon, or the daemon's."""
    where = f"{seen.host}:{seen.port}"
    if seen.refusal:
        return failed(
            "port", f"{where} cannot be used: {seen.refusal}", "Set api.host and api.port"
        )
    if not seen.taken:
        if daemon.up and seen.port:
            return failed(
                "port",
                f"waguard runs, and nobody listens on {where}: it runs with another configuration",
                "Restart it, so that it has this one",
                RESTART,
            )
        return ok(
            "port", f"{where} is free" if seen.port else "api.port = 0: any free port will do"
        )
    if seen.ours or (daemon.up and seen.pid in {None, daemon.pid}):
        return ok("port", f"{where} is waguard's")
    if seen.pid == 1:
        return warning(
            "port",
            f"{where} is held by pid 1 ({seen.command[:120]}): a socket unit's, or kept for a service that does not"
            " run now",
            "Where it is neither waguard.socket's nor waguard.service's, disable that unit",
            "systemctl list-sockets",
        )
    who = f"pid {seen.pid} ({seen.command[:120]})" if seen.pid else "a process of another user"
    pm2 = "server.js" in seen.command or "PM2" in seen.command
    end = f"kill {seen.pid}" if seen.pid else f"ss -ltnp 'sport = :{seen.port}'"
    return failed(
        "port",
        f"{where} is taken by {who}",
        "Stop the old service: PM2 starts it again when it is killed"
        if pm2
        else "Stop that process",
        "pm2 delete all" if pm2 else end,
    )
