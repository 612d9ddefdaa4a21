"""The script that waguard injects: wa-js, pinned by its sha256."""

import hashlib
from pathlib import Path
from typing import Final

from waguard.errors import ConfigError

PACKED: Final = (
    Path(__file__).parent.parent / "wajs/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"
)
SHA256: Final = "5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd"


def bundle(override: Path | None) -> str:
    """The script's text. An ``override`` is ops' own choice and is not checked."""
    path = override or PACKED
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            field="whatsapp.wajs",
            value=str(path),
            remedy="run `make setup`" if override is None else "name a readable wa-js bundle",
        ) from None
    if override is None and hashlib.sha256(content).hexdigest() != SHA256:
        raise ConfigError(
            f"{path} is not the wa-js that this version was tested with",
            field="whatsapp.wajs",
            remedy="run `make setup` again, or name another bundle on purpose",
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is no JavaScript: it is not UTF-8",
            field="whatsapp.wajs",
            value=str(path),
            remedy="name a readable wa-js bundle",
        ) from None
