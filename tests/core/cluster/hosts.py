"""Records, rows and moments for tests of the cluster's core."""

from typing import Any

from waguard.core.cluster import host_lease
from waguard.core.cluster.host_lease import LeaseState, LeaseTerms
from waguard.core.cluster.lease_facts import LeaseEffect, LeaseFact, OwnRead, ReadOwn, Renew
from waguard.core.cluster.records import FORMAT, Found, HostRecord, Owner
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

TERMS = LeaseTerms(10.0)


def record(host: str, incarnation: str, **other: Any) -> HostRecord:
    """Of a living host with room."""
    given: dict[str, Any] = {
        "format": FORMAT,
        "number": 1,
        "alive": True,
        "address": f"http://{host}:3000",
        "version": "1.0.0",
        "room": 10,
        "owned": 0,
        "drain": False,
    }
    return HostRecord(host=host, incarnation=incarnation, **{**given, **other})


def found(host: str, incarnation: str, revision: int = 1, **other: Any) -> Found:
    """Its record as it was read."""
    return Found(record(host, incarnation, **other), revision)


def row(
    session: str, host: str | None = None, incarnation: str | None = None, **other: Any
) -> Owner:
    """Who owns it; by default in epoch 1."""
    given: dict[str, Any] = {"epoch": 1 if host else 0}
    return Owner(session=session, host=host, incarnation=incarnation, **{**given, **other})


class Lease:
    """The lease of ``a``: its state, what it asked for, and the engine's answers to that."""

    def __init__(self, *, adopts: str | None = None, number: int = 100) -> None:
        self.now = 1_000.0
        step = host_lease.begin("a", TERMS, number=number, adopts=adopts, now=Moment(self.now))
        self.state: LeaseState = step.state
        self.effects: list[LeaseEffect] = list(step.effects)

    def hear(self, fact: LeaseFact, *, at: float | None = None) -> list[LeaseEffect]:
        """Handle a fact at ``at`` seconds after the begin; what follows from it."""
        self.now = self.now if at is None else 1_000.0 + at
        step = host_lease.advance(self.state, fact, Moment(self.now))
        self.state = step.state
        self.effects = list(step.effects)
        return self.effects

    def read(self, what: Found | None, *, at: float | None = None) -> list[LeaseEffect]:
        """Answer the reading that is under way."""
        assert self.state.call is not None
        return self.hear(OwnRead(self.state.call, what), at=at)

    @property
    def renewal(self) -> Renew:
        """The renewal that was just asked for."""
        return next(it for it in self.effects if isinstance(it, Renew))

    @property
    def reads(self) -> bool:
        """Whether its own record is to be read."""
        return any(isinstance(it, ReadOwn) for it in self.effects)

    @property
    def is_held(self) -> bool:
        """Whether sessions may run."""
        return host_lease.view(self.state, Moment(self.now)).held_since is not None


def dead(it: Found) -> Found:
    """The same, declared dead."""
    return Found(replace(it.record, alive=False), it.revision + 1)
