"""How the pages of the sessions stand, each with its version. Pure."""

from typing import Final

from waguard.core.replace import replace
from waguard.core.versions.arms import has_shown, intended, is_shown_well, of_all
from waguard.core.versions.facts import SHOWN_BY_ACKS, Arm, Evidence, Loaded, Unhealthy
from waguard.core.versions.state import Earlier, Member, VersionState

REMEMBERED: Final = 32  # revisions whose first sight is known; the documents kept are fewer
AFFECTED: Final = 64  # names; enough to choose canaries from
_ACK_ENDS: Final = SHOWN_BY_ACKS | {Evidence.NEVER_READY}
"""What an ack proves to be over."""


def on_loaded(state: VersionState, fact: Loaded, now: float) -> VersionState:
    """A new page: whether it is healthy is not known yet."""
    before = state.members.get(fact.session)
    arm = Arm(fact.revision, fact.wajs)
    if before and (before.arm, before.loaded_at, before.left_at) == (arm, now, None):
        return state  # it came twice
    known = _known(state, fact, before)
    it = before or Member(
        arm=arm,
        served_by=fact.served_by,
        loaded_at=now,
        moves=known.moves,
        moved_at=known.moved_at,
    )
    arrived = _fits(fact, of_all(state)) or _fits(fact, intended(state, fact.session))
    arrived = arrived and fact.revision > state.floor  # else it is loaded again, and again
    it = replace(
        it,
        arm=arm,
        served_by=fact.served_by,
        loaded_at=now,
        well_at=None,
        acked=known.acked,
        heard=known.heard,
        unhealthy=None,
        left_at=None,
        moves=0 if arrived else it.moves,
        moved_at=0.0 if arrived else it.moved_at,
    )
    if fact.session in state.earlier:
        others = {name: one for name, one in state.earlier.items() if name != fact.session}
        state = replace(state, earlier=others)
    state = _with(_seen(state, fact, now), fact.session, it)
    state = _trial_loaded(state, fact, now)
    if fact.missing:
        return on_unhealthy(state, Unhealthy(fact.session, Evidence.EXPORTS_MISSING), now)
    return state


def _known(state: VersionState, fact: Loaded, before: Member | None) -> Earlier:
    """What an earlier daemon knew of this page, which shows itself for the first time. It has shown something only
    where that daemon left it behind."""
    known = state.earlier.get(fact.session)
    if before or not known:
        return Earlier(revision=fact.revision)
    if not fact.adopted or known.revision != fact.revision:
        return replace(known, acked=False, heard=False)
    return known


def _fits(fact: Loaded, wanted: Arm) -> bool:
    if wanted.revision is None:
        return fact.wajs == wanted.wajs and fact.served_by == "network"
    return (fact.revision, fact.wajs) == (wanted.revision, wanted.wajs)


def _seen(state: VersionState, fact: Loaded, now: float) -> VersionState:
    newest = state.newest
    if fact.served_by == "network" and (newest is None or fact.revision > newest):
        newest = fact.revision
    return seen(replace(state, newest=newest), fact.revision, now)


def seen(state: VersionState, revision: int, now: float) -> VersionState:
    """There is such a version."""
    if revision in state.seen_at:
        return state
    known = {**state.seen_at, revision: now}
    return replace(state, seen_at={it: known[it] for it in sorted(known)[-REMEMBERED:]})


def _trial_loaded(state: VersionState, fact: Loaded, now: float) -> VersionState:
    trial = state.trial
    if trial is None or trial.session != fact.session:
        return state
    loaded_at = now if _fits(fact, trial.arm) else None
    return replace(state, trial=replace(trial, loaded_at=loaded_at))


def on_unhealthy(state: VersionState, fact: Unhealthy, now: float) -> VersionState:
    """Note that a page does not do its work."""
    it = state.members.get(fact.session)
    if it is None or it.unhealthy is fact.evidence or it.arm.revision is None:
        return state
    revision = it.arm.revision
    after = replace(
        it,
        unhealthy=fact.evidence,
        last_unhealthy=fact.evidence,
        well_at=None,
        acked=False,
        heard=False,
        unhealthy_loads=it.unhealthy_loads + (it.unhealthy is None),
        unhealthy_after=now - it.loaded_at if it.unhealthy is None else it.unhealthy_after,
        worked=is_shown_well(it, fact.evidence) if it.unhealthy is None else it.worked,
        unhealthy_from=min(it.unhealthy_from or revision, revision),
    )
    return _passed_no_more(_affected(_with(state, fact.session, after), fact.session), fact.session)


def _affected(state: VersionState, session: str) -> VersionState:
    hold, it = state.hold, state.members[session]
    if hold is None or session in hold.affected or (it.arm.revision or 0) < hold.boundary:
        return state
    return replace(state, hold=replace(hold, affected=(*hold.affected, session)[-AFFECTED:]))


def _passed_no_more(state: VersionState, session: str) -> VersionState:
    """A canary that was healthy is unhealthy after all."""
    if session in state.canary.passed:
        state = replace(state, canary=replace(state.canary, passed=()))
    if session in state.bundle_canary.passed:
        state = replace(state, bundle_canary=replace(state.bundle_canary, passed=()))
    return state


def on_well(state: VersionState, session: str, now: float) -> VersionState:
    """Connected, and nothing is wrong: where sends or events were missing only these say so."""
    it = state.members.get(session)
    if it is None or it.well_at is not None or not has_shown(it, it.last_unhealthy):
        return state
    return _becomes_well(state, session, it, now)


def on_acked(state: VersionState, session: str, now: float) -> VersionState:
    """Only the first ack of a page, or since it was unhealthy, is news."""
    it = state.members.get(session)
    if it is None or it.acked:
        return state
    it = replace(it, acked=True)
    if it.well_at is None and (it.last_unhealthy is None or it.last_unhealthy in _ACK_ENDS):
        return _becomes_well(state, session, it, now)
    return _with(state, session, it)


def on_heard(state: VersionState, session: str, now: float) -> VersionState:
    """As ``on_acked``, for an event of a received message."""
    it = state.members.get(session)
    if it is None or it.heard:
        return state
    it = replace(it, heard=True)
    if it.well_at is None and it.last_unhealthy is Evidence.DEAF:
        return _becomes_well(state, session, it, now)
    return _with(state, session, it)


def _becomes_well(state: VersionState, session: str, it: Member, now: float) -> VersionState:
    if it.unhealthy_from is not None:
        state = _clears(state, it)
    after = replace(
        it,
        well_at=now,
        unhealthy=None,
        last_unhealthy=None,
        unhealthy_from=None,
        unhealthy_loads=0,
        well_with=it.arm,
    )
    return _with(state, session, after)


def _clears(state: VersionState, it: Member) -> VersionState:
    """The session becomes well with what is suspected. Where not even a load helped, nothing was wrong with the
    version, and what was confirmed of the same kind had another cause, too."""
    trial = state.trial
    if trial and trial.bad and _is_on(it, trial.bad):
        state = replace(state, trial=replace(trial, recovered=True))
    if it.unhealthy is None:
        return state
    kept = tuple(
        one
        for one in state.confirmations
        if one.evidence is not it.unhealthy or not _is_on(it, one.bad)
    )
    return state if len(kept) == len(state.confirmations) else replace(state, confirmations=kept)


def _is_on(it: Member, bad: Arm) -> bool:
    return it.arm.wajs == bad.wajs and (it.arm.revision or 0) >= (bad.revision or 0)


def on_unreachable(state: VersionState, session: str) -> VersionState:
    """Whether it would be healthy is not known."""
    it = state.members.get(session)
    if it is None or it.well_at is None:
        return state
    return _with(state, session, replace(it, well_at=None))


def on_left(state: VersionState, session: str, now: float) -> VersionState:
    """A session has no page. It may come back in a moment: what is known of it stays for a while."""
    it = state.members.get(session)
    if it is None or it.left_at is not None:
        return state
    return _with(state, session, replace(it, left_at=now, well_at=None))


def forget_gone(state: VersionState, now: float) -> VersionState:
    """Those that have had no page for longer than a trial takes."""
    limit = state.rules.trial_limit
    gone = {
        name
        for name, it in state.members.items()
        if it.left_at is not None and now >= it.left_at + limit
    }
    if not gone:
        return state
    return replace(state, members={k: it for k, it in state.members.items() if k not in gone})


def _with(state: VersionState, session: str, it: Member) -> VersionState:
    return replace(state, members={**state.members, session: it})
