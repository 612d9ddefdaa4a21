"""Which versions and bundles can be used: what is stored, and what WhatsApp does not take any more. Pure."""

from collections.abc import Callable

from waguard.core.replace import replace
from waguard.core.versions.arms import of_all, unservable
from waguard.core.versions.effects import Announce, Discard, Kind, VersionEffect
from waguard.core.versions.facts import Captured
from waguard.core.versions.pages import seen
from waguard.core.versions.state import VersionState

Post = Callable[[VersionEffect], None]


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
