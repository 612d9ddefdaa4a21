"""The one door for events of messages: what a commit has stored is published here, and nowhere else.

A session's own events come from the bus before they are stored, and are not published again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger

from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.ports.inbox import Stored

Publish = Callable[..., object]
"""``Bus.publish``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitListener:
    """What a part is called with after a commit."""

    acked: Callable[[InboxRecord], None] = lambda _: None
    """Each ack that is news."""
    queued: Callable[[str], None] = lambda _: None
    """Each endpoint that has more to deliver."""
    resumed: Callable[[], None] = lambda: None
    """The database can be written again."""
    stored: Callable[[InboxRecord], None] = lambda _: None
    """Each record that is news, of whatever kind."""


class Announcer:
    """``publish`` gets the events, listeners what concerns them. A bug of one ends nobody else."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._listeners: list[CommitListener] = []

    def subscribe(self, listener: CommitListener) -> None:
        """From now on it is called after each commit, in the order of the subscriptions."""
        self._listeners.append(listener)

    def stored(self, stored: Stored, news: Sequence[InboxRecord]) -> None:
        """Records of one put are stored: first whoever put them knows."""
        _guard(stored, news)
        for record in news:
            self.announce(record)

    def announce(self, record: InboxRecord) -> None:
        """Publish its events."""
        if record.kind is not Kind.SESSION:
            for it in record.events:
                _guard(self._publish_one, (record, it.event, it.data))
        for listener in self._listeners:
            _guard(listener.stored, record)
            if record.kind is Kind.ACK:
                _guard(listener.acked, record)

    def queued(self, endpoint: str) -> None:
        """The endpoint has more to deliver."""
        for listener in self._listeners:
            _guard(listener.queued, endpoint)

    def resumed(self) -> None:
        """The first commit after a failure."""
        for listener in self._listeners:
            listener.resumed()

    def _publish_one(self, what: tuple[InboxRecord, str, Any]) -> None:
        record, event, data = what
        self._publish(event, record.session_id, record.workspace_id, data, stored=True)


def _guard(call: Callable[[Any], None], given: object) -> None:
    try:
        call(given)
    except Exception:  # noqa: BLE001 - one listener's bug must not end the writer
        logger.exception("a bug in waguard after a write", event="bug")
