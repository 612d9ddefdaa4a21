"""Canaries: one session tries what is held back, new, or asked for, and what follows. Pure."""

from collections.abc import Callable

from waguard.core.backoff import backoff
from waguard.core.replace import replace
from waguard.core.versions.arms import can_load, of_all, pin, proven
from waguard.core.versions.effects import Announce, Kind, Reload, TrialResult, VersionEffect
from waguard.core.versions.facts import Arm
from waguard.core.versions.state import Schedule, Trial, TrialStage, VersionState

Post = Callable[[VersionEffect], None]


# ---- the next one ----


def try_asked(state: VersionState, now: float, post: Post) -> VersionState:
    """What an operator asked for, as soon as no trial runs."""
    asked = state.requested
    if asked is None or state.trial:
        return state
    state = replace(state, requested=None)
    base = of_all(state)
    if asked.wajs is None:
        arm = Arm(asked.revision, base.wajs)
    else:
        arm = Arm(base.revision if asked.revision is None else asked.revision, asked.wajs)
    session = asked.session or _choose(state, (), ())
    if session is None or session not in state.members or not can_load(state, arm):
        return state
    return _begin(state, session, arm, TrialStage.ASKED, now, post)


def try_bundle(state: VersionState, now: float, post: Post) -> VersionState:
    """The next canary of a new bundle."""
    if state.trial or state.candidate is None or now < state.bundle_canary.at:
        return state
    failed = tuple(it.session for it in state.confirmations if it.of_bundle)
    session = _choose(state, (), (*state.bundle_canary.passed, *failed))
    if session is None:
        return _later(state, bundle=True, now=now)
    arm = Arm(of_all(state).revision, state.candidate)
    state = _later(
        state, bundle=True, now=now
    )  # a restart forgets the trial: as one without a result
    return _begin(state, session, arm, TrialStage.CANARY, now, post)


def try_newest(state: VersionState, now: float, post: Post) -> VersionState:
    """The next canary of what is held back; in mode guard of what is new."""
    if state.trial or not wants_newest(state) or now < state.canary.at:
        return state
    among = state.hold.confirmed if state.hold else ()
    session = _choose(state, among, state.canary.passed)
    if session is None:
        return _later(state, bundle=False, now=now)
    rules, before = state.rules, state.canary
    wait = backoff(rules.canary_after, before.failures, longest=rules.canary_limit)
    # a restart forgets the trial: the next one waits as after one without a result
    state = replace(state, canary=replace(before, at=now + wait))
    return _begin(state, session, Arm(None, of_all(state).wajs), TrialStage.CANARY, now, post)


def wants_newest(state: VersionState) -> bool:
    """Sessions get an older version, and not because an operator wants it."""
    if pin(state) is not None:
        return False
    if state.hold:
        return True
    return state.rules.mode == "guard" and proven(state) is not None


def _later(state: VersionState, *, bundle: bool, now: float) -> VersionState:
    """Nobody is healthy enough to be a canary."""
    if bundle:
        later = replace(state.bundle_canary, at=now + state.rules.pause)
        return replace(state, bundle_canary=later)
    return replace(state, canary=replace(state.canary, at=now + state.rules.pause))


def _choose(state: VersionState, among: tuple[str, ...], but: tuple[str, ...]) -> str | None:
    """Well, of ``among`` where any is, not of ``but`` where there is another, tried longest ago."""
    well = [name for name, it in state.members.items() if it.well_at is not None]
    fit = [name for name in well if name in among] or well
    fresh = [name for name in fit if name not in but] or fit
    return min(fresh, key=lambda name: (state.members[name].tried_at, name), default=None)


def _begin(
    state: VersionState, session: str, arm: Arm, stage: TrialStage, now: float, post: Post
) -> VersionState:
    trial = Trial(
        session=session,
        stage=stage,
        arm=arm,
        bad=None,
        good=of_all(state),
        began=now,
        limit=state.rules.canary_for + state.rules.trial_limit,
    )
    it = replace(state.members[session], tried_at=now)
    whose = "an operator asked for it" if stage is TrialStage.ASKED else "it is a canary"
    post(Reload(session, arm, whose))
    return replace(state, trial=trial, members={**state.members, session: it})


# ---- the end of one ----


def on_canary(
    state: VersionState, trial: Trial, result: TrialResult, now: float, post: Post
) -> VersionState:
    """Count it. An unhealthy one is loaded again as all are that have what they should not."""
    if trial.arm.wajs != state.wajs:
        if trial.arm.wajs != state.candidate:
            return state
        return _of_bundle(state, trial, result, now, post)
    if trial.arm.revision is not None or not wants_newest(state):
        return state  # an operator's own
    return _of_newest(state, trial, result, now, post)


def _of_newest(
    state: VersionState, trial: Trial, result: TrialResult, now: float, post: Post
) -> VersionState:
    rules, before = state.rules, state.canary
    it = state.members.get(trial.session)
    revision = it.arm.revision if it else None
    known = [good for good, one in state.good.items() if one.at <= trial.began]
    nothing_new = state.hold is None and (revision or 0) <= max(known, default=0)
    if result is TrialResult.FAILED or (result is TrialResult.PASSED and nothing_new):
        failures = before.failures + 1
        wait = backoff(rules.canary_after, failures, longest=rules.canary_limit)
        return replace(state, canary=Schedule(now + wait, failures))
    if result is not TrialResult.PASSED:
        wait = backoff(rules.canary_after, before.failures, longest=rules.canary_limit)
        return replace(state, canary=replace(before, at=now + wait))
    passed = (*before.passed, trial.session)
    if len(passed) < rules.canaries:
        return replace(state, canary=Schedule(now, before.failures, passed))
    sessions, hold = passed[-rules.canaries :], state.hold
    state = replace(
        state,
        hold=None,
        canary=Schedule(now + rules.canary_after),
        acquittal=None,
        suspected=None if hold else state.suspected,
    )
    post(Announce(kind=Kind.RELEASED, revision=revision, sessions=sessions))
    return state


def _of_bundle(
    state: VersionState, trial: Trial, result: TrialResult, now: float, post: Post
) -> VersionState:
    rules, before = state.rules, state.bundle_canary
    if result is not TrialResult.PASSED:
        return replace(state, bundle_canary=replace(before, at=now + rules.pause))
    passed = (*before.passed, trial.session)
    if len(passed) < rules.canaries or state.candidate is None:
        return replace(state, bundle_canary=Schedule(now, before.failures, passed))
    state = replace(
        state,
        wajs=state.candidate,
        previous=state.wajs,
        candidate=None,
        bundle_canary=Schedule(),
        bundle_pause=None,
        # it may know what the one before did not
        canary=replace(state.canary, at=min(state.canary.at, now)),
    )
    post(Announce(kind=Kind.BUNDLE_RELEASED, wajs=state.wajs, sessions=passed[-rules.canaries :]))
    return state


def deadlines(state: VersionState) -> list[float]:
    """When the next canary is due."""
    found = []
    if state.candidate:
        found.append(state.bundle_canary.at)
    if wants_newest(state):
        found.append(state.canary.at)
    return found
