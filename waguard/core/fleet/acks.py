"""Sessions that are connected and get no ack: what the cause is, and which worker is replaced. Pure.

Whom the decision about versions loads again is left to it: two cures of one failure would prove nothing.
"""

from collections.abc import Iterator

from waguard.core.fleet.ack_watch import FAR, is_everywhere, pause, should_replace
from waguard.core.fleet.facts import AcksSeen
from waguard.core.fleet.state import (
    AckOutage,
    FleetState,
    Post,
    Report,
    connected,
    report_outage,
)
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.session.facts import Moment, RestartRequested

_NOT_ACKED, _THROWN = "acks_missing_everywhere", "sends_throw_everywhere"
_DOWN = frozenset({State.STOPPED, State.PARKED})
_UNPAIRED = frozenset({Link.QR_PENDING, Link.LOGGED_OUT})


def replace_for_acks(fleet: FleetState, now: Moment, post: Post, report: Report) -> FleetState:
    """Replace one worker at a time: if acks come afterwards, the session was the cause."""
    if not fleet.acks and fleet.ack_outage is None:
        return fleet
    fleet = _update_outage(fleet, now, report)
    if fleet.network_down:
        return fleet
    limit, everywhere = fleet.rules.ack_limit, fleet.ack_outage is not None
    if fleet.replaced:
        name, at = fleet.replaced
        seen = fleet.acks.get(name)
        on_trial = seen is not None and seen.on_trial
        if now.at - at < pause(limit=limit, on_trial=on_trial, everywhere=everywhere):
            return fleet
    unhealthy = [(it.curable, name, it.busy) for name, it in replaceable(fleet) if it.curable]
    for late, name, busy in sorted(unhealthy, key=lambda it: (-it[0].longest, it[1])):
        at_last = fleet.recycled_at.get(name)
        recycled = None if at_last is None else now.at - at_last
        if should_replace(late, limit=limit, busy=busy, recycled=recycled):
            post((name, RestartRequested(why=str(late))))
            return replace(fleet, replaced=(name, now.at))
    return fleet


def replaceable(fleet: FleetState) -> Iterator[tuple[str, AcksSeen]]:
    """Sessions that may be replaced for it, now or soon."""
    return (
        (name, seen)
        for name, seen in fleet.acks.items()
        if seen.curable and not seen.versions_decide
    )


# ---- where WhatsApp is the cause ----


def _update_outage(fleet: FleetState, now: Moment, report: Report) -> FleetState:
    """An outage begins when a replacement did not help and nobody gets an ack. It stands until one comes: that workers
    are replaced and connections are lost meanwhile says nothing."""
    unhealthy = {name: seen for name, seen in _known(fleet) if seen.late or seen.overdue}
    outage = fleet.ack_outage
    if outage is None:
        if not _is_everywhere(fleet, unhealthy, now):
            return fleet
        kind, why = _words(unhealthy)
        fleet = report_outage(fleet, kind, why, report)
        return replace(fleet, ack_outage=AckOutage(kind, now.at, frozenset(unhealthy)))
    acked = any(_proves_the_end(fleet, outage, name, seen) for name, seen in _known(fleet))
    left = frozenset(
        name for name in outage.unhealthy | unhealthy.keys() if _may_be_acked(fleet, name)
    )
    if left and not acked:
        return replace(fleet, ack_outage=replace(outage, unhealthy=left))
    fleet = report_outage(fleet, outage.kind, None, report)
    # the other sessions get theirs soon
    replaced = (fleet.replaced[0] if fleet.replaced else "", now.at)
    return replace(fleet, ack_outage=None, replaced=replaced)


def _known(fleet: FleetState) -> Iterator[tuple[str, AcksSeen]]:
    return ((name, fleet.acks[name]) for name in connected(fleet) if name in fleet.acks)


def _is_everywhere(fleet: FleetState, unhealthy: dict[str, AcksSeen], now: Moment) -> bool:
    if not any(seen.late for seen in unhealthy.values()):
        return False
    recent = FAR * fleet.rules.ack_limit
    well = sum(
        name not in unhealthy
        and not seen.other_arm
        and seen.acked_at is not None
        and now.at - seen.acked_at <= recent
        for name, seen in _known(fleet)
    )
    in_vain = sum(seen.in_vain for seen in unhealthy.values())
    return is_everywhere(late=len(unhealthy), well=well, in_vain=in_vain)


def _proves_the_end(fleet: FleetState, outage: AckOutage, name: str, seen: AcksSeen) -> bool:
    """What all have sends again. Its acks of another version say nothing of that."""
    if seen.other_arm or seen.late or seen.overdue or seen.on_trial or seen.acked_at is None:
        return False
    return seen.acked_at > max(outage.began, fleet.members[name].link_since)


def _may_be_acked(fleet: FleetState, name: str) -> bool:
    """Not where it was stopped, removed, or is paired again: what waited there is forgotten."""
    member = fleet.members.get(name)
    return member is not None and member.state not in _DOWN and member.link not in _UNPAIRED


def _words(unhealthy: dict[str, AcksSeen]) -> tuple[str, str]:
    """The kind of outage, and why WhatsApp is the cause."""
    errors = [seen.late.error for seen in unhealthy.values() if seen.late and seen.late.error]
    if errors:
        return _THROWN, (
            f"the pages of {len(unhealthy)} sessions throw errors at sends ({errors[0]}); replacing a worker did not help"
        )
    return _NOT_ACKED, (
        f"{len(unhealthy)} sessions are connected, but WhatsApp acknowledges nothing that they send; "
        "replacing a worker did not help"
    )
