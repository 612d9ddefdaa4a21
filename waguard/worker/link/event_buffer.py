"""Events that no daemon has stored yet, in order. Where they are too many, one makes room: acks are dropped before
messages, and of messages a gap stays, for each chat one. What that costs does not grow with their number."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec
from loguru import logger

from waguard.core.messages.backfill import DROPPED
from waguard.wire.events import Ack, BackfillGap, Event, InboundMessage, Undecryptable


class EventBuffer:
    """``most`` events, and as many gaps of what was dropped."""

    def __init__(self, most: int, earlier: Iterable[Event]) -> None:
        self._most = most
        self._events = OrderedDict[int, Event]()
        self._acks = OrderedDict[int, None]()
        self._others = OrderedDict[int, None]()
        """All but the gaps of what was dropped, acks too."""
        self._gaps = OrderedDict[str, int]()
        """By chat, where the gap of what was dropped is."""
        for event in earlier:
            self._add(event)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events.values())

    def append(self, event: Event) -> BackfillGap | None:
        """Keep another one; the gap in the place of a message that is dropped for it."""
        gap = self._make_room() if len(self._others) >= self._most else None
        self._add(event)
        return gap

    def has(self, seq: int) -> bool:
        """Whether one up to ``seq`` is not stored yet."""
        return bool(self._events) and next(iter(self._events)) <= seq

    def stored(self, seq: int) -> None:
        """A daemon has all up to ``seq``."""
        while self.has(seq):
            number, event = self._events.popitem(last=False)
            self._acks.pop(number, None)
            self._others.pop(number, None)
            if isinstance(event.body, BackfillGap) and self._gaps.get(event.body.chat) == number:
                del self._gaps[event.body.chat]

    def _add(self, event: Event) -> None:
        self._events[event.seq] = event
        if isinstance(event.body, BackfillGap) and event.body.why == DROPPED:
            self._gaps[event.body.chat] = event.seq
            return
        self._others[event.seq] = None
        if isinstance(event.body, Ack):
            self._acks[event.seq] = None

    def _make_room(self) -> BackfillGap | None:
        number = next(iter(self._acks or self._others))
        self._acks.pop(number, None)
        del self._others[number]
        victim = self._events[number]
        _log_dropped(victim)
        if (gap := self._gap_of(victim)) is None:
            del self._events[number]
            return None
        # in its place, so that what is newer in its chat comes behind
        self._events[number] = msgspec.structs.replace(victim, body=gap)
        self._gaps[gap.chat] = number
        if len(self._gaps) > self._most:
            _log_dropped(self._events.pop(self._gaps.popitem(last=False)[1]))
        return gap

    def _gap_of(self, victim: Event) -> BackfillGap | None:
        """Have its chat read back since then, and since what was dropped of it before. None: it is of no chat."""
        match victim.body:
            case (
                InboundMessage(chat=chat, timestamp=since)
                | Undecryptable(chat=chat, timestamp=since)
            ):
                pass
            case BackfillGap(chat=chat, since=int() as since):
                pass
            case _:
                return None
        if (number := self._gaps.pop(chat, None)) is not None:
            before = self._events.pop(number).body
            if isinstance(before, BackfillGap) and before.since is not None:
                since = min(since, before.since)
        return BackfillGap(chat=chat, why=DROPPED, since=since)


def _log_dropped(event: Event) -> None:
    logger.error(
        "event dropped: no daemon stored it", event="event_dropped", kind=type(event.body).__name__
    )
