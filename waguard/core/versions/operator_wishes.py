"""What an operator asks for: a version for all, a trial, another wa-js. Pure."""

from waguard.core.replace import replace
from waguard.core.versions.arms import unservable
from waguard.core.versions.facts import Pin, Try, UseBundle
from waguard.core.versions.state import Schedule, VersionState


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


def on_pin(state: VersionState, fact: Pin, now: float) -> VersionState:
    """Pin a version, and end what runs or waits for that: nothing else is tried meanwhile."""
    if refusal(state, fact) or fact.revision == state.pin:
        return state
    return replace(state, pin=fact.revision, pinned_at=now, trial=None, requested=None, lost=None)


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
