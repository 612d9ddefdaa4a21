"""The machine: Chromium, wa-js, disks, memory, limits, clock, network."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from waguard.core.host.admission import PIDS, Reading
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning

_MB: Final = 1 << 20
INODES: Final = 1_000  # free; a profile has about 300 files
FEW_INODES: Final = 0.05
OPEN_FILES: Final = 8_192  # 2,048 connections of the API, and the pipes and sockets of 200 sessions
SHARED_MEMORY: Final = 256 * _MB  # Docker gives 64 MB
SKEW: Final = 300.0  # s; the receiver takes no signature whose time is further off
SHORT_SKEW: Final = 5.0  # s


# ---- Chromium ----


class Browser(Struct, frozen=True, kw_only=True):
    """What a Chromium did on an empty profile of its own. ``missing``: why there is none to run."""

    path: str | None = None
    missing: str | None = None
    remedy: str | None = None
    user: str | None = None
    version: str | None = None
    started: bool = False
    seconds: float = 0.0
    error: str | None = None
    sandboxed: bool | None = None
    """Whether its page runs in the sandbox; None: it was not asked for."""
    starts_without: bool = False
    """Chromium starts without its sandbox, and only so."""
    namespaces: str | None = None
    """The kernel's setting that forbids the sandbox, and what it has to be."""
    running: tuple["RunningBrowser", ...] = ()


class RunningBrowser(Struct, frozen=True, kw_only=True):
    """A session's Chromium. ``age``: seconds since its start, None: unknown."""

    named: str
    age: float | None
    outdated: bool
    """Another one is installed."""


def browser(seen: Browser, *, timeout: float) -> list[Check]:
    """Whether it is there, runs in time, in its sandbox, and in all sessions. ``timeout``: ``browser.launch_timeout``."""
    return [*_installed(seen, timeout=timeout), *_outdated(seen)]


def _outdated(seen: Browser) -> list[Check]:
    others = [it for it in seen.running if it.outdated]
    if not others:
        return []
    named = ", ".join(sorted({it.named for it in others}))
    count = f"{len(others)} of {len(seen.running)} sessions run {named}{_since(others)}"
    return [
        warning(
            "chromium",
            f"{count}; another one is installed",
            "waguard replaces idle ones one at a time; see whether it says that the installed one fails",
            None,
        )
    ]


def _since(running: Sequence[RunningBrowser]) -> str:
    ages = [it.age for it in running if it.age is not None]
    return f", the oldest since {max(ages) / 3_600:.0f} h" if ages else ""


def _installed(seen: Browser, *, timeout: float) -> list[Check]:
    if seen.missing:
        remedy = seen.remedy or "Install it"
        return [failed("chromium", seen.missing, remedy, "apt-get install chromium")]
    named = f"{seen.path} {seen.version or 'of an unknown version'}"
    if seen.starts_without:
        return [
            ok("chromium", f"{named} starts"),
            _no_sandbox(seen),
        ]
    if not seen.started:
        libraries = f"ldd {seen.path} | grep 'not found'"
        return [
            failed(
                "chromium",
                f"{named} does not start: {seen.error}",
                "See which library is missing, and install Chromium again",
                f"{libraries}; apt-get install --reinstall chromium",
            )
        ]
    current = [it for it in seen.running if not it.outdated]
    run = f"; {len(current)} sessions run it{_since(current)}" if current else ""
    took = f"{named} starts in {seen.seconds:.1f} s{run}"
    slow = seen.seconds > timeout / 2
    started = (
        warning(
            "chromium",
            f"{took}, and is given up after {timeout:g} s",
            "Raise browser.launch_timeout, or see what else the machine does",
            "top -b -n 1 | head -20",
        )
        if slow
        else ok("chromium", took)
    )
    return [started, _sandbox(seen)]


def _sandbox(seen: Browser) -> Check:
    if seen.sandboxed is None:
        return warning(
            "sandbox",
            "browser.sandbox = false: a page that breaks out of Chromium has the rights of this user",
            "Run waguard as a user of its own, with browser.sandbox = true",
            "systemctl cat waguard",
        )
    if seen.sandboxed:
        return ok("sandbox", "Chromium's page runs in its sandbox")
    return _no_sandbox(seen)


def _no_sandbox(seen: Browser) -> Check:
    if seen.namespaces:
        return failed(
            "sandbox",
            f"Chromium has no sandbox here: {seen.namespaces} is needed",
            "Allow it, and keep that in /etc/sysctl.d/waguard.conf",
            f"sysctl -w {seen.namespaces}",
        )
    return failed(
        "sandbox",
        f"Chromium does not start in its sandbox: {seen.error or 'its page is not in it'}",
        "Run waguard as a user of its own; root has no sandbox",
        "systemctl cat waguard",
    )


class Script(Struct, frozen=True, kw_only=True):
    """wa-js. ``digest``: the sha256 where it can be read, ``wanted`` that of the packed one."""

    path: str
    wanted: str
    digest: str | None
    error: str | None = None
    own: bool = False
    """``whatsapp.wajs`` names it."""
    command: str = "make setup"
    """What puts the packed one in its place."""


def script(seen: Script) -> Check:
    """Whether it is the one that this version was tested with."""
    if seen.digest is None:
        remedy = "Name a readable file in whatsapp.wajs" if seen.own else "Install waguard again"
        return failed("wa-js", f"{seen.path} cannot be read: {seen.error}", remedy, seen.command)
    if seen.digest == seen.wanted:
        return ok("wa-js", f"{seen.path} is the one that this version was tested with")
    if seen.own:
        return warning(
            "wa-js",
            f"{seen.path} (whatsapp.wajs) is not the one that this version was tested with",
            "Remove whatsapp.wajs from the configuration, unless it is intended",
        )
    return failed(
        "wa-js",
        f"{seen.path} was changed: its sha256 is {seen.digest[:12]}…, not {seen.wanted[:12]}…",
        "Install waguard again",
        seen.command,
    )


# ---- disks, memory, limits ----


class Space(Struct, frozen=True, kw_only=True):
    """A file system, as the daemon's user may use it; bytes. ``inodes`` 0: it has no fixed number."""

    free: int
    inodes: int
    inodes_free: int
    read_only: bool = False
    device: int = 0
    """Equal for folders of one file system."""


def disks(seen: Mapping[str, tuple[str, Space | None]], *, reserve: int) -> list[Check]:
    """A check for each file system. ``seen``: folders, by the key that names them; ``reserve``:
    ``limits.disk_reserve`` in MB."""
    shared: dict[int, tuple[list[str], str, Space]] = {}
    for key, (folder, space) in seen.items():
        if space is not None:
            shared.setdefault(space.device, ([], folder, space))[0].append(key)
    checks = [_disk(keys, folder, space, reserve) for keys, folder, space in shared.values()]
    return checks or [skipped("disk", "the free space of no disk can be read")]


def _disk(keys: Sequence[str], folder: str, seen: Space, reserve: int) -> Check:
    about = f"the disk of {folder} ({', '.join(keys)})"
    free, room = seen.free // _MB, "Make room there"
    if seen.read_only:
        mend = f"mount -o remount,rw {folder}"
        return failed("disk", f"{about} is mounted read-only", "Mount it to be written", mend)
    if seen.inodes and seen.inodes_free < INODES:
        left = f"{about} has {seen.inodes_free} inodes left: no file can be made"
        return failed("disk", left, "Delete what is not needed there", f"df -i {folder}")
    if free < max(reserve, 1):
        left = f"{about} has {free} MB left, less than limits.disk_reserve ({reserve} MB)"
        return failed("disk", f"{left}: nothing new is begun", room, f"df -h {folder}")
    if free < 2 * reserve:
        left = f"{about} has {free} MB left, limits.disk_reserve is {reserve} MB"
        return warning("disk", left, room, f"df -h {folder}")
    if seen.inodes and seen.inodes_free < seen.inodes * FEW_INODES:
        left = f"{about} has {seen.inodes_free} inodes left"
        return warning("disk", left, "Delete what is not needed there", f"df -i {folder}")
    return ok("disk", f"{about} has {free} MB left")


class Needs(Struct, frozen=True, kw_only=True):
    """``[admission]``: what has to be left for a session to start; MB and percent."""

    session: int
    reserve: int
    pressure: float


def memory(seen: Reading, needs: Needs) -> list[Check]:
    """Memory and the pressure on it."""
    return [_memory(seen, needs), _pressure(seen, needs)]


def _memory(seen: Reading, needs: Needs) -> Check:
    if seen.memory is None:
        return skipped("memory", "the kernel does not say how much memory is free")
    left, wanted = seen.memory // _MB, needs.session + needs.reserve
    if left < wanted:
        return failed(
            "memory",
            f"{left} MB are left, and a session starts with {wanted} MB"
            " (admission.session_memory + admission.memory_reserve)",
            "Give the machine more memory, or stop a session",
            "ps -eo pid,rss,args --sort=-rss | head -15",
        )
    return ok("memory", f"{left} MB are left")


def _pressure(seen: Reading, needs: Needs) -> Check:
    if seen.pressure is None:
        return skipped(
            "pressure", "this kernel has no pressure stall information (psi=1 at boot enables it)"
        )
    if seen.pressure > needs.pressure:
        return failed(
            "pressure",
            f"tasks waited for memory in {seen.pressure:g} % of the last 10 s; above"
            f" {needs.pressure:g} % (admission.memory_pressure) no session starts",
            "Give the machine more memory, or stop a session",
            "cat /proc/pressure/memory",
        )
    return ok("pressure", f"tasks waited for memory in {seen.pressure:g} % of the last 10 s")


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of the daemon's process, or of one that this user starts. ``open_files``: the hard limit."""

    whose: str
    open_files: int | None
    pids: int | None
    shared_memory: int | None
    """Bytes that /dev/shm may take in all."""


def limits(seen: Limits) -> list[Check]:
    """Open files, processes of the machine and of its control group, shared memory, which containers limit."""
    checks = []
    if seen.open_files is not None and seen.open_files < OPEN_FILES:
        checks.append(
            warning(
                "limits",
                f"{seen.whose} may open {seen.open_files} files, {OPEN_FILES} are wanted",
                "Set LimitNOFILE=65536 in the unit, and restart",
                "systemctl edit waguard",
            )
        )
    if seen.pids is not None and seen.pids < PIDS:
        checks.append(
            failed(
                "limits",
                f"{seen.pids} more processes may be started, and a session takes {PIDS}",
                "Raise TasksMax= of the unit, or kernel.pid_max",
                "systemctl show waguard -p TasksMax -p TasksCurrent; sysctl kernel.pid_max",
            )
        )
    if seen.shared_memory is not None and seen.shared_memory < SHARED_MEMORY:
        checks.append(
            warning(
                "limits",
                f"shared memory (/dev/shm) may take {seen.shared_memory // _MB} MB; a page of Chromium dies when it is full",
                "Give the container more shared memory: shm_size: 1gb, or --shm-size 1g",
                "df -h /dev/shm",
            )
        )
    files = "unknown" if seen.open_files is None else seen.open_files
    pids = "unknown" if seen.pids is None else seen.pids
    return checks or [ok("limits", f"open files: {files}, processes left: {pids}")]


# ---- clock and network ----


class Clock(Struct, frozen=True, kw_only=True):
    """``ahead``: how far another clock is ahead of this one, in seconds, by its name."""

    synchronized: bool | None
    ahead: dict[str, float]
    from_the_future: tuple[str, ...] = ()
    """Files of waguard's that were written later than it is now."""


def clock(seen: Clock) -> list[Check]:
    """Whether it is right, as far as anything here knows."""
    sync = "timedatectl set-ntp true"
    checks = [
        failed(
            "clock",
            f"{name} is {abs(by):.0f} s {'ahead of' if by > 0 else 'behind'} this machine: a webhook's"
            " signature is accepted within 300 s only",
            "Synchronize both clocks",
            sync,
        )
        if abs(by) > SKEW
        else warning("clock", f"{name} is {by:+.0f} s off", "Synchronize both clocks", sync)
        for name, by in seen.ahead.items()
        if abs(by) > SHORT_SKEW
    ]
    checks += [
        warning(
            "clock",
            f"{path} was written later than it is now: the clock was set back",
            "Synchronize the clock; waguard counts no age by it meanwhile",
            sync,
        )
        for path in seen.from_the_future
    ]
    if seen.synchronized is False:
        checks.append(
            warning("clock", "the clock is not synchronized", "Let the system synchronize it", sync)
        )
    if checks:
        return checks
    known = "is synchronized" if seen.synchronized else "shows no fault"
    return [ok("clock", f"the clock {known}")]


def network(url: str, error: str | None, *, proxied: bool) -> Check:
    """A connection to WhatsApp's page. ``error``: why there was none."""
    if proxied:
        return skipped("network", "Chromium goes through a proxy")
    if error is None:
        return ok("network", f"{url} can be reached")
    return failed(
        "network",
        f"{url} cannot be reached: {error}",
        "Repair the machine's Internet connection; the sessions reconnect by themselves",
        f"curl -sS -o /dev/null -w '%{{http_code}}\\n' {url}",
    )


def configured(
    lines: Sequence[str], retired: Sequence[str], path: str | None, cli: Cli
) -> list[Check]:
    """``lines``: a sentence for each key of the file that the environment hides. ``retired``: one for each key that
    has no effect any more."""
    checks = [
        warning(
            "configuration",
            line,
            "Unset the variable, or remove the key from the file",
            f"unset {line.partition('=')[0]}; {cli('config show')}",
        )
        for line in lines
    ]
    checks += [
        warning("configuration", line, "Remove the key", cli("config check")) for line in retired
    ]
    return checks or [ok("configuration", f"{path or 'no file: the defaults'}")]
