"""What can be served, and what each session is to have. Pure."""

from collections.abc import Iterator
from typing import Final

from waguard.core.versions.facts import SHOWN_BY_ACKS, Arm, Evidence
from waguard.core.versions.state import Confirmation, Member, Trial, TrialStage, VersionState

# unproven documents: as many builds as there may be in half an hour, and some; more while fewer are
# proven: which ones were may be forgotten with a damaged versions.json
NEW_KEPT: Final = 4
RECENT: Final = 4  # proven ones that are kept however close they are
APART: Final = (
    86_400.0  # s between two older ones: what only shows after days has something to go back to
)


def unservable(state: VersionState, revision: int) -> str | None:
    """Why this revision cannot be served from the store, in words; None: it can."""
    if revision <= state.floor or revision == state.refused:
        return "WhatsApp refuses it as too old"
    if revision in state.spent:
        return "its scripts are not on WhatsApp's CDN any more"
    if revision not in state.stored:
        return "its document is not stored here"
    return None


def proven(
    state: VersionState, *, below: int | None = None, but: frozenset[int] = frozenset()
) -> int | None:
    """The newest good one that can be served."""
    fit = [
        revision
        for revision in state.good
        if (below is None or revision < below)
        and revision not in but
        and unservable(state, revision) is None
    ]
    return max(fit, default=None)


def pin(state: VersionState) -> int | None:
    """The operator's, where it can be served."""
    if state.pin is None or state.rules.mode == "off" or unservable(state, state.pin):
        return None
    return state.pin


def of_all(state: VersionState) -> Arm:
    """What sessions get that nothing is known of."""
    if state.rules.mode == "off":
        return Arm(None, state.wajs)
    if pinned := pin(state):
        return Arm(pinned, state.wajs)
    if state.hold:
        return Arm(proven(state, below=state.hold.boundary), state.wajs)
    return Arm(proven(state) if state.rules.mode == "guard" else None, state.wajs)


def intended(state: VersionState, session: str) -> Arm:
    """What the session gets at its next start or load."""
    arm, trial = of_all(state), state.trial
    if state.rules.mode == "off":
        return arm
    if trial and trial.session == session and may_load(state, trial):
        return trial.arm
    for it in state.confirmations:
        if it.session == session:
            arm = _stays(state, arm, it)
    if state.candidate and session in state.bundle_canary.passed:
        return Arm(arm.revision, state.candidate)
    return arm


def can_load(state: VersionState, arm: Arm) -> bool:
    """Whether a page can be loaded with it."""
    fits = arm.revision is None or unservable(state, arm.revision) is None
    return fits and arm.wajs in state.bundles


def may_load(state: VersionState, trial: Trial) -> bool:
    """What nobody asked for is proven, or what the network serves."""
    revision = trial.arm.revision
    known = revision in state.good or revision in {None, pin(state)}
    return (known or trial.stage is TrialStage.ASKED) and can_load(state, trial.arm)


def _stays(state: VersionState, arm: Arm, it: Confirmation) -> Arm:
    """Keep a session that was unhealthy with what all have on what it was well with."""
    if it.of_bundle:
        return Arm(arm.revision, it.good.wajs) if it.good.wajs in state.bundles else arm
    revision = it.good.revision
    if revision is None or revision not in state.good:
        return arm
    if pin(state) or unservable(state, revision):
        return arm
    return Arm(revision, arm.wajs)


def unhealthy(state: VersionState) -> Iterator[tuple[str, Member]]:
    """Sessions whose page is unhealthy."""
    return ((name, it) for name, it in state.members.items() if it.unhealthy and it.left_at is None)


def alone(state: VersionState) -> bool:
    """There is one session: no other can confirm anything."""
    return len(state.members) <= 1


def has_shown(it: Member, evidence: Evidence | None) -> bool:
    """Whether the session did what failed: a page that sends nothing only looks healthy where sends are what failed."""
    if evidence is Evidence.DEAF:
        return it.heard
    return it.acked or evidence not in SHOWN_BY_ACKS


def is_shown_well(it: Member, evidence: Evidence | None) -> bool:
    """Whether the session is healthy, and has shown that what failed works."""
    return it.well_at is not None and has_shown(it, evidence)


def needed(state: VersionState) -> tuple[int, ...]:
    """The stored ones that are worth their room, the newest first."""
    good = sorted((it for it in state.good if it in state.stored), reverse=True)
    recent, older = good[:RECENT], good[RECENT:]
    apart: list[int] = []
    for revision in reversed(
        older
    ):  # from the oldest: which ones stay does not change with each build
        if not apart or _age(state, revision) >= _age(state, apart[-1]) + APART:
            apart.append(revision)
    room = max(0, state.rules.keep - RECENT)
    kept = {*recent[: state.rules.keep], *apart[len(apart) - min(room, len(apart)) :]}
    free = NEW_KEPT + max(0, state.rules.keep - len(kept))
    new = sorted((it for it in state.stored if it not in state.good), reverse=True)[:free]
    arms = [it.good for it in state.confirmations]
    arms += [state.trial.arm, state.trial.good] if state.trial else []
    used = {state.pin, *(arm.revision for arm in arms)}
    kept |= {*new, *(it for it in used if it is not None and it in state.stored)}
    gone = state.spent | {it for it in kept if it <= state.floor}
    return tuple(sorted(kept - gone, reverse=True))


def _age(state: VersionState, revision: int) -> float:
    return state.good[revision].at
