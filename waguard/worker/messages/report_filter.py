"""Which of what the page reports goes to the daemon: nothing of chats that are left out, no echo of what was sent here, no
sentinel."""

from collections import OrderedDict
from typing import Any, Final

from waguard.core.messages.message_ids import parse
from waguard.core.messages.people import People
from waguard.wire.events import InboundMessage, Incoming, IncomingCall
from waguard.worker.messages.sentinel import Sentinels

# what a chat holds beside messages
NO_MESSAGES: Final = frozenset(
    {"call_log", "e2e_notification", "gp2", "notification_template", "protocol"}
)
GROUP: Final = "@g.us"


class ReportFilter:
    """``left_out``: how the ids of chats end of which nothing is reported; ``remembered``: how many of our own ids."""

    def __init__(self, left_out: tuple[str, ...], people: People, *, remembered: int) -> None:
        self._left_out = left_out
        self._people = people
        self._remembered = remembered
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Our own, by stem and chat as it was asked for."""
        self.sentinels = Sentinels()

    def sends(self, message_id: str) -> None:
        """This id is ours: the page will show the message, and whoever sent it knows it."""
        if key := parse(message_id):
            remember(self._sent, (key.stem, key.chat), self._remembered)

    def includes(self, item: Incoming) -> bool:
        """Whether it is reported."""
        groups_call = isinstance(item, IncomingCall) and item.group
        if (GROUP if groups_call else item.chat).endswith(self._left_out):
            return False
        if not isinstance(item, InboundMessage):
            return True
        return not (item.from_me and self._is_echo(item)) and item.kind not in NO_MESSAGES

    def _is_echo(self, item: InboundMessage) -> bool:
        """Whether it is what was sent here, or a sentinel."""
        key = parse(item.id)
        if self.sentinels.is_one(item, key):
            return True
        # a stem alone says nothing: whoever writes chooses it
        return key is not None and any(
            (key.stem, chat) in self._sent for chat in self._people.aliases(key.chat)
        )


def remember(known: OrderedDict[Any, None], key: Any, limit: int) -> None:
    """Add a key; of more than ``limit`` the oldest goes."""
    known[key] = None
    if len(known) > limit:
        known.popitem(last=False)
