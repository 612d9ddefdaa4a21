"""Folders, keys and secrets, and for which user they have to be."""

import os
import pwd
from pathlib import Path

from waguard.config.reading import Reading, holds_password
from waguard.config.sections import Config
from waguard.core.profile.ownership import Found, Us
from waguard.doctor.checks.files import KeyFile, Owned, Secrets
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files import ownership
from waguard.host.memory import key_memory, proxies
from waguard.host.small_file import UnreadableError
from waguard.messaging.webhooks.signing import secrets_in

_COMMENT = "#"


def daemons_user(config: Config, pid: int | None, service: Us | None) -> Us:
    """Who runs the daemon: who does, else whom the unit names (``service``), else who owns its
    state, else who asks."""
    roots = ownership.us().roots
    for path in (Path(f"/proc/{pid}"),) if pid else ():
        try:
            found = path.stat()
        except OSError:
            continue
        return Us(uid=found.st_uid, gid=found.st_gid, roots=roots)
    if service:
        return service
    try:
        found = config.paths.state.stat()
    except OSError:
        return ownership.us()
    if os.geteuid() == 0 and found.st_uid != 0:
        return Us(uid=found.st_uid, gid=_group_of(found.st_uid, found.st_gid), roots=roots)
    return ownership.us()


def _group_of(uid: int, otherwise: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return otherwise


def owned(reading: Reading) -> list[Owned]:
    """All that holds credentials."""
    config = reading.config
    written = ("paths.runtime", config.paths.runtime), ("paths.sessions", config.paths.sessions)
    private: list[tuple[str, Path, bool]] = [
        *((key, path, True) for key, path in written),
        ("paths.state", config.paths.state, True),
        ("api.key_file", config.api.key_file, False),
        ("issued keys", config.paths.state / key_memory.FILE, False),
    ]
    if config.database.key_file:
        private.append(("database.key_file", config.database.key_file, False))
    private.extend((key, path, False) for key, path in config.cluster.secret_files.items())
    if config.webhook.secret_file:
        private.append(("webhook.secret_file", config.webhook.secret_file, False))
    if config.alerts.destination_file:
        private.append(("alerts.destination_file", config.alerts.destination_file, False))
    if reading.path and holds_password(reading.path):
        private.append(("the configuration, which holds a password", reading.path, False))
    return [_owned(*one) for one in private]


def _owned(key: str, path: Path, written: bool) -> Owned:  # noqa: FBT001 - of a table
    error = None
    found: Found | None = None
    above: tuple[Found, ...] = ()
    try:
        found = _found(path)
        parents = dict.fromkeys((*path.absolute().parents, *path.resolve().parents))
        above = tuple(seen for parent in parents if (seen := _found(parent)))
    except OSError as failed:
        error = failed.strerror or str(failed)
    return Owned(key=key, path=str(path), found=found, above=above, written=written, error=error)


def _found(path: Path) -> Found | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return Found(path=str(path), uid=stat.st_uid, gid=stat.st_gid, mode=stat.st_mode)


def keys(path: Path) -> KeyFile:
    """How long its keys are; none is kept."""
    try:
        lengths = tuple(map(len, values(path)))
        return KeyFile(path=str(path), lengths=lengths, cut_off=not path.stat().st_size)
    except FileNotFoundError:
        return KeyFile(path=str(path), lengths=None)
    except (OSError, UnreadableError, ValueError) as error:
        return KeyFile(path=str(path), lengths=None, error=str(error))


def values(path: Path) -> list[str]:
    """The file's keys. Raises as ``small_file.read``, and ``ValueError``."""
    text = small_file.read(path, named=True).decode("ascii")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(_COMMENT)]


def secrets(config: Config) -> Secrets:
    """How many there are; none is kept. Who may read the file is the owners' check, for the daemon's
    user."""
    path = config.webhook.secret_file
    if path is None:
        return Secrets(path=None, count=None)
    try:
        return Secrets(path=str(path), count=len(secrets_in(path)))
    except ConfigError as error:
        return Secrets(path=str(path), count=None, error=error.message)


def kept_back(config: Config) -> int:
    """How many proxies of sessions another host does not get."""
    shared = not config.lease.standby or config.database.key_file is not None
    return 0 if shared else len(proxies.files(config.paths.state))
