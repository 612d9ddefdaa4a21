"""Relative paths go below a folder, and defaults in the state folder follow it."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from waguard.config.sections import SECTIONS, Cluster, Config, Database, Paths

SQLITE: Final = "sqlite+aiosqlite:///"


def placed(layers: Sequence[Mapping[str, Mapping[str, Any]]], base: Path) -> Config:
    """The configuration of these layers, the last one beats; relative paths go below ``base``."""
    given: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, keys in layer.items():
            given.setdefault(section, {}).update(keys)
    sections: dict[str, Any] = {name: SECTIONS[name](**keys) for name, keys in given.items()}
    return _complete(Config(**sections), given, base)


def sqlite_path(url: str) -> Path | None:
    """Where an SQLite database lies; None: it is another one."""
    path = url.removeprefix(SQLITE).partition("?")[0]
    return Path(path) if url.startswith(SQLITE) and path and not path.startswith(":") else None


def _complete(config: Config, given: Mapping[str, Mapping[str, Any]], here: Path) -> Config:
    """Make paths absolute, and let the defaults that lie in the state folder follow it."""
    paths = Paths(
        **{key: here / value for key, value in msgspec.structs.asdict(config.paths).items()}
    )
    key_file = (
        here / config.api.key_file
        if "key_file" in given.get("api", {})
        else paths.state / "api-key"
    )
    replace = msgspec.structs.replace
    return replace(
        config,
        paths=paths,
        api=replace(
            config.api,
            key_file=key_file,
            # paths are put behind it
            public_url=config.api.public_url and config.api.public_url.rstrip("/"),
        ),
        database=Database(
            url=_placed_sqlite(config.database.url, here)
            or f"{SQLITE}{paths.state / 'waguard.db'}",
            key_file=config.database.key_file and here / config.database.key_file,
        ),
        cluster=_cluster(config.cluster, here),
        whatsapp=replace(
            config.whatsapp, wajs=config.whatsapp.wajs and here / config.whatsapp.wajs
        ),
        webhook=replace(
            config.webhook,
            secret_file=config.webhook.secret_file and here / config.webhook.secret_file,
        ),
        alerts=replace(
            config.alerts,
            destination_file=config.alerts.destination_file
            and here / config.alerts.destination_file,
        ),
    )


def _cluster(cluster: Cluster, here: Path) -> Cluster:
    own_name = cluster.host or (socket.gethostname() if cluster.engine != "none" else "")
    return msgspec.structs.replace(
        cluster,
        ca_file=cluster.ca_file and here / cluster.ca_file,
        certificate_file=cluster.certificate_file and here / cluster.certificate_file,
        private_key_file=cluster.private_key_file and here / cluster.private_key_file,
        user_file=cluster.user_file and here / cluster.user_file,
        key_file=cluster.key_file and here / cluster.key_file,
        host=own_name,
        address=cluster.address.rstrip("/"),
        endpoints=tuple(one.rstrip("/") for one in cluster.endpoints),
    )


def _placed_sqlite(url: str, here: Path) -> str:
    """A file's path is what is behind the third slash; a name that begins with : is no file's."""
    path = url.removeprefix(SQLITE)
    if path == url or not path or path.startswith((":", "file:", "?")):
        return url
    return f"{SQLITE}{here / path}"
