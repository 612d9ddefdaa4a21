"""What only the holder of a key file can read: AES-256-GCM.

Each stream and each piece has a key of its own, derived from that of the file with a salt, so nonces may begin at 0.
"""

import secrets
import stat
from pathlib import Path
from typing import Any, Final

from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.small_file import UnreadableError

_DIGITS: Final = 64
_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO
_MAKE: Final = "copy the one that is used elsewhere, or make the first one: (umask 077; openssl rand -hex 32 > {})"
_COPY: Final = "put the copy of it in its place: what it has encrypted opens with no other one"
_RIGHTS: Final = "name a file; run this as root, or as a user who may read it"
_PIECE: Final = b"waguard sealed piece 1\n"
_SALT: Final = 16  # bytes
_NONCE: Final = bytes(12)


def read_key(path: Path, field: str = "--key-file") -> bytes:
    """The key of a file: 64 hexadecimal digits, which a group may read and nobody else. Raises ``ConfigError``, for
    ``field``."""
    try:
        text = small_file.read(path, named=True).decode().strip()
        if path.stat().st_mode & _OPEN:
            raise _bad(path, field, f"{path} is open to other users", f"chmod 640 {path}")
        key, length = bytes.fromhex(text), len(text)
    except FileNotFoundError as error:
        why = f"{path} cannot be read: {error.strerror}"
        raise _bad(path, field, why, _MAKE.format(path)) from None
    except (OSError, UnreadableError) as error:
        raise _bad(path, field, f"{path} cannot be read: {error}", _RIGHTS) from None
    except ValueError:
        key, length = b"", 0
    if length != _DIGITS:
        why = f"{path} does not have {_DIGITS} hexadecimal digits"
        raise _bad(path, field, why, _COPY)
    return key


def _bad(path: Path, field: str, why: str, remedy: str) -> ConfigError:
    return ConfigError(why, field=field, value=str(path), remedy=remedy)


def cipher(key: bytes, salt: bytes, purpose: bytes) -> Any:
    """AES-GCM with the key that belongs to this salt. Raises ``ConfigError`` where the package is missing."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "encryption needs the package cryptography",
            field="--key-file",
            remedy="pipx inject waguard cryptography",
        ) from None
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(key))


def seal(key: bytes, content: bytes, about: bytes) -> bytes:
    """One piece, bound to ``about``, which is not in it."""
    salt = secrets.token_bytes(_SALT)
    sealed: bytes = cipher(key, salt, _PIECE).encrypt(_NONCE, content, about)
    return salt + sealed


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """What ``seal`` was given. Raises ``UnreadableError`` for another key, another ``about``, or a change."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

    try:
        content: bytes = cipher(key, sealed[:_SALT], _PIECE).decrypt(_NONCE, sealed[_SALT:], about)
    except (InvalidTag, ValueError):
        raise UnreadableError(
            "it does not decrypt: the key is another one, or it was changed"
        ) from None
    return content
