"""What a confirmation leads to: a rollback, to before the boundary that enough of them agree on. Pure."""

from collections.abc import Callable, Iterable

from waguard.core.replace import replace
from waguard.core.versions.arms import alone, proven, unhealthy
from waguard.core.versions.effects import Announce, Kind, VersionEffect
from waguard.core.versions.state import Confirmation, Hold, Schedule, VersionState

Post = Callable[[VersionEffect], None]


def on_confirmed(state: VersionState, it: Confirmation, now: float, post: Post) -> VersionState:
    """Count it; of one session and kind the newest counts."""
    others = tuple(
        one
        for one in state.confirmations
        if (one.session, one.of_bundle) != (it.session, it.of_bundle)
    )
    state = replace(state, confirmations=(*others, it))
    if it.of_bundle:
        same = [one for one in state.confirmations if one.of_bundle and one.bad.wajs == it.bad.wajs]
        return _roll_bundle_back(state, same, now, post) if _are_enough(state, same) else state
    boundary, agreeing = _boundary(state, now)
    if boundary is None:
        return state
    return _roll_back(state, boundary, agreeing, now, post)


def _are_enough(state: VersionState, found: Iterable[Confirmation]) -> bool:
    wanted = 1 if alone(state) else state.rules.confirmations
    return len({it.session for it in found}) >= wanted


def _boundary(state: VersionState, now: float) -> tuple[int | None, list[Confirmation]]:
    """The lowest revision that enough of them can mean: bad from it on, good before."""
    known = [it for it in state.confirmations if not it.of_bundle]
    for revision in sorted({it.bad.revision or 0 for it in known}):
        agreeing = [
            it for it in known if (it.good.revision or 0) < revision <= (it.bad.revision or 0)
        ]
        if _are_enough(state, agreeing):
            well = max(it.good.revision or 0 for it in agreeing)
            # good ones between with which others were unhealthy of late
            doubted = [it for it, until in state.doubted.items() if now < until]
            return min([revision, *(it for it in doubted if it > well)]), agreeing
    return None, []


def _roll_back(
    state: VersionState, boundary: int, agreeing: list[Confirmation], now: float, post: Post
) -> VersionState:
    if state.hold:
        boundary = min(boundary, state.hold.boundary)
    unhealthy_ones = [name for name, it in unhealthy(state) if (it.arm.revision or 0) >= boundary]
    confirmed = [it.session for it in agreeing]
    affected = tuple(dict.fromkeys([*confirmed, *unhealthy_ones]))
    evidence = agreeing[-1].evidence
    state = replace(
        state,
        hold=Hold(
            boundary=boundary,
            since=state.hold.since if state.hold else now,
            evidence=evidence,
            confirmed=tuple(dict.fromkeys(confirmed)),
            affected=affected,
            reported_at=now,
        ),
        canary=Schedule(now + state.rules.canary_after),
        good={revision: it for revision, it in state.good.items() if revision < boundary},
        confirmations=tuple(it for it in state.confirmations if it.of_bundle),
        acquittal=None,
        doubted={},
    )
    post(
        Announce(
            kind=Kind.ROLLED_BACK,
            revision=boundary,
            instead=proven(state, below=boundary),
            evidence=evidence,
            sessions=affected,
        )
    )
    return state


def _roll_bundle_back(
    state: VersionState, found: list[Confirmation], now: float, post: Post
) -> VersionState:
    bad, good = found[-1].bad.wajs, found[-1].good.wajs
    wajs = good if bad == state.wajs else state.wajs
    state = replace(
        state,
        wajs=wajs,
        previous=None if bad == state.wajs else state.previous,
        # the one that all get again needs no canary: it would never count, and others would follow without end
        candidate=None if state.candidate in {bad, wajs} else state.candidate,
        bundle_canary=Schedule(),
        bundle_pause=None,
        rejected={**state.rejected, bad: now},
        confirmations=tuple(it for it in state.confirmations if not it.of_bundle),
    )
    post(
        Announce(
            kind=Kind.BUNDLE_ROLLED_BACK,
            wajs=bad,
            evidence=found[-1].evidence,
            sessions=tuple(it.session for it in found),
        )
    )
    return state


def expire(state: VersionState, now: float) -> VersionState:
    """What was confirmed long ago may have another cause than what comes now."""
    kept = tuple(it for it in state.confirmations if now < it.at + state.rules.remember)
    return state if len(kept) == len(state.confirmations) else replace(state, confirmations=kept)


def deadlines(state: VersionState) -> list[float]:
    """When a confirmation is over."""
    return [it.at + state.rules.remember for it in state.confirmations]
