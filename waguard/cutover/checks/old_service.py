"""What of the old service is still there: its processes, ports, cron lines, and the way back."""

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from waguard.cutover.checks.seen import CronLine, Pm2, Seen
from waguard.doctor.checks.database import some
from waguard.doctor.report import Check, failed, ok, warning

KEPT: Final = ".before-waguard"
"""What ends the name of the copy of the application's ``.env``."""
_SPECIAL: Final = re.compile(r"[][\\.*^$/]")  # to sed


def keep(seen: Seen) -> list[Check]:
    """What the way back needs is copied first."""
    if seen.up:
        return [ok("way back", "waguard runs already")]
    commands = [as_users("pm2 save", [one.user for one in seen.pm2])] if seen.pm2 else []
    path, since = applications_env(seen), seen.env.kept_at if seen.env else None
    kept, state = f"{path}{KEPT}", "which is not kept yet"
    if since is None:
        there = f"test ! -L {kept} && test -f {kept}"
        commands.append(f"{there} || cp -aLT --remove-destination {path} {kept}")
    else:
        at = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ}"
        state = f"which is kept since {at} in {kept}: remove the copy of an earlier cut-over"
    if not commands:
        return [ok("way back", f"it needs the application's .env, {state}")]
    return [
        warning(
            "way back",
            f"it needs the old service's list of processes and the application's .env, {state}",
            "Keep both, and a copy of the old service's sessions folder",
            "; ".join(commands),
        )
    ]


def as_users(command: str, users: Sequence[str]) -> str:
    """The command as each of them: every user has a PM2 of its own."""
    return "; ".join(f"sudo -Hu {shlex.quote(user)} {command}" for user in dict.fromkeys(users))


def applications_env(seen: Seen) -> str:
    """The path of the application's ``.env``, for a shell."""
    return shlex.quote(seen.env.path if seen.env and not seen.env.error else ".env")


def cron(lines: Sequence[CronLine]) -> list[Check]:
    """No cron line starts it again."""
    checks = []
    for line in lines:
        path = shlex.quote(line.path)
        command = f"sed -i '{line.number}s/^/# /' {path}"
        if line.user is not None:
            user = shlex.quote(line.user)
            command = f"crontab -u {user} -l | {_by_text(line.text)} | crontab -u {user} -"
        checks.append(
            failed(
                "cron",
                f"{line.path}:{line.number} restarts the old service: {line.text[:160]}",
                "Comment it out, before the old service is stopped",
                command,
            )
        )
    return checks or [ok("cron", "no cron line restarts the old service")]


def _by_text(line: str) -> str:
    """Comment out this line, whichever number it has: Debian's `crontab -l` leaves out the first ones of the file."""
    literally = _SPECIAL.sub(r"\\\g<0>", line)
    return f"sed {shlex.quote(f'/^[[:space:]]*{literally}[[:space:]]*$/s/^/# /')}"


def stop(seen: Seen) -> list[Check]:
    """Neither its processes nor its ports are there."""
    checks = [check for one in seen.pm2 for check in _pm2(one)]
    checks += [
        failed(
            "port",
            f"port {one.port} is taken by pid {one.pid} ({one.command[:120]})",
            "Stop the old service",
            as_users("pm2 delete all", [it.user for it in seen.pm2]) or f"kill {one.pid}",
        )
        for one in seen.listeners
    ]
    return checks or [ok("old service", "neither PM2 nor the old service runs")]


def _pm2(one: Pm2) -> list[Check]:
    commands = [as_users(f"pm2 {verb}", [one.user]) for verb in ("delete all", "kill")]
    checks = [
        failed(
            "pm2",
            f"PM2 of {one.user} runs, pid {one.pid}, with {len(one.apps)} processes:"
            f" {some(one.apps) or 'none'}",
            "Stop all of its instances, and PM2",
            "; ".join(commands),
        )
    ]
    if one.starts_at_boot:
        checks.append(
            failed(
                "pm2",
                f"{one.starts_at_boot} starts the old service at boot",
                "Disable it",
                f"systemctl disable --now {one.starts_at_boot}",
            )
        )
    return checks
