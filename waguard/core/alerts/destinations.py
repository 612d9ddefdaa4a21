"""Destinations of alerts, as the file of them has them: one a line, its kind first. Pure. No error shows an address."""

import hashlib
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from waguard.core import outgoing_address as address

FORMS: Final = {
    "webhook": ("webhook ADDRESS [TOKEN]", 1, 2),
    "ntfy": ("ntfy ADDRESS-WITH-TOPIC [TOKEN]", 1, 2),
    "slack": ("slack ADDRESS", 1, 1),
    "telegram": ("telegram https://api.telegram.org TOKEN CHAT", 3, 3),
    "mail": ("mail smtps://USER:PASSWORD@HOST FROM TO", 3, 3),
    "apprise": ("apprise ADDRESS", 1, 1),
}
"""By kind: how a line of it is written, and how many words follow the kind, at least and at most."""
IN_CHILD: Final = frozenset({"mail", "apprise"})
"""Kinds whose libraries block: a process of its own delivers them."""
_ID: Final = 16  # hexadecimal digits


class AlertDestination(Struct, frozen=True, kw_only=True):
    """Where alerts go. ``id`` distinguishes it from all others and shows nothing of it; ``name`` is for people."""

    id: str
    name: str
    kind: str
    url: str
    words: tuple[str, ...] = ()
    """What follows the address: token, chat, sender, recipient."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log may have: the address too, which is the secret of some kinds."""
        if self.kind == "mail":
            password = urlsplit(self.url).password or ""
            return tuple(it for it in (self.url, password, unquote(password)) if it)
        return (self.url, *self.words[:1])

    def without_secrets(self, why: str) -> str:
        """Servers repeat what they were given."""
        for secret in self.secrets:
            why = why.replace(secret, "…")
        return why


class Parsed(NamedTuple):
    """What a file says. ``wrong``: of each line that cannot be used, its number and why."""

    found: tuple[AlertDestination, ...]
    wrong: tuple[str, ...]


def parse(text: str) -> Parsed:
    """Read the file: a line that is wrong takes nothing from the others."""
    found: dict[str, AlertDestination] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        kind, *words = line.split() or ["#"]
        if not kind.startswith("#"):
            try:
                it = _destination(kind, words, number)
            except ValueError as error:
                wrong.append(f"line {number}: {error}")
            else:
                found.setdefault(it.id, it)
    return Parsed(tuple(found.values()), tuple(wrong))


def _destination(kind: str, words: list[str], number: int) -> AlertDestination:
    if kind not in FORMS:
        raise ValueError(f"it begins with no known kind ({', '.join(FORMS)})")
    form, least, most = FORMS[kind]
    if not least <= len(words) <= most:
        raise ValueError(f"it is not written as `{form}`")
    url, *rest = words
    host = _host(kind, url)
    return AlertDestination(
        id=hashlib.sha256(" ".join((kind, *words)).encode()).hexdigest()[:_ID],
        name=f"line {number}, {kind}{f' at {host}' if host else ''}",
        kind=kind,
        url=url.rstrip("/") if kind in {"ntfy", "telegram"} else url,
        words=tuple(rest),
    )


def _host(kind: str, url: str) -> str:
    """The host of an address that may be called. Raises ``ValueError``."""
    if kind == "apprise":
        return ""  # its addresses have tokens where others have a host
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("its address is not an address") from None
    if kind == "mail":
        if parts.scheme not in {"smtp", "smtps"} or not host:
            raise ValueError("its address begins with neither smtps://HOST nor smtp://HOST")
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError("/, ? and # of its password have to be %2F, %3F and %23")
    elif why := address.url_refusal(url, allow_private=True):
        raise ValueError(f"its address is refused: {why}")
    if kind == "ntfy" and not parts.path.strip("/"):
        raise ValueError("its address has no topic: https://ntfy.example/TOPIC")
    return host
