"""What a host knows of the sessions that it owns or may claim, and how that changes. Pure."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct, field

from waguard.core.cluster.owner_facts import Claim, Lose, OwnerEffect, Release
from waguard.core.cluster.records import Owner
from waguard.core.replace import replace

Out = Callable[[OwnerEffect], None]
_Value = TypeVar("_Value")


class Ending(Struct, frozen=True):
    """A session that is being ended here."""

    to_host: str | None
    held_since: float | None = None
    """``LeaseView.held_since`` when that began; None: its row alone was this host's, and an earlier release may be on its
    way."""


class Stay(Struct, frozen=True):
    """A session that could not leave when it was to."""

    failures: int
    until: float
    """On the boot clock: before, only a person has it tried again."""


class OwnerState(Struct, frozen=True, kw_only=True):
    """Which sessions are this host's, as its daemon knows it. Begins with ``session_owner.begin``."""

    host: str
    incarnation: str | None = None
    """In which all of this is owned."""
    held_since: float | None = None
    """``LeaseView.held_since``, as it was last seen."""
    living: frozenset[tuple[str, str]] = frozenset()
    """Other hosts' living incarnations, as the watch last showed them."""
    others_drain: bool = False
    """One of them is being emptied."""
    adopted: frozenset[str] = frozenset()
    """Sessions whose workers this daemon adopted, and has not claimed yet. They run."""
    owned: Mapping[str, int] = field(default_factory=dict)
    """Their epochs: they may run here."""
    deleted: frozenset[str] = frozenset()
    """Sessions that were deleted here: what is left of them is delivered from here, until a host has one of this name
    again."""
    ending: Mapping[str, Ending] = field(default_factory=dict)
    """Until ``Ended``: they are not acquired again before."""
    stays: Mapping[str, Stay] = field(default_factory=dict)
    """Own sessions that could not leave."""
    claiming: Mapping[str, Claim] = field(default_factory=dict)
    holders: Mapping[str, tuple[Owner, ...]] = field(default_factory=dict)
    """Rows that were read before the lease of their holder was asked for, by its host."""
    rows: Mapping[str, Owner] = field(default_factory=dict)
    """As they were last read."""
    reads: bool = False
    """``ReadOwners`` has no answer yet."""
    read_at: float | None = None
    """When it was last sent; None: it is due."""
    unsure: frozenset[str] = frozenset()
    """What changed since then: the answer may be older."""
    free_since: Mapping[str, float] = field(default_factory=dict)
    """When sessions without a living owner were first seen so."""
    room: int = 0
    """How many more sessions fit, as it was last read."""
    idle: frozenset[str] = frozenset()
    uneven_since: float | None = None
    """Since when this host has so many more sessions than another that some should move."""
    drain: bool = False


def claim(state: OwnerState, claim: Claim, out: Out) -> OwnerState:
    """Claim a session."""
    out(claim)
    return replace(state, claiming={**state.claiming, claim.seen.session: claim})


def answered(state: OwnerState, claim: Claim) -> OwnerState:
    """A claim is not under way any more."""
    session = claim.seen.session
    if state.claiming.get(session) != claim:
        return state
    return changed(replace(state, claiming=without(state.claiming, session)), session)


def release(
    state: OwnerState, session: str, epoch: int, to_host: str | None, out: Out
) -> OwnerState:
    """Release a session that is this host's, or would be."""
    out(Release(session, epoch, to_host))
    return _end(state, session, to_host)


def lose(state: OwnerState, session: str, out: Out) -> OwnerState:
    """Lose a session."""
    out(Lose(session))
    return _end(state, session, None)


def _end(state: OwnerState, session: str, to_host: str | None) -> OwnerState:
    held_since = state.held_since if session in state.owned else None
    return replace(
        state,
        owned=without(state.owned, session),
        adopted=state.adopted - {session},
        deleted=state.deleted - {session},
        ending={**state.ending, session: Ending(to_host, held_since)},
    )


def changed(state: OwnerState, session: str) -> OwnerState:
    """A reading that is under way may not know this change."""
    return replace(state, unsure=state.unsure | {session})


def without(mapping: Mapping[str, _Value], key: str) -> dict[str, _Value]:
    """A mapping with one key less."""
    return {it: value for it, value in mapping.items() if it != key}
