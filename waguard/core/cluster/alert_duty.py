"""One host sends alerts for all: which one, what the others say to it, and what of that is over. Pure.

Unknown is not over: while a host is missing or does not answer, what it has said stays as it is. What concerns a session is its
owner's to say.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from waguard.core.alerts.alerts import (
    Alert,
    AlertState,
    Observed,
    OfHost,
    found_within,
    not_connected,
    pending,
)
from waguard.core.blame import Blame, Condition
from waguard.core.cluster.conditions import HOST_MISSING, HOSTS_DIFFER, NO_ROOM
from waguard.core.cluster.records import HostRecord, Owner
from waguard.core.replace import replace

OF_ALL: Final = frozenset({HOST_MISSING, HOSTS_DIFFER, NO_ROOM})
"""Conditions that are of all hosts. That one is missing each host sees; of the others, one may be the only one to see it."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One condition, as a host's API has it."""

    session_id: str | None
    type: str
    blame: str
    reason: str
    message: str
    remedy: str
    since: str


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of itself. ``complete``: what is not there is over."""

    host: str
    sender: str
    """Who sends alerts, as that host sees it."""
    complete: bool
    conditions: tuple[Said, ...]


def heard(answer: Any) -> Heard | None:
    """Read a host's answer; None: it is none."""
    try:
        return msgspec.convert(answer, Heard)
    except msgspec.ValidationError:
        return None


def sender(own: str, records: Iterable[HostRecord]) -> str:
    """The host that sends alerts for all: the first by name of those that live and have a destination; where none has one,
    of those that live. One of a version that sends its own alone, and names no start, is none of them."""
    living = {own: True} | {it.host: it.alerts for it in records if it.alive and it.start}
    return min((it for it, can_send in living.items() if can_send), default=min(living))


def sends(own: str, records: Iterable[HostRecord], others: Iterable[Heard], *, held: bool) -> bool:
    """Whether this host sends. Without its lease (not ``held``) it may see hosts that are there no more: who has an answer
    of one that lives leaves it to that one's sender."""
    if sender(own, records) != own:
        return False
    return held or all(it.sender == own for it in others)


def observed(
    own: str,
    now: Observed,
    records: Sequence[HostRecord],
    others: Mapping[str, Heard],
    rows: Mapping[str, Owner] | None,
    state: AlertState,
    at: float,
) -> Observed:
    """What all hosts say. ``now``: this one; ``others``: what was last heard of those that answer; ``rows``: the owners,
    None: unknown. Where this host is none of the ``records``, these were not read. ``at``: unix time."""
    mine = [it for it in now.conditions if it.type not in OF_ALL]
    of_all = [one for it in now.conditions if it.type in OF_ALL for one in _each(it, records)]
    of_hosts = [OfHost(own, it) for it in mine]
    here = {HOST_MISSING, *(it.type for it in of_all)}  # this host says it for all
    for host, it in others.items():
        of_hosts += [OfHost(host, _condition(one)) for one in it.conditions if one.type not in here]
    left_out = {
        (host, one.type) for host, it in others.items() for one in it.conditions if one.type in here
    }
    known = {host for host, it in others.items() if it.complete}
    known |= {own} if now.complete else set()
    known |= {it.host for it in records if not it.alive and it.drain}  # it has ended in order
    seen = {it.host for it in records}
    if own in seen:  # they were read: one that is none of them is forgotten
        known |= {it.host for it in pending(state).values() if it.host} - seen
    where = None if rows is None else _where(records, rows, known)
    away = not_connected(it.condition for it in of_hosts)
    unknown = {
        key
        for key, it in pending(state).items()
        if (key in now.unknown and (it.session is not None or it.host in {None, own}))
        or (it.host, it.type) in left_out
        or not _is_known(it, own, now, known, seen, where)
        or _is_undecided(it, rows, at, away=it.session in away)
    }
    return Observed(of_all, complete=True, of_hosts=tuple(of_hosts), unknown=frozenset(unknown))


def _each(it: Condition, records: Sequence[HostRecord]) -> Iterator[Condition]:
    """Hosts that are missing are one each, which begins and ends by itself."""
    if it.type != HOST_MISSING:
        yield it
        return
    for found in records:
        if not found.alive and not found.drain:
            message = (
                f"{found.host} is down and not taken out in order; other hosts own its sessions"
            )
            yield replace(it, reason=found.host, message=message)


def _where(
    records: Sequence[HostRecord], rows: Mapping[str, Owner], known: set[str]
) -> dict[str, bool]:
    """By session, whether its owner lives and says how it is."""
    living = {(it.host, it.incarnation) for it in records if it.alive}
    return {
        session: (it.host, it.incarnation) in living and it.host in known
        for session, it in rows.items()
    }


def _is_known(
    it: Alert,
    own: str,
    now: Observed,
    known: set[str],
    seen: set[str],
    where: Mapping[str, bool] | None,
) -> bool:
    if it.session is not None:
        # one that is in no row was deleted
        return where is not None and where.get(it.session, True) and now.complete
    if it.type == HOST_MISSING:
        return own in seen
    return own in seen and now.complete if it.host is None else it.host in known


def _is_undecided(it: Alert, rows: Mapping[str, Owner] | None, at: float, *, away: bool) -> bool:
    """Whether the owner of its session is that for too short a time to have found it again. ``away``: it is not connected."""
    owner = rows.get(it.session) if rows and it.session else None
    if owner is None or owner.moved_at is None or it.seen >= owner.moved_at:
        return False
    return 0 <= at - owner.moved_at < found_within(it, away=away)


def _condition(it: Said) -> Condition:
    blame = Blame(it.blame) if it.blame in {*Blame} else Blame.HOST
    return Condition(
        type=it.type,
        blame=blame,
        reason=it.reason,
        message=it.message,
        since=datetime.fromisoformat(it.since).timestamp(),
        remedy=it.remedy,
        session=it.session_id,
    )
