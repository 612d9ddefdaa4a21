"""Which version of WhatsApp, and of wa-js, each session gets. Pure: facts in, effects out.

What is served by default is what the network serves. Only where that breaks sessions, and a crossover shows
that it is the version, do all get an older one that is proven; canaries find out when that is over.
"""

from collections.abc import Callable
from typing import NamedTuple

from waguard.core.backoff import NEVER
from waguard.core.replace import replace
from waguard.core.versions import canaries, good, pages, rollback, trials, wave
from waguard.core.versions.arms import intended, needed, unservable
from waguard.core.versions.effects import Announce, Discard, Kind, VersionEffect
from waguard.core.versions.facts import (
    Acked,
    BundleAdded,
    BundleRemoved,
    Captured,
    Discarded,
    Heard,
    Left,
    Loaded,
    Pin,
    Refused,
    RulesChanged,
    Spent,
    TimerDue,
    Try,
    Unhealthy,
    Unpin,
    Unreachable,
    UseBundle,
    VersionFact,
    Well,
)
from waguard.core.versions.operator_wishes import on_pin, on_try, on_use_bundle, refusal
from waguard.core.versions.state import (
    StateError,
    VersionState,
    decode,
    encode,
    initial,
)
from waguard.core.versions.usable import (
    on_bundle_removed,
    on_captured,
    on_discarded,
    on_refused,
    on_spent,
)

__all__ = [
    "StateError",
    "Step",
    "VersionState",
    "advance",
    "decode",
    "encode",
    "initial",
    "intended",
    "next_deadline",
    "refusal",
    "unservable",
]
Post = Callable[[VersionEffect], None]


class Step(NamedTuple):
    """The state afterwards, and what the shell performs, in order."""

    state: VersionState
    effects: tuple[VersionEffect, ...] = ()


def advance(state: VersionState, fact: VersionFact, now: float) -> Step:
    """Take one fact. ``now``: unix time that does not go back while the daemon lives. Never raises."""
    effects: list[VersionEffect] = []
    now = max(now, state.at)
    after = _handle(state, fact, now, effects.append)
    if after is state and not isinstance(fact, TimerDue):
        return Step(state)
    if isinstance(fact, Loaded | Well | Acked | Heard) and _is_usual(state, after, fact, now):
        return Step(after)
    after = replace(after, at=now)
    after = pages.forget_gone(after, now)
    if after.rules.mode == "off":
        after = replace(after, trial=None, requested=None)
    else:
        after = _decide(after, now, effects.append)
    _discard(state, after, effects.append)
    return Step(after, tuple(effects))


def _is_usual(
    before: VersionState, after: VersionState, fact: Loaded | Well | Acked | Heard, now: float
) -> bool:
    """A page that is not unhealthy says what nothing is decided by: most facts are so. What is due meanwhile stays
    due, for ``at`` stays as it is."""
    busy = after.trial or after.hold or after.candidate or after.requested or after.rejected
    was, it = before.members.get(fact.session), after.members.get(fact.session)
    if (
        busy
        or it is None
        or it.unhealthy
        or it.moves
        or (was and (was.moves or was.unhealthy_from is not None))
    ):
        return False
    return now < it.loaded_at + after.rules.good_after


def _handle(  # noqa: C901, PLR0912 - a table of facts
    state: VersionState, fact: VersionFact, now: float, post: Post
) -> VersionState:
    match fact:
        case Acked(session):
            return pages.on_acked(state, session, now)
        case Heard(session):
            return pages.on_heard(state, session, now)
        case Loaded():
            return pages.on_loaded(state, fact, now)
        case Unhealthy():
            return pages.on_unhealthy(state, fact, now)
        case Well(session):
            return pages.on_well(state, session, now)
        case Unreachable(session):
            return pages.on_unreachable(state, session)
        case Left(session):
            return pages.on_left(state, session, now)
        case Captured():
            return on_captured(state, fact, now)
        case Discarded(revision):
            return on_discarded(state, revision)
        case Refused(revision):
            return on_refused(state, revision, now, post)
        case Spent(revision):
            return on_spent(state, revision, post)
        case Pin():
            return on_pin(state, fact, now)
        case Unpin():
            return replace(state, pin=None, lost=None)
        case Try():
            return on_try(state, fact)
        case BundleAdded(wajs):
            return replace(state, bundles=state.bundles | {wajs})
        case BundleRemoved(wajs):
            return on_bundle_removed(state, wajs)
        case UseBundle():
            return on_use_bundle(state, fact)
        case RulesChanged(rules):
            return replace(state, rules=rules)
        case TimerDue():
            return state


def _decide(state: VersionState, now: float, post: Post) -> VersionState:
    state = rollback.expire(state, now)
    state = trials.go_on(state, now, post)
    state = good.mark_good(state, now)
    state = trials.cross_over(state, now, post)
    state = trials.load_control(state, now, post)
    state = canaries.try_asked(state, now, post)
    state = canaries.try_bundle(state, now, post)
    state = canaries.try_newest(state, now, post)
    state = wave.move(state, now, post)
    return _report_held(state, now, post)


def _report_held(state: VersionState, now: float, post: Post) -> VersionState:
    hold = state.hold
    if hold is None or now < hold.reported_at + state.rules.report_held_after:
        return state
    post(
        Announce(
            kind=Kind.HELD,
            revision=hold.boundary,
            instead=intended(state, "").revision,
            evidence=hold.evidence,
            sessions=hold.affected,
            person=True,
        )
    )
    return replace(state, hold=replace(hold, reported_at=now))


def _discard(before: VersionState, state: VersionState, post: Post) -> None:
    kept = needed(state)
    if state.stored == before.stored and kept == needed(before):
        return
    for revision in sorted(state.stored - set(kept) - state.spent):
        post(Discard(revision))


def next_deadline(state: VersionState) -> float:
    """When ``TimerDue`` is to be posted; ``NEVER``: nothing waits. What was due at ``state.at`` was done."""
    if state.rules.mode == "off":
        return NEVER
    found = [
        *rollback.deadlines(state),
        *trials.deadlines(state),
        *good.deadlines(state),
        *canaries.deadlines(state),
        *wave.deadlines(state),
    ]
    if state.hold:
        found.append(state.hold.reported_at + state.rules.report_held_after)
    return min((at for at in found if at > state.at), default=NEVER)
