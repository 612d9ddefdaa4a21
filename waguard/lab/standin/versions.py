"""The revisions of WhatsApp Web: which of them the network serves to whom, and what is wrong with each.

Read (wwebjs#201864, waha#2191, wppconnect#1553; 2026): several builds a day; one may break what drives the
page, for all accounts or for a part; builds older than about three months are refused, all sessions at
once. The scripts of older ones stay on the CDN for months. Assumed: how the page is broken, in detail.
"""

from typing import Any, Final, Literal

from msgspec import Struct

REVISION: Final = 1045220589
"""What is there from the start."""
STEP: Final = 1000
"""From one build to the next, where no number is named."""

Way = Literal[
    "",
    "renamed",
    "convention",
    "never_ready",
    "unregistered",
    "unacked",
    "deaf",
    "too_old",
    "throws",
    "reloads",
    "spins",
]
"""How a build breaks what drives it: an export that wa-js looks for has another name; a function that it
calls has other parameters, and throws; wa-js never becomes ready, or finds no module at all; the server
never answers what it sends; messages come and raise no event; the server refuses it as too old; its start
throws, and the page never reports its state; the page loads itself again soon after it is connected, each time, or its
script does not end."""

Accounts = frozenset[str]
"""Phone numbers."""


class Revision(Struct):
    """A build."""

    number: int
    way: Way = ""
    broken_for: Accounts | None = None
    """None: for all."""
    served_to: Accounts | None = None
    """None: to all, also to browsers that are not linked."""
    on_cdn: bool = True

    @property
    def version(self) -> str:
        """As the page itself says it."""
        return f"2.3000.{self.number}"

    def is_broken(self, way: Way, phone: str) -> bool:
        """In this way, for this account."""
        return self.way == way and (self.broken_for is None or phone in self.broken_for)

    def to_json(self) -> dict[str, Any]:
        """For the phone."""
        return {
            "revision": self.number,
            "way": self.way,
            "broken_for": None if self.broken_for is None else sorted(self.broken_for),
            "served_to": None if self.served_to is None else sorted(self.served_to),
            "on_cdn": self.on_cdn,
        }


class Versions:
    """All builds, in the order of their publication: the last one is what is served."""

    def __init__(self) -> None:
        self.oldest_accepted = 0
        self._published = {REVISION: Revision(REVISION)}

    @property
    def known(self) -> list[Revision]:
        """The one that was published last comes last."""
        return list(self._published.values())

    def get(self, number: int) -> Revision | None:
        """None: there is no such build."""
        return self._published.get(number)

    def served(self, phone: str | None = None) -> Revision:
        """To a browser of this account; None: to one that is linked to none."""
        for revision in reversed(self.known):
            if revision.served_to is None or phone in revision.served_to:
                return revision
        return self._published[min(self._published)]

    def publish(
        self,
        number: int | None = None,
        way: Way = "",
        broken_for: Accounts | None = None,
        served_to: Accounts | None = None,
    ) -> Revision:
        """From now on the network serves it; None: the next number. A known number is served again."""
        number = max(self._published) + STEP if number is None else number
        self._published.pop(number, None)
        made = self._published[number] = Revision(number, way, broken_for, served_to)
        return made

    def is_refused(self, number: int, phone: str) -> bool:
        """By the server, as too old."""
        revision = self._published.get(number)
        broken = revision is not None and revision.is_broken("too_old", phone)
        return broken or number < self.oldest_accepted
