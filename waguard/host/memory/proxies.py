"""``<paths.state>/proxies/<session>.json``: a session's own proxy with its login, for this user alone.

A file that cannot be read stays where it is: without it the session would go the host's own way. It becomes evidence
when a person sets or removes the proxy.
"""

import re
from pathlib import Path
from typing import Final

import msgspec

from waguard.core.proxy import Proxy, parse
from waguard.errors import WaguardError
from waguard.host import small_file
from waguard.host.files.private_files import replace_private, sync_folder
from waguard.host.memory.damaged import quarantine
from waguard.host.small_file import SUFFIX, UnreadableError

FOLDER: Final = "proxies"
LIMIT: Final = 1 << 13  # bytes
_NAMES: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Sessions that the API can name: others were never given a proxy."""
VERSION: Final = 1
"""A field that an older waguard must not ignore is a new version."""


class ProxyUnreadableError(WaguardError):
    """A session has a proxy, and nobody knows which one; ``value``: its file."""


class _Head(msgspec.Struct):
    version: int


class _File(_Head, kw_only=True):
    session: str
    mark: str
    server: str
    user: str | None
    password: str | None


def path_of(state: Path, session: str) -> Path:
    """Where the session's is. Raises ``ValueError`` for a name that could lead elsewhere."""
    if not _NAMES.fullmatch(session):
        raise ValueError("a session of this name has no proxy")
    return state / FOLDER / f"{session}.json"


def files(state: Path) -> list[Path]:
    """Those of all sessions. Raises ``OSError``."""
    found = (state / FOLDER).glob("*.json")
    return sorted(it for it in found if _NAMES.fullmatch(it.stem))


def read(state: Path, session: str) -> Proxy | None:
    """None: it has none. Raises ``ProxyUnreadableError``."""
    if not _NAMES.fullmatch(session):
        return None
    path = path_of(state, session)
    try:
        return _read(path, session)
    except UnreadableError as error:
        raise ProxyUnreadableError(
            f"its proxy cannot be read from {path}: {error}", value=str(path)
        ) from None


def _read(path: Path, session: str) -> Proxy | None:
    try:
        return decode(small_file.read(path, limit=LIMIT), session)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableError(error.strerror or str(error), by_system=True) from None


def decode(content: bytes, session: str) -> Proxy:
    """What a file of the session's says. Raises ``UnreadableError``, which quotes nothing of it."""
    try:
        version = msgspec.json.decode(content, type=_Head).version
        if version != VERSION:
            raise UnreadableError(f"it has version {version}, and this waguard knows {VERSION}")
        it = msgspec.json.decode(content, type=_File)
    except (ValueError, RecursionError):
        raise UnreadableError("it is not a file of a proxy") from None
    if it.session != session:
        raise UnreadableError("it is another session's")
    try:
        return parse(it.server, it.user, it.password, mark=it.mark)
    except ValueError as error:
        raise UnreadableError(str(error)) from None


def encode(session: str, proxy: Proxy) -> bytes:
    """What ``decode`` reads."""
    return msgspec.json.encode(
        _File(
            version=VERSION,
            session=session,
            mark=proxy.mark,
            server=proxy.server,
            user=proxy.user,
            password=proxy.password,
        )
    )


def write(state: Path, session: str, proxy: Proxy | None) -> None:
    """Whole or not at all; None: it has none from now on. Blocks. Raises ``OSError``."""
    path = path_of(state, session)
    try:
        _read(path, session)
    except UnreadableError as error:
        if error.by_system:
            raise OSError(f"{path}: {error}") from None
        quarantine(path, error)
    if proxy is not None:
        replace_private(path, encode(session, proxy))
    else:
        _remove(path, evidence=False)


def purge(state: Path, session: str) -> None:
    """Remove all that is there of it. Blocks. Raises ``OSError``."""
    if not _NAMES.fullmatch(session):
        return
    _remove(path_of(state, session), evidence=True)


def _remove(path: Path, *, evidence: bool) -> None:
    """With what lies beside it: what a daemon left that was killed while it wrote has a login too."""
    try:
        beside = [it for it in path.parent.iterdir() if it.name.split(".")[0] == path.stem]
    except FileNotFoundError:
        return
    if found := [it for it in beside if evidence or it.suffix != SUFFIX]:
        for it in found:
            it.unlink()
        sync_folder(path.parent)
