"""What ``waguard config`` does: the configuration with where each value comes from, and its check."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from waguard.cli.context import in_place
from waguard.config.addresses import is_loopback
from waguard.config.key_file import has_own_key
from waguard.config.reading import Reading, holds_password
from waguard.config.sections import SECTIONS, Cluster, Config
from waguard.core.host import unit as units
from waguard.core.profile.ownership import Us
from waguard.errors import ConfigError
from waguard.host.configuration_file import Found, hidden, hidden_lines, shown
from waguard.host.files import ownership, sealing
from waguard.host.system import service_needs
from waguard.host.system.service_needs import BACKUP_UNIT, UNIT, USER
from waguard.messaging.alerts import destination_file
from waguard.messaging.webhooks.signing import secrets_in

DROP_INS: Final = f"/etc/systemd/system/{UNIT}.d"
_MEMBERS: Final = 3  # one may be away
# where the default is none of the key itself
FOLLOWED: Final = {
    "api.key_file": "<paths.state>/api-key",
    "api.public_url": "http://localhost:<api.port>",
    "database.url": "sqlite+aiosqlite:///<paths.state>/waguard.db",
    "cluster.host": "the machine's name",
    "cluster.lease": "10.0 (etcd), 60.0 (database)",
    "browser.executable": "found",
    "whatsapp.wajs": "packed",
    "alerts.page_url": "<api.public_url>",
}


def default(section: str, key: str) -> str:
    """The default of a key, as text."""
    fields = {field.name: field for field in msgspec.structs.fields(SECTIONS[section])}
    return FOLLOWED.get(f"{section}.{key}") or shown(fields[key].default)


def rows(reading: Reading) -> list[dict[str, Any]]:
    """Every key: ``key``, ``value``, ``source`` (file, environment, default), ``default``; and
    ``hidden``, what the file has where the environment beats it. Texts; no password is shown."""
    beaten = {one.key: shown(one.unused) for one in hidden(reading)}
    return [
        {
            "key": f"{section}.{key}",
            "value": shown(getattr(getattr(reading.config, section), key)),
            "source": _source(reading, section, key),
            "default": default(section, key),
            "hidden": beaten.get(f"{section}.{key}"),
        }
        for section, struct in SECTIONS.items()
        for key in struct.__struct_fields__
    ]


def _source(reading: Reading, section: str, key: str) -> str:
    if key in reading.environment.get(section, {}):
        return "environment"
    return "file" if key in reading.file.get(section, {}) else "default"


def check(
    found: Found,
    reading: Reading,
    say: Callable[[str], None],
    *,
    root: Path = Path("/"),
    user: str = USER,
) -> None:
    """Raises ``ConfigError`` for what the daemon would end with, or send no alert for; says what else is worth knowing.

    For the installed unit's file its ``user`` and what it may write are checked, whoever asks.
    """
    for line in (*hidden_lines(reading), *reading.retired):
        say(line)
    if reading.config.database.key_file and not reading.config.lease.standby:
        say("database.key_file has no effect without lease.standby")
    installed = service_needs.files(root) if found.of_unit else []
    _check_owners(found, reading.config, service_needs.user(user) if installed else None)
    _check_secrets(reading.config, say)
    for line in _of_cluster(reading.config):
        say(line)
    if installed:
        _say_backup_unit(root, reading.config, say)
        _check_unit(units.parse([path.read_text() for path in installed]), reading.config, say)
    say(f"{found.path or 'no file, defaults'}: ok")


def _check_owners(found: Found, config: Config, who: Us | None) -> None:
    wanted: Mapping[str, Path | None] = {
        "paths.runtime": config.paths.runtime,
        "paths.sessions": config.paths.sessions,
        "paths.state": config.paths.state,
        "api.key_file": config.api.key_file,
        "database.key_file": config.database.key_file,
        **config.cluster.secret_files,
        "webhook.secret_file": config.webhook.secret_file,
        "alerts.destination_file": config.alerts.destination_file,
        found.by or "the configuration": found.path
        if found.path and holds_password(found.path)
        else None,
    }
    for key, path in wanted.items():
        if path:
            ownership.require_private(key, path, who)
    for key, key_file in (
        ("database.key_file", config.database.key_file),
        ("cluster.key_file", config.cluster.secret_files.get("cluster.key_file")),
    ):
        if key_file:
            with in_place(key, key_file):
                sealing.read_key(key_file, key)
    if config.cluster.engine == "etcd":
        _check_etcd(config.cluster)
    if destinations := config.alerts.destination_file:
        with in_place("alerts.destination_file", destinations):
            _, refused = destination_file.read(destinations, who)
        if refused:
            raise refused


def _check_secrets(config: Config, say: Callable[[str], None]) -> None:
    """A running daemon goes on with what it read before; the next one would not start."""
    from waguard.api.auth import is_cut_off, keys_in  # noqa: PLC0415 - no other command needs a server

    if secret := config.webhook.secret_file:
        with in_place("webhook.secret_file", secret):
            if not secrets_in(secret):
                say(
                    f"{secret} (webhook.secret_file) is empty: after a start webhooks are not signed"
                )
    key_file = config.api.key_file
    with in_place("api.key_file", key_file):
        if is_cut_off(key_file):
            say(f"{key_file} (api.key_file) is empty: a start makes a key, and refuses all others")
        elif key_file.exists():
            keys_in(key_file)


def _of_cluster(config: Config) -> Iterator[str]:
    """What only a host alone can have so."""
    cluster, public = config.cluster, config.api.public_url
    if cluster.engine == "none":
        return
    one_machine = is_loopback(urlsplit(cluster.address).hostname or "")
    if not one_machine and (public is None or is_loopback(urlsplit(public).hostname or "")):
        yield "api.public_url is no address of this host alone: the application calls back there"
    if not has_own_key(config.api.key_file):
        yield f"{config.api.key_file} has no key of your own: all hosts need the same file"
    if cluster.engine == "etcd" and len(cluster.endpoints) < _MEMBERS:
        yield "cluster.endpoints names fewer than three members of etcd: name all, on three machines"


def _check_etcd(cluster: Cluster) -> None:
    """Raises ``ConfigError`` for files of etcd that cannot serve. Nothing is connected."""
    from waguard.cluster.etcd import connect  # noqa: PLC0415 - few have one

    named = next(
        (
            (f"cluster.{key}", path)
            for key in ("user_file", "private_key_file", "ca_file")
            if (path := getattr(cluster, key)) is not None
        ),
        None,
    )
    if named is not None:
        with in_place(*named):
            connect(cluster, "")


def _check_unit(unit: units.Unit, config: Config, say: Callable[[str], None]) -> None:
    wanted = service_needs.writes(config)
    for key, path in wanted.items():
        if not unit.sees(path):
            raise ConfigError(
                f"{path} is hidden from {UNIT}",
                field=key,
                value=str(path),
                remedy="name a folder below /var/lib/waguard, or one that is not below"
                f" {', '.join(map(str, unit.hidden))}",
            )
    _check_executable(unit, config, say)
    closed = units.unwritable(unit, wanted)
    if not closed:
        return
    missing = list(dict.fromkeys(closed.values()))
    name = f"{DROP_INS}/paths.conf"
    made = " ".join(shlex.quote(str(path)) for path in missing)
    say(f"# make them: install -d -o {USER} -g {USER} -m 0700 {made}")
    _say_drop_in(say, "then this", name, units.drop_in(missing))
    key, path = next(iter(closed.items()))
    raise ConfigError(
        f"{path} cannot be written by {UNIT}",
        field=key,
        value=str(path),
        remedy=f"install the lines above as {name}",
    )


def _say_backup_unit(root: Path, config: Config, say: Callable[[str], None]) -> None:
    """Nothing that ends a daemon, and yet each night's backup fails without it."""
    texts = [path.read_text() for path in service_needs.files(root, BACKUP_UNIT)]
    if not texts:
        return
    closed = units.unwritable(units.parse(texts), service_needs.backup_writes(config))
    if missing := list(dict.fromkeys(closed.values())):
        name = f"/etc/systemd/system/{BACKUP_UNIT}.d/paths.conf"
        _say_drop_in(say, "for backups this", name, units.drop_in(missing))


def _check_executable(unit: units.Unit, config: Config, say: Callable[[str], None]) -> None:
    found = service_needs.executes(config).items()
    closed = {key: path for key, path in found if not unit.executes(path)}
    if not closed:
        return
    name = f"{DROP_INS}/browser.conf"
    if kept := closed.get("browser.keep_previous"):
        made = shlex.quote(str(kept.parent))
        say(f"# make it: install -d -o {USER} -g {USER} -m 0700 {made}")
    folders = [path.parent for path in closed.values()]
    _say_drop_in(say, "this", name, units.drop_in(folders, "ExecPaths"))
    key, path = next(iter(closed.items()))
    raise ConfigError(
        f"{path} cannot be executed by {UNIT}",
        field=key,
        value=str(path),
        remedy=f"install the lines above as {name}",
    )


def _say_drop_in(say: Callable[[str], None], what: str, name: str, text: str) -> None:
    say(f"# {what} as {name}, and: systemctl daemon-reload")
    say(text)
