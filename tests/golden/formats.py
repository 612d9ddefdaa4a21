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
    grows: bool = False
    """A JSON object to which ``python -m tests.golden`` adds what it has not."""
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
        read=lambda content, _: misread(content, type(value), msgspec.json),
        means=[],
    )


def misread(content: bytes, kind: Any, codec: Any) -> list[str]:
    """What today's reader of ``kind`` loses of the content. It may have fields that the content has not."""
    return lost(codec.decode(content), codec.decode(codec.encode(codec.decode(content, type=kind))))


def merged(kept: Any, today: Any) -> Any:
    """The kept content, and what today's has beside it."""
    if not isinstance(kept, dict) or not isinstance(today, dict):
        return kept
    return {
        **{key: merged(value, today.get(key)) for key, value in kept.items()},
        **{key: value for key, value in today.items() if key not in kept},
    }


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
