"""One release: its tree, the links and units that use it, and whether it can use the configuration."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

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
    """What it printed. Raises ``FailedError`` with its output where it fails, also to start."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WAGUARD_")}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env=own | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        said = str(error)
        raise FailedError(f"{' '.join(map(str, command))}:\n{said}", said=said) from None
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
    try:
        shutil.copytree(host.at(host.unpacked), unfinished, symlinks=True, copy_function=os.link)
        _compile(unfinished, release)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
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
    if shutil.which("systemctl") is None:
        return STEPS_SINCE
    return int(run("systemctl", "--version").split()[1])


def activate(host: Host, release: PurePosixPath) -> None:
    """Have the system use it from its next start on. What an operator has changed is not touched:
    the configuration, and drop-ins."""
    share = host.at(release) / SHARE
    left_out = BEFORE_STEPS if systemd_version() >= STEPS_SINCE else None
    for name, place in host.places.items():
        if (share / name).exists() and name != left_out:
            put((share / name).read_text("utf-8"), host.at(place))
        else:
            host.at(place).unlink(missing_ok=True)
    link(host.at(host.link), f"releases/{release.name}")
    if not host.is_package:
        link(host.at(COMMAND), f"{host.link}/bin/waguard")
    if host.is_live:
        run("systemd-sysusers", host.places["sysusers.conf"])
    if not host.at(
        CONFIG
    ).exists():  # no conffile: dpkg would replace an untouched one before the old release is asked
        put((share / "waguard.toml").read_text("utf-8"), host.at(CONFIG), 0o640)
    if host.is_live:
        run("systemd-tmpfiles", "--create", host.places["tmpfiles.conf"])
        reload_units()


def reload_units() -> None:
    """Where there is a systemd: none runs where an image is built."""
    if BOOTED.exists():
        run("systemctl", "daemon-reload")


def put(text: str, path: Path, mode: int = 0o644) -> None:
    """Whole, or not at all. What is so already needs no room: the way back from a full disk."""
    if _holds(path, text.encode(), mode):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8")
    new.chmod(mode)
    new.replace(path)


def _holds(path: Path, content: bytes, mode: int) -> bool:
    try:
        found = path.lstat().st_mode
        return found == stat.S_IFREG | mode and path.read_bytes() == content
    except OSError:
        return False


def link(path: Path, target: str) -> None:
    """Another link, or a first one, at once. As ``put`` it needs no room where it is there."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
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


def prune(host: Host, *kept: PurePosixPath | None) -> None:
    """Remove releases that nobody needs. A worker may still run from one that is long replaced."""
    for tree in host.at(host.releases).iterdir():
        if tree.name not in {it.name for it in (*kept, host.before()) if it} and not in_use(tree):
            say(f"removing {tree}")
            shutil.rmtree(tree, ignore_errors=True)


def in_use(tree: Path) -> bool:
    """Whether a process runs from it. The kernel names it without links."""
    tree = tree.resolve()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if f"{tree}/" in maps.read_text(errors="replace"):
                return True
        except OSError:
            pass  # it has ended meanwhile
    return False
