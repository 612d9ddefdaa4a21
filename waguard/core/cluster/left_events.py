"""What a host of a cluster has received of sessions that are other hosts' now: it hands that to their owners. Pure.

An owner answers after the commit; only then what was left is removed. Who answers otherwise, or not at all, is asked again:
what it has stored already has the same key, and is no news to it. What no owner ever takes stays as evidence.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

PART_BYTES: Final = 1 << 20  # of one request, but for a single event, whose file may have more
PART_EVENTS: Final = 500
PAUSES: Final = (5.0, 15.0, 30.0, 60.0)  # s; the last one repeats
_SHOWN: Final = 5  # sessions, files
_STORED: Final = 200
_UNKNOWN_ROUTE: Final = frozenset({404, 405})
_ANOTHER_OWNER: Final = 409
_NOT_UNDERSTOOD: Final = frozenset({400, 413, 415})
_REFUSED: Final = 422


class Answer(StrEnum):
    """What became of events that were to be handed to an owner: what that made of them, or why it was not asked."""

    STORED = "stored"
    """They are committed."""
    NOT_OWNER = "does not own it any more"
    OLDER = "runs a version of waguard that does not take them"
    AWAY = "has not stored them yet"
    """They may be stored: it said so, or nothing."""
    REFUSED = "never takes them"
    RUNS = "runs"
    """Their session's worker here may still write some."""
    UNUSABLE = "unusable"
    """What they are in cannot be read, moved or removed here now."""


def answer_of(status: int | None, *, same_version: bool) -> Answer:
    """``status``: of its reply, None: there was none. Who runs another version may learn to read what it cannot read now."""
    if status == _STORED:
        return Answer.STORED
    if status == _ANOTHER_OWNER:
        return Answer.NOT_OWNER
    if status == _REFUSED:
        return Answer.REFUSED
    if status in _UNKNOWN_ROUTE:
        return Answer.OLDER
    if status in _NOT_UNDERSTOOD:
        return Answer.REFUSED if same_version else Answer.OLDER
    return Answer.AWAY


_WHY_NOT: Final = {
    Answer.RUNS: "its worker here has not ended",
    Answer.UNUSABLE: "not all of that can be read, moved or removed here (`waguard logs` says why)",
}


class Failure(Struct, frozen=True, kw_only=True):
    """The last attempt to hand over what is left of a session."""

    owner: str
    """Who was asked: another owner is asked at once."""
    answer: Answer
    count: int
    """Attempts in a row that failed at this owner."""
    due: float
    """When it is asked again, in seconds of the clock that ``failed`` was given."""


def failed(before: Failure | None, owner: str, answer: Answer, now: float) -> Failure:
    """The owner has not taken all of it."""
    count = before.count if before and before.owner == owner else 0
    pause = PAUSES[min(count, len(PAUSES) - 1)]
    return Failure(owner=owner, answer=answer, count=count + 1, due=now + pause)


def is_due(before: Failure | None, owner: str, now: float) -> bool:
    """Whether the owner is to be asked now."""
    return before is None or before.owner != owner or now >= before.due


def in_parts(sizes: Sequence[int], *, most: int = PART_BYTES) -> Iterator[slice]:
    """Which events go into one request or file each, by their sizes in bytes; their order stays. ``most``: bytes of one."""
    start = taken = 0
    for at, size in enumerate(sizes):
        if at > start and (taken + size > most or at - start >= PART_EVENTS):
            yield slice(start, at)
            start, taken = at, 0
        taken += size
    if start < len(sizes):
        yield slice(start, len(sizes))


class Left(Struct, frozen=True, kw_only=True):
    """What is left of one session."""

    session: str | None
    """None: there is no session of which these files could be."""
    count: int = 0
    """Events in memory."""
    files: tuple[str, ...] = ()
    """Names of files that workers left, each with some."""
    owner: str | None = None
    """The living host that owns it now."""
    failure: Failure | None = None


def left_behind_words(left: Collection[Left], quarantined: Collection[str]) -> str | None:
    """``quarantined``: the names of files that no owner takes. None: there is nothing."""
    parts = [_words(it) for it in left]
    if rest := parts[_SHOWN:]:
        parts = [*parts[:_SHOWN], f"those of {len(rest)} more"]
    said = []
    if parts:
        said.append(
            "this host has events that are not stored, of sessions that it does not own:"
            f" {'; '.join(parts)}"
        )
    if quarantined:
        said.append(
            f"events that no host takes are kept in {_named(quarantined)} below `workers`: they are not delivered"
        )
    return ". ".join(said) or None


def _words(it: Left) -> str:
    where = [f"{it.count} in memory"] if it.count else []
    if it.files:
        where.append(f"those in {_named(it.files)} below `workers`")
    what = " and ".join(where)
    if it.session is None:
        return f"{what}, whose session is not there any more: they stay there"
    if it.owner is None:
        return f"of {it.session} {what}, which wait until a host owns it"
    handed = f"of {it.session} {what}, which are being handed to {it.owner}"
    if it.failure is None or it.failure.owner != it.owner:
        return handed
    return f"{handed}: {_WHY_NOT.get(it.failure.answer) or f'it {it.failure.answer}'}"


def _named(files: Collection[str]) -> str:
    names = sorted(files)
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
