"""Sessions that are connected and get no ack: what the cause is, and which worker is replaced. Pure."""

from waguard.core.fleet.ack_watch import FAR, is_everywhere, pause, should_replace
from waguard.core.fleet.state import FleetState, Post, Report, connected, report_outage
from waguard.core.replace import replace
from waguard.core.session.facts import Moment, RestartRequested

_NOT_ACKED, _THROWN = "acks_missing_everywhere", "sends_throw_everywhere"


def replace_for_acks(fleet: FleetState, now: Moment, post: Post, report: Report) -> FleetState:
    """Replace one worker at a time: if acks come afterwards, the session was the cause."""
    before = not fleet.outages.keys().isdisjoint({_NOT_ACKED, _THROWN})
    if not fleet.acks and not before:
        return fleet
    kind, everywhere = _everywhere(fleet, now)
    for known in (_NOT_ACKED, _THROWN):
        fleet = report_outage(fleet, known, everywhere if known == kind else None, report)
    if before and everywhere is None:  # acks come again: the other sessions get theirs soon
        fleet = replace(fleet, replaced=(fleet.replaced[0] if fleet.replaced else "", now.at))
    if fleet.network_down:
        return fleet
    limit = fleet.rules.ack_limit
    if fleet.replaced:
        name, at = fleet.replaced
        seen = fleet.acks.get(name)
        on_trial = seen is not None and seen.on_trial
        if now.at - at < pause(limit=limit, on_trial=on_trial, everywhere=everywhere is not None):
            return fleet
    ill = [(seen.curable, name, seen.busy) for name, seen in fleet.acks.items() if seen.curable]
    for late, name, busy in sorted(ill, key=lambda it: (-it[0].longest, it[1])):
        at_last = fleet.recycled_at.get(name)
        recycled = None if at_last is None else now.at - at_last
        if should_replace(late, limit=limit, busy=busy, recycled=recycled):
            post((name, RestartRequested(why=str(late))))
            return replace(fleet, replaced=(name, now.at))
    return fleet


def _everywhere(fleet: FleetState, now: Moment) -> tuple[str, str | None]:
    """The kind of outage, and why WhatsApp is the cause; None: single sessions may be the cause."""
    known = [fleet.acks[name] for name in connected(fleet) if name in fleet.acks]
    if not any(seen.late for seen in known):
        return _NOT_ACKED, None
    ill = [seen for seen in known if seen.late or seen.overdue]
    recent = FAR * fleet.rules.ack_limit
    well = sum(
        seen.acked_at is not None and now.at - seen.acked_at <= recent
        for seen in known
        if not (seen.late or seen.overdue)
    )
    in_vain = sum(seen.in_vain for seen in ill)
    if not is_everywhere(late=len(ill), well=well, in_vain=in_vain):
        return _NOT_ACKED, None
    errors = [seen.late.error for seen in ill if seen.late and seen.late.error]
    if errors:
        return _THROWN, (
            f"the pages of {len(ill)} sessions throw at sends ({errors[0]}); replacing a worker did not help"
        )
    return _NOT_ACKED, (
        f"{len(ill)} sessions are connected, but WhatsApp acknowledges nothing that they send; "
        "replacing a worker did not help"
    )
