"""Where a client of the event stream is in the events of each host. Pure.

The numbers of two hosts have nothing to do with each other, so a client has one for each host: ``h1:7,h2:9``. Each host
still knows those of its events that are after one number, up to another. Once it is started again, its numbers begin
elsewhere, nearly always higher, and what it published before is not known any more.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from waguard.core.cluster.forwarded_request import MOST_OFF
from waguard.core.replace import replace

HEADER: Final = "X-Host-Events"
"""What a host answers to another one has it: ``Extent`` as text."""
_EXTENT: Final = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9]{1,19})-([0-9]{1,19})")


class Change(StrEnum):
    """What a client of the stream has to know of a host, in words."""

    AWAY = "away"
    """None of its events come."""
    BACK = "back"
    """They come again, from where they ended."""
    MISSING = "some events may be missing"
    """Some that the client has not got are not known any more."""


class Extent(NamedTuple):
    """Which of its events a host still knows: those after ``after``, up to ``newest``."""

    host: str
    after: int
    newest: int


class Place(Struct, frozen=True):
    """Where a client is in the events of one host, which has not ended."""

    number: int | None
    """The client has what comes up to it; 0: nothing, and wants all that is known; None: it wants what happens from now on."""
    since: float | None = None
    """Unix time at which a client came that has said nothing; None: it has said where it was."""
    is_away: bool = False
    old_until: int = 0
    """Events up to this one may be of before the client came."""


def read(text: str, own: str) -> dict[str, int]:
    """The numbers by host, of what has the form of an id: a number alone is the ``own`` host's. Of two the lower one
    counts."""
    found: dict[str, int] = {}
    for one in text.split(","):
        host, _, number = one.rpartition(":")
        name = host or own
        found[name] = min(int(number), found.get(name, int(number)))
    return found


def written(numbers: Mapping[str, int]) -> str:
    """The id."""
    return ",".join(f"{host}:{number}" for host, number in sorted(numbers.items()))


def extent_written(it: Extent) -> str:
    """In the characters of a header."""
    return f"{it.host}:{it.after}-{it.newest}"


def extent_read(text: str) -> Extent | None:
    """None: it is none."""
    found = _EXTENT.fullmatch(text)
    return Extent(found[1], int(found[2]), int(found[3])) if found else None


def begin(given: Mapping[str, int] | None, hosts: Iterable[str], *, now: float) -> dict[str, Place]:
    """The places of a client in the events of these ``hosts``, which live. ``given``: what it has said; None: nothing."""
    if given is None:
        return {it: Place(None, since=now) for it in hosts}
    return {it: Place(given.get(it, 0)) for it in {*hosts, *given}}


def newcomer(*, since: float | None) -> Place:
    """The place in the events of a host that appears while the client listens."""
    return Place(0, since=since)


def resumed(number: int | None, extent: Extent) -> int:
    """After which event those follow that a host with this extent sends to whom has ``number``. One that it has not
    published in this life is as good as none: its clock was set back."""
    if number is None:
        return extent.newest
    return number if extent.after <= number <= extent.newest else extent.after


def reached(place: Place, extent: Extent) -> tuple[Place, tuple[Change, ...]]:
    """The host sends what comes after the place's number; what the client has to know of that."""
    had = place.number
    start = resumed(had, extent)
    changes: tuple[Change, ...] = (Change.BACK,) if place.is_away else ()
    old = extent.newest if had == 0 and place.since is not None else place.old_until
    if had and start != had:
        changes, old = (*changes, Change.MISSING), 0
    return replace(place, number=start, is_away=False, old_until=old), changes


def lost(place: Place) -> tuple[Place, tuple[Change, ...]]:
    """The host's events do not come. A client that has none of them gets those that happen until they come again."""
    changes: tuple[Change, ...] = () if place.is_away else (Change.AWAY,)
    return replace(place, number=place.number or 0, is_away=True), changes


def got(place: Place, number: int) -> Place | None:
    """The place after this event; None: the client has it already."""
    if place.number is not None and number <= place.number:
        return None
    return replace(place, number=number)


def is_earlier(place: Place, number: int, at: float) -> bool:
    """Whether an event (Unix time ``at``) is of before the client came, which wants what happens from then on."""
    if place.since is None or number > place.old_until:
        return False
    return at < place.since - MOST_OFF


class Past(Struct, frozen=True):
    """Whether a client has what happened before it came."""

    to_come: frozenset[str]
    """Hosts that have still to send of it."""
    until: Mapping[str, int]
    """By host, its last event of before."""


def past(it: Past, host: str, number: int | None, extent: Extent | None) -> Past:
    """With what came of a host: all up to ``number`` is there; None: the host is away, and nobody waits for it."""
    if host not in it.to_come:
        return it
    until = it.until
    if extent:
        until = {**until, host: min(until.get(host, extent.newest), extent.newest)}
    done = number is None or number >= until[host]
    return Past(it.to_come - {host} if done else it.to_come, until)
