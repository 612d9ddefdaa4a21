"""Contacts that an account knows by a LID, a private number of WhatsApp's own.

Read (wa-js): ``findOrCreateLatestChat`` of the number leads to the LID's chat, the collection has no
chat of the number, and ``lidPnCache`` may fill later. Assumed: what was stored of the old chat is
renamed with it, keys included; the server takes both names of one message for the same one.
"""

from msgspec import Struct, field

NUMBER, LID = "@c.us", "@lid"


class Lids(Struct):
    """The LIDs of one account. ``current`` is the LID of a number, both as wids."""

    current: dict[str, str] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)
    """The number of every LID that there ever was."""
    hidden: set[str] = field(default_factory=set)
    """Numbers that the page's ``lidPnCache`` does not know yet."""

    def chat_of(self, wid: str) -> str:
        """Under which id this person's chat stands now."""
        return self.current.get(self.number_of(wid), wid)

    def number_of(self, wid: str) -> str:
        return self.former.get(wid, wid)

    def renamed(self, message_id: str) -> str:
        """The id that a message has now."""
        from_me, chat, stem, *author = message_id.split("_")
        return "_".join([from_me, self.chat_of(chat), stem, *author])

    def by_number(self, message_id: str) -> str:
        """The id as one knows it who knows people by their numbers."""
        from_me, chat, stem, *author = message_id.split("_")
        return "_".join([from_me, self.number_of(chat), stem, *map(self.number_of, author)])

    def move(self, number: str, lid: str, *, known: bool) -> str:
        """From now on it is this LID; what it was before."""
        before = self.chat_of(number)
        self.current[number], self.former[lid] = lid, number
        (self.hidden.discard if known else self.hidden.add)(number)
        return before

    def pairs(self) -> list[list[str | bool]]:
        """What a page hears: number, LID, whether its cache knows it."""
        return [[n, lid, n not in self.hidden] for n, lid in self.current.items()]
