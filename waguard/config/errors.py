"""Errors about a key: its name, its value unless it is a secret, and what is allowed."""

from typing import Any, Final

from waguard.config.passwords import has_password
from waguard.errors import ConfigError

_SECRET_SECTIONS: Final = frozenset({"database"})
_SHOWN: Final = 200  # characters of a value in a message


def unknown(name: str, value: Any, known: Any, kind: str) -> ConfigError:
    """There is no such ``kind`` of thing: ``known`` ones are."""
    shown, kept = _shown(name, value)
    return ConfigError(
        f"unknown {kind} (value {shown})",
        field=name,
        value=kept,
        remedy=f"known: {', '.join(sorted(known))}",
    )


def refused(name: str, value: Any, why: str, remedy: str) -> ConfigError:
    """``why`` in words, and the ``remedy`` for it."""
    shown, kept = _shown(name, value)
    return ConfigError(f"{shown} is not allowed: {why}", field=name, value=kept, remedy=remedy)


def _shown(name: str, value: Any) -> tuple[str, Any]:
    """``value`` for a message, and for the error itself; a secret goes into neither."""
    text = repr(value)
    secret = name.partition(".")[0] in _SECRET_SECTIONS or has_password(text)
    if secret or isinstance(value, dict):
        return "(not shown)", None
    return (text if len(text) <= _SHOWN else text[:_SHOWN] + "…"), value
