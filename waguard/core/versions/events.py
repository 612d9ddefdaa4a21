"""What is stored, what WhatsApp does not take any more, and what an operator asks for. Pure."""

from collections.abc import Callable

from waguard.core.replace import replace
from waguard.core.versions.arms import of_all, unservable
from waguard.core.versions.effects import Announce, Discard, Kind, VersionEffect
from waguard.core.versions.facts import Captured, Pin, Try, UseBundle
from waguard.core.versions.pages import seen
from waguard.core.versions.state import Schedule, VersionState

Post = Callable[[VersionEffect], None]


def refusal(state: VersionState, fact: Pin | Try | UseBundle) -> str | None:
    """Why an operator's wish cannot be fulfilled, in words; None: it can."""
    match fact:
        case Pin(revision):
            return unservable(state, revision)
        case UseBundle(wajs):
            return None if wajs in state.bundles else "there is no such bundle"
        case Try(revision=revision, wajs=wajs, session=session):
            if state.rules.mode == "off":
                return "versions.mode is off"
            if session is not None and session not in state.members:
                return "the session has no page"
            if wajs is not None and wajs not in state.bundles:
                return "there is no such bundle"
            if wajs is not None and revision is not None:
                return (
                    "name a version or a bundle: with both at once nobody could say which one fails"
                )
            return None if revision is None else unservable(state, revision)


# ---- the store ----


def on_captured(state: VersionState, fact: Captured, now: float) -> VersionState:
    """The network served it a moment ago, so its scripts are there."""
    revision = fact.revision
    if revision in state.stored and revision not in state.spent:
        return state
    newest = revision if state.newest is None else max(state.newest, revision)
    state = replace(state, newest=newest, spent=state.spent - {revision})
    return seen(replace(state, stored=state.stored | {revision}), revision, now)


def on_discarded(state: VersionState, revision: int) -> VersionState:
    """What is not stored can be good no more: nobody could be given it."""
    good = {known: it for known, it in state.good.items() if known != revision}
    stored, spent = state.stored - {revision}, state.spent - {revision}
    return _unpinned(replace(state, stored=stored, spent=spent, good=good))


def on_refused(state: VersionState, revision: int, now: float, post: Post) -> VersionState:
    """Older ones are refused as well; where it is the newest, it is not its age."""
    is_newest = state.newest is None or revision >= state.newest
    if revision <= state.floor or (is_newest and revision == state.refused):
        return state
    if is_newest:
        state = replace(state, refused=revision, refused_at=now)
        post(Announce(kind=Kind.REFUSED, revision=revision, person=True))
        return state
    good = {known: it for known, it in state.good.items() if known > revision}
    state = _unpinned(replace(state, floor=revision, good=good))
    instead = of_all(state).revision
    # all that is left is what was held back
    person = state.hold is not None and instead is None
    post(Announce(kind=Kind.REFUSED, revision=revision, instead=instead, person=person))
    return state


def on_spent(state: VersionState, revision: int, post: Post) -> VersionState:
    """The document cannot be used any more."""
    if revision not in state.stored or revision in state.spent:
        return state
    good = {known: it for known, it in state.good.items() if known != revision}
    state = _unpinned(replace(state, spent=state.spent | {revision}, good=good))
    instead = of_all(state).revision
    person = state.hold is not None and instead is None
    post(Announce(kind=Kind.SPENT, revision=revision, instead=instead, person=person))
    post(Discard(revision))
    return state


def _unpinned(state: VersionState) -> VersionState:
    if state.pin is not None and unservable(state, state.pin):
        return replace(state, pin=None)
    return state


# ---- operators ----


def on_pin(state: VersionState, fact: Pin, now: float) -> VersionState:
    """Pin a version, and end what runs: nothing else is tried meanwhile."""
    if refusal(state, fact) or fact.revision == state.pin:
        return state
    return replace(state, pin=fact.revision, pinned_at=now, trial=None)


def on_try(state: VersionState, fact: Try) -> VersionState:
    """The newest wish counts."""
    return state if refusal(state, fact) else replace(state, requested=fact)


def on_use_bundle(state: VersionState, fact: UseBundle) -> VersionState:
    """Canaries first, but in mode off."""
    wajs = fact.wajs
    if refusal(state, fact) or wajs == state.candidate:
        return state
    rejected = {known: at for known, at in state.rejected.items() if known != wajs}
    state = replace(state, rejected=rejected, bundle_canary=Schedule())
    if wajs == state.wajs:
        return replace(state, candidate=None)
    if state.rules.mode == "off":
        return replace(state, wajs=wajs, previous=state.wajs, candidate=None)
    return replace(state, candidate=wajs)


def on_bundle_removed(state: VersionState, wajs: str) -> VersionState:
    """The last one stays: something has to be injected."""
    left = state.bundles - {wajs}
    if wajs not in state.bundles or not left:
        return state
    state = replace(
        state,
        bundles=left,
        rejected={known: at for known, at in state.rejected.items() if known != wajs},
        previous=None if state.previous == wajs else state.previous,
        candidate=None if state.candidate == wajs else state.candidate,
    )
    if state.wajs != wajs:
        return state
    fit = [it for it in sorted(left) if it not in state.rejected] or sorted(left)
    chosen = state.previous or fit[0]
    candidate = None if state.candidate == chosen else state.candidate
    return replace(state, wajs=chosen, previous=None, candidate=candidate)
