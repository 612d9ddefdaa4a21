"""Installs waguard as a service, upgrades it and removes it: `make install`, `upgrade`, `uninstall`, and the
scripts of the Debian package, which has this file beside its release.

<prefix>/releases/<version>-<time or digest> is a venv with the locked dependencies of that version, and in its
share/waguard what lies elsewhere on the system (PLACES). <prefix>/current names the one that runs, so
the way back is the same as the way there. Stdlib only. Exit codes: 0 done, 1 failed, 2 usage or
configuration.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = HERE.parent
PREFIX: Final = "/opt/waguard"
PACKAGE: Final = PurePosixPath("/usr/lib/waguard")
"""The prefix of the Debian package."""
CONFIG: Final = "/etc/waguard/waguard.toml"
COMMAND: Final = "/usr/local/bin/waguard"
UNIT: Final = "waguard.service"
SOCKET: Final = "waguard.socket"
FAILED: Final = "waguard-failed.service"
BACKUP: Final = "waguard-backup.service"
TIMER: Final = "waguard-backup.timer"
DROP_INS: Final = f"/etc/systemd/system/{UNIT}.d"
SHARE: Final = "share/waguard"
MONITORING: Final = "/usr/local/share/waguard"
STEPS_SINCE: Final = 254  # the version of systemd that does not need …
BEFORE_STEPS: Final = "before-254.conf"
PLACES: Final[Mapping[str, str]] = {
    "waguard.service": f"/etc/systemd/system/{UNIT}",
    SOCKET: f"/etc/systemd/system/{SOCKET}",
    FAILED: f"/etc/systemd/system/{FAILED}",
    BACKUP: f"/etc/systemd/system/{BACKUP}",
    TIMER: f"/etc/systemd/system/{TIMER}",
    BEFORE_STEPS: f"{DROP_INS}/{BEFORE_STEPS}",
    "sysusers.conf": "/etc/sysusers.d/waguard.conf",
    "tmpfiles.conf": "/etc/tmpfiles.d/waguard.conf",
    "waguard.8": "/usr/local/share/man/man8/waguard.8",
    "waguard.bash": "/usr/local/share/bash-completion/completions/waguard",
    "waguard.zsh": "/usr/local/share/zsh/site-functions/_waguard",
    "waguard.fish": "/usr/local/share/fish/vendor_completions.d/waguard.fish",
    "waguard.rules.yml": f"{MONITORING}/waguard.rules.yml",
    "waguard.json": f"{MONITORING}/waguard.json",
}
OF_PACKAGE: Final[Mapping[str, str]] = {
    name: place.replace("/etc/", "/usr/lib/") for name, place in PLACES.items() if "/etc/" in place
}
"""What has to fit the release that runs; everything else of PLACES is dpkg's alone."""
RELEASE: Final = f"{SHARE}/release"  # in what dpkg unpacks: its name
ROLLED_BACK: Final = f"{SHARE}/rolled-back"  # in a release: why it runs instead of a newer one
BOOTED: Final = Path("/run/systemd/system")
SHELLS: Final = ("bash", "zsh", "fish")
HIDDEN: Final = ("/root", "/home", "/run/user")
"""Folders that ProtectHome= hides from the service."""
READY_WITHIN: Final = 120.0  # s that a new version may take until all is as before
CRASHES: Final = 3  # of a new version, after which the old one comes back
POLL: Final = 0.2  # s
ANSWER_WITHIN: Final = 10.0  # s for one answer of the daemon
OK: Final = 200
CONFIGURATION: Final = 2


class FailedError(Exception):
    """What did not work, in words; ``code`` is the exit code, ``said`` a command's own output."""

    def __init__(self, message: str, code: int = 1, said: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.said = said


def say(text: str) -> None:
    """On stdout, at once: a pipe shows the progress too. What it tells of goes on in any locale, and without a terminal."""
    encoding = sys.stdout.encoding
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(*command: str | Path, **environment: str) -> str:
    """What it printed. Raises ``FailedError`` with its output where it fails."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WAGUARD_")}
    done = subprocess.run(
        [str(part) for part in command],
        env=own | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise FailedError(f"{' '.join(map(str, command))}:\n{said}", said=said)
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where it is installed. ``destdir``: files are only put below it, for a package; nothing of the
    running system is touched."""

    prefix: PurePosixPath
    destdir: str = ""

    @property
    def is_live(self) -> bool:
        return not self.destdir

    @property
    def is_package(self) -> bool:
        return self.prefix == PACKAGE

    @property
    def places(self) -> Mapping[str, str]:
        return OF_PACKAGE if self.is_package else PLACES

    @property
    def unpacked(self) -> PurePosixPath:
        """The release as dpkg unpacks it; nothing runs from there."""
        return self.prefix / "package"

    def at(self, path: str | PurePosixPath) -> Path:
        """Where a path of the installed system lies now."""
        return Path(f"{self.destdir}{path}")

    @property
    def releases(self) -> PurePosixPath:
        return self.prefix / "releases"

    @property
    def link(self) -> PurePosixPath:
        return self.prefix / "current"

    @property
    def way_back(self) -> PurePosixPath:
        """The link that is there while nobody knows whether the current release works."""
        return self.prefix / "before"

    def current(self) -> PurePosixPath | None:
        """The release that is used."""
        return self._linked(self.link)

    def before(self) -> PurePosixPath | None:
        """The release that ran when an upgrade began that has not ended."""
        return self._linked(self.way_back)

    def _linked(self, link: PurePosixPath) -> PurePosixPath | None:
        try:
            return self.releases / self.at(link).readlink().name
        except FileNotFoundError:
            return None

    def waguard(self, release: PurePosixPath, *arguments: str) -> str:
        """Ask a release's command line."""
        return run(self.at(release) / "bin/python", "-P", "-m", "waguard", *arguments)


# ---- one release ----


def build(host: Host, wheel: Path, requirements: Path) -> PurePosixPath:
    """Make the tree of a new release; nothing uses it yet. Nothing stays of one that fails."""
    version = wheel.name.split("-")[1]
    mark = time.strftime("%Y%m%d-%H%M%S")
    if host.is_package or not host.is_live:  # the same parts have the same name
        mark = hashlib.sha256(wheel.read_bytes() + requirements.read_bytes()).hexdigest()[:8]
    release = host.releases / f"{version}-{mark}"
    tree = host.at(release)
    say(f"building {tree}")
    tree.parent.mkdir(parents=True, exist_ok=True)
    try:
        run(sys.executable, "-m", "venv", "--without-pip", tree)
        install = (sys.executable, "-m", "pip", "--python", tree / "bin/python", "install")
        options = ("--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps")
        locked = ("--require-hashes", "--only-binary", ":all:", "-r", requirements)
        run(*install, *options, *locked)
        run(*install, *options, wheel)
        _share(host, release)
        _relocate(host, tree)
        if not host.is_package:
            _compile(tree, release)
    except BaseException:
        shutil.rmtree(tree, ignore_errors=True)
        raise
    return release


def _compile(tree: Path, release: PurePosixPath) -> None:
    """The service can write no .pyc; it runs without docstrings and asserts, the command line with them."""
    levels = ("-o", "0", "-o", "2")
    run(
        *(sys.executable, "-m", "compileall", "-q", *levels),
        *("-s", str(tree), "-p", str(release), str(tree / "lib")),
    )


def lay(host: Host, release: PurePosixPath) -> PurePosixPath:
    """Put what dpkg has unpacked beside the release that runs: dpkg deletes it with the next upgrade, also while
    workers run from it. Hard links: they cost no room."""
    tree = host.at(release)
    unfinished = tree.with_name(f".{tree.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(host.at(host.unpacked), unfinished, symlinks=True, copy_function=os.link)
    _compile(unfinished, release)
    if tree.exists():  # installed again: it may be damaged, and in use
        tree.replace(tree.with_name(f".{tree.name}.{time.time_ns()}"))
    unfinished.replace(tree)
    return release


def _share(host: Host, release: PurePosixPath) -> None:
    """What this version has to put elsewhere, and its configuration file."""
    share = host.at(release) / SHARE
    share.mkdir(parents=True)
    units = ("waguard.service", SOCKET, FAILED, BACKUP, TIMER, BEFORE_STEPS)
    for name in (*units, "sysusers.conf", "tmpfiles.conf"):
        text = (HERE / name).read_text().replace(PREFIX, str(host.prefix))
        (share / name).write_text(text)
    for name in ("waguard.toml", "prometheus/waguard.rules.yml", "grafana/waguard.json"):
        shutil.copy(CHECKOUT / "etc" / name, share)
    python = host.at(release) / "bin/python"
    (share / "waguard.8").write_text(run(python, "-P", HERE / "manpage.py"))
    for shell in SHELLS:
        (share / f"waguard.{shell}").write_text(host.waguard(release, "completion", shell))


def _relocate(host: Host, tree: Path) -> None:
    """Scripts name the place where they will lie."""
    for path in (*(tree / "bin").iterdir(), tree / "pyvenv.cfg") if host.destdir else ():
        if path.is_file() and not path.is_symlink():
            path.write_text(path.read_text().replace(host.destdir, ""))


def systemd_version() -> int:
    """Of this host; where there is none, the newest."""
    try:
        return int(run("systemctl", "--version").split()[1])
    except FileNotFoundError:
        return STEPS_SINCE


def activate(host: Host, release: PurePosixPath) -> None:
    """Have the system use it from its next start on. What an operator has changed is not touched:
    the configuration, and drop-ins."""
    share = host.at(release) / SHARE
    left_out = BEFORE_STEPS if systemd_version() >= STEPS_SINCE else None
    for name, place in host.places.items():
        if (share / name).exists() and name != left_out:
            _put((share / name).read_text("utf-8"), host.at(place))
        else:
            host.at(place).unlink(missing_ok=True)
    _link(host.at(host.link), f"releases/{release.name}")
    if not host.is_package:
        _link(host.at(COMMAND), f"{host.link}/bin/waguard")
    if host.is_live:
        run("systemd-sysusers", host.places["sysusers.conf"])
    if not host.at(
        CONFIG
    ).exists():  # no conffile: dpkg would replace an untouched one before the old release is asked
        _put((share / "waguard.toml").read_text("utf-8"), host.at(CONFIG), 0o640)
    if host.is_live:
        run("systemd-tmpfiles", "--create", host.places["tmpfiles.conf"])
        _reload_units()


def _reload_units() -> None:
    """Where there is a systemd: none runs where an image is built."""
    if BOOTED.exists():
        run("systemctl", "daemon-reload")


def _put(text: str, path: Path, mode: int = 0o644) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8")
    new.chmod(mode)
    new.replace(path)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def check(host: Host, release: PurePosixPath) -> None:
    """Raises ``FailedError`` where this release cannot use the configuration."""
    if host.is_live and host.at(CONFIG).exists():
        try:
            host.waguard(release, "config", "check", "--config", CONFIG)
        except FailedError as error:
            raise FailedError(f"{release.name}: {error.said}", CONFIGURATION) from None


def can_run(host: Host, release: PurePosixPath) -> bool:
    """Whether its command line answers here: not without its tree, or its minor version of Python."""
    try:
        host.waguard(release, "--version")
    except (FailedError, OSError):
        return False
    return (host.at(release) / SHARE).exists()


def last_that_worked(host: Host) -> PurePosixPath | None:
    """The release to go back to: after an upgrade that was interrupted not the current one. None: none can run."""
    before, current = host.before(), host.current()
    if before and can_run(host, before):
        with contextlib.suppress(FailedError):  # it cannot use what was configured since
            check(host, before)
            return before
    return current if current and can_run(host, current) else None


def prune(host: Host, *kept: PurePosixPath | None) -> None:
    """Remove releases that nobody needs. A worker may still run from one that is long replaced."""
    for tree in host.at(host.releases).iterdir():
        if tree.name not in {it.name for it in (*kept, host.before()) if it} and not in_use(tree):
            say(f"removing {tree}")
            shutil.rmtree(tree, ignore_errors=True)


def in_use(tree: Path) -> bool:
    """Whether a process runs from it."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if f"{tree}/" in maps.read_text(errors="replace"):
                return True
        except OSError:
            pass  # it has ended meanwhile
    return False


# ---- the running daemon ----


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


def is_up(host: Host) -> bool:
    """Whether the unit runs; where an upgrade was interrupted also one that fails, for it ran before."""
    if not host.is_live or is_active():
        return host.is_live
    if not host.before():
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


# ---- the commands ----


def install(host: Host, wheel: Path, requirements: Path) -> None:
    """A first release, its links, the unit. Raises ``FailedError`` where there is one already."""
    if host.current():
        raise FailedError(f"waguard is installed in {host.prefix}: make upgrade", CONFIGURATION)
    if host.is_package or host.at(PACKAGE).exists():
        raise FailedError(f"{PACKAGE} is the Debian package's: apt remove waguard", CONFIGURATION)
    require_reachable(host.prefix)
    if host.at(COMMAND).exists() and not host.at(COMMAND).is_symlink():
        raise FailedError(f"{COMMAND} is another program: move it", CONFIGURATION)
    release = build(host, wheel, requirements)
    activate(host, release)
    say(f"installed: {release.name} in {host.prefix}, {COMMAND}, {PLACES['waguard.service']}")
    check(host, release)
    if host.is_live:
        say(f"edit {CONFIG}, then: systemctl enable --now waguard && waguard status")


def require_reachable(prefix: PurePosixPath) -> None:
    """The service sees nothing below a home, and so no Python there."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for path in (prefix, python):
        if any(path.is_relative_to(hidden) for hidden in HIDDEN):
            raise FailedError(
                f"{path} is hidden from the service (ProtectHome=): choose PREFIX= and PYTHON= elsewhere",
                CONFIGURATION,
            )


def upgrade(host: Host, wheel: Path, requirements: Path, within: float) -> None:
    """The new release in place of the old one, which comes back where the sessions are not up ``within`` s."""
    old = host.current()
    if old is None:
        raise FailedError(f"waguard is not installed in {host.prefix}: make install", CONFIGURATION)
    require_reachable(host.prefix)
    _upgrade(host, old, lambda: build(host, wheel, requirements), within)


def _upgrade(
    host: Host, old: PurePosixPath, made: Callable[[], PurePosixPath], within: float
) -> None:
    daemon = None
    if is_up(host):
        check(host, old)  # what is wrong already is no fault of the new one
        daemon = Daemon(host, old)
        if old == host.current() and (why := daemon.why_not_ready()):
            raise FailedError(f"{old.name} runs and is not ready: {why}\nstop it, then upgrade")
    new = made()
    try:
        check(host, new)
    except FailedError:
        shutil.rmtree(host.at(new))
        say(f"nothing is changed: {old.name} continues to run")
        raise
    if daemon:
        _replace(host, daemon, old, new, within)
    else:
        activate(host, new)
        say(f"installed: {new.name}, in place of {old.name}")
    prune(host, old, new)
    host.at(host.way_back).unlink(missing_ok=True)


def configure(host: Host, within: float) -> None:
    """Use the release that dpkg has unpacked. Where it does not work the one before continues and reports why:
    dpkg is not to fail for it."""
    replaced, old = host.current(), last_that_worked(host)
    new = host.releases / (host.at(host.unpacked) / RELEASE).read_text().strip()
    if old in {None, new}:
        activate(host, lay(host, new))
        if replaced:
            _restart_if_up(host)
        prune(host, new, replaced)
        host.at(host.way_back).unlink(missing_ok=True)
        say(f"installed: {new.name}; edit {CONFIG}, then: systemctl enable --now waguard")
        return
    try:
        _upgrade(host, old, lambda: lay(host, new), within)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - dpkg has the new units in place
        activate(host, old)
        if host.before():
            _restart_if_up(host)
        host.at(host.way_back).unlink(missing_ok=True)
        lines = (getattr(error, "said", "") or words(error)).splitlines()
        why = " ".join(dict.fromkeys((lines[0], lines[-1])))  # what follows a first line is its log
        _put(f"{new.name} is installed and does not run: {why}\n", host.at(old) / ROLLED_BACK)
        say(
            f"{words(error)}\n{old.name} is used; to try {new.name} again: dpkg-reconfigure waguard"
        )


def _restart_if_up(host: Host) -> None:
    """Its workers go on; whether they are adopted is not waited for."""
    if is_up(host):
        try:
            run("systemctl", "reset-failed", UNIT)
            run("systemctl", "restart", UNIT)
        except FailedError as error:
            say(f"{error}\nsee: waguard doctor")


def words(error: BaseException) -> str:
    """What to tell of it; its kind where it was not foreseen."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, (FailedError, OSError)) else repr(error)


def _replace(
    host: Host, daemon: Daemon, old: PurePosixPath, new: PurePosixPath, within: float
) -> None:
    """Of a running daemon. Where the new one does not do what the old one did, that comes back; where this is
    killed in between, with the next ``configure``."""
    wanted = daemon.workers()
    _link(host.at(host.way_back), f"releases/{old.name}")
    try:
        activate(host, new)
        restart(daemon, wanted, within)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it was, sessions need one that runs
        why = words(error)
        say(f"{new.name}: {why}\ngoing back to {old.name}")
        activate(host, old)
        host.at(host.way_back).unlink(missing_ok=True)
        try:
            restart(daemon, wanted, within)
        except Exception as second:  # noqa: BLE001 - it does not hide the first one
            raise FailedError(
                f"not upgraded: {old.name} is back in its place, but {words(second)}\nsee: waguard doctor",
                said=why,
            ) from None
        if not in_use(host.at(new)):
            shutil.rmtree(host.at(new))
        raise FailedError(f"not upgraded: {old.name} runs again", said=why) from None
    say(f"upgraded: {old.name} to {new.name}")


def uninstall(host: Host) -> None:
    """Keep what waguard has written, and the configuration; say where they are."""
    release = host.current()
    if release is None and not host.is_package:
        raise FailedError(f"waguard is not installed in {host.prefix}", CONFIGURATION)
    folders = kept_folders(host, release)
    if host.is_live and BOOTED.exists():
        others = [name for name in (SOCKET, TIMER) if host.at(host.places[name]).exists()]
        run("systemctl", "disable", "--now", *others, UNIT)
    places = host.places.values()
    for place in (
        *places,
        str(host.link),
        str(host.way_back),
        *(() if host.is_package else (COMMAND,)),
    ):
        host.at(place).unlink(missing_ok=True)
    if host.at(host.releases).exists():
        shutil.rmtree(host.at(host.releases))
    drop_ins = host.at(host.places[BEFORE_STEPS]).parent
    for folder in (host.at(host.prefix), drop_ins, host.at(MONITORING)):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if not host.is_package:
        say(f"removed: {host.prefix}, {COMMAND}, {UNIT}")
    say(f"kept: {CONFIG}, {folders}, and the user waguard")
    if host.at(DROP_INS).exists():
        say(f"kept: {DROP_INS}")
    if host.is_live:
        _reload_units()


def kept_folders(host: Host, release: PurePosixPath | None) -> str:
    """Where data lies, in words."""
    if host.is_live and release:
        with contextlib.suppress(FailedError):  # a wrong file does not keep anybody from leaving
            values = configured(host, release)
            return f"{values['paths.sessions']}, {values['paths.state']}"
    return "the folders that it names"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("command", choices=["install", "upgrade", "uninstall", "configure"])
    parser.add_argument("--wheel", type=Path, help="of the version to be installed")
    parser.add_argument(
        "--prefix", type=PurePosixPath, default=PACKAGE if Path(PACKAGE) == HERE else PREFIX
    )
    parser.add_argument("--destdir", default="", help="put files below it, for a package")
    parser.add_argument("--within", type=float, default=READY_WITHIN, metavar="S")
    parser.add_argument(
        "--requirements", type=Path, default=CHECKOUT / "etc/requirements.txt", metavar="FILE"
    )
    given = parser.parse_args(argv)
    if given.command in {"install", "upgrade"} and not given.wheel:
        parser.error("--wheel is needed")
    host = Host(prefix=given.prefix, destdir=given.destdir.rstrip("/"))
    os.umask(0o022)
    try:
        _require_root(host)
        match given.command:
            case "install":
                install(host, given.wheel, given.requirements)
            case "upgrade":
                upgrade(host, given.wheel, given.requirements, given.within)
            case "configure":
                configure(host, given.within)
            case _:
                uninstall(host)
    except FailedError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    return 0


def interrupted_by_more() -> None:
    """A lost terminal and a shutdown go back as Ctrl-C does, unless they are ignored (nohup)."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _require_root(host: Host) -> None:
    if host.is_live and os.geteuid() != 0:
        raise FailedError("run it as root, or with DESTDIR=", CONFIGURATION)


if __name__ == "__main__":
    interrupted_by_more()
    sys.exit(main())
