"""SQL statements are compiled once for all tests: each has a store of its own, whose engines would compile them again."""

from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

_ROOM: Final = 2_000  # more than there are for three kinds of databases


class _Compiled:
    """What an engine keeps its compiled statements in; the same for all whose SQL is the same."""

    def __init__(self) -> None:
        self._kept = LRUCache[Any, Any](_ROOM)

    def get(self, key: tuple[Any, ...]) -> Any:
        return self._kept.get((_kind(key[0]), *key[1:]))

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._kept[_kind(key[0]), *key[1:]] = compiled


def _kind(dialect: Any) -> tuple[object, ...]:
    """What decides how it writes a statement; the version is known once it has connected."""
    version = getattr(dialect, "server_version_info", None)
    quotes = dialect.identifier_preparer.initial_quote
    return type(dialect), version, getattr(dialect, "is_mariadb", None), quotes


def compile_once() -> None:
    """From now on, in this process; what an engine makes for itself is not used."""
    compiled = _Compiled()
    Engine._compiled_cache = property(lambda _: compiled, lambda _, __: None)  # type: ignore[assignment]
