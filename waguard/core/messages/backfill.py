"""Which chats are read for messages that raised no event, how far back, and in which order. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from waguard.core.messages.people import People

DROPPED: Final = "too much waited for the daemon"
"""Why a chat is to be read back whose messages a worker had to drop: no backfill has tried that."""

Chat = tuple[str | None, int | None]
"""A chat's id, None: unreadable; and the unix time of its newest message, 0: none, None: unreadable."""


@dataclass(frozen=True, slots=True)
class Read:
    """One message of a page of history, as far as it matters here."""

    id: str | None
    at: int | None
    """Unix time; None: it cannot be read."""
    raw: Any = field(default=None, repr=False)
    """The whole message, as the page reports it."""


def by_alias(since: Mapping[str, int], people: People) -> dict[str, int]:
    """Give these times to every id of the chats: a number may have a LID by now, and the reverse."""
    found: dict[str, int] = {}
    for chat, at in since.items():
        for alias in people.aliases(chat):
            found[alias] = max(at, found.get(alias, at))
    return found


def with_owed(
    since: Mapping[str, int], owed: Mapping[str, int], floor: int, people: People
) -> dict[str, int]:
    """``since``, under every id of the chats, but no later than what is ``owed`` of one: newer messages of it were reported
    already, and its older ones were not. Nothing before ``floor``: it may have been paired anew since then."""
    found = by_alias(since, people)
    for chat, at in owed.items():
        for alias in people.aliases(chat):
            found[alias] = min(max(at, floor), found.get(alias, max(at, floor)))
    return found


def due(
    chats: Iterable[Chat], since: Mapping[str, int], floor: int, left_out: tuple[str, ...]
) -> dict[str, int]:
    """The chats that may have messages which raised no event, and from when on (unix time)."""
    return {
        chat: since.get(chat, floor)
        for chat, newest in chats
        if chat is not None and not chat.endswith(left_out)
        if newest is None or newest >= since.get(chat, floor)
    }


def deferral(paired_at: float | None, *, quiet: float, now: float) -> float:
    """Seconds until all is read back, ``quiet`` after the pairing at the latest; unix times.

    A client that read its statuses at once after its pairing was unlinked at its first reload, five
    minutes later (OpenWA#1040).
    """
    return 0.0 if paired_at is None else min(quiet, paired_at + quiet - now)


def in_order(page: Sequence[Read]) -> list[Read]:
    """Oldest first. A message without a time gets that of its neighbour, preferably the one before it."""
    ahead = _filled(page)
    both_ways = _filled(ahead[::-1])[::-1]
    return sorted(both_ways, key=lambda one: one.at or 0)


def _filled(page: Sequence[Read]) -> list[Read]:
    filled: list[Read] = []
    for one in page:
        last = filled[-1].at if filled else None
        filled.append(one if one.at is not None else replace(one, at=last))
    return filled


def anchor(page: Sequence[Read], since: int, seen: Collection[str]) -> str | None:
    """The message before which the next page of history begins; None: no further page is needed."""
    news = [one for one in in_order(page) if one.id is not None and one.id not in seen]
    if not news or (news[0].at is not None and news[0].at < since):
        return None
    return news[0].id


def to_backfill(page: Sequence[Read], since: int) -> list[Any]:
    """The messages of a page to report, oldest first; one without a known time may be new."""
    return [one.raw for one in in_order(page) if one.at is None or one.at >= since]
