"""Configuration files with every key, and what they said: a later release reads them, or says what a key became."""

from pathlib import Path
from typing import Any, Final

import msgspec

from tests.golden.formats import KEPT
from waguard.config.reading import read

FOLDER: Final = KEPT / "configuration"


def meaning(path: Path) -> Any:
    """Each section's keys and values, as today's code reads the file, in the types of JSON."""
    found = msgspec.to_builtins(read(path, {}).config, enc_hook=str)
    return msgspec.json.decode(msgspec.json.encode(found))


def write() -> None:
    """What today's code makes of a file whose meaning was not written yet."""
    for path in FOLDER.glob("*.toml"):
        target = path.with_suffix(".json")
        if not target.exists():
            target.write_bytes(msgspec.json.format(msgspec.json.encode(meaning(path)), indent=1))
            print(target)
