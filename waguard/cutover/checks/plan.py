"""The steps from the old service to waguard, what each has to do here, and the way back."""

import shlex
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

from waguard.core.profile.old_profiles import OWNER_MARK
from waguard.cutover.checks.application import REREAD, application, profiles, rows
from waguard.cutover.checks.configuration import configure
from waguard.cutover.checks.old_service import KEPT, applications_env, as_users, cron, keep, stop
from waguard.cutover.checks.seen import Seen
from waguard.doctor.report import Check, Cli, ok, warning


class Step(IntEnum):
    """Each one needs those before it."""

    KEEP = 1
    CONFIGURE = 2
    CRON = 3
    STOP = 4
    PROFILES = 5
    APPLICATION = 6
    ROWS = 7
    START = 8


TITLES: Final[Mapping[Step, str]] = {
    Step.KEEP: "Keep the way back",
    Step.CONFIGURE: "Configure waguard",
    Step.CRON: "Remove the cron line that restarts the old service",
    Step.STOP: "Stop the old service",
    Step.PROFILES: "Bring the profiles",
    Step.APPLICATION: "Point the application at waguard",
    Step.ROWS: "Correct the rows",
    Step.START: "Start waguard",
}
Plan = Mapping[Step, Sequence[Check]]


def plan(seen: Seen, cli: Cli) -> Plan:
    """What each step has to do here, in their order."""
    return {
        Step.KEEP: keep(seen),
        Step.CONFIGURE: configure(seen, cli),
        Step.CRON: cron(seen.cron),
        Step.STOP: stop(seen),
        Step.PROFILES: profiles(seen, cli),
        Step.APPLICATION: application(seen),
        Step.ROWS: rows(seen, cli),
        Step.START: _start(seen, cli),
    }


def _start(seen: Seen, cli: Cli) -> list[Check]:
    if seen.up:
        return [ok("start", "waguard runs")]
    return [
        warning(
            "start",
            "waguard does not run yet",
            "Start it, see the sessions connect, then run the doctor again",
            f"systemctl enable --now waguard && {cli('status')} && {cli('doctor')}",
        )
    ]


def way_back(seen: Seen) -> list[tuple[str, str]]:
    """What each step is for, and its command; the other way round."""
    path = applications_env(seen)
    return [
        ("Stop waguard; the pairings stay", "systemctl disable --now waguard"),
        (
            "Copy each profile back: the old service's own are as old as the cut-over",
            _copied_back(seen.settings.sessions),
        ),
        (
            "Put the application's .env back",  # it may be a link
            f"test -f {path}{KEPT} && cp -aL {path} {path}.waguard && cp {path}{KEPT} {path} && rm {path}{KEPT} && {REREAD}",
        ),
        _resurrected(seen),
        ("Put the cron line back", "crontab -e"),
    ]


def _resurrected(seen: Seen) -> tuple[str, str]:
    """By one PM2 alone: two copies of the old service destroy the profiles."""
    what = "Start the old service"
    users = list(dict.fromkeys(one.user for one in seen.pm2)) or seen.pm2_users
    if len(users) > 1:
        what += f"; PM2_USER is the one as whom it ran last, of {', '.join(users)}"
    command = as_users("pm2 resurrect", users if len(users) == 1 else ["PM2_USER"])
    return (
        what,
        f"cd / && {command}",
    )  # PM2 starts in this folder, which must not be closed to its user


def _copied_back(sessions: str) -> str:
    """Each profile that waguard has connected. A copy into the old one would be a mixture, and belong to waguard's user."""
    ours = f"{shlex.quote(sessions)}/workspace_*/session-*/{OWNER_MARK}"
    before, theirs = "SESSIONS_FOLDER.before-way-back", '"SESSIONS_FOLDER/$name"'
    return (
        f'(set -e; mkdir -p -m 700 "{before}"; for mark in {ours}; do profile=${{mark%/*}}; name=${{profile##*/}};'
        f' test ! -e {theirs} || mv -T {theirs} "{before}/$name"; cp -aT "$profile" {theirs};'
        f' chown -R --reference="SESSIONS_FOLDER" {theirs}; done)'
    )
