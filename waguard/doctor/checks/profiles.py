"""The profiles: where they lie, who uses them, what is damaged; and processes that nobody supervises."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from waguard.core import remedies
from waguard.core.backup_contents import LastBackup
from waguard.core.host.strays import Foreign, Stray
from waguard.core.profile.before_start import (
    CredentialsLost,
    Damaged,
    Emptied,
    Finding,
    LivingOwner,
    Missing,
    NoRoom,
    Owner,
)
from waguard.doctor.checks.database import Row, some
from waguard.doctor.checks.instance import RESTART, START, Instance
from waguard.doctor.report import Check, Cli, failed, ok, warning

BACKUP_OLD: Final = 8 * 86_400.0  # s; who makes one each week has none that is old
NIGHTLY_OLD: Final = 2 * 86_400.0  # s; with the timer
COPIED_AFTER: Final = 7_200.0  # s since the pairing; one is due after an hour


class Profile(Struct, frozen=True, kw_only=True):
    """One session's, with its copies. ``finding`` None: it is in use, and was left alone, or is unreadable."""

    session: str
    workspace: int
    path: str
    finding: Finding | None
    owner: Owner
    used: bool
    """waguard's lock on it is held."""
    paired_for: float | None = None
    """Seconds since it was linked to a phone; None: never, or logged out."""
    copies: int = 0
    damaged_copies: int = 0
    unreadable: str | None = None
    """Why it, or its owner mark, cannot be read now: nothing is known of its credentials."""
    dangling: str | None = None
    """The link on the way to it that leads nowhere."""


class Folder(Struct, frozen=True, kw_only=True):
    """``paths.sessions``. ``old``: sessions of which the old service's profile lies there, ``archives``
    those files of RemoteAuth."""

    path: str
    there: bool
    error: str | None = None
    profiles: tuple[Profile, ...] = ()
    old: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()


def profiles(seen: Folder, rows: Sequence[Row] | None, cli: Cli) -> list[Check]:
    """``rows`` None: unknown."""
    name = "profiles"
    if seen.error:
        return [
            failed(
                name,
                f"{seen.path} cannot be read: {seen.error}",
                "Mount its disk, or repair it",
                f"ls -ld {seen.path}",
            )
        ]
    paired = [row for row in rows or () if row.paired and row.active]
    if not seen.there or not (seen.profiles or seen.old):
        if paired:
            return [
                failed(
                    name,
                    f"{seen.path} holds no profile, and {some([row.session for row in paired])} are linked",
                    "Mount the disk of paths.sessions, or import the profiles",
                    f"findmnt -T {seen.path}; {cli('profile list')}",
                )
            ]
        return [ok(name, f"{seen.path} holds no profile yet")]
    checks = [check for one in seen.profiles for check in _profile(one, cli)]
    checks += _missing(seen, paired, cli)
    return checks or [ok(name, f"none of {len(seen.profiles) + len(seen.old)} profiles is damaged")]


def _missing(seen: Folder, paired: Sequence[Row], cli: Cli) -> list[Check]:
    there = {one.session for one in seen.profiles if not isinstance(one.finding, Missing)}
    restorable = {one.session for one in seen.profiles if one.copies}
    return [
        failed(
            "profiles",
            f"{row.session} is {row.status} in the database, and has no profile in {seen.path}",
            "Restore its copy" if row.session in restorable else "Import it, or pair it again",
            cli(f"profile restore {row.session}")
            if row.session in restorable
            else cli(f"qr {row.session}"),
        )
        for row in paired
        if row.session not in there and row.session not in seen.old
    ]


def _profile(one: Profile, cli: Cli) -> list[Check]:
    name, checks = "profiles", []
    if one.dangling:
        link = f"{one.session}: {one.dangling} leads nowhere"
        return [
            failed(name, link, "Mount the disk that it leads to", f"readlink -f {one.dangling}")
        ]
    if isinstance(one.owner, LivingOwner) and not one.used:
        checks.append(
            failed(
                name,
                f"{one.session}: a Chromium that is not waguard's uses {one.path}",
                "End it: two browsers on one profile destroy it",
                f"kill {one.owner.pid}" if one.owner.pid else f"fuser -v {one.path}",
            )
        )
    if check := _damage(one, cli):
        checks.append(check)
    if one.damaged_copies:
        checks.append(
            warning(
                name,
                f"{one.session}: copies of its credentials that are damaged: {one.damaged_copies}",
                "Make a new one",
                cli(f"profile snapshot {one.session}"),
            )
        )
    elif not one.copies and (one.paired_for or 0.0) > COPIED_AFTER:
        checks.append(
            warning(
                name,
                f"{one.session}: there is no copy of its credentials",
                "Make one; a lost profile costs a new scan",
                cli(f"profile snapshot {one.session}"),
            )
        )
    return checks


def _damage(one: Profile, cli: Cli) -> Check | None:
    restart = cli(f"sessions start {one.session}")
    restore = cli(f"profile restore {one.session}")
    if one.unreadable:
        return failed(
            "profiles",
            f"{one.session}: its profile cannot be read now: {one.unreadable}; nothing is to be restored",
            remedies.text(remedies.FAILED["profile_unreadable"], one.session, at=one.path),
            cli(f"profile verify {one.session}"),
        )
    match one.finding:
        case Damaged(why) | CredentialsLost(why):
            make = "its next start restores the newest copy" if one.copies else "it has no copy"
            return failed(
                "profiles",
                f"{one.session}: {why}; {make}",
                "Restore its copy" if one.copies else "Start it, and pair it again",
                restore if one.copies else restart,
            )
        case Emptied():
            return failed(
                "profiles",
                f"{one.session}: its folder was emptied",
                "Restore its copy" if one.copies else "Start it, and pair it again",
                restore if one.copies else restart,
            )
        case NoRoom(why):
            return failed(
                "profiles", f"{one.session}: {why}", "Make room on that disk", f"df -h {one.path}"
            )
        case _:
            return None


def strays(found: Sequence[Stray | Foreign], daemon: Instance, cli: Cli) -> list[Check]:
    """Workers and browsers that no daemon of this folder supervises."""
    checks = [
        failed(
            "strays",
            str(one),
            "Stop that process: two browsers on one profile destroy it",
            f"kill {one.browser.pid}",
        )
        for one in found
        if isinstance(one, Foreign)
    ]
    left = [one.process for one in found if isinstance(one, Stray)]
    if left and daemon.lives:
        checks += [
            failed(
                "strays",
                f"pid {one.pid} ({one.session or 'a session'}) was left by an earlier daemon",
                "Restart waguard, which ends it and adopts the sessions",
                RESTART,
            )
            for one in left
        ]
    elif left:
        checks.append(
            warning(
                "strays",
                f"of a daemon that is gone still run: pid {some([str(one.pid) for one in left])}",
                f"Start waguard, which adopts them ({START}), or end them in order",
                cli("sweep"),
            )
        )
    return checks or [ok("strays", "no worker or Chromium runs unsupervised")]


def backup(last: LastBackup | None, unknown: str | None, *, now: float, timer: bool) -> Check:
    """How old the last backup is. ``unknown``: why nobody knows. ``timer``: one is to be made each night. Who makes backups by other means is left
    alone."""
    see = "See why, then make one"
    log = "journalctl -u waguard-backup" if timer else None
    if unknown:
        seen = f"when the last one was made is not known: {unknown}"
        return warning("backup", seen, see, log or "waguard help backup")
    if last is None:
        if timer:
            return warning("backup", "the timer is enabled, and no backup was made yet", see, log)
        return ok("backup", "waguard was never asked for one")
    age = max(0.0, now - last.at)
    seen = f"the last one is {age / 3600:.0f} h old: {last.where}"
    if age > (NIGHTLY_OLD if timer else BACKUP_OLD):
        return warning("backup", seen, see, log or "waguard help backup")
    if last.missing:
        seen += f"; without the credentials of {some(list(last.missing))}"
    return ok("backup", seen)
