"""logfmt: a line of ``key=value`` pairs, where a value that needs it is quoted as in JSON. Pure."""

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any, Final

_BARE: Final = re.compile(r"[!#-<>-~]+").fullmatch
_ODD: Final = re.compile(r"[^ -~]")
_PAIR: Final = re.compile(r'([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s="]*))(?: |\Z)')


def encode(fields: Mapping[str, Any]) -> str:
    """One line, without a line end; each key is a plain word."""
    return " ".join(
        [
            f"{key}={value if type(value) is int else value_of(value)}"
            for key, value in fields.items()
        ]
    )


def value_of(value: Any) -> str:
    """One value. Control characters in it are escaped."""
    text = value if type(value) is str else _text(value)
    if _BARE(text):
        return text
    quoted: str = encode_basestring(text)
    return quoted if quoted.isprintable() else _ODD.sub(_escaped, quoted)


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _escaped(found: re.Match[str]) -> str:
    """As JSON does it; a character beyond 16 bits becomes two halves."""
    character = found[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def parse(line: str) -> dict[str, str] | None:
    """The pairs of a line; None: it is not logfmt."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(line):
        if (pair := _PAIR.match(line, at)) is None:
            return None
        key, quoted, bare = pair.groups()
        try:
            fields[key] = bare if quoted is None else json.loads(f'"{quoted}"')
        except ValueError:
            return None
        at = pair.end()
    return fields or None
