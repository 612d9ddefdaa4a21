"""Which sessions are this host's: performs what ``core/cluster/session_owner.py`` decides.

The rows are read each second (``session_owner.READ_EVERY``): what is released to this host, created elsewhere or left by
a dead host has no other way to get here, and a move should take no longer than its session's start. It is one statement.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol, assert_never

from waguard.core.cluster import session_owner
from waguard.core.cluster.conditions import conditions
from waguard.core.cluster.lease_facts import TimerDue
from waguard.core.cluster.owner_facts import (
    Acquire,
    Claim,
    Lose,
    OwnerEffect,
    OwnerFact,
    ReadHolder,
    ReadOwners,
    Release,
)
from waguard.core.cluster.owner_state import OwnerState
from waguard.core.cluster.records import Found, HostRecord, Owner
from waguard.core.replace import replace
from waguard.host.clock import since_boot
from waguard.ports.cluster import OwnedSessions, Owners
from waguard.supervision.cluster.acquiring import Acquiring
from waguard.supervision.cluster.endings import Endings
from waguard.supervision.cluster.engine_calls import END_DEADLINE, EngineCalls
from waguard.supervision.cluster.host_keeper import HostKeeper, moment
from waguard.supervision.cluster.owner_calls import OwnerCalls
from waguard.supervision.cluster.session_use import SessionUse

SHORTEST_NAP: Final = 0.02  # s
LONGEST_NAP: Final = 1.0  # s; the loop's clock stops in a suspend, the boot clock does not


class OwnerReports(Protocol):
    """Who reports what changes of the owners."""

    def claimed(self, seen: Owner, epoch: int) -> None:
        """A session is this host's."""

    def conditions(self, found: Mapping[str, str | None]) -> None:
        """Why each of these kinds is so, None: it is not; about once a second."""


class OwnerKeeper:
    """``host`` holds the lease, ``sessions`` are what owning one means here. ``clock`` is CLOCK_BOOTTIME, in seconds."""

    def __init__(
        self,
        host: HostKeeper,
        owners: Owners,
        sessions: OwnedSessions,
        use: SessionUse,
        reports: OwnerReports,
        *,
        drained: bool = False,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        """``drained``: it was being emptied when the daemon before ended."""
        self.drained = drained
        """Whether this host is being emptied."""
        self._host = host
        self._reports = reports
        self._clock = clock
        self._calls = EngineCalls()
        self._acquiring = Acquiring(sessions)
        self._endings = Endings(
            owners,
            sessions,
            self._acquiring,
            self._calls,
            report=self.post,
        )
        self._asked = OwnerCalls(
            host, owners, use, self, self._calls, claimed=reports.claimed, clock=clock
        )
        self.state: OwnerState | None = None
        """None: nothing is owned yet, or any more."""
        self._timer: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self._shown: object = None

    def begin(self, adopted: Iterable[str]) -> None:
        """Begin to own. ``adopted``: the sessions whose workers an earlier daemon has left here."""
        self.state = session_owner.begin(
            self._host.view.host, frozenset(adopted), drain=self.drained
        )
        self.post(TimerDue())

    async def first(self) -> None:
        """Wait until it is known which of the sessions that ran here are still this host's."""
        while not self._knows_own():
            await self._moved.wait()

    def pop_waiting(self) -> frozenset[str]:
        """What is owned and not brought up yet: the caller does that, until ``open``."""
        return self._acquiring.pop_waiting()

    async def brought_up(self, session: str) -> None:
        """Wait until what is owned is brought up, or is not owned any more."""
        await self._acquiring.brought_up(session)

    def open(self) -> None:
        """From now on what is claimed is brought up here."""
        self._acquiring.open()

    async def end(self, *, releases: bool, within: float = END_DEADLINE) -> None:
        """Claim nothing more. ``releases``: end all sessions in order, and leave them to the other hosts. ``within``: seconds
        for that, and for what is under way; who has not left by then stays as it is."""
        state, self.state = self.state, None
        if self._timer:
            self._timer.cancel()
        await self._acquiring.end()
        if state and releases:
            self._endings.release_all(state.owned)
        await self._calls.end(within)

    # ---- what others read ----

    @property
    def owned(self) -> Mapping[str, int]:
        """The epochs of all that are this host's; what is being ended in order still is, and what waits to be brought up
        is not yet."""
        unknown = self._acquiring.unknown
        known = {session: it for session, it in self.claimed.items() if session not in unknown}
        return {**known, **self._endings.closing}

    def epoch(self, session: str) -> int | None:
        """One of ``owned``."""
        if session in self._acquiring.unknown:
            return self._endings.closing.get(session)
        return self._endings.closing.get(session, self.claimed.get(session))

    @property
    def load(self) -> Collection[str]:
        """All that this host has to run, by the database."""
        rows = self.state.rows if self.state else {}
        deleted = {session for session, row in rows.items() if row.deleted}
        return (self.claimed.keys() | self._endings.closing.keys()) - deleted

    @property
    def without_owner(self) -> int | None:
        """How many sessions nobody living owns, by the watch; None: the database does not answer."""
        state = self.state
        return len(state.free_since) if state and self._asked.answers else None

    @property
    def claimed(self) -> Mapping[str, int]:
        """See ``owner_calls.Owned``."""
        return self.state.owned if self.state else {}

    def is_closing(self, session: str) -> bool:
        """Whether it is being ended because the lease ran out: then it is lent nothing further."""
        return self._endings.is_closing(session)

    async def moved(self) -> None:
        """Wait for the next fact."""
        await self._moved.wait()

    # ---- facts and effects ----

    def close_all(self) -> None:
        """The lease runs out: end all in order."""
        self._endings.close(self.claimed)

    def lease_changed(self) -> None:
        """The leases may show something else than before."""
        view = self._host.view
        peers = {host: _lasting(it) for host, it in view.peers.items()}
        shown = (view.incarnation, view.held_since, view.newer_format, peers)
        if shown != self._shown:
            self._shown = shown
            self.post(TimerDue())

    def post(self, fact: OwnerFact) -> None:
        """Handle a fact; without effect before ``begin`` and after ``end``."""
        if self.state is None:
            return
        view, now = self._host.view, moment(self._clock())
        step = session_owner.advance(self.state, fact, view, now)
        self.state = step.state
        self.drained = step.state.drain
        lost = [it.session for it in step.effects if isinstance(it, Lose)]
        self._endings.lose(lost)  # together, and before all else
        for effect in step.effects:
            self._perform(effect)
        self._wake_up(step.state)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        if isinstance(fact, TimerDue):
            terms, settings = self._host.terms, self._host.settings()
            self._reports.conditions(conditions(view, terms, step.state, now, settings))

    def _wake_up(self, state: OwnerState) -> None:
        if self._timer:
            self._timer.cancel()
        due = LONGEST_NAP if state.reads else session_owner.due_at(state) - self._clock()
        nap = min(max(SHORTEST_NAP, due), LONGEST_NAP)
        self._timer = asyncio.get_running_loop().call_later(nap, self.post, TimerDue())

    def _knows_own(self) -> bool:
        state = self.state
        if state is None or state.claiming or not self._asked.was_read:
            return False
        return state.adopted.isdisjoint(state.rows)  # of the others there is no row any more

    def _perform(self, effect: OwnerEffect) -> None:
        match effect:
            case ReadOwners() | ReadHolder() | Claim():
                self._asked.begin(effect)
            case Acquire(session=session):
                self._acquiring.add(session)
            case Release():
                self._endings.release(effect)
            case Lose():
                pass  # begun already
            case _:
                assert_never(effect)


def _lasting(it: Found) -> HostRecord:
    """What a renewal alone does not change."""
    return replace(it.record, number=0)
