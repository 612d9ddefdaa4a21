"""A mapping that never changes, and its next value in constant time. Pure, as seen from outside.

The newest value has the dictionary. An older one has what undoes the changes since, and makes a dictionary
of its own when it is read (Baker, "Shallow Binding Makes Functional Arrays Fast"). A queue uses its newest
value only, so nothing is copied there, however many chats it has.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


_Before = tuple[K, int | None, V | None]
"""What a change has replaced: its key; when that was added, for the order, None: it was not there; its
value."""


class PersistentMap(Mapping[K, V]):
    """In the order in which its keys were added; ``builder`` begins the next value."""

    __slots__ = ("_builder", "_newer", "_undo")

    def __init__(self, builder: "MapBuilder[K, V] | None" = None) -> None:
        self._builder: MapBuilder[K, V] | None = MapBuilder(self) if builder is None else builder
        self._newer: PersistentMap[K, V] | None = None
        self._undo: list[_Before[K, V]] = []
        """Changes that ``_newer`` has, oldest first."""

    def builder(self) -> "MapBuilder[K, V]":
        """The next value, while it is being made: one at a time."""
        if self._builder is None:
            self._builder, self._newer, self._undo = self._restored(), None, []
        return self._builder

    def follow(
        self, builder: "MapBuilder[K, V]"
    ) -> "tuple[PersistentMap[K, V], list[_Before[K, V]]]":
        """The next value, which has the dictionary from now on; and where its changes have to be recorded."""
        self._builder = None
        self._newer = newer = PersistentMap(builder)
        return newer, self._undo

    def _restored(self) -> "MapBuilder[K, V]":
        newest: PersistentMap[K, V] | None = self
        changes: list[list[_Before[K, V]]] = []
        while newest is not None:
            if newest._builder is not None:  # noqa: SLF001 - another value of its class
                return newest._builder.without(changes, self)  # noqa: SLF001
            changes.append(newest._undo)  # noqa: SLF001
            newest = newest._newer  # noqa: SLF001
        raise AssertionError  # who has no dictionary was followed

    def __getitem__(self, key: K) -> V:
        return self.builder()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(list(self.builder()))  # whoever reads on while the next value is made has all

    def __contains__(self, key: object) -> bool:
        return key in self.builder()

    def __len__(self) -> int:
        return len(self.builder())

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self)!r})"


class MapBuilder(dict[K, V]):
    """The next value of a map while it is being made; read as any dictionary, changed by ``[]``, ``del`` and
    ``pop``."""

    __slots__ = ("_added", "_count", "_log", "_value")

    def __init__(self, value: PersistentMap[K, V]) -> None:
        super().__init__()
        self._value = value
        self._added: dict[K, int] = {}
        self._count = 0
        self._log: list[_Before[K, V]] | None = None

    def finish(self) -> PersistentMap[K, V]:
        """The value; that from which it was made, where nothing was changed."""
        self._log = None
        return self._value

    def without(
        self, changes: list[list[_Before[K, V]]], value: PersistentMap[K, V]
    ) -> "MapBuilder[K, V]":
        """A copy as it was before these changes, the newest of which are last; ``value`` has it."""
        items, added = dict(self), dict(self._added)
        for some in reversed(changes):
            for key, when, before in reversed(some):
                if when is None:
                    del items[key], added[key]
                else:
                    items[key], added[key] = before, when  # type: ignore[assignment] # it was there
        copy = MapBuilder(value)
        for key in sorted(items, key=added.__getitem__):
            dict.__setitem__(copy, key, items[key])
        copy._added, copy._count = added, self._count
        return copy

    def _begin(self) -> list[_Before[K, V]]:
        self._value, self._log = self._value.follow(self)
        return self._log

    def __setitem__(self, key: K, value: V) -> None:
        log = self._begin() if self._log is None else self._log
        added = self._added.get(key)
        if added is None:
            log.append((key, None, None))
            self._count += 1
            self._added[key] = self._count
        else:
            log.append((key, added, self[key]))
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: K) -> None:
        log = self._begin() if self._log is None else self._log
        log.append((key, self._added[key], self[key]))
        del self._added[key]
        dict.__delitem__(self, key)

    def pop(self, key: K) -> None:  # type: ignore[override] # no value is asked for
        """Without it; it may not be there."""
        if key in self:
            del self[key]
