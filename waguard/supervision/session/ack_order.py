"""Acks of a message only go forward: the application would take a late one for the newest."""

from collections import OrderedDict
from typing import Final

from waguard.wire.events import Ack

REMEMBERED: Final = 5_000  # messages a session
_ERROR: Final = -1


class AckOrder:
    """Remembers the highest ack of each message of one session."""

    def __init__(self) -> None:
        self._highest: OrderedDict[str, int] = OrderedDict()

    def forward(self, ack: Ack) -> Ack | None:
        """The ack for those messages for which it is news; None: for none of them.

        An error is news only for a message that the server has not acknowledged.
        """
        news = tuple(message_id for message_id in ack.ids if self._is_news(message_id, ack.ack))
        for message_id in news:
            self._highest[message_id] = ack.ack
            self._highest.move_to_end(message_id)
        while len(self._highest) > REMEMBERED:
            self._highest.popitem(last=False)
        return Ack(ids=news, chat=ack.chat, ack=ack.ack) if news else None

    def _is_news(self, message_id: str, ack: int) -> bool:
        known = self._highest.get(message_id)
        if known is None:
            return True
        return known == 0 if ack == _ERROR else ack > known
