"""Installs waguard as a service, upgrades it and removes it: `make install`, `upgrade`, `uninstall`, and the
scripts of the Debian package, which has this and what it imports beside its release.

<prefix>/releases/<version>-<time or digest> is a venv with the locked dependencies of that version, and in its
share/waguard what lies elsewhere on the system (PLACES). <prefix>/current names the one that runs, so
the way back is the same as the way there. Stdlib only. Exit codes: 0 done, 1 failed, 2 usage or
configuration.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

# a program, for which -P leaves out its folder
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from systemd.release import (
    BEFORE_STEPS,
    BOOTED,
    CHECKOUT,
    COMMAND,
    CONFIG,
    CONFIGURATION,
    DROP_INS,
    HERE,
    MONITORING,
    PACKAGE,
    PLACES,
    PREFIX,
    RELEASE,
    ROLLED_BACK,
    SHARE,
    SOCKET,
    TIMER,
    UNIT,
    FailedError,
    Host,
    activate,
    build,
    check,
    in_use,
    lay,
    link,
    prune,
    put,
    reload_units,
    run,
    say,
)
from systemd.running import Daemon, configured, is_up, restart

HIDDEN: Final = ("/root", "/home", "/run/user")
"""Folders that ProtectHome= hides from the service."""
READY_WITHIN: Final = 120.0  # s that a new version may take until all is as before


def can_run(host: Host, release: PurePosixPath) -> bool:
    """Whether its command line answers here: not without its tree, or its minor version of Python."""
    try:
        host.waguard(release, "--version")
    except FailedError:
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


def install(host: Host, wheel: Path, requirements: Path) -> None:
    """A first release, its links, the unit. Raises ``FailedError`` where there is one already."""
    if host.current():
        raise FailedError(f"waguard is installed in {host.prefix}: make upgrade", CONFIGURATION)
    if host.is_package or host.at(PACKAGE).exists():
        raise FailedError(f"{PACKAGE} is the Debian package's: apt remove waguard", CONFIGURATION)
    require_reachable(host)
    if host.at(COMMAND).exists() and not host.at(COMMAND).is_symlink():
        raise FailedError(f"{COMMAND} is another program: move it", CONFIGURATION)
    release = build(host, wheel, requirements)
    activate(host, release)
    say(f"installed: {release.name} in {host.prefix}, {COMMAND}, {PLACES['waguard.service']}")
    check(host, release)
    if host.is_live:
        say(f"edit {CONFIG}, then: systemctl enable --now waguard && waguard status")


def require_reachable(host: Host) -> None:
    """The service sees nothing below a home, and so no Python there."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    prefix = Path(host.prefix).resolve() if host.is_live else host.prefix
    for path in (prefix, python):
        if any(path.is_relative_to(hidden) for hidden in HIDDEN):
            raise FailedError(
                f"{path} is hidden from the service (ProtectHome=): choose PREFIX= and PYTHON= elsewhere",
                CONFIGURATION,
            )


def upgrade(host: Host, wheel: Path, requirements: Path, within: float) -> None:
    """The new release in place of the old one, which comes back where the sessions are not up ``within`` s."""
    old = last_that_worked(host) or host.current()
    if old is None:
        raise FailedError(f"waguard is not installed in {host.prefix}: make install", CONFIGURATION)
    require_reachable(host)
    _upgrade(host, old, lambda: build(host, wheel, requirements), within)


def _upgrade(
    host: Host, old: PurePosixPath, made: Callable[[], PurePosixPath], within: float
) -> None:
    daemon = None
    if is_up(host, old):
        if not can_run(host, old):
            raise FailedError(f"{old.name} runs and cannot be asked\nstop it, then upgrade")
        check(host, old)  # what is wrong already is no fault of the new one
        daemon = Daemon(host, old)
        if old == host.current() and (why := daemon.why_not_ready()):
            raise FailedError(f"{old.name} runs and is not ready: {why}\nstop it, then upgrade")
    new = made()
    try:
        check(host, new)
    except FailedError:
        shutil.rmtree(host.at(new), ignore_errors=True)
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
        runs = replaced is not None and is_up(host, new)
        activate(host, lay(host, new))
        if runs:
            _restart_without_a_way_back()
        prune(host, new, replaced)
        host.at(host.way_back).unlink(missing_ok=True)
        say(f"installed: {new.name}; edit {CONFIG}, then: systemctl enable --now waguard")
        return
    try:
        _upgrade(host, old, lambda: lay(host, new), within)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - dpkg has the new units in place
        fails = host.current() != old and is_up(host, old)
        _go_back(host, old)
        if fails and host.current() == old:
            _restart_without_a_way_back()
        lines = (getattr(error, "said", "") or words(error)).splitlines()
        why = " ".join(dict.fromkeys((lines[0], lines[-1])))  # what follows a first line is its log
        try:
            put(f"{new.name} is installed and does not run: {why}\n", host.at(old) / ROLLED_BACK)
        except OSError as full:
            say(f"why is not written: {full}")
        used, again = (host.current() or old).name, f"to try {new.name} again"
        if used != old.name:
            again = f"to go back to {old.name}, once what is said above is mended"
        say(f"{words(error)}\n{used} is used; {again}: dpkg-reconfigure waguard")


def _go_back(host: Host, old: PurePosixPath) -> None:
    """As far as it can be gone: what puts it back may meet what the way forward met. The link first: which release
    runs matters more than its units."""
    try:
        link(host.at(host.link), f"releases/{old.name}")
        activate(host, old)
        host.at(host.way_back).unlink(missing_ok=True)
    except (FailedError, OSError) as error:
        say(f"{old.name} is not put back as a whole: {error}\nmake room, then try again")


def _restart_without_a_way_back() -> None:
    """Its workers go on; whether they are adopted is not waited for."""
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
    link(host.at(host.way_back), f"releases/{old.name}")
    try:
        activate(host, new)
        restart(daemon, wanted, within)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it was, sessions need one that runs
        why = words(error)
        say(f"{new.name}: {why}\ngoing back to {old.name}")
        _go_back(host, old)
        if host.current() != old:
            raise FailedError(f"not upgraded, and {new.name} is still in place", said=why) from None
        try:
            restart(daemon, wanted, within)
        except Exception as second:  # noqa: BLE001 - it does not hide the first one
            raise FailedError(
                f"not upgraded: {old.name} is back in its place, but {words(second)}\nsee: waguard doctor",
                said=why,
            ) from None
        if not in_use(host.at(new)):
            shutil.rmtree(host.at(new), ignore_errors=True)
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
        reload_units()


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
        "--prefix",
        type=PurePosixPath,
        default=PACKAGE if Path(PACKAGE).resolve() == HERE.parent else PREFIX,
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
        with alone(host):
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
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


@contextlib.contextmanager
def alone(host: Host) -> Iterator[None]:
    """Nobody else changes what lies at the prefix. Raises ``FailedError`` where somebody does."""
    prefix = host.at(host.prefix)
    prefix.mkdir(parents=True, exist_ok=True)
    folder = os.open(prefix, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_ours = False
        else:  # whoever had it may have just removed the folder
            is_ours = prefix.exists() and os.path.samestat(os.fstat(folder), prefix.stat())
        if not is_ours:
            raise FailedError(
                f"another install, upgrade or uninstall works in {host.prefix}: wait until it has ended"
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # something is installed there
                prefix.rmdir()
    finally:
        os.close(folder)


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
