"""A session's own proxy: how it is written, and how it is named. Pure."""

import re
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from msgspec import Struct

FAILS: Final = "its proxy "
"""So begins what a worker says of a proxy that does not lead to WhatsApp."""
_LABEL: Final = r"[A-Za-z0-9_-]{1,63}"
HOST: Final = re.compile(
    rf"(?!.{{254}}){_LABEL}(\.{_LABEL})*\.?|(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]{{2,45}}"
)
"""A name or an address, as it may stand in a request to a proxy."""
LONGEST: Final = 255
"""Bytes of a user or a password: SOCKS has no room for more."""
Scheme = Literal["http", "https", "socks5"]
_SCHEMES: Final = ("http", "https", "socks5")


class Proxy(Struct, frozen=True, kw_only=True):
    """A proxy and the login at it. ``mark`` is another one after each change, and no secret."""

    mark: str
    scheme: Scheme
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def server(self) -> str:
        """The proxy in words: without its login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return self.server


class Recorded(Struct, frozen=True, kw_only=True):
    """What the database says of a session's proxy: its ``mark``, "" where it was removed; ``sealed``: the proxy itself, None
    where hosts share no credentials."""

    mark: str
    at: float
    """Unix time at which it was set."""
    sealed: bytes | None = None


def mark_of(proxy: Proxy | None) -> str:
    """What a ``Recorded`` of it says."""
    return proxy.mark if proxy else ""


def parse(server: str, user: str | None, password: str | None, *, mark: str) -> Proxy:
    """Read a proxy as a person writes it. Raises ``ValueError`` with what is wrong, which quotes nothing."""
    try:
        parts = urlsplit(server)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("it is no address") from None
    if not server.isprintable():  # urlsplit leaves out line ends
        raise ValueError("it is no address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it has a login; send that as username and password")
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"it begins with none of {', '.join(f'{it}://' for it in _SCHEMES)}")
    if not host or not port:
        raise ValueError("it names no host and port")
    if not HOST.fullmatch(host):
        raise ValueError("its host is no name and no address")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("it has more than a host and a port")
    if user is None and password is not None:
        raise ValueError("it has a password and no user")
    _require_sendable(user, password)
    if user is not None and ":" in user and parts.scheme != "socks5":
        raise ValueError("its user has a colon, which HTTP does not allow")
    scheme = cast("Scheme", parts.scheme)
    return Proxy(mark=mark, scheme=scheme, host=host, port=port, user=user, password=password)


def same(one: Proxy | None, other: Proxy | None) -> bool:
    """Whether both lead the same way, whenever they were set."""
    if one is None or other is None:
        return one is other
    return _way(one) == _way(other)


def _way(it: Proxy) -> tuple[str, str | None, str | None]:
    return it.server, it.user, it.password


def _require_sendable(*texts: str | None) -> None:
    for text in texts:
        if text is None:
            continue
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValueError("its login is no text") from None
        if not size or size > LONGEST or not text.isprintable():
            raise ValueError(f"its login is not of 1 to {LONGEST} printable characters")
