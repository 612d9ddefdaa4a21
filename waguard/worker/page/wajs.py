"""The script that waguard injects: wa-js, pinned by its sha256."""

import functools
import hashlib
from pathlib import Path
from typing import Final

from loguru import logger

import waguard
from waguard.errors import ConfigError
from waguard.wire.worker import WorkerSpec

PACKED: Final = (
    Path(waguard.__file__).parent / "wajs/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"
)
_SETUP: Final = "install waguard again (in a checkout: `make setup`)"
VERSION: Final = "4.6.0"
SHA256: Final = "5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd"


def bundle(override: Path | None, sha256: str | None = None, *, packed: Path = PACKED) -> str:
    """The script's text. ``sha256`` (hex) is what it must have; without it an ``override`` is an operator's
    own choice and is not checked; without that it is ``packed``. Raises ``ConfigError``."""
    path = override or packed
    wanted = sha256 or (None if override else SHA256)
    if (path, wanted) == (PACKED, SHA256):
        return _packed()
    return _read(path, wanted, chosen=override is not None)


@functools.cache
def _packed() -> str:
    """Read once: a fork server does it, and its workers share the memory."""
    return _read(PACKED, SHA256, chosen=False)


def _read(path: Path, wanted: str | None, *, chosen: bool) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            field="whatsapp.wajs",
            value=str(path),
            remedy="name a readable wa-js bundle" if chosen else _SETUP,
        ) from None
    if wanted and (found := hashlib.sha256(content).hexdigest()) != wanted:
        if chosen:
            raise ConfigError(
                f"{path} is not the wa-js that was chosen: its SHA-256 is {found}",
                field="whatsapp.wajs",
                remedy="add the bundle again",
            )
        raise ConfigError(
            f"{path} is not the wa-js that this version was tested with",
            field="whatsapp.wajs",
            remedy=f"{_SETUP}, or name another bundle on purpose",
        )
    try:
        return content.decode()  # encoded again it is the same
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is not JavaScript: it is not UTF-8",
            field="whatsapp.wajs",
            value=str(path),
            remedy="name a readable wa-js bundle",
        ) from None


def of_spec(spec: WorkerSpec) -> str:
    """What a worker injects. One of waguard's own store that was damaged is not, and no reason to stand
    still. Raises ``ConfigError``."""
    path = Path(spec.wajs) if spec.wajs else None
    try:
        return bundle(path, spec.wajs_sha256)
    except ConfigError as error:
        if path is None or spec.wajs_sha256 is None:
            raise
        logger.warning(
            "the chosen wa-js cannot be used; the packed one is",
            event="wajs_damaged",
            why=error.line(),
        )
        return bundle(None)


def digest(bundle: str) -> str:
    """SHA-256 of a script's text, in hex."""
    return hashlib.sha256(bundle.encode()).hexdigest()
