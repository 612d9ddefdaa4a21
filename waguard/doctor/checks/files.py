"""Whose the folders and files with credentials are, and the API's keys."""

import stat
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from waguard.core.profile import ownership
from waguard.core.profile.ownership import Found, Refusal, Us
from waguard.doctor.report import (
    Check,
    Cli,
    MakeFolder,
    MakeKey,
    Repair,
    SetMode,
    failed,
    ok,
    skipped,
    warning,
)

FIX: Final = "doctor --fix"


class Owned(Struct, frozen=True, kw_only=True):
    """A path that the configuration names. ``found`` None: it is not there. ``above``: the folders
    that lead to it. ``written``: the daemon writes in it. ``error``: it cannot be read."""

    key: str
    path: str
    found: Found | None
    above: tuple[Found, ...] = ()
    written: bool = False
    error: str | None = None


def owners(seen: Sequence[Owned], who: Us, cli: Cli) -> list[Check]:
    """For the daemon that runs as ``who``."""
    checks: dict[object, Check] = {}
    for one in seen:
        for check in _owner(one, who, cli):
            # several may lie in one folder
            checks.setdefault(check.repair or check.command or check.seen, check)
    return [*checks.values()] or [
        ok("owners", "folders, keys and secrets are the daemon's user's, and private")
    ]


def _owner(one: Owned, who: Us, cli: Cli) -> list[Check]:
    if one.error:
        remedy = "Name a path that the daemon's user can use"
        return [failed("owners", f"{one.path} ({one.key}) cannot be used: {one.error}", remedy)]
    checks = [_refused(one, refusal) for refusal in ownership.of_parents(one.above, who)]
    if one.found is None:
        if one.written and not checks:
            checks.append(
                warning(
                    "owners",
                    f"{one.path} ({one.key}) does not exist",
                    "Make it; a start of the daemon does so too",
                    cli(FIX),
                    MakeFolder(one.path, who.uid, who.gid),
                )
            )
        return checks
    if refusal := ownership.of_private(one.found, who):
        return [*checks, _refused(one, refusal, _mode(one.found, who))]
    if one.written and one.found.uid != who.uid:
        command = f"chown {who.uid}:{who.gid} {one.path} && chmod 700 {one.path}"
        why = (
            f"{one.path} ({one.key}) belongs to user {one.found.uid}: the daemon cannot write there"
        )
        checks.append(failed("owners", why, "Give it to the daemon's user", command))
    return checks


def _refused(one: Owned, refusal: Refusal, repair: Repair | None = None) -> Check:
    make = failed if refusal.severe else warning
    seen = f"{refusal.path} ({one.key}) {refusal.why}"
    return make("owners", seen, "Make it private", refusal.command, repair)


def _mode(found: Found, who: Us) -> Repair | None:
    """Only the mode: whose it is, a person decides."""
    if found.uid not in who.trusted:
        return None
    folder = stat.S_ISDIR(found.mode)
    shared = found.uid in who.roots and found.uid != who.uid and found.gid == who.gid
    private = (0o750 if folder else 0o640) if shared else (0o700 if folder else 0o600)
    return SetMode(found.path, private)


class KeyFile(Struct, frozen=True, kw_only=True):
    """``api.key_file``. ``lengths`` of its keys, in characters; None: it is not there. ``cut_off``: it has not
    a byte, and a start replaces it."""

    path: str
    lengths: tuple[int, ...] | None
    cut_off: bool = False
    error: str | None = None


def keys(seen: KeyFile, who: Us, cli: Cli, *, least: int, up: bool) -> Check:
    """``least``: characters of a good key. ``up``: a daemon runs, with the keys that it read."""
    if seen.error:
        return failed(
            "keys",
            f"{seen.path} cannot be read: {seen.error}",
            "Make it a text file with one key a line that the daemon's user can read",
            f"ls -l {seen.path}",
        )
    if seen.lengths is None:
        make = failed if up else warning
        what = (
            "the daemon goes on with the keys that it read, until its next start"
            if up
            else "a start makes one"
        )
        return make(
            "keys",
            f"{seen.path} does not exist: {what}",
            "Write the application's keys into it, one a line, or have one generated",
            cli(FIX),
            MakeKey(seen.path, who.uid, who.gid),
        )
    if seen.cut_off:
        return failed(
            "keys",
            f"{seen.path} is empty: a start makes a key, and refuses all others",
            "Write the application's keys into it, one a line, or make one and give it to the application",
            cli("keys add"),
        )
    short = [length for length in seen.lengths if length < least]
    if short or not seen.lengths:
        what = f"a key of {short[0]} characters" if short else "no key"
        return failed(
            "keys",
            f"{seen.path} holds {what}: waguard does not start with it",
            f"Make one of at least {least} characters, give it to the application, and remove what is shorter",
            cli("keys add"),
        )
    return ok("keys", f"{seen.path}: keys of {least} characters or more: {len(seen.lengths)}")


class Secrets(Struct, frozen=True, kw_only=True):
    """``webhook.secret_file``. ``count`` None: none is named."""

    path: str | None
    count: int | None
    error: str | None = None


def secrets(seen: Secrets, *, url: str | None) -> Check:
    """What signs the webhooks."""
    if url is None:
        return skipped("secret", "webhook.url is not set: there are no webhooks")
    if seen.error:
        remedy = "Name a file that the daemon's user can read in webhook.secret_file"
        return failed("secret", seen.error, remedy, f"ls -l {seen.path}")
    if not seen.count:
        where = f"{seen.path} is empty" if seen.path else "webhook.secret_file is not set"
        target = str(seen.path or "/etc/waguard/webhook-secret")
        # the service's user reads it by its group; it may write nothing there
        mode = "-m 0640 -g waguard" if target.startswith("/etc/waguard/") else "-m 0600"
        return failed(
            "secret",
            f"{where}: webhooks are not signed, and the application answers 401",
            "Write the application's secret (HMAC_SECRET) into it",
            f"install {mode} /dev/stdin {target}",
        )
    return ok("secret", f"{seen.path} holds what signs webhooks")


def kept_back(proxies: int) -> Check:
    """What a standby does not get: so many ``proxies`` of sessions."""
    if not proxies:
        return ok("proxies", "no session's proxy is missing where another host takes over")
    return warning(
        "proxies",
        f"lease.standby is set without database.key_file: another host does not start {proxies} of the sessions,"
        " because their proxies are known here alone",
        "Set database.key_file on both hosts",
    )
