"""Who is loaded again because all get another arm: the unhealthy first, then those of whom nothing is known. Pure."""

from collections.abc import Callable

from waguard.core.backoff import backoff
from waguard.core.replace import replace
from waguard.core.versions.arms import has_shown, intended
from waguard.core.versions.effects import Reload, VersionEffect
from waguard.core.versions.state import Member, VersionState


def is_to_move(state: VersionState, name: str, it: Member) -> bool:
    """Whether the page has what all are kept from, and nothing shows that it does its work."""
    if it.left_at is not None or (state.trial and state.trial.session == name):
        return False
    hold = state.hold
    held = hold is not None and (it.arm.revision or 0) >= hold.boundary
    rejected = it.arm.wajs in state.rejected
    if not (it.unhealthy or held or rejected):
        return False
    arm = intended(state, name)
    if rejected and arm.wajs != it.arm.wajs:
        return it.unhealthy is not None or not it.acked
    if arm.revision == it.arm.revision:
        return False
    if it.unhealthy:  # also with an older one that only a trial wanted
        return arm.revision is not None or it.served_by == "store" or is_outdated(state, it)
    if hold is None or not held or arm.revision is None:
        return False
    # an ack shows that sends work, and not that events come
    return not (it.acked and has_shown(it, hold.evidence))


def is_outdated(state: VersionState, it: Member) -> bool:
    """WhatsApp refuses what it has, and served it before that: it may serve a newer one by now."""
    revision = it.arm.revision or 0
    return revision <= state.floor or (
        revision == state.refused and it.loaded_at < state.refused_at
    )


def move(state: VersionState, now: float, post: Callable[[VersionEffect], None]) -> VersionState:
    """Load some of them again, as many at a time as start at a time."""
    waiting = sorted(
        (it.unhealthy is None, it.acked, it.moves, name)
        for name, it in state.members.items()
        if is_to_move(state, name, it) and now >= may_move_at(state, it)
    )
    if not waiting:
        return state
    free = state.rules.places - sum(
        1 for it in state.members.values() if it.left_at is None and _is_on_its_way(state, it, now)
    )
    for *_, name in waiting[: max(0, free)]:
        it = state.members[name]
        post(Reload(name, intended(state, name), _why(state, it)))
        it = replace(it, moved_at=now, moves=it.moves + 1)
        state = replace(state, members={**state.members, name: it})
    return state


def _is_on_its_way(state: VersionState, it: Member, now: float) -> bool:
    return it.moved_at > it.loaded_at and now < it.moved_at + state.rules.trial_limit


def may_move_at(state: VersionState, it: Member) -> float:
    """What did not help is not done at once again."""
    if not it.moves:
        return 0.0
    rules = state.rules
    return it.moved_at + backoff(rules.pause, it.moves - 1, longest=rules.pause_limit)


def _why(state: VersionState, it: Member) -> str:
    if state.hold and (it.arm.revision or 0) >= state.hold.boundary:
        return f"versions from {state.hold.boundary} on are held back"
    if it.arm.wajs in state.rejected:
        return f"wa-js {it.arm.wajs[:12]} was rolled back"
    return "its version is not what it is to have"


def deadlines(state: VersionState) -> list[float]:
    """When somebody may be loaded again."""
    found = []
    for name, it in state.members.items():
        if it.moves:
            if is_to_move(state, name, it):
                found.append(may_move_at(state, it))
            if it.moved_at > it.loaded_at:
                found.append(it.moved_at + state.rules.trial_limit)
    return found
