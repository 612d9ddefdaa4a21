"""What waguard says of itself: how many sessions are well, and what is wrong in words."""

from collections.abc import Iterator, Mapping
from typing import Final

from waguard.core import views
from waguard.core.blame import Condition
from waguard.core.incidents import fleet_condition
from waguard.core.link import Link
from waguard.core.status import Status
from waguard.ports import Connection, Health
from waguard.supervision.actor import SessionActor
from waguard.supervision.reconciler import Reconciler
from waguard.supervision.registry import Registry
from waguard.supervision.run_state import RunState
from waguard.supervision.surroundings import Surroundings

_OF_STATUS: Final = frozenset({"start", "link", "parked"})
"""Conditions that a status and its details say already."""


class HealthReport:
    """Read off memory, without I/O."""

    def __init__(
        self, around: Surroundings, registry: Registry, state: RunState, reconciler: Reconciler
    ) -> None:
        self._around = around
        self._registry = registry
        self._state = state
        self._reconciler = reconciler
        self._held: Mapping[str, str] = {}
        """Whose webhooks wait for too long, in words."""

    def read(self) -> Health:
        """As it is now."""
        sessions = [s for s in self._registry.sessions if not s.row.removed_at]
        connected = sum(s.state.status.status is Status.CONNECTED for s in sessions)
        return Health(
            supervising=not self._state.stopping and self._state.waits_for_lease is None,
            database=self._state.database,
            restored=self._state.restored,
            total=len(sessions),
            connected=connected,
            disconnected=len(sessions) - connected,
            problems=tuple(self._problems()),
            conditions=tuple(self._conditions()),
        )

    def connection(self, session_id: str) -> Connection:
        """What GET status and /health would say of it now."""
        session = self._registry.get(session_id)
        if session is None:
            return Connection(why_not="it is not in memory", known=False)
        if self._state.stopping:
            return Connection(why_not="waguard is stopping")
        if session.state.status.status is not Status.CONNECTED:
            return Connection(why_not=f"it is {session.state.status.status}")
        worker = session.state.worker
        if worker is None or views.link(session.state) is Link.UNKNOWN:
            why_not = "its row says connected, its worker has not confirmed it yet"
            return Connection(why_not=why_not, known=False)
        clock = self._around.clock
        since = clock.wall() - (clock.monotonic() - worker.link_since)
        return Connection(phone=session.state.phone, since=since)

    def conditions(self, session: SessionActor) -> tuple[Condition, ...]:
        """Everything that is not well with it, in unix time."""
        clock = self._around.clock
        return views.shown(
            views.conditions(session.state), monotonic=clock.monotonic(), wall=clock.wall()
        )

    def degraded(self, session: SessionActor) -> str | None:
        """What is wrong although it says connected."""
        late, held = session.traffic.acks.late, self._held.get(session.row.session_id)
        reasons = [str(late) if late else held, *map(str, self.conditions(session))]
        return "; ".join(filter(None, reasons)) or None

    def webhooks_held(self, held: Mapping[str, str]) -> None:
        """By session, in words, whose webhooks wait for too long; what waits for a session that was
        stopped on purpose does so on purpose."""
        wanted = {name: why for name, why in held.items() if self._is_wanted(name)}
        for name in wanted.keys() ^ self._held.keys():
            if session := self._registry.get(name):
                kind = "webhooks_held" if name in wanted else "webhooks_released"
                session.publisher.ledger.record(kind, reason=wanted.get(name))
        self._held = wanted
        summary = "; ".join(f"{name}: {why}" for name, why in sorted(wanted.items()))
        self._around.fleet.outages.tell("webhooks_held", summary or None)

    def _is_wanted(self, name: str) -> bool:
        session = self._registry.get(name)
        return session is not None and session.row.desired_up

    def _problems(self) -> list[str]:
        problems = []
        outages, state = self._around.fleet.outages, self._state
        if not state.database and not outages.why("database_down") and not state.waits_for_lease:
            problems.append("the database does not answer")
        if not state.restored:
            problems.append("sessions are still being restored")
        if why := self._around.mailbox.fleet.view.breaker:
            problems.append(why)
        problems += outages.all
        problems += [f"{found.session}: {found.about}" for found in self._reconciler.findings]
        for session in self._registry.by_id:
            problems += self._problems_of(session)
        return problems

    def _conditions(self) -> Iterator[tuple[str | None, Condition]]:
        for it in self._around.fleet.outages.conditions:
            yield None, it
        fleet, clock = self._around.mailbox.fleet, self._around.clock
        if (opening := fleet.breaker.opening) and (why := fleet.view.breaker):
            since = clock.wall() - (clock.monotonic() - opening.at)
            yield None, fleet_condition("fleet_breaker_opened", why, since=since)
        for session in self._registry.by_id:
            for it in self.conditions(session):
                yield session.name, it

    def _problems_of(self, session: SessionActor) -> list[str]:
        name, problems = session.row.session_id, []
        if why := session.faults.words:
            problems.append(f"{name}: {why}")
        if session.row.desired_up and session.state.status.status is not Status.CONNECTED:
            why = views.details(session.state) or session.state.status.details or str(session.link)
            problems.append(f"{name} is {session.state.status.status}: {why}")
            problems += [
                f"{name}: {it.message}. {it.remedy}"
                for it in self.conditions(session)
                if it.type not in _OF_STATUS
            ]
        elif why := self.degraded(session):
            problems.append(f"{name}: {why}")
        return problems
