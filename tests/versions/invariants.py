"""What must hold after each step of the decision about versions."""

from collections import Counter
from typing import Final

from waguard.core.backoff import NEVER
from waguard.core.versions.arms import NEW_KEPT, needed, of_all, unservable
from waguard.core.versions.cure import cures, has_other_arm
from waguard.core.versions.effects import Concluded, Reload, VersionEffect
from waguard.core.versions.facts import Arm, Pin, RulesChanged, VersionFact
from waguard.core.versions.policy import intended, next_deadline
from waguard.core.versions.state import TrialStage, VersionState
from waguard.core.versions.views import conditions, rows


class Violation(AssertionError):  # noqa: N818 - as in the other simulation
    """Something that must never be so."""


USED: Final = 8  # pin, trial and what sessions stay with may be kept beside


def check_step(
    before: VersionState, fact: VersionFact, after: VersionState, effects: tuple[VersionEffect, ...]
) -> None:
    """Raises ``Violation``."""
    for session in {*after.members, "nobody"}:
        _check_served(after, session)
    for session in after.members:
        _check_cured(after, session)
    _check_trial(before, fact, after, effects)
    _check_reloads(after, effects)
    if next_deadline(after) <= after.at and next_deadline(after) != NEVER:
        raise Violation("what was due was not done")
    _check_kept(after)
    if after.wajs not in after.bundles:
        raise Violation(f"the bundle in use is not there: {after.wajs}")
    hold = after.hold
    if hold and any(revision >= hold.boundary for revision in after.good):
        raise Violation("what is held back is proven")
    rows(after)
    conditions(after)


def _check_served(state: VersionState, session: str) -> None:
    """Never what WhatsApp refuses, what is not there, or what is not proven and nobody asked for."""
    arm, trial = intended(state, session), state.trial
    if arm.wajs not in state.bundles:
        raise Violation(f"{session} is to have a bundle that is not there")
    if arm.revision is None:
        return
    if why := unservable(state, arm.revision):
        raise Violation(f"{session} is to have {arm.revision}: {why}")
    if state.rules.mode == "off":
        raise Violation(f"{session} is to have {arm.revision} in mode off")
    asked = trial and trial.stage is TrialStage.ASKED and trial.session == session
    if arm.revision not in state.good and arm.revision != state.pin and not asked:
        raise Violation(f"{session} is to have {arm.revision}, which is not proven")
    hold = state.hold
    if hold and arm.revision >= hold.boundary and arm.revision != state.pin and not asked:
        raise Violation(f"{session} is to have {arm.revision}, which is held back")


def _check_cured(state: VersionState, session: str) -> None:
    """Who is left to this decision has something to wait for."""
    if not cures(state, session, state.at):
        return
    if state.rules.mode == "off" or next_deadline(state) == NEVER:
        raise Violation(f"nobody cures {session}")


def _check_trial(
    before: VersionState, fact: VersionFact, after: VersionState, effects: tuple[VersionEffect, ...]
) -> None:
    """Never two, and one arm alone is varied."""
    was, trial = before.trial, after.trial
    ended = [it for it in effects if isinstance(it, Concluded)]
    if len(ended) > 1:
        raise Violation("two trials ended at once")
    over = was is not None and (trial is None or trial.session != was.session)
    if over and not ended and not isinstance(fact, Pin | RulesChanged):
        raise Violation("a trial ended without a word")
    if trial and trial.bad and trial.stage is TrialStage.CROSSED:
        differ = trial.bad.revision != trial.good.revision and trial.good.revision is not None
        if differ and trial.bad.wajs != trial.good.wajs and was is not trial:
            known = after.members.get(trial.session)
            raise Violation(f"both arms are varied: {trial} {known}")
    stay = {it.session for it in after.confirmations} | set(after.bundle_canary.passed)
    odd = [it for it in after.members if has_other_arm(after, it) and it not in stay]
    if len([it for it in odd if not trial or it != trial.session]) > 0:
        raise Violation(f"{odd} have an arm of their own")


def _check_reloads(after: VersionState, effects: tuple[VersionEffect, ...]) -> None:
    loads = [it for it in effects if isinstance(it, Reload)]
    for session, count in Counter(it.session for it in loads).items():
        if count > 1:
            raise Violation(f"{session} is loaded {count} times at once")
    for it in loads:
        if intended(after, it.session) != it.arm:
            raise Violation(f"{it.session} is loaded with what it is not to have: {it.arm}")
    if len(loads) > after.rules.places + 2:  # a trial and its control beside
        raise Violation(f"{len(loads)} are loaded at once")


def _check_kept(state: VersionState) -> None:
    kept, most = needed(state), state.rules.keep + NEW_KEPT + USED
    if len(kept) > most or len(set(kept)) != len(kept):
        raise Violation(f"{len(kept)} documents are kept")
    base = of_all(state)
    if base.revision is not None and base.revision not in kept:
        raise Violation(f"{base.revision} is served and not kept")


def check_rest(state: VersionState, sessions: list[str]) -> None:
    """Nothing is wrong any more: all get what the network serves, and nothing is waited for."""
    if state.trial or state.hold or next_deadline(state) != NEVER:
        raise Violation(
            f"it does not come to rest: {state.trial}, {state.hold}, {next_deadline(state)}"
        )
    for session in sessions:
        if intended(state, session) != Arm(None, state.wajs):
            raise Violation(f"{session} is to have {intended(state, session)}")
