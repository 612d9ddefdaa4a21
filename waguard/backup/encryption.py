"""An encrypted stream: AES-256-GCM in chunks, each with its number and whether it is the last one in its nonce.

So a chunk that is missing, moved or cut off does not decrypt. The key of each stream is derived from the given one
with a salt of its own, hence nonces begin at 0. The header is bound to all chunks by that derivation.
"""

import secrets
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.small_file import UnreadableError

MAGIC: Final = b"waguard backup 1\n"
CHUNK: Final = 1 << 16  # bytes of plain text
_SALT: Final = 16  # bytes
_TAG: Final = 16  # bytes
_DIGITS: Final = 64
_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO


def read_key(path: Path) -> bytes:
    """The key of a file: 64 hexadecimal digits, which a group may read and nobody else. Raises ``ConfigError``."""
    try:
        text = small_file.read(path, named=True).decode().strip()
        if path.stat().st_mode & _OPEN:
            raise _bad(path, f"{path} is open to other users", f"chmod 640 {path}")
        key, length = bytes.fromhex(text), len(text)
    except (OSError, UnreadableError) as error:
        raise _bad(path, f"{path} cannot be read: {error}", _MAKE.format(path)) from None
    except ValueError:
        key, length = b"", 0
    if length != _DIGITS:
        raise _bad(path, f"{path} does not have {_DIGITS} hexadecimal digits", _MAKE.format(path))
    return key


_MAKE: Final = "make one: (umask 077; openssl rand -hex 32 > {})"


def _bad(path: Path, why: str, remedy: str) -> ConfigError:
    return ConfigError(why, field="--key-file", value=str(path), remedy=remedy)


def _cipher(key: bytes, salt: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "encrypted backups need the package cryptography",
            field="--key-file",
            remedy="pipx inject waguard cryptography",
        ) from None
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=MAGIC).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class Encrypting:
    """A stream to be written; ``close`` writes its end, and leaves ``raw`` open."""

    def __init__(self, raw: BinaryIO, key: bytes) -> None:
        salt = secrets.token_bytes(_SALT)
        self._raw, self._cipher = raw, _cipher(key, salt)
        self._waiting, self._number = bytearray(), 0
        raw.write(MAGIC + salt)

    def write(self, content: bytes) -> int:
        """Keep the last chunk until it is known whether another one follows."""
        self._waiting += content
        while len(self._waiting) > CHUNK:
            self._put(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(content)

    def tell(self) -> int:
        """Where a tar begins in it."""
        return 0

    def close(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _put(self, content: bytes, *, last: bool) -> None:
        self._raw.write(self._cipher.encrypt(_nonce(self._number, last=last), content, None))
        self._number += 1


class Decrypting:
    """A stream to be read; ``raw`` stands behind ``MAGIC``. What ``read`` returns was written with this key, in this place."""

    def __init__(self, raw: BinaryIO, key: bytes) -> None:
        self._raw, self._cipher = raw, _cipher(key, raw.read(_SALT))
        self._next = raw.read(CHUNK + _TAG)
        self._plain, self._number, self._ended = b"", 0, False

    def read(self, size: int) -> bytes:
        """At most so many bytes; b"": the stream has ended. Raises ``UnreadableError``."""
        parts, missing = [], size
        while missing:
            if not self._plain and not self._fill():
                break
            part, self._plain = self._plain[:missing], self._plain[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _fill(self) -> bool:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

        if self._ended:
            return False
        chunk, self._next = self._next, self._raw.read(CHUNK + _TAG)
        self._ended = not self._next
        try:
            nonce = _nonce(self._number, last=self._ended)
            self._plain = self._cipher.decrypt(nonce, chunk, None)
        except (InvalidTag, ValueError):
            raise UnreadableError(
                "it does not decrypt: the key is another one, or the file was changed or cut off"
            ) from None
        self._number += 1
        return bool(self._plain)
