"""What waguard reports of itself: how many sessions are connected, and every known condition."""

from collections.abc import Iterable, Iterator
from typing import Final
from weakref import WeakKeyDictionary

from loguru import logger

from waguard.core import conditions
from waguard.core.blame import Condition
from waguard.core.incidents.folding import fleet_condition
from waguard.core.incidents.kinds import SESSION_ENDS
from waguard.core.page_care import Kind
from waguard.core.row_status import Status
from waguard.core.session import views
from waguard.core.session.facts import Moment
from waguard.core.session.state import SessionState
from waguard.core.webhooks.session_gate import NOT_IN_MEMORY, Connection, connection
from waguard.ports.sessions import Health
from waguard.supervision.fleet.reconciler import Reconciler
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.fleet.run_state import RunState
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext

_AT_LEAST_EACH: Final = (
    5.0  # s; what sessions count without a decision has limits of a minute and more
)
_ON_PURPOSE: Final = frozenset({conditions.HELD})
"""Types that are meant to be where a session was stopped on purpose."""


class HealthReport:
    """Read off memory, without I/O: the one list of conditions that every surface shows."""

    def __init__(
        self, ctx: SessionContext, registry: Registry, state: RunState, reconciler: Reconciler
    ) -> None:
        self._ctx = ctx
        self._registry = registry
        self._state = state
        self._reconciler = reconciler
        self._began = ctx.clock.wall()
        self._reported: dict[str, tuple[Condition, ...]] = {}
        self._read_off = WeakKeyDictionary[
            SessionActor, tuple[SessionState, tuple[Condition, ...]]
        ]()
        """The conditions of each state that was read: most are the same a second later."""
        self._newest: tuple[Health, tuple[object, ...], float] | None = None
        """What was read last, what it was read from, and when (monotonic)."""

    def read(self) -> Health:
        """As it is now."""
        sessions = [s.state.status.status for s in self._known() if not s.row.removed_at]
        connected = sessions.count(Status.CONNECTED)
        return Health(
            supervising=not self._state.stopping and self._state.waits_for_lease is None,
            database=self._state.database,
            restored=self._state.restored,
            total=len(sessions),
            connected=connected,
            disconnected=len(sessions) - connected,
            known=self._state.loaded,
            browsers_outdated=self._ctx.browsers.outdated,
            conditions=(*self._of_all(), *self._of_sessions()),
        )

    def newest(self) -> Health:
        """What was read last while nothing was decided or reported since, ``_AT_LEAST_EACH`` s at most; else ``read``."""
        state, now = self._state, self._ctx.clock.monotonic()
        reported = [*self._ctx.fleet.outages.conditions, *self._found_elsewhere()]
        flags = (state.database, state.loaded, state.restored, state.stopping)
        seen = (self._ctx.mailbox.decided, reported, flags)
        if self._newest is not None:
            health, before, at = self._newest
            if before == seen and now - at < _AT_LEAST_EACH:
                return health
        health = self.read()
        self._newest = health, seen, now
        return health

    def connection(self, session_id: str) -> Connection:
        """What GET status and /health would say of it now."""
        session, clock = self._registry.get(session_id), self._ctx.clock
        if session is None or not self._state.loaded:
            return NOT_IN_MEMORY
        now = Moment(clock.monotonic(), wall=clock.wall())
        return connection(session.state, now, stopping=self._state.stopping)

    def conditions(self, session: SessionActor) -> tuple[Condition, ...]:
        """Everything that is not healthy in it."""
        others = (it for it in self._found_elsewhere() if it.session == session.name)
        now, wall = self._ctx.clock.monotonic(), self._ctx.clock.wall()
        return (*self._own(session, session.state, now, wall), *others)

    def report(self, part: str, found: Iterable[Condition]) -> None:
        """What another part of waguard knows of now, in place of what it said before."""
        now = tuple(shown for it in found if (shown := self._as_meant(it)))
        before, self._reported[part] = self._reported.get(part, ()), now
        for it in now:
            if it.session is None:
                self._ctx.fleet.outages.report(it)
        for kind in _of_fleet(before) - _of_fleet(now):
            self._ctx.fleet.outages.update(kind, None)
        was, is_now = _with_trail(before), _with_trail(now)
        for key in was.keys() ^ is_now.keys():
            self._record(*key, reason=is_now.get(key))

    def _record(self, name: str, kind: str, *, reason: str | None) -> None:
        if session := self._registry.get(name):
            begins = reason is not None
            entry, level = (kind, "ERROR") if begins else (SESSION_ENDS[kind], "WARNING")
            said, log = entry.replace("_", " "), logger.bind(session=name)
            log.log(level, said, event=entry, condition=kind, why=reason)
            session.publisher.writer.record(entry, reason=reason)

    def _as_meant(self, it: Condition) -> Condition | None:
        """None: a person wants it so."""
        if it.type not in _ON_PURPOSE:
            return it
        session = self._registry.get(it.session) if it.session else None
        if session is None or session.row.desired_up:
            return it if session else None
        # nobody connects a deleted one by the way: what it holds would be forgotten
        return conditions.of_deleted(it) if session.row.removed_at else None

    # ---- of all sessions at once ----

    def _of_all(self) -> Iterator[Condition]:
        outages, state = self._ctx.fleet.outages, self._state
        waits = state.waits_for_lease or state.database_unknown or state.begin_failed
        if not state.restored and not waits:
            why = "sessions are still being restored"
            yield fleet_condition("restoring", why, since=self._began)
        yield from outages.conditions
        fleet, clock = self._ctx.mailbox.fleet, self._ctx.clock
        if (opening := fleet.breaker.opening) and (why_open := fleet.view.breaker):
            since = clock.wall() - (clock.monotonic() - opening.at)
            yield fleet_condition("fleet_breaker_opened", why_open, since=since)

    # ---- of each ----

    def _known(self) -> list[SessionActor]:
        """None before the restore has begun them: until then they are what their rows say."""
        return self._registry.by_id if self._state.loaded else []

    def _of_sessions(self) -> list[Condition]:
        now, wall = self._ctx.clock.monotonic(), self._ctx.clock.wall()
        found = list[Condition]()
        for session in self._known():
            found += self._own(session, session.state, now, wall)
        found += self._found_elsewhere()
        return sorted(found, key=lambda it: it.session or "")

    def _own(
        self, session: SessionActor, state: SessionState, now: float, wall: float
    ) -> Iterator[Condition]:
        """What is read off it."""
        if fault := session.faults.condition:
            yield fault
        found = self._of_state(session, state)
        if found:
            yield from views.shown(found, monotonic=now, wall=wall)
        elif state.status.status is not Status.CONNECTED and self._should_be_up(session, state):
            why = state.status.details or str(session.link)
            yield conditions.not_started(session.name, why, since=self._began)
        traffic = session.traffic
        if (late := traffic.acks.late) and Kind.ACKS_IN_VAIN not in state.care.found:
            since = traffic.acks.late_since  # the other one says more
            yield conditions.acks_late(session.name, str(late), since=since)
        if words := traffic.throws.words:
            yield conditions.sends_throw(session.name, words, since=traffic.throws.began)
        if words := traffic.deaf.words:
            yield conditions.deaf(session.name, words, since=traffic.deaf.began)
        if words := traffic.sentinel.words:
            since = traffic.sentinel.failing_since
            yield conditions.sentinel_failed(session.name, words, since=since)

    def _should_be_up(self, session: SessionActor, state: SessionState) -> bool:
        return session.row.desired_up and not state.left and not views.is_adopting(state)

    def _of_state(self, session: SessionActor, state: SessionState) -> tuple[Condition, ...]:
        known = self._read_off.get(session)
        if known is None or known[0] is not state:
            known = self._read_off[session] = state, views.conditions(state)
        return known[1]

    def _found_elsewhere(self) -> Iterator[Condition]:
        yield from self._reconciler.conditions
        for found in self._reported.values():
            yield from (it for it in found if it.session is not None)


def _of_fleet(found: Iterable[Condition]) -> set[str]:
    return {it.type for it in found if it.session is None}


def _with_trail(found: Iterable[Condition]) -> dict[tuple[str, str], str]:
    """Those whose beginning and end are on their session's trail."""
    return {
        (it.session, it.type): it.message
        for it in found
        if it.session is not None and it.type in SESSION_ENDS and it.degrades
    }
