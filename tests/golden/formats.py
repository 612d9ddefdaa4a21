"""One format that is persisted or spoken: how today's code writes and reads it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

KEPT: Final = Path(__file__).parent / "kept"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A golden file: its ``name`` below ``kept/``."""

    name: str
    write: Callable[[Path], bytes]
    """Today's writer; it may use the empty folder that it is given."""
    read: Callable[[bytes, Path], Any]
    """Today's reader of such bytes, with an empty folder to put them into."""
    means: Any
    """What the reader makes of it."""
    decode: Callable[[bytes], Any] = msgspec.json.decode
    """The content as dictionaries, lists and values: what a reader of any version sees."""
    own: frozenset[str] = frozenset()
    """Keys whose values are of the process that writes: only their types are compared."""

    @property
    def path(self) -> Path:
        """Where the golden file is."""
        return KEPT / self.name


def as_json(name: str, value: Any) -> Format:
    """A value that is written as JSON and read as its own type."""
    return Format(
        name=name,
        write=lambda _: msgspec.json.encode(value),
        read=lambda content, _: msgspec.json.decode(content, type=type(value)),
        means=value,
    )


def lost(before: Any, after: Any, own: frozenset[str] = frozenset()) -> list[str]:
    """What a reader of ``before`` would miss in ``after``: keys that are gone, values of another type or content."""
    return list(_lost(before, after, own, "$", values=True))


def _lost(before: Any, after: Any, own: frozenset[str], at: str, *, values: bool) -> Iterator[str]:
    if type(before) is not type(after):
        yield f"{at}: {type(before).__name__} is {type(after).__name__}"
    elif isinstance(before, Mapping):
        for key, value in before.items():
            if key not in after:
                yield f"{at}.{key} is gone"
            else:
                compared = values and key not in own
                yield from _lost(value, after[key], own, f"{at}.{key}", values=compared)
    elif isinstance(before, Sequence) and not isinstance(before, str | bytes):
        if len(before) != len(after):
            yield f"{at}: {len(before)} elements are {len(after)}"
        for number, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from _lost(old, new, own, f"{at}[{number}]", values=values)
    elif values and before != after:
        yield f"{at}: {before!r} is {after!r}"
