"""The history: rings of numbers over time in one file, whose slots say themselves of which span they are. Pure.

First come the names, then three rings: the fleet's series each minute for a day, their means over ten minutes for 30 days,
memory and CPU of each session each five minutes for a day. A slot that is damaged, or of another span than the one that is
asked for, is unknown, and so is a time in which no daemon ran: NaN. Series are only added.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import msgspec

FLEET: Final = (
    "sessions",
    "connected",
    "conditions",
    "workers",
    "restarts",
    "memory",
    "cpu",
    "daemon_memory",
    "daemon_cpu",
    "sent",
    "received",
    "queued",
    "webhooks_waiting",
    "webhooks_age",
    "dead_letters",
    "send_seconds",
)
"""Memory in bytes, CPU in percent of a core, age and time to send in seconds, all others are counts; of restarts, and of messages
that were sent or received, those of a minute."""
SESSION: Final = ("memory", "cpu")
DAY: Final = 86_400
NAN: Final = math.nan
_MAGIC: Final = b"waguard history 1\n"
_HEAD: Final = struct.Struct("<II")  # bytes of the names, their checksum
_SUM: Final = struct.Struct("<I")
_BLOCK: Final = 4096
_MINUTES: Final = 10  # of a mean


class Ring(NamedTuple):
    """Slots of ``step`` seconds with ``width`` numbers each; after the last one comes the first."""

    begin: int
    step: int
    slots: int
    width: int

    @property
    def size(self) -> int:
        """Bytes of a slot: checksum, number of its span, values."""
        return 8 + 4 * self.width

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.begin + self.slots * self.size

    def span(self, at: float) -> int:
        """The number of the span that a unix time is in."""
        return int(at // self.step)

    def offset(self, span: int) -> int:
        """Where the slot of a span begins in the file."""
        return self.begin + span % self.slots * self.size

    def encoded(self, span: int, values: Sequence[float]) -> bytes:
        """The slot of a span."""
        content = struct.pack(f"<I{self.width}f", span, *values)
        return _SUM.pack(zlib.crc32(content)) + content

    def decoded(self, slot: bytes) -> tuple[int, tuple[float, ...]] | None:
        """The number of its span, and its values; None: it was never written, or not wholly."""
        if _SUM.unpack_from(slot)[0] != zlib.crc32(slot[4:]):
            return None
        span, *values = struct.unpack(f"<I{self.width}f", slot[4:])
        return span, tuple(values)

    def values(self, content: bytes, span: int) -> tuple[float, ...] | None:
        """The values of a span, of the file's content; None: they are unknown."""
        offset = self.offset(span)
        found = self.decoded(content[offset : offset + self.size])
        return found[1] if found and found[0] == span else None


class _Names(msgspec.Struct):
    fleet: tuple[str, ...]
    sessions: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """Which series a file has, and where."""

    fleet: tuple[str, ...] = FLEET
    sessions: tuple[str, ...] = ()

    @cached_property
    def head(self) -> bytes:
        """What the file begins with, in whole blocks."""
        names = msgspec.json.encode(_Names(self.fleet, self.sessions))
        head = _MAGIC + _HEAD.pack(len(names), zlib.crc32(names)) + names
        return head.ljust(-(-len(head) // _BLOCK) * _BLOCK, b"\0")

    @cached_property
    def minutes(self) -> Ring:
        """The fleet's series."""
        return Ring(len(self.head), 60, DAY // 60, len(self.fleet))

    @cached_property
    def means(self) -> Ring:
        """The fleet's series over a longer time."""
        step = 60 * _MINUTES
        return Ring(self.minutes.end, step, 30 * DAY // step, len(self.fleet))

    @cached_property
    def of_sessions(self) -> Ring:
        """``SESSION`` of each."""
        return Ring(self.means.end, 300, DAY // 300, len(SESSION) * len(self.sessions))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.of_sessions.end

    @property
    def empty(self) -> bytes:
        """A file in which all is unknown."""
        return self.head.ljust(self.size, b"\0")

    def has(self, sessions: Collection[str]) -> bool:
        """Whether there is a place for each of them, and for each series."""
        return set(self.sessions).issuperset(sessions) and set(self.fleet).issuperset(FLEET)


def layout_of(content: bytes) -> Layout:
    """The layout that a file has. Raises ``ValueError`` where it is damaged, or of another version."""
    begin = len(_MAGIC) + _HEAD.size
    if content[: len(_MAGIC)] != _MAGIC or len(content) < begin:
        raise ValueError("it is not a history of this version")
    length, checksum = _HEAD.unpack_from(content, len(_MAGIC))
    names = content[begin : begin + length]
    if zlib.crc32(names) != checksum:
        raise ValueError("its head is damaged")
    found = msgspec.json.decode(names, type=_Names)
    layout = Layout(found.fleet, found.sessions)
    if len(content) != layout.size:
        raise ValueError(f"it has {len(content)} bytes, and {layout.size} are expected")
    return layout


def with_places(content: bytes, layout: Layout, sessions: Collection[str], *, now: float) -> bytes:
    """The file with places for these sessions, too, and for every series; sessions that were not measured for a day leave.
    ``now`` is unix time."""
    ring = layout.of_sessions
    rows = [ring.values(content, ring.span(now) - age) for age in range(ring.slots)]
    known = {
        name
        for number, name in enumerate(layout.sessions)
        if any(row and not math.isnan(row[len(SESSION) * number]) for row in rows)
    }
    fleet = (*layout.fleet, *(it for it in FLEET if it not in layout.fleet))
    target = Layout(fleet, tuple(sorted(known.union(sessions))))
    of_fleet = _places(layout.fleet, target.fleet, 1)
    of_each = _places(layout.sessions, target.sessions, len(SESSION))
    result = bytearray(target.empty)
    for before, after, places in (
        (layout.minutes, target.minutes, of_fleet),
        (layout.means, target.means, of_fleet),
        (layout.of_sessions, target.of_sessions, of_each),
    ):
        for slot in range(before.slots):
            begin = before.begin + slot * before.size
            if found := before.decoded(content[begin : begin + before.size]):
                span, values = found
                moved = [NAN if it is None else values[it] for it in places]
                offset = after.offset(span)
                result[offset : offset + after.size] = after.encoded(span, moved)
    return bytes(result)


def _places(before: Sequence[str], after: Sequence[str], width: int) -> list[int | None]:
    """Where each number of a slot was before, of names with ``width`` numbers each; None: nowhere."""
    known = {name: number for number, name in enumerate(before)}
    found = ((known.get(name), part) for name in after for part in range(width))
    return [None if number is None else width * number + part for number, part in found]


def due(last: int | None, now: int) -> range:
    """Spans that are written now: this one, and one that was left out since ``last``, for ticks are a little longer than a
    minute. More of them are unknown."""
    return range(now - 1, now + 1) if last == now - 2 else range(now, now + 1)


def mean(rows: Iterable[Sequence[float] | None], width: int) -> list[float]:
    """The mean of each column, without what is unknown."""
    known = [row for row in rows if row is not None]
    columns = zip(*known, strict=True) if known else [()] * width
    return [_mean([it for it in column if not math.isnan(it)]) for column in columns]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else NAN
