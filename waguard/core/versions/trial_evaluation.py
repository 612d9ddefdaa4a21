"""What a trial has shown. Only a crossover blames: the same session is unhealthy with one arm and well with the
other, a load alone is not the cure, and nobody else recovers meanwhile. No evidence is no acquittal. Pure.
"""

from typing import Final, NamedTuple

from waguard.core.backoff import NEVER
from waguard.core.versions.arms import alone, has_shown, is_shown_well, may_load, of_all
from waguard.core.versions.effects import TrialResult
from waguard.core.versions.facts import Evidence
from waguard.core.versions.state import Member, Trial, TrialStage, VersionState


class Conclusion(NamedTuple):
    """How it ended, and why."""

    result: TrialResult
    why: str


class GoBack(NamedTuple):
    """The session is healthy with what was good: is it unhealthy again with what all have?"""


class CrossOver(NamedTuple):
    """The canary is unhealthy: is it well with what it had?"""

    evidence: Evidence


Finding = Conclusion | GoBack | CrossOver | None
CANARIES: Final = frozenset({TrialStage.CANARY, TrialStage.ASKED})


def evaluate(state: VersionState, trial: Trial, now: float) -> Finding:
    """None: nothing is known yet."""
    it = state.members.get(trial.session)
    if it is None:
        return _void("the session is gone")
    if not may_load(state, trial) or trial.good.wajs not in state.bundles:
        return _void("its version cannot be served any more")
    if trial.loaded_at is None or it.left_at is not None:
        return _late(trial, now, "its page was not loaded with it in time")
    match trial.stage:
        case TrialStage.CROSSED:
            return _crossed(state, trial, it, now)
        case TrialStage.BACK:
            return _back(state, trial, it, now)
        case TrialStage.CANARY | TrialStage.ASKED:
            return _canary(state, trial, it, now)


def ends_at(trial: Trial) -> float:
    """When it is over without evidence."""
    return trial.began + trial.limit


def due(state: VersionState, trial: Trial) -> list[float]:
    """When it may have ended."""
    it = state.members.get(trial.session)
    return [ends_at(trial), _proven_at(state, trial, it) if it else NEVER]


def _proven_at(state: VersionState, trial: Trial, it: Member) -> float:
    """When it has been well for long enough."""
    if trial.loaded_at is None or it.well_at is None:
        return NEVER
    if trial.stage in CANARIES:
        return max(trial.loaded_at, it.well_at) + state.rules.canary_for
    return max(trial.loaded_at, it.well_at) + state.rules.well_for


def _late(trial: Trial, now: float, why: str) -> Finding:
    return _void(why) if now >= ends_at(trial) else None


def _void(why: str) -> Conclusion:
    return Conclusion(TrialResult.VOID, why)


def _varies_both(trial: Trial, it: Member) -> bool:
    """The bundle is on trial, and the network serves another version than before."""
    bad = trial.bad
    return bad is not None and bad.wajs != trial.good.wajs and bad.revision != it.arm.revision


def _crossed(state: VersionState, trial: Trial, it: Member, now: float) -> Finding:
    if _varies_both(trial, it):
        return _void("WhatsApp serves another version meanwhile")
    if it.unhealthy is Evidence.TOO_OLD and trial.evidence is not Evidence.TOO_OLD:
        return _void("WhatsApp refuses the older version")
    if it.unhealthy is trial.evidence:
        return Conclusion(TrialResult.ACQUITTED, "it is unhealthy with the older version, too")
    if trial.recovered:
        return _void("another session recovered with the suspected version")
    if not is_shown_well(it, trial.evidence) or now < _proven_at(state, trial, it):
        return _late(trial, now, "nothing shows that it is healthy or unhealthy")
    if _is_load_excluded(state, trial):
        return Conclusion(TrialResult.CONFIRMED, "it is healthy with the older version")
    return GoBack()


def _is_load_excluded(state: VersionState, trial: Trial) -> bool:
    """A load with the same arm would not have been the cure. Another unhealthy session cannot show that: it may
    be unhealthy for a reason of its own."""
    if trial.bad and trial.bad.wajs != state.wajs:
        return True  # a canary: it was well with what all have, unhealthy with another, and is healthy again
    return trial.repeated and not alone(state)


def _back(state: VersionState, trial: Trial, it: Member, now: float) -> Finding:
    revision, bad = it.arm.revision or 0, trial.bad
    if _varies_both(trial, it):
        return _void("WhatsApp serves another version meanwhile")
    if bad and revision < (bad.revision or 0):
        return _void("the network serves an older version again")
    if it.unhealthy is trial.evidence:  # of another failure the cause is another, too
        return Conclusion(TrialResult.CONFIRMED, "it is unhealthy again with what all have")
    if is_shown_well(it, trial.evidence) and now >= _proven_at(state, trial, it):
        return _void("a load alone was the cure")
    return _late(trial, now, "nothing shows that it is unhealthy again")


def _canary(state: VersionState, trial: Trial, it: Member, now: float) -> Finding:
    if it.unhealthy:
        if trial.arm.wajs != of_all(state).wajs:
            if of_all(state).revision not in {None, it.arm.revision}:
                return _void("all get another version meanwhile")
            return CrossOver(it.unhealthy)
        return Conclusion(TrialResult.FAILED, f"it is unhealthy: {it.unhealthy}")
    hold = state.hold
    shown = it.acked and has_shown(it, hold.evidence if hold else None)
    if shown and now >= _proven_at(state, trial, it):
        return Conclusion(TrialResult.PASSED, "it is healthy")
    return _late(trial, now, "nothing shows that it is healthy or unhealthy")
