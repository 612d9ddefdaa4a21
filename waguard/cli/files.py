"""Pictures as files of one's own: they show chats, and codes to be scanned."""

import os
import sys
from pathlib import Path
from typing import Final

from waguard.errors import ConfigError

STDOUT: Final = Path("-")


def save(content: bytes, target: Path) -> None:
    """Write a new file (0600), or stdout for ``-``. Raises ``ConfigError``; nothing is overwritten."""
    if target == STDOUT:
        if sys.stdout.isatty():
            raise ConfigError("a terminal shows no PNG", field="FILE", remedy="name a file")
        sys.stdout.buffer.write(content)
        return
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be made: {error.strerror}",
            field="FILE",
            remedy="name a new file in a folder that is there",
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ConfigError(f"{target} cannot be written: {error.strerror}", field="FILE") from None
    print(target)
