"""Which unhealthy sessions are cured by the decision about versions, so that nobody else loads them again. Pure."""

from waguard.core.versions.arms import intended, of_all, pin
from waguard.core.versions.state import VersionState
from waguard.core.versions.trial_evaluation import CANARIES
from waguard.core.versions.trials import suspect
from waguard.core.versions.wave import is_to_move


def cures(state: VersionState, session: str, now: float) -> bool:
    """Whether a trial or the wave loads it again: now, or as soon as the trial that runs is over.

    False where nothing follows from its failure for longer than a trial takes: there is no other version, an
    acquittal or trials without a result make it wait, a canary runs, an operator has pinned a version.
    """
    it, trial = state.members.get(session), state.trial
    if state.rules.mode == "off" or it is None:
        return False
    if trial and session in {trial.session, trial.control}:
        return True
    if is_to_move(state, session, it):
        return True
    tried = it.unhealthy is not None and it.left_at is None and pin(state) is None
    if not tried or (trial and trial.stage in CANARIES):
        return False
    begins = max(now, state.next_trial_at)
    soon = begins <= now + state.rules.trial_limit
    return soon and suspect(state, session, it, begins) is not None


def has_other_arm(state: VersionState, session: str) -> bool:
    """Whether it is to have another version or bundle than all: what it shows says nothing of theirs."""
    return intended(state, session) != of_all(state)
