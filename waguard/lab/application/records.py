"""What the double knows of its rows beside the table, and what it lost: it lives as long as a test does."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct, field


class Row(Struct, kw_only=True):
    """One message. ``at`` is unix time, ``chat`` the phone of its contact."""

    session: str
    direction: Literal["in", "out"]
    chat: str
    body: str
    at: float
    id: int | None = None
    """In ``chats``; None: there is no such row (yet)."""
    status: str = "pending"
    message_id: str | None = None
    source: Literal["webhook", "send"] = "webhook"
    event_id: str = ""
    """The id of the webhook that made it."""
    media: Mapping[str, Any] | None = None
    answers: list[int | None] = field(default_factory=list)
    """HTTP statuses of the tries to send it; None: no answer."""
    error: str | None = None


class Dropped(Struct, frozen=True, kw_only=True):
    """A webhook that was answered with a 200 and lost all the same."""

    event: str
    session: str
    event_id: str
    about: str
    """The message's id, as far as it has one."""
    why: str
    at: float


class Written(Struct, frozen=True):
    """A status in a row. ``at`` is unix time."""

    session: str
    status: str
    at: float


class Unheard(Struct, frozen=True):
    """A webhook that was handled, but whose answer never arrived: a repetition is excused."""

    event_id: str
    why: Literal["lost", "late"]
    at: float


class Records(Struct):
    """All of it, oldest first."""

    rows: list[Row] = field(default_factory=list)
    """As they were committed."""
    dropped: list[Dropped] = field(default_factory=list)
    unheard: list[Unheard] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    """What its queue wrote into rows of accounts, whatever was true by then."""
    failures: list[str] = field(default_factory=list)
    """What made it fail, as event and reason."""

    def of(self, session: str, direction: str, chat: str | None = None) -> Iterator[Row]:
        """A session's messages, or those of one of its chats."""
        for row in self.rows:
            if (row.session, row.direction) == (session, direction) and chat in {None, row.chat}:
                yield row

    def bodies(self, session: str) -> list[str]:
        """What came in."""
        return [row.body for row in self.of(session, "in")]
