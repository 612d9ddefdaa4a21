"""When a version is proven: long enough, with acks in enough sessions, and not while it is suspected. Pure."""

from collections.abc import Iterator

from waguard.core.backoff import NEVER
from waguard.core.replace import replace
from waguard.core.versions.arms import proven, unhealthy
from waguard.core.versions.state import Good, Member, VersionState
from waguard.core.versions.trials import is_paused


def mark_good(state: VersionState, now: float) -> VersionState:
    """Note each version that is proven now."""
    limit, least = state.rules.good_after, _least(state)
    vouching: dict[int, list[Member]] = {}
    for revision, it in _well(state):
        if now >= it.loaded_at + limit:
            vouching.setdefault(revision, []).append(it)
    for revision, them in vouching.items():
        if len(them) >= least and not _is_suspected(state, revision, now):
            good = Good(now, them[0].arm.wajs)
            state = replace(state, good={**state.good, revision: good})
    return state


def _least(state: VersionState) -> int:
    return min(state.rules.good_sessions, max(1, len(state.members)))


def _well(state: VersionState) -> Iterator[tuple[int, Member]]:
    """Sessions that are healthy with a stored version that is not proven yet, and not held back."""
    end = state.hold.boundary if state.hold else NEVER
    open_ = {it for it in state.stored if it not in state.good and state.floor < it < end}
    for it in state.members.values() if open_ else ():
        revision = it.arm.revision
        if revision is not None and revision in open_ and it.acked and it.well_at is not None:
            yield revision, it


def _is_suspected(state: VersionState, revision: int, now: float) -> bool:
    """A session is unhealthy with it, and there is an older version to compare with."""
    trial = state.trial
    if trial and trial.bad and trial.bad.revision is not None and trial.bad.revision <= revision:
        return True
    return any(
        it.unhealthy_from is not None
        and it.unhealthy_from <= revision <= (it.arm.revision or 0)
        and proven(state, below=it.unhealthy_from) is not None
        and not is_paused(state, state.acquittal, it.unhealthy_from, now)
        for _, it in unhealthy(state)
    )


def deadlines(state: VersionState) -> list[float]:
    """When a version may be proven."""
    return [it.loaded_at + state.rules.good_after for _, it in _well(state)]
