"""Events that a host hands to the owner of their session: as its worker had kept them, or as the journal had them."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from waguard.core.cluster.left_events import in_parts
from waguard.core.messages.inbox import InboxRecord
from waguard.wire.bounds import Private
from waguard.wire.events import Event


class LeftEvents(Private, frozen=True, kw_only=True):
    """Both in the order of their coming; a request has one or the other."""

    events: tuple[Event, ...] = ()
    """What a worker kept: nothing was made of it yet."""
    records: tuple[InboxRecord, ...] = ()
    """What was refused by the database. Their files are kept already."""


_DECODER: Final = msgspec.msgpack.Decoder(LeftEvents)


def encoded(it: LeftEvents) -> bytes:
    """As it is sent."""
    return msgspec.msgpack.encode(it)


def decoded(content: bytes) -> LeftEvents:
    """Raises ``ValueError`` for anything else."""
    try:
        return _DECODER.decode(content)
    except RecursionError:
        raise ValueError("it is nested without an end") from None


def parts_of(events: Sequence[Event], records: Sequence[InboxRecord]) -> Iterator[bytes]:
    """What each request carries."""
    for some in in_parts([len(msgspec.msgpack.encode(it)) for it in events]):
        yield encoded(LeftEvents(events=tuple(events[some])))
    for some in in_parts([len(msgspec.msgpack.encode(it)) for it in records]):
        yield encoded(LeftEvents(records=tuple(records[some])))
