"""Who may call: a set of keys, and from loopback two calls without one where configured."""

import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from waguard.config import GENERATED_KEY_MARK, KEY_LENGTH, is_loopback
from waguard.errors import ConfigError, UnauthorizedError

_READABLE_BY_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True, slots=True)
class Keys:
    """The accepted keys; never shown."""

    values: frozenset[bytes] = field(repr=False)

    def accept(self, given: str) -> bool:
        """Compare with every key in constant time, whichever fits."""
        offered = given.encode()
        return any([hmac.compare_digest(offered, key) for key in self.values])  # noqa: C419 - no early end


def load_or_create_keys(path: Path) -> Keys:
    """Read the key file, one key a line; generate it (0600) when it is missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _generate(path)
        text, mode = path.read_text(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be used: {error}",
            field="api.key_file",
            value=str(path),
            remedy="name a text file that this user can read, or a folder that it can write",
        ) from None
    if mode & _READABLE_BY_OTHERS:
        raise ConfigError(
            f"{path} can be read by others",
            field="api.key_file",
            value=str(path),
            remedy=f"chmod 600 {path}",
        )
    lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
    keys = [line for line in lines if line]
    if not keys or any(len(key) < KEY_LENGTH for key in keys):
        raise ConfigError(
            f"{path} holds no key, or one of fewer than {KEY_LENGTH} characters",
            field="api.key_file",
            value=str(path),
            remedy="write one key a line, or delete the file to have one generated",
        )
    return Keys(frozenset(key.encode() for key in keys))


def _generate(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{GENERATED_KEY_MARK}\n{secrets.token_urlsafe(32)}\n")


def offered_keys(request: web.Request, body: dict[str, object]) -> list[str]:
    """Every key that the request carries: header, bearer, query, body."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    candidates = [
        request.headers.get("X-Api-Key"),
        bearer.strip() if scheme.lower() == "bearer" else None,
        request.query.get("api_key"),
        body.get("api_key"),
    ]
    return [key for key in candidates if isinstance(key, str) and key]


def require_key(keys: Keys, request: web.Request, body: dict[str, object]) -> None:
    """Raises ``UnauthorizedError``."""
    if not any(keys.accept(key) for key in offered_keys(request, body)):
        raise UnauthorizedError(
            "Invalid API key",
            field="api_key",
            remedy="send a key of api.key_file as X-Api-Key, bearer token, api_key in body or query",
        )


def from_loopback(request: web.Request) -> bool:
    """Whether the connection itself comes from this machine; headers are not asked."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return isinstance(peer, tuple) and is_loopback(str(peer[0]))
