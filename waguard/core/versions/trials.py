"""Trials: which session is loaded with which other arm, one at a time, and what follows from the end. Pure."""

from collections.abc import Callable
from typing import Final, NamedTuple

from waguard.core.backoff import NEVER, backoff
from waguard.core.replace import replace
from waguard.core.versions.arms import intended, of_all, pin, proven, unhealthy
from waguard.core.versions.canaries import on_canary
from waguard.core.versions.effects import (
    Announce,
    Concluded,
    Kind,
    Reload,
    TrialResult,
    VersionEffect,
)
from waguard.core.versions.facts import REPEATABLE, Arm, Evidence
from waguard.core.versions.rollback import on_confirmed
from waguard.core.versions.state import (
    Acquittal,
    Confirmation,
    Member,
    Trial,
    TrialStage,
    VersionState,
    without_result,
)
from waguard.core.versions.trial_evaluation import (
    CANARIES,
    Conclusion,
    CrossOver,
    GoBack,
    due,
    evaluate,
)
from waguard.core.versions.wave import is_to_move

PATIENCE: Final = (
    3.0  # times as long as it took until it was unhealthy: waits are of this length and less
)
MANY: Final = 2  # sessions that are unhealthy with a newer version
_Suspect = tuple[tuple[bool, float, int, bool, int, float, str], str, Member, Arm]
Post = Callable[[VersionEffect], None]


# ---- the one that runs ----


def go_on(state: VersionState, now: float, post: Post) -> VersionState:
    """Evaluate it; a stage may follow, or its end."""
    trial = state.trial
    if trial is None:
        return state
    match evaluate(state, trial, now):
        case None:
            return state
        case Conclusion() as it:
            return _end(state, trial, it, now, post)
        case GoBack():
            stage = replace(
                trial,
                stage=TrialStage.BACK,
                arm=of_all(state),
                began=now,
                loaded_at=None,
                control=None,
            )
            why = "it is healthy with the older version: is it unhealthy again without it?"
            return _begin(state, stage, now, post, why)
        case CrossOver(evidence):
            stage = Trial(
                session=trial.session,
                stage=TrialStage.CROSSED,
                arm=of_all(state),
                bad=Arm(state.members[trial.session].arm.revision, trial.arm.wajs),
                good=of_all(state),
                began=now,
                limit=state.rules.trial_limit,
                evidence=evidence,
            )
            return _begin(state, stage, now, post, "it is unhealthy with the new wa-js")


def _begin(state: VersionState, trial: Trial, now: float, post: Post, why: str) -> VersionState:
    it = replace(state.members[trial.session], tried_at=now)
    post(Reload(trial.session, trial.arm, why))
    return replace(state, trial=trial, members={**state.members, trial.session: it})


def _end(state: VersionState, trial: Trial, it: Conclusion, now: float, post: Post) -> VersionState:
    post(Concluded(trial.session, trial.arm, it.result, it.why))
    state = replace(state, trial=None)
    bad, evidence = trial.bad, trial.evidence
    if bad is None or evidence is None:
        return on_canary(state, trial, it.result, now, post)
    match it.result:
        case TrialResult.CONFIRMED:
            state = replace(state, voids=0, next_trial_at=now)
            if bad.wajs == state.candidate:
                state = replace(state, bundle_canary=replace(state.bundle_canary, at=now))
            found = Confirmation(trial.session, bad, trial.good, evidence, now)
            return on_confirmed(state, found, now, post)
        case TrialResult.ACQUITTED:
            return _acquitted(state, trial, bad, now, post)
        case _:
            return _void(state, trial, now)


def _acquitted(state: VersionState, trial: Trial, bad: Arm, now: float, post: Post) -> VersionState:
    state = replace(state, voids=0, next_trial_at=now)
    of_bundle = bad.wajs != trial.good.wajs
    before = state.bundle_pause if of_bundle else state.acquittal
    rules = state.rules
    count, revision = 1, bad.revision or 0
    if before and now < before.until + rules.pause_limit:
        if of_bundle or before.revision >= revision:
            count = before.count + 1
        revision = max(before.revision, revision)
    until = now + backoff(rules.pause, count - 1, longest=rules.pause_limit)
    pause = Acquittal(revision, count, until, sum(1 for _ in unhealthy(state)))
    if count == 1:
        wajs = bad.wajs if of_bundle else None
        post(
            Announce(
                kind=Kind.ACQUITTED,
                revision=bad.revision,
                wajs=wajs,
                evidence=trial.evidence,
                sessions=(trial.session,),
            )
        )
    if of_bundle and bad.wajs == state.candidate:  # another session tries it
        state = replace(state, bundle_canary=replace(state.bundle_canary, at=until))
    if of_bundle:
        return replace(state, bundle_pause=pause)
    doubted = {it: at for it, at in state.doubted.items() if now < at}
    if trial.good.revision is not None:
        doubted[trial.good.revision] = now + rules.pause_limit
    return replace(state, acquittal=pause, doubted=doubted)


def _void(state: VersionState, trial: Trial, now: float) -> VersionState:
    state = without_result(state, now)
    if trial.bad and trial.bad.wajs == state.candidate:
        at = max(state.next_trial_at, now + state.rules.pause)
        state = replace(state, bundle_canary=replace(state.bundle_canary, at=at))
    return state


# ---- the next one ----


def cross_over(state: VersionState, now: float, post: Post) -> VersionState:
    """Load an unhealthy session with what was good, where one is unhealthy and it is time."""
    if pin(state) is not None:
        return state
    shown = _shown(state)
    found = [
        (_rank(name, it, shown[it.unhealthy]), name, it, good)
        for name, it in unhealthy(state)
        if (good := suspect(state, name, it, now))
    ]
    if state.trial:
        found = _more_urgent(state, state.trial, found, now)
    if not found:
        return state
    if state.trial:
        why = "other sessions give better evidence, and sooner"
        post(Concluded(state.trial.session, state.trial.arm, TrialResult.VOID, why))
    _, name, it, good = min(found, key=lambda one: one[0])
    bad = Arm(it.unhealthy_from if good.wajs == it.arm.wajs else it.arm.revision, it.arm.wajs)
    repeated = it.unhealthy_loads > 1 or it.unhealthy in REPEATABLE
    trial = Trial(
        session=name,
        stage=TrialStage.CROSSED,
        arm=good,
        bad=bad,
        good=good,
        began=now,
        limit=_limit(state, it),
        evidence=it.unhealthy,
        repeated=repeated,
    )
    newer = state.suspected is None or (bad.revision or 0) > state.suspected
    if newer:
        state = replace(state, suspected=bad.revision, voids=0)
    if newer or good.wajs != bad.wajs:
        post(
            Announce(
                kind=Kind.SUSPECTED,
                revision=bad.revision,
                instead=good.revision,
                wajs=None if good.wajs == bad.wajs else bad.wajs,
                evidence=it.unhealthy,
                sessions=(name,),
            )
        )
    return _begin(state, trial, now, post, f"it is unhealthy: is it well with {_name(good, bad)}?")


def load_control(state: VersionState, now: float, post: Post) -> VersionState:
    """As soon as another session is unhealthy, and unless no load of the same is the cure."""
    trial = state.trial
    if (
        trial is None
        or trial.stage is not TrialStage.CROSSED
        or trial.repeated
        or trial.bad is None
    ):
        return state
    known = state.members.get(trial.control or "")
    if known and (known.left_at is None or now < _loaded_by(state, trial)):
        return state  # its worker ends for the load that it was to get
    control = _control(state, trial.session, trial.bad)
    if control is None:
        return state
    if (
        state.members[control].unhealthy_loads == 1
    ):  # of one that was unhealthy with two it is known
        post(Reload(control, intended(state, control), "it is unhealthy: is a load the cure?"))
    return replace(state, trial=replace(trial, control=control, control_at=now))


def _loaded_by(state: VersionState, trial: Trial) -> float:
    """When the control has had time enough for its load."""
    return trial.control_at + state.rules.well_for


def _more_urgent(
    state: VersionState, trial: Trial, found: list[_Suspect], now: float
) -> list[_Suspect]:
    """For which ones a trial that has shown nothing yet is left."""
    if trial.stage in CANARIES:
        return found if _shows_nothing(state, trial, now) else []
    bad = trial.bad
    if bad is None or bad.wajs != state.wajs or trial.began >= now:
        return []
    busy = {trial.session}
    control = state.members.get(trial.control or "")
    if (
        trial.control
        and control
        and control.unhealthy_loads == 1
        and control.loaded_at <= trial.control_at
    ):
        busy.add(trial.control)  # it is being loaded
    others = [it for it in found if it[1] not in busy]
    if now >= trial.began + state.rules.trial_limit:
        return others
    if trial.evidence not in REPEATABLE and any(
        it.unhealthy in REPEATABLE for _, _, it, _ in others
    ):
        return others  # these have the best rank
    newer = [one for one in others if (one[2].unhealthy_from or 0) > (bad.revision or 0)]
    return newer if len(newer) >= MANY else []


def _shows_nothing(state: VersionState, trial: Trial, now: float) -> bool:
    """Whether who tries something had time enough to connect, and does not: it may be offline for long."""
    it = state.members.get(trial.session)
    connected = it is not None and it.well_at is not None and trial.loaded_at is not None
    return not connected and now >= trial.began + state.rules.trial_limit


def _limit(state: VersionState, it: Member) -> float:
    """Who seldom sends is waited for: it took as long until it was unhealthy."""
    rules = state.rules
    return max(rules.trial_limit, min(PATIENCE * it.unhealthy_after, rules.canary_for))


def _name(good: Arm, bad: Arm) -> str:
    return f"version {good.revision}" if good.wajs == bad.wajs else f"wa-js {good.wajs[:12]}"


def suspect(state: VersionState, name: str, it: Member, now: float) -> Arm | None:
    """What an unhealthy session is to be tried with; None: with nothing, or not yet."""
    if it.unhealthy_from is None or is_to_move(state, name, it):
        return None  # it gets another arm anyway
    newer = state.suspected is None or it.unhealthy_from > state.suspected
    if now < state.next_trial_at and not newer:
        return None
    if _blames_bundle(state, it):
        return None if is_paused(state, state.bundle_pause, None, now) else _previous(state, it)
    good = _compared_with(state, it.unhealthy_from, now)
    if good is not None and it.arm.wajs in state.bundles:
        paused = is_paused(state, state.acquittal, it.unhealthy_from, now)
        return None if paused else Arm(good, it.arm.wajs)
    return None


def _compared_with(state: VersionState, bad: int, now: float) -> int | None:
    """The newest good one; rather one with which nobody was unhealthy of late."""
    doubted = frozenset(it for it, until in state.doubted.items() if now < until)
    found = proven(state, below=bad, but=doubted)
    return proven(state, below=bad) if found is None else found


def _blames_bundle(state: VersionState, it: Member) -> bool:
    """Whether the session was well with the version that it has, and with the bundle that all had before."""
    return (
        it.arm.wajs == state.wajs
        and state.previous in state.bundles
        and it.well_with == Arm(it.arm.revision, state.previous or "")
    )


def _previous(state: VersionState, it: Member) -> Arm | None:
    fits = it.arm.revision == of_all(state).revision or of_all(state).revision is None
    return Arm(of_all(state).revision, state.previous) if fits and state.previous else None


def is_paused(
    state: VersionState, pause: Acquittal | None, revision: int | None, now: float
) -> bool:
    """Whether an acquittal still keeps trials away: not from a newer revision, nor when far more are unhealthy."""
    if pause is None or now >= pause.until:
        return False
    if revision is not None and revision > pause.revision:
        return False
    return sum(1 for _ in unhealthy(state)) < 2 * pause.unhealthy + 2


class _Shown(NamedTuple):
    """Those that are unhealthy in one way: when the first of them showed it (unix time), and how many they are."""

    first: float
    sessions: int


def _shown(state: VersionState) -> dict[Evidence | None, _Shown]:
    """What sessions show, by evidence."""
    found = dict[Evidence | None, _Shown]()
    for _, it in unhealthy(state):
        at = it.loaded_at + it.unhealthy_after
        first, sessions = found.get(it.unhealthy, (at, 0))
        found[it.unhealthy] = _Shown(min(at, first), sessions + 1)
    return found


def _shown_within(it: Member, shown: _Shown) -> float:
    """Seconds in which it showed what is wrong: from its load; where it broke while the page was open, from the
    first who showed it."""
    if not it.worked:
        return it.unhealthy_after
    return it.loaded_at + it.unhealthy_after - shown.first


def _rank(name: str, it: Member, shown: _Shown) -> tuple[bool, float, int, bool, int, float, str]:
    """What is the same at each load is quickest. Then who was tried longest ago comes first, who fails as most
    do, who needs not go back, who is unhealthy with the newest, and who shows it soonest."""
    from_ = -(it.unhealthy_from or 0)
    return (
        it.unhealthy not in REPEATABLE,
        it.tried_at,
        -shown.sessions,
        it.unhealthy_loads < 2,  # noqa: PLR2004
        from_,
        _shown_within(it, shown),
        name,
    )


def _control(state: VersionState, subject: str, bad: Arm) -> str | None:
    """An unhealthy session that would be loaded with what is suspected."""
    shown = _shown(state)
    found = [
        (it.unhealthy_loads == 1, _shown_within(it, shown[it.unhealthy]), name)
        for name, it in unhealthy(state)
        if name != subject
        and not is_to_move(state, name, it)
        and it.arm.wajs == bad.wajs
        and (it.arm.revision or 0) >= (bad.revision or 0)
        and (arm := intended(state, name)).wajs == bad.wajs
        and (arm.revision is None or arm.revision >= (bad.revision or 0))
    ]
    return min(found)[-1] if found else None


def deadlines(state: VersionState) -> list[float]:
    """When a trial may end or begin."""
    found: list[float] = []
    if state.trial:
        found += [*due(state, state.trial), state.trial.began + state.rules.trial_limit]
        if state.trial.control:
            found.append(_loaded_by(state, state.trial))
    if any(True for _ in unhealthy(state)):
        pauses = [it.until for it in (state.acquittal, state.bundle_pause) if it]
        found += [state.next_trial_at, *pauses]
    return found or [NEVER]
