"""Who may call: who has a key, and from loopback three calls without one where configured."""

import contextlib
import hmac
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from aiohttp import web
from loguru import logger

from waguard.api.key_streams import KeyStreams
from waguard.config.addresses import is_loopback
from waguard.config.key_file import GENERATED_KEY_MARK, KEY_LENGTH
from waguard.core.keys import Caller, Right
from waguard.errors import ConfigError, UnauthorizedError
from waguard.host import small_file
from waguard.host.files.lock import remedy_of
from waguard.host.files.ownership import require_private
from waguard.host.files.private_files import write_private
from waguard.host.small_file import UnreadableError
from waguard.host.system.listen import peer_uid

# what a browser adds to a call of a page, and a proxy to a call of somebody else
_NOT_OF_THE_APPLICATION: Final = ("origin", "sec-fetch-site", "forwarded", "x-forwarded-for")


APPLICATION: Final = Caller(name="the application", right=Right.ADMIN)
"""Who shows a key of ``api.key_file``: may do everything."""


def _nobodys(_: str) -> bool:
    return False


def _none_issued(_: str) -> Caller | None:
    return None


@dataclass(slots=True, eq=False)
class Keys:
    """The accepted keys; never shown. They may be replaced while the API serves."""

    values: frozenset[bytes] = field(repr=False)
    """Those of ``api.key_file``."""
    find_issued: Callable[[str], Caller | None] = _none_issued
    """Who shows a valid key that waguard issued; None: it is none."""
    is_of_a_host: Callable[[str], bool] = _nobodys
    """Whether another host of the cluster has made this text, with which it forwards a request."""
    _streams: KeyStreams = field(default_factory=KeyStreams, repr=False)

    def renew(self, other: Self) -> None:
        """From now on these are accepted, and no others; what lasts with another one ends."""
        gone, self.values = self.values - other.values, other.values
        for key in gone:
            self._streams.end(key.decode())

    @contextlib.asynccontextmanager
    async def lasting(self, given: Iterable[object]) -> AsyncIterator[None]:
        """End the body with ``TimeoutError`` when the key of the key file that is among these is accepted no more."""
        texts = (one for one in given if isinstance(one, str) and self.accept(one))
        key = next(texts, None)
        async with self._streams.lasting(key or "", None if key else 0.0):
            yield

    def accept(self, given: str) -> bool:
        """Compare with every key of the key file in constant time, whichever fits."""
        offered = given.encode(errors="surrogatepass")  # no key has half a pair, a request may
        return any([hmac.compare_digest(offered, key) for key in self.values])  # noqa: C419 - no early end

    def accept_any(self, given: Iterable[object]) -> bool:
        """Whether one of them is a key, of the key file or issued, or another host's."""
        texts = [one for one in given if isinstance(one, str)]
        if self._of_file(texts) or any(map(self.find_issued, texts)):
            return True
        return any(map(self.is_of_a_host, texts))

    def caller(self, given: Iterable[object]) -> Caller | None:
        """Who shows these. A key of the key file counts, whatever is beside it; an issued key counts alone."""
        texts = {one for one in given if isinstance(one, str)}
        if self._of_file(texts):
            return APPLICATION
        return self.find_issued(texts.pop()) if len(texts) == 1 else None

    def _of_file(self, texts: Iterable[str]) -> bool:
        return any([self.accept(one) for one in texts])  # noqa: C419 - nor here


def load_or_create_keys(path: Path) -> Keys:
    """As ``read_keys``; generate it (0600) when it is missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if empty := is_cut_off(path):
            path.unlink()
        if not path.exists():
            generate(path)
            logger.warning(
                "{} {}: an API key was generated, and no other one opens the API",
                path,
                "was empty" if empty else "was not there",
                event="key_generated",
            )
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), remedy_of(error, path.parent)) from None
    return read_keys(path)


def read_keys(path: Path) -> Keys:
    """Read the key file, one key a line.

    Raises ``ConfigError`` for a file that is missing or that others can read, and for one without a good key.
    """
    require_private("api.key_file", path)
    return keys_in(path)


def keys_in(path: Path) -> Keys:
    """As ``read_keys``, whoever else may read the file."""
    try:
        text = small_file.read(path, named=True).decode("ascii")
    except UnicodeDecodeError:
        raise _unusable(path, "it is not ASCII text") from None
    except UnreadableError as error:
        raise _unusable(path, str(error)) from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), remedy_of(error, path.parent)) from None
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or any(len(key) < KEY_LENGTH for key in keys):
        raise _bad_file(
            path,
            f"holds no key, or one of fewer than {KEY_LENGTH} characters",
            "write one key a line, or delete the file and restart to have one generated",
        )
    return Keys(frozenset(key.encode() for key in keys))


def _unusable(path: Path, why: str, remedy: str | None = None) -> ConfigError:
    named = "name a text file that this user can read, or a folder that it can write"
    return _bad_file(path, f"cannot be used: {why}", remedy or named)


def _bad_file(path: Path, why: str, remedy: str) -> ConfigError:
    return ConfigError(f"{path} {why}", field="api.key_file", value=str(path), remedy=remedy)


def generate(path: Path) -> None:
    """A key file of this user's own, 0600, whole or not at all. Raises ``OSError``, where something
    lies there, too."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    try:
        write_private(draft, f"{GENERATED_KEY_MARK}\n{secrets.token_urlsafe(32)}\n".encode())
        path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def is_cut_off(path: Path) -> bool:
    """Whether an older release was ended while it generated this file, or its disk was full: nothing
    is in it that could be lost."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and not found.st_size


def shown_keys(request: web.BaseRequest) -> list[str]:
    """Every key that the request carries outside of its body: header, bearer, query."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    candidates = [
        *request.headers.getall("X-Api-Key", ()),
        bearer.strip() if scheme.lower() == "bearer" else None,
        *request.query.getall("api_key", ()),
    ]
    return [key for key in candidates if key]


def refused(*, cut_short: bool = False) -> UnauthorizedError:
    """What a call without a good key gets; ``cut_short``: only the beginning of its body was searched, and has none."""
    remedy = "send one key, of api.key_file or an issued one, as X-Api-Key, bearer token, api_key in body or query"
    if cut_short:
        remedy = "send it as X-Api-Key, or in the first 64 kB of the body: beyond, none is read in a body above 1 MB"
    return UnauthorizedError("Invalid API key", field="api_key", remedy=remedy)


def is_for_another(headers: Container[str]) -> bool:
    """Whether a page in a browser made it, or it came through a proxy. ``headers``: their names, in lower case or in any."""
    return any(header in headers for header in _NOT_OF_THE_APPLICATION)


def address_of(peer: str | None) -> str:
    """An address of a peer as it is compared; empty: there is none, as on the local socket."""
    return (peer or "").removeprefix("::ffff:")


def is_local(request: web.Request) -> bool:
    """Whether a program on this machine calls, by itself.

    The connection says where it comes from, never a header; but a header can say that it was
    made for somebody else: a page in a browser, or a client of a proxy.
    """
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not isinstance(peer, tuple) or is_for_another(request.headers):
        return False
    return is_loopback(address_of(str(peer[0])))


def by_socket(request: web.Request) -> Caller:
    """Who calls on the local socket, as the kernel says."""
    assert request.transport  # noqa: S101 - it was asked for who it is
    uid = peer_uid(request.transport.get_extra_info("socket"))
    name = "root by the socket" if uid == 0 else f"user {uid} by the socket"
    return Caller(name=name, right=Right.ADMIN)
