"""What is left of the old service on this machine, and what the application is configured with."""

import hmac
import pwd
import re
import shlex
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from waguard.config.key_file import KEY_LENGTH
from waguard.config.passwords import without_passwords
from waguard.config.sections import Config
from waguard.core.profile.old_profiles import Outcome
from waguard.cutover import importing
from waguard.cutover.checks.old_service import KEPT
from waguard.cutover.checks.seen import CronLine, Env, Listener, Pm2, Secret, Settings
from waguard.cutover.importing import Request
from waguard.doctor.checks.database import Row
from waguard.doctor.probes import files
from waguard.doctor.probes.machine import Machine, Running
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.small_file import UnreadableError
from waguard.messaging.webhooks.signing import secrets_in
from waguard.profile import layout

# what the application sends as api_key, in the order in which it looks for them
KEYS: Final = (
    "WHATSAPP_NODE_API_KEY",
    "WHATSAPP_API_KEY",
    "WHATSAPP_NODE_API_TOKEN",
    "LARAVEL_API_TOKEN",
)
SECRETS: Final = (
    "WHATSAPP_HMAC_SECRET",
    "HMAC_SECRET",
    "WHATSAPP_NODE_API_SECRET",
    "WHATSAPP_NODE_HMAC_SECRET",
)
ADDRESSES: Final = (
    "WHATSAPP_INSTANCE_1",
    "WHATSAPP_NODE_URL",
    "WHATSAPP_NODE_SERVICE_URL",
    "WHATSAPP_NODEJS_URL",
)
SERVICE: Final = "whatsapp-service"
"""The old service's folder, beside the application's ``.env``."""
_DRIVERS: Final = {
    "mysql": ("mysql+asyncmy", 3306),
    "mariadb": ("mysql+asyncmy", 3306),
    "pgsql": ("postgresql+asyncpg", 5432),
}
_PORTS: Final = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432}
_OLD_PORTS: Final = range(3000, 3005)
_RESTARTS: Final = re.compile(r"health-check\.(?:sh|js)|\bpm2\b|whatsapp-service")
_NAME: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$")
_GOD: Final = re.compile(r"PM2 v[^:]*: God Daemon|pm2[/\\]lib[/\\]Daemon\.js")
_LIMIT: Final = 1 << 18  # bytes of a .env
_CRONTABS: Final = ("var/spool/cron/crontabs", "var/spool/cron")


# ---- the old service ----


def pm2(machine: Machine, running: Sequence[Running]) -> tuple[Pm2, ...]:
    """Every PM2, with what it keeps running."""
    return tuple(
        Pm2(
            pid=god.pid,
            user=god.user,
            apps=tuple(one.command[:120] for one in running if one.parent == god.pid),
            starts_at_boot=_boot_unit(machine.root, god.user),
        )
        for god in running
        if _GOD.search(god.command)
    )


def pm2_users(root: Path, env: Path | None) -> tuple[str, ...]:
    """Whose PM2 has saved a list of processes, as far as this user sees; with the old service beside the ``.env``, where it
    lies there."""
    service = env.absolute().parent / SERVICE if env else None
    paths = {str(service), str(service.resolve())} if service and service.is_dir() else {""}
    homes = {one.pw_dir: one.pw_name for one in pwd.getpwall()}  # several may have /
    return tuple(sorted(user for home, user in homes.items() if _has_list(root, home, paths)))


def _has_list(root: Path, home: str, paths: Collection[str]) -> bool:
    """Whether there is one that names one of the paths."""
    try:
        found = (root / home.lstrip("/") / ".pm2/dump.pm2").read_text(errors="replace")
    except OSError:
        return False
    return any(path in found for path in paths)


def _boot_unit(root: Path, user: str) -> str | None:
    name = f"pm2-{user}.service"
    return name if (root / "etc/systemd/system" / name).is_file() else None


def cron(root: Path) -> tuple[CronLine, ...]:
    """Lines that would start the old service again."""
    return tuple(_cron(root))


def _cron(root: Path) -> Iterator[CronLine]:
    for folder in _CRONTABS:
        for path in _files(root / folder):
            yield from _lines(path, user=path.name)
    for path in (root / "etc/crontab", *_files(root / "etc/cron.d")):
        yield from _lines(path, user=None)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _lines(path: Path, *, user: str | None) -> Iterator[CronLine]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#") and _RESTARTS.search(line):
            yield CronLine(path=str(path), number=number, text=line.strip(), user=user)


def listeners(
    machine: Machine, config: Config, running: Sequence[Running], ours: int | None
) -> tuple[Listener, ...]:
    """Processes of the old service on the API's port, and on those of its other instances."""
    commands = {one.pid: one.command for one in running}
    ports = dict.fromkeys((config.api.port, *_OLD_PORTS))
    found = []
    for port in ports:
        holders = machine.listeners(port) if port else []
        pid = next(iter(holders), 1)
        if ours in holders or pid == 1:  # what systemd alone has is no process of the old service
            continue
        command = commands.get(pid, "")
        if port == config.api.port or "server.js" in command or "whatsapp" in command:
            found.append(Listener(port=port, pid=pid, command=command))
    return tuple(found)


def later(env: Path, sessions: Path, rows: Sequence[Row]) -> frozenset[str]:
    """Sessions whose profile the old service beside the ``.env`` used after the one in waguard's place. Blocks."""
    try:
        report = importing.run(
            Request(
                folder=env.parent / SERVICE / "sessions",
                sessions=sessions,
                workspaces={row.session: row.workspace for row in rows},
                dry_run=True,
            )
        )
    except OSError:
        return frozenset()
    return frozenset(
        line.session
        for line in report.lines
        if (line.outcome is Outcome.TAKEN or line.held)
        and (line.session is not None and line.workspace is not None)
        and layout.exists(layout.path(sessions, line.workspace, line.session))
    )


# ---- the application's .env ----


def env(path: Path, config: Config) -> Env:
    """Read it, and the old service's beside it; no value of a secret is kept."""
    try:
        env = _variables(path)
    except (OSError, UnreadableError) as error:
        return Env(path=str(path), error=getattr(error, "strerror", None) or str(error))
    try:
        service = _variables(path.parent / SERVICE / ".env")
    except (OSError, UnreadableError):
        service = {}
    return Env(
        path=str(path),
        kept_at=_kept_at(path.with_name(f"{path.name}{KEPT}")),
        keys=_keys(env, config.api.key_file),
        secret=_secret(env, config.webhook.secret_file),
        instances=_number(env.get("WHATSAPP_INSTANCE_COUNT"), 1),
        addresses={name: env[name] for name in ADDRESSES if env.get(name)},
        url=env.get("APP_URL") or None,
        database=_database(env),
        remote_auth="remoteauth" in {_auth(env), _auth(service)},
    )


def _kept_at(path: Path) -> float | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ctime if stat.S_ISREG(found.st_mode) else None  # it has the original's mtime


def _auth(env: Mapping[str, str]) -> str:
    return env.get("AUTH_STRATEGY", "").lower()


def _variables(path: Path) -> dict[str, str]:
    text = small_file.read(path, named=True, limit=_LIMIT).decode(errors="replace")
    found = (_NAME.match(line) for line in text.splitlines())
    return {match[1]: _unquoted(match[2]) for match in found if match}


def _unquoted(value: str) -> str:
    """As PHP's dotenv has it: quotes are taken off, and what is behind a blank and # is a comment."""
    value = value.strip()
    if value[:1] in {'"', "'"}:
        try:
            return (shlex.split(value, comments=True) or [""])[0]
        except ValueError:
            return value.strip("\"'")
    return value.partition(" #")[0].strip()


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise


def _keys(env: Mapping[str, str], key_file: Path) -> tuple[Secret, ...]:
    known: list[str] | None
    try:
        known = files.values(key_file)
    except FileNotFoundError:
        known = []
    except (OSError, UnreadableError, ValueError):
        known = None
    return tuple(
        Secret(
            name=name,
            length=len(env[name]),
            known=None if known is None else any(_equal(env[name], one) for one in known),
        )
        for name in KEYS
        if env.get(name)
    )


def _secret(env: Mapping[str, str], secret_file: Path | None) -> Secret | None:
    name = next((name for name in SECRETS if env.get(name)), None)
    if name is None:
        return None
    try:
        known = secrets_in(secret_file) if secret_file else ()
    except ConfigError:
        return Secret(name=name, length=len(env[name]), known=None)
    first = known[0].decode(errors="replace") if known else ""
    return Secret(name=name, length=len(env[name]), known=_equal(env[name], first))


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _database(env: Mapping[str, str]) -> str | None:
    driver = _DRIVERS.get(env.get("DB_CONNECTION", ""))
    name = env.get("DB_DATABASE")
    if driver is None or not name:
        return None
    scheme, port = driver
    host = env.get("DB_HOST") or "127.0.0.1"
    return f"{scheme}://{_host(host)}:{_number(env.get('DB_PORT'), port)}/{name}"


def settings(config: Config, path: Path | None, public: str, port: int) -> Settings:
    """What of waguard's configuration is compared."""
    return Settings(
        path=str(path or "/etc/waguard/waguard.toml"),
        key_file=str(config.api.key_file),
        least=KEY_LENGTH,
        port=port,
        public=public,
        keyless=config.api.keyless_loopback,
        allow_private=config.send.allow_private,
        hook=config.webhook.url and without_passwords(config.webhook.url),
        secret_file=str(config.webhook.secret_file) if config.webhook.secret_file else None,
        database=_place(config.database.url),
        sessions=str(config.paths.sessions),
        stored=config.webhook.stored,
    )


def _place(url: str) -> str:
    """Without user, password and options."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "unknown"
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return f"{parsed.drivername}:///{(parsed.database or '').lstrip('/')}"
    scheme = "mysql+asyncmy" if backend in {"mysql", "mariadb"} else parsed.drivername
    port = parsed.port or _PORTS.get(backend)
    return f"{scheme}://{_host(parsed.host or '127.0.0.1')}:{port}/{parsed.database or ''}"


def _host(name: str) -> str:
    return "127.0.0.1" if name == "localhost" else name
