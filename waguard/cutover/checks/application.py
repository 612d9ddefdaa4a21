"""What of the application still points at the old service: its ``.env``, its rows, the profiles."""

import shlex
from typing import Final

from waguard.cutover.checks.addresses import same
from waguard.cutover.checks.seen import Seen
from waguard.doctor.checks.database import some
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning

REREAD: Final = "php artisan config:clear"
_UNKNOWN: Final = (
    "the application's accounts are not known: database.url has to name its database first"
)


def profiles(seen: Seen, cli: Cli) -> list[Check]:
    """Each session that says connected has its profile."""
    checks = []
    take = cli("import --from FOLDER --dry-run")
    if (seen.env and seen.env.remote_auth) or seen.archives:
        where = some(seen.archives) if seen.archives else "in Redis, and in its backup folder"
        checks.append(
            warning(
                "remote auth",
                f"the old service keeps credentials by RemoteAuth: {where}",
                "Import the zip files; what is in Redis alone needs a new scan",
                take,
            )
        )
    if seen.accounts is None:
        return [*checks, skipped("profiles", _UNKNOWN)]
    bare = [
        row.session for row in seen.accounts if row.paired and row.session not in seen.with_profile
    ]
    if bare:
        checks.append(
            failed(
                "profiles",
                f"{some(bare)} say connected, and have no profile below {seen.settings.sessions}",
                "Import the old service's sessions folder, which copies it; read the table first",
                take,
            )
        )
    stale = [
        row.session
        for row in seen.accounts
        if row.paired and row.session in seen.with_profile & seen.later
    ]
    if stale:
        checks.append(
            failed(
                "profiles",
                f"the old service used {some(stale)} after the profile in waguard's place was copied",
                "Stop the old service, then import its sessions folder again",
                take,
            )
        )
    return checks or [ok("profiles", "each session that says connected has its profile")]


def application(seen: Seen) -> list[Check]:
    """Check that the application calls waguard, one instance of it."""
    env, here = seen.env, seen.settings
    if env is None or env.error:
        return [skipped("application", "the application's .env is not known")]
    path, checks = shlex.quote(env.path), []
    if env.instances != 1:
        checks.append(
            failed(
                "instances",
                f"the application spreads workspaces over {env.instances} instances, waguard is one",
                f"Set WHATSAPP_INSTANCE_COUNT=1 in {env.path}",
                f"sed -i 's|^WHATSAPP_INSTANCE_COUNT=.*|WHATSAPP_INSTANCE_COUNT=1|' {path} && {REREAD}",
            )
        )
    for name, url in env.addresses.items():
        if not same(url, here.public, here.port):
            checks.append(
                failed(
                    "address",
                    f"{name} is {url}, waguard is {here.public}",
                    f"Set {name}={here.public} in {env.path}",
                    f"sed -i 's|^{name}=.*|{name}={here.public}|' {path} && {REREAD}",
                )
            )
    return checks or [ok("address", f"the application calls {here.public}, one instance")]


def rows(seen: Seen, cli: Cli) -> list[Check]:
    """None is switched off or assigned elsewhere."""
    if seen.accounts is None:
        return [skipped("rows", _UNKNOWN)]
    checks = []
    off = [row.session for row in seen.accounts if row.paired and not row.active]
    if off:
        checks.append(
            warning(
                "inactive rows",
                f"{some(off)} are switched off (is_active = 0): waguard keeps them down",
                "Start those that are wanted",
                cli(f"sessions start {off[0]}"),
            )
        )
    public, port = seen.settings.public, seen.settings.port
    away = [row for row in seen.accounts if row.address and not same(row.address, public, port)]
    if away:
        other = sorted({str(row.address) for row in away})
        checks.append(
            warning(
                "assigned rows",
                f"{some([row.session for row in away])} are assigned to {some(other)}: the application"
                " calls them there until a webhook of theirs says otherwise",
                "Run this in the application's folder",
                "php artisan tinker --execute=\"DB::table('whatsapp_accounts')"
                "->where('provider_type', 'webjs')->update(['assigned_instance_index' => 0,"
                f" 'assigned_instance_url' => '{public}']);\"",
            )
        )
    return checks or [ok("rows", f"none of {len(seen.accounts)} accounts has to be corrected")]
