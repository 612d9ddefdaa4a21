"""From the old service to waguard: what is still to be changed, in which order, and the way back."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from waguard.core.webhooks import address
from waguard.doctor.checks.database import Row, some
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning


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
REREAD: Final = "php artisan config:clear"
_UNKNOWN: Final = (
    "the application's accounts are not known: database.url has to name its database first"
)
HOOK: Final = "/api/whatsapp/webhooks/webjs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pm2:
    """A PM2 that runs. ``apps``: the command of each process that it keeps; ``starts_at_boot``: the
    unit that brings it back."""

    pid: int
    user: str
    apps: tuple[str, ...]
    starts_at_boot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronLine:
    """One that restarts the old service. ``user``: of a crontab; None: a file of the system."""

    path: str
    number: int
    text: str
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who has a port of the old service."""

    port: int
    pid: int | None
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A key or a secret of the application's, without its value. ``known``: waguard has it, too; None:
    what waguard has cannot be read."""

    name: str
    length: int
    known: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """The application's ``.env``, and the old service's beside it."""

    path: str
    error: str | None = None
    keys: tuple[Secret, ...] = ()
    secret: Secret | None = None
    instances: int = 1
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Where it calls the old service, by the name of the variable."""
    url: str | None = None
    """APP_URL: where its webhooks arrive, and its files lie."""
    database: str | None = None
    """driver://host:port/name, without user and password."""
    remote_auth: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What waguard's configuration says of it."""

    path: str
    key_file: str
    least: int
    port: int
    public: str
    keyless: bool
    allow_private: bool
    hook: str | None
    secret_file: str | None
    database: str
    """driver://host:port/name, without user and password."""
    sessions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that is known of the old service and the application."""

    settings: Settings
    env: Env | None
    pm2: tuple[Pm2, ...] = ()
    cron: tuple[CronLine, ...] = ()
    listeners: tuple[Listener, ...] = ()
    archives: tuple[str, ...] = ()
    """RemoteAuth's, below ``paths.sessions``."""
    with_profile: frozenset[str] = frozenset()
    rows: tuple[Row, ...] | None = None
    up: bool = False

    @property
    def accounts(self) -> tuple[Row, ...] | None:
        """The application's rows; None: unknown, or ``database.url`` names another database yet."""
        env = self.env
        other = env and env.database and env.database != self.settings.database
        return None if other else self.rows


Plan = Mapping[Step, Sequence[Check]]


def plan(seen: Seen, cli: Cli) -> Plan:
    """What each step has to do here, in their order."""
    return {
        Step.KEEP: _keep(seen),
        Step.CONFIGURE: _configure(seen, cli),
        Step.CRON: _cron(seen.cron),
        Step.STOP: _stop(seen),
        Step.PROFILES: _profiles(seen, cli),
        Step.APPLICATION: _application(seen),
        Step.ROWS: _rows(seen, cli),
        Step.START: _start(seen, cli),
    }


def _keep(seen: Seen) -> list[Check]:
    if seen.up:
        return [ok("way back", "waguard runs already")]
    env = seen.env.path if seen.env and not seen.env.error else ".env"
    copy = f"cp -a {shlex.quote(env)} {shlex.quote(env + '.before-waguard')}"
    saved = "pm2 save && " if seen.pm2 else ""
    return [
        warning(
            "way back",
            "the old service's list of processes and the application's .env are what the way back needs",
            "Keep both, and a copy of the old service's sessions folder",
            saved + copy,
        )
    ]


# ---- waguard's configuration ----


def _configure(seen: Seen, cli: Cli) -> list[Check]:
    env, here = seen.env, seen.settings
    if env is None:
        return [
            skipped(
                "application", "name the application's .env, --env FILE, to have its keys compared"
            )
        ]
    if env.error:
        remedy = "Name a readable file"
        return [
            failed(
                "application",
                f"{env.path} cannot be read: {env.error}",
                remedy,
                f"ls -l {shlex.quote(env.path)}",
            )
        ]
    return [
        *_keys(env, here),
        _secret(env, here),
        _hook(env, here, cli),
        _database(env, here, cli),
        _keyless(here, cli),
        _private(env, here, cli),
        _public(env, here, cli),
    ]


def _keys(env: Env, here: Settings) -> list[Check]:
    if not env.keys:
        return [
            failed(
                "keys",
                f"{env.path} sets no key: the application uses its default, which everybody knows",
                f"Set WHATSAPP_NODE_API_KEY to {here.least} characters or more in it",
                f"echo WHATSAPP_NODE_API_KEY=$(openssl rand -hex 32) >> {shlex.quote(env.path)}",
            )
        ]
    checks = []
    for key in env.keys:
        if key.length < here.least:
            checks.append(
                failed(
                    "keys",
                    f"{key.name} has {key.length} characters, waguard takes {here.least} or more",
                    f"Set a longer one in {env.path}, and the same in {here.key_file}",
                    "openssl rand -hex 32",
                )
            )
        elif key.known is not True:
            why = "is not in" if key.known is False else "could not be searched for in"
            checks.append(
                failed(
                    "keys",
                    f"{key.name} {why} {here.key_file}: its calls get 401",
                    f"Add its value to {here.key_file}, one key a line",
                    f"{_value(env, key)} >> {shlex.quote(here.key_file)}",
                )
            )
    return checks or [ok("keys", f"{here.key_file} holds the application's keys")]


def _secret(env: Env, here: Settings) -> Check:
    name = "secret"
    if env.secret is None:
        return failed(
            name,
            f"{env.path} sets no HMAC secret: the application refuses every webhook",
            "Set WHATSAPP_HMAC_SECRET in it, and the same in webhook.secret_file",
            "openssl rand -hex 32",
        )
    if env.secret.known:
        return ok(name, f"{here.secret_file} holds the application's {env.secret.name}")
    target = here.secret_file or "/etc/waguard/webhook-secret"
    said = "is not the first line of" if here.secret_file else "is not in webhook.secret_file, e.g."
    return failed(
        name,
        f"{env.secret.name} {said} {target}: the application answers 401 to webhooks",
        f"Write it there{'' if here.secret_file else ', and name the file in webhook.secret_file'}",
        f"{_value(env, env.secret)} | install -m 0640 -g waguard /dev/stdin {shlex.quote(target)}",
    )


def _value(env: Env, secret: Secret) -> str:
    """The command that prints it, without its quotes."""
    return f"grep ^{secret.name}= {shlex.quote(env.path)} | cut -d= -f2- | tr -d '\"'"


def _hook(env: Env, here: Settings, cli: Cli) -> Check:
    name, set_it = "webhook.url", cli("config check")
    wanted = f"{env.url.rstrip('/')}{HOOK}" if env.url else None
    if here.hook is None:
        value = wanted or f"http://127.0.0.1:8000{HOOK}"
        return failed(
            name,
            "webhook.url is not set: the application gets no webhooks",
            f'Set webhook.url = "{value}" in {here.path}',
            set_it,
        )
    if urlsplit(here.hook).path != HOOK:
        return failed(
            name,
            f"webhook.url is {here.hook}, the application takes {HOOK}",
            f'Set webhook.url = "{wanted or HOOK}" in {here.path}',
            set_it,
        )
    return ok(name, f"webhook.url is {here.hook}")


def _database(env: Env, here: Settings, cli: Cli) -> Check:
    if env.database is None or env.database == here.database:
        return ok("database", f"database.url is {here.database}")
    scheme, _, place = env.database.partition("://")
    return failed(
        "database",
        f"database.url is {here.database}, the application's database is {env.database}",
        f'Set database.url = "{scheme}://USER:PASSWORD@{place}" in {here.path}',
        cli("config check"),
    )


def _keyless(here: Settings, cli: Cli) -> Check:
    if here.keyless:
        return ok("api.keyless_loopback", "the application's two calls without a key are answered")
    return failed(
        "api.keyless_loopback",
        "the application asks for a session's status and logs it out without a key, and gets 401",
        f"Set api.keyless_loopback = true in {here.path}; it holds for callers on this machine",
        cli("config check"),
    )


def _private(env: Env, here: Settings, cli: Cli) -> Check:
    name = "send.allow_private"
    if env.url is None or address.url_refusal(env.url, allow_private=False) is None:
        return ok(name, "the application's files lie at a public address, as far as APP_URL says")
    if here.allow_private:
        return ok(name, f"files may be fetched from {env.url}")
    return failed(
        name,
        f"files that are sent lie at {env.url}, a private address, and are refused",
        f"Set send.allow_private = true in {here.path}",
        cli("config check"),
    )


def _public(env: Env, here: Settings, cli: Cli) -> Check:
    name = "api.public_url"
    if env.url is None or _is_local(env.url) or not _is_local(here.public):
        return ok(name, f"webhooks give {here.public} as waguard's address")
    return failed(
        name,
        f"webhooks name {here.public} to the application at {env.url}: that is the application itself",
        f"Set api.public_url in {here.path} to what the application reaches this machine by",
        cli("config check"),
    )


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


# ---- the old service ----


def _cron(lines: Sequence[CronLine]) -> list[Check]:
    checks = []
    for line in lines:
        path = shlex.quote(line.path)
        command = f"sed -i '{line.number}s/^/# /' {path}"
        if line.user is not None:
            user = shlex.quote(line.user)
            command = f"crontab -u {user} -l | sed '{line.number}s/^/# /' | crontab -u {user} -"
        checks.append(
            failed(
                "cron",
                f"{line.path}:{line.number} restarts the old service: {line.text}",
                "Comment it out, before the old service is stopped",
                command,
            )
        )
    return checks or [ok("cron", "no cron line restarts the old service")]


def _stop(seen: Seen) -> list[Check]:
    checks = [check for one in seen.pm2 for check in _pm2(one)]
    checks += [
        failed(
            "port",
            f"port {one.port} is taken by pid {one.pid} ({one.command[:120]})",
            "Stop the old service",
            "pm2 delete all" if seen.pm2 else f"kill {one.pid}",
        )
        for one in seen.listeners
    ]
    return checks or [ok("old service", "neither PM2 nor the old service runs")]


def _pm2(one: Pm2) -> list[Check]:
    sudo = f"sudo -iu {shlex.quote(one.user)} "
    checks = [
        failed(
            "pm2",
            f"PM2 of {one.user} runs, pid {one.pid}, with {len(one.apps)} processes:"
            f" {some(one.apps) or 'none'}",
            "Stop all of its instances, and PM2",
            f"{sudo}pm2 delete all; {sudo}pm2 kill",
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


# ---- sessions and rows ----


def _profiles(seen: Seen, cli: Cli) -> list[Check]:
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
    return checks or [ok("profiles", "each session that says connected has its profile")]


def _application(seen: Seen) -> list[Check]:
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
        if not _same(url, here.public, here.port):
            checks.append(
                failed(
                    "address",
                    f"{name} is {url}, waguard is {here.public}",
                    f"Set {name}={here.public} in {env.path}",
                    f"sed -i 's|^{name}=.*|{name}={here.public}|' {path} && {REREAD}",
                )
            )
    return checks or [ok("address", f"the application calls {here.public}, one instance")]


def _same(url: str, public: str, port: int) -> bool:
    """Loopback has several names."""
    if url.rstrip("/") == public:
        return True
    try:
        return _is_local(url) and _is_local(public) and urlsplit(url).port == port
    except ValueError:
        return False


def _rows(seen: Seen, cli: Cli) -> list[Check]:
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
    away = [row for row in seen.accounts if row.address and not _same(row.address, public, port)]
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
    env = seen.env.path if seen.env and not seen.env.error else ".env"
    path, kept = shlex.quote(env), shlex.quote(f"{env}.before-waguard")
    return [
        ("Stop waguard; the pairings stay", "systemctl disable --now waguard"),
        (
            "Copy each profile back: the old service's own are as old as the cut-over",
            f"cp -a {shlex.quote(seen.settings.sessions)}/workspace_*/session-* SESSIONS_FOLDER/",
        ),
        ("Put the application's .env back", f"cp -a {kept} {path} && {REREAD}"),
        ("Start the old service", "pm2 resurrect"),
        ("Put the cron line back", "crontab -e"),
    ]
