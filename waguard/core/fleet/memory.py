"""Sessions that use too much memory: one at a time is replaced, when it is idle. Pure."""

from waguard.core.fleet.facts import Measured
from waguard.core.fleet.state import FleetState, Post
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.recycle import Size, size_of
from waguard.core.replace import replace
from waguard.core.session.facts import Moment, Noticed, RestartRequested


def on_measured(
    fleet: FleetState, session: str, seen: Measured, now: Moment, post: Post
) -> FleetState:
    """Compare one session's memory with the limit, and recycle its worker where that helps."""
    member = fleet.members.get(session)
    if fleet.closed or member is None or member.state is not State.RUNNING:
        return fleet
    limit, at = fleet.rules.memory_limit, fleet.recycled_at.get(session)
    size = size_of(
        limit=limit,
        memory=seen.memory,
        idle=seen.idle,
        recycled=None if at is None else now.at - at,
        in_vain=fleet.memory_in_vain.get(session),
    )
    if seen.transferring and size is not Size.FAR_TOO_BIG:
        return fleet  # after it the memory is another
    if size is Size.BIG_AGAIN:
        fleet = _in_vain(fleet, session, seen.memory, post)
    elif size is Size.FITS and session in fleet.memory_in_vain:
        post((session, Noticed(kind=Kind.MEMORY_IN_VAIN, message=None)))
        kept = {name: n for name, n in fleet.memory_in_vain.items() if name != session}
        fleet = replace(fleet, memory_in_vain=kept)
    if member.link is Link.PASSKEY_REQUIRED:
        return fleet  # a replacement would end the linking
    away = fleet.breaker.opening or fleet.network_down or fleet.whatsapp.why
    calm = fleet.recycling is None and not away
    urgent = size is Size.FAR_TOO_BIG
    if urgent or (size is Size.TOO_BIG and calm):
        why = f"it used {seen.memory >> 20} MB, worker.memory_limit is {limit >> 20} MB"
        post((session, RestartRequested(why=why, urgent=urgent)))
        return replace(fleet, recycling=session)
    return fleet


def _in_vain(fleet: FleetState, session: str, memory: int, post: Post) -> FleetState:
    if session in fleet.memory_in_vain:
        return fleet
    why = f"recycling does not help: it uses {memory >> 20} MB again soon after"
    limit = fleet.rules.memory_limit >> 20
    message = f"{why}; worker.memory_limit is {limit} MB"
    post((session, Noticed(kind=Kind.MEMORY_IN_VAIN, message=message)))
    return replace(fleet, memory_in_vain={**fleet.memory_in_vain, session: memory})
