"""The revisions of WhatsApp Web: what the network serves to whom."""

from dataclasses import dataclass
from typing import Final

REVISION: Final = 1045220589
"""What is there from the start."""


@dataclass
class Revision:
    """A build: its document, and its scripts on the CDN."""

    number: int

    @property
    def version(self) -> str:
        """As the page itself says it."""
        return f"2.3000.{self.number}"


class Versions:
    """All builds that the CDN has."""

    def __init__(self) -> None:
        self.known: dict[int, Revision] = {REVISION: Revision(REVISION)}

    def served(self) -> Revision:
        """The newest."""
        return self.known[max(self.known)]
