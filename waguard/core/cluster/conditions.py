"""What people should know of the hosts, as it follows from leases and owners. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from waguard.core.blame import Condition
from waguard.core.cluster import moving, placement, shared_settings
from waguard.core.cluster.host_lease import LeaseTerms, LeaseView
from waguard.core.cluster.owner_state import OwnerState
from waguard.core.cluster.records import FORMAT, Found
from waguard.core.session.facts import Moment

HOST_MISSING: Final = "host_missing"
NO_ROOM: Final = "no_room"
HOSTS_DIFFER: Final = "hosts_differ"
_FOR_WANT_OF_ROOM: Final = 20.0  # s without an owner, which nothing else takes


def conditions(
    lease: LeaseView,
    terms: LeaseTerms,
    owner: OwnerState,
    now: Moment,
    settings: Mapping[str, str],
) -> Mapping[str, str | None]:
    """Why each of these kinds is so, in words; None: it is not. None of them spends a restart. ``settings``: as this
    host's record has them."""
    return {
        HOST_MISSING: _missing(list(lease.peers.values())),
        NO_ROOM: _no_room(lease, owner, now),
        HOSTS_DIFFER: _differ(list(lease.peers.values()), terms, settings),
    }


def own_conditions(found: Iterable[Condition]) -> tuple[str, ...]:
    """The types of those that a host says of itself to the others: that a host is missing each of them sees."""
    types = {it.type for it in found if it.session is None and it.needs_person}
    return tuple(sorted(types - {HOST_MISSING}))


def _missing(peers: Sequence[Found]) -> str | None:
    missing = [it.record.host for it in peers if placement.is_missing(placement.load(it.record))]
    if not missing:
        return None
    return f"{_hosts(missing)} down and not taken out in order; other hosts take the sessions over"


def _no_room(lease: LeaseView, owner: OwnerState, now: Moment) -> str | None:
    """Sessions that run nowhere, or stay on a host that is being emptied."""
    if lease.held_since is None:
        return None
    loads = [placement.load(it.record) for it in lease.peers.values()]
    if any(map(placement.takes, loads)):
        return None
    if owner.drain:
        stay = len(moving.staying(owner))
        return f"{_sessions(stay)} here: no other host has room" if stay else None
    if owner.room > 0:
        return None
    free = [since for since in owner.free_since.values() if now.at - since >= _FOR_WANT_OF_ROOM]
    return f"{_sessions(len(free))} without a host: none has room" if free else None


def _differ(peers: Sequence[Found], terms: LeaseTerms, settings: Mapping[str, str]) -> str | None:
    newer = [it.record.host for it in peers if it.record.format > FORMAT]
    if newer:
        return (
            f"{_hosts(newer)} of a newer waguard: until this one is upgraded it claims no session"
        )
    living = [it.record for it in peers if it.record.alive]
    other = [it.host for it in living if it.lasts not in {0.0, terms.lasts}]
    if other:
        return (
            f"{_hosts(other)} configured with another `cluster.lease` than {terms.lasts:g} s here"
        )
    return shared_settings.difference_words(shared_settings.differences(settings, living))


def _hosts(names: Sequence[str]) -> str:
    return f"{', '.join(sorted(names))} {'is' if len(names) == 1 else 'are'}"


def _sessions(count: int) -> str:
    return f"{count} session{' stays' if count == 1 else 's stay'}"
