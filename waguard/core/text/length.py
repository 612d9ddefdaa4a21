"""How much text a value holds that will be JSON, found without encoding it. Pure."""

from collections.abc import Mapping


def characters(value: object) -> int:
    """How long all texts within are, in characters."""
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(map(characters, value.values()))
        case list() | tuple():
            return sum(map(characters, value))
        case _:
            return 0
