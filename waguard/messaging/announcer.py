"""The one door for events of messages: what a commit has stored is published here, and nowhere else.

A session's own events come from the bus before they are stored, and are not published again.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from loguru import logger

from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.metrics.families import RECEIVED
from waguard.core.metrics.tally import Tally
from waguard.ports.inbox import Stored

Publish = Callable[..., object]
"""``Bus.publish``."""


class Announcer:
    """``publish`` gets the events, ``tally`` the number of records; who is to be called after a commit joins one of
    the lists. A bug of one ends nobody else."""

    def __init__(self, publish: Publish, tally: Tally | None = None) -> None:
        self._publish = publish
        self._tally = tally or Tally()
        self.on_file: list[Callable[[], object]] = []
        """Called when the file of a message is to be fetched."""
        self.on_ack: list[Callable[[InboxRecord], object]] = []
        """Called with each ack that is news."""
        self.on_queued: list[Callable[[str], object]] = []
        """Called with each endpoint that has more to deliver."""
        self.on_resumed: list[Callable[[], object]] = []
        """Called when the database can be written again."""

    def stored(self, stored: Stored, news: Sequence[InboxRecord]) -> None:
        """Records of one put are stored: first whoever put them knows."""
        with _guarded():
            stored(news)
        for record in news:
            self.announce(record)

    def announce(self, record: InboxRecord) -> None:
        """Publish its events."""
        for it in record.events if record.kind is not Kind.SESSION else ():
            with _guarded():
                about = record.session_id, record.workspace_id
                self._publish(it.event, *about, it.data, stored=True)
        self._tally.add(RECEIVED, 1, record.kind)
        for wake in self.on_file if record.deferred else ():
            with _guarded():
                wake()
        for listener in self.on_ack if record.kind is Kind.ACK else ():
            with _guarded():
                listener(record)

    def queued(self, endpoint: str) -> None:
        """The endpoint has more to deliver."""
        for listener in self.on_queued:
            with _guarded():
                listener(endpoint)

    def resumed(self) -> None:
        """The first commit after a failure."""
        for listener in self.on_resumed:
            with _guarded():
                listener()


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001 - one listener's bug must not end the writer
        logger.exception("a bug in waguard after a write", event="bug")
