"""What a commit without an answer may have stored: it is announced when it is written again."""

from collections.abc import Collection, Sequence

from waguard.core.messages.inbox import InboxRecord
from waguard.ports.messages import Written
from waguard.store.types import storable

Name = tuple[str, str]
"""A session and a key, as the inbox has them."""


def _name(record: InboxRecord) -> Name:
    return record.session_id, storable(record.key)


class Unheard:
    """Empty but after an outage."""

    def __init__(self) -> None:
        self._news: set[Name] = set()
        self._reported: dict[Name, InboxRecord] = {}

    def add(self, written: Written) -> None:
        """Nobody has heard of it; it may be stored or not."""
        fresh = zip(written.received, written.news, strict=True)
        self._news |= {_name(one) for one, is_news in fresh if is_news}
        self._reported |= {_name(one): one for one in written.reported}

    def remove(self, written: Written) -> None:
        """A commit was answered: that is announced now."""
        if self._news or self._reported:
            self._news.difference_update(map(_name, written.received))
            for one in written.reported:
                self._reported.pop(_name(one), None)

    def is_news(self, record: InboxRecord) -> bool:
        """Whether nobody has heard of it, stored or not."""
        return bool(self._news) and _name(record) in self._news

    def reported(self, known: Collection[Name]) -> Sequence[InboxRecord]:
        """How messages ended, as far as it is stored: its key is one of the ``known``."""
        return [one for name, one in self._reported.items() if name in known]
