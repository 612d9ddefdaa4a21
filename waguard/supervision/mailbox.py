"""The one door to the decisions: whoever learns a fact posts it here, and hears nothing back.

It runs to completion on the event loop, without a task of its own: from a worker's exit to the next
spawn there is no turn of the loop in between. What carries data does not pass here: messages and acks go
from the worker's connection to the inbox, a send from the API to the connection; both read the sessions'
states, which never change under them.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from loguru import logger

from waguard.config.sections import Config
from waguard.core.backoff import NEVER
from waguard.core.engine import Engine, Outcome
from waguard.core.fleet.facts import FleetEffect, FleetFact, FleetRulesChanged, HostRead
from waguard.core.fleet.state import FleetState, offline_for
from waguard.core.metrics.session_times import Change
from waguard.core.metrics.tally import Tally
from waguard.core.replace import replace
from waguard.core.session.deadlines import next_timer
from waguard.core.session.effects import Effect
from waguard.core.session.facts import Beat, Fact, Moment, RulesChanged, TimerDue
from waguard.core.session.probe import STALL
from waguard.core.session.state import SessionState
from waguard.ports.clock import Clock
from waguard.supervision.measures import Measures
from waguard.supervision.routine_beats import RoutineBeats
from waguard.supervision.rules import fleet_rules, session_rules
from waguard.supervision.timings import Timings

_FLEET: Final = ""


class Actor(Protocol):
    """One session in the shell."""

    def perform(self, effect: Effect) -> None:
        """Begin what ``effect`` asks for; it may post facts."""

    def notify(self) -> None:
        """The state is another one."""

    def hear(self) -> None:
        """Post the heartbeat that its worker wrote last, where that was not done."""


class FleetActor(Protocol):
    """All sessions in the shell."""

    def perform(self, effect: FleetEffect) -> None:
        """See ``Actor.perform``."""

    def read_host(self, *, network: bool) -> HostRead:
        """Now; a millisecond at most. ``network``: also whether WhatsApp can be reached."""


Handle = asyncio.TimerHandle | None
Timers = Callable[[float, Callable[[], None]], Handle]
"""Has a callback run at a moment in monotonic time."""


class Mailbox:
    """Every fact of every session, in the order in which it was posted."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        fleet: FleetActor,
        *,
        timings: Timings,
        timers: Timers,
        chance: random.Random,
        tally: Tally,
    ) -> None:
        """``config`` is compared at each fact: a reload reaches all."""
        self.actors: dict[str, Actor] = {}
        self._config = config
        self._clock = clock
        self._fleet = fleet
        self._timings = timings
        self._timers = timers
        self._chance = chance
        self._measures = Measures(tally)
        self._known = config()
        self._engine = Engine(
            FleetState(rules=fleet_rules(self._known), network_at=clock.monotonic())
        )
        self._waiting: deque[tuple[str, Fact | FleetFact]] = deque()
        self._busy = False
        self._at = 0.0
        self._armed: dict[str, tuple[float, Handle]] = {}
        self.beats = RoutineBeats()
        self.decided = 0
        """How often something was decided, or might have been; heartbeats that only move deadlines away do not count."""

    @property
    def fleet(self) -> FleetState:
        """What is known of all sessions."""
        return self._engine.fleet

    def state(self, session: str) -> SessionState:
        """The newest value; whoever holds it may keep it."""
        return self._engine.sessions[session]

    def add(self, state: SessionState, actor: Actor) -> None:
        """From now on it is one of the fleet."""
        rules = session_rules(self._known, self._timings)
        self.actors[state.session] = actor
        self._engine.add(replace(state, rules=rules))

    def forget(self, session: str, actor: Actor) -> None:
        """Forget a session that is no more; harmless where another one has taken its name."""
        if self.actors.get(session) is not actor:
            return
        del self.actors[session]
        self.beats.forget(session)
        self._measures.forget(session)
        _, handle = self._armed.pop(session, (NEVER, None))
        if handle:
            handle.cancel()
        self._carry_out(self._engine.forget(session, self._moment()))

    def post(self, session: str, fact: Fact | FleetFact) -> None:
        """Handle a fact; never waits. What it leads to is begun when this returns."""
        if isinstance(fact, Beat) and self.beats.keep(self._engine.sessions.get(session), fact):
            return
        self._waiting.append((session, fact))
        if not self._busy:  # else an effect posted it: after those that were there before
            self._handle_all()

    def _handle_all(self) -> None:
        self._busy = True
        try:
            self._follow_config()
            while self._waiting:
                self._handle(*self._waiting.popleft())
                self._read_host_where_it_is_due()
        finally:
            self._busy = False

    def post_to_fleet(self, fact: FleetFact) -> None:
        """A fact that is of no session."""
        self.post(_FLEET, fact)

    def tick(self) -> None:
        """Evaluate every deadline: those of a ready page have no timer."""
        self._handle_all()  # the configuration may be another one
        now, sessions = self._clock.monotonic(), self._engine.sessions
        for name, state in list(sessions.items()):
            if not self.beats.awaits(state, now):
                continue
            if name in self.actors:
                self.actors[name].hear()
            if not self.beats.is_due(sessions.get(name), now):
                continue
            if beat := self.beats.pop(name):
                self._handle(name, beat)
            if self.beats.is_due(sessions.get(name), now):
                self.post(name, TimerDue())
        if self.fleet.read_host_at <= now:
            self.post_to_fleet(self._read_host())

    def stood_still(self, seconds: float) -> None:
        """The daemon itself was stopped for so long: nothing became unresponsive meanwhile."""
        for name in list(self._engine.sessions):
            self.post(name, TimerDue(late=seconds))

    # ---- one fact ----

    def _now(self) -> float:
        return max(self._clock.monotonic(), self._at)

    def _moment(self) -> Moment:
        return Moment(self._now(), self._chance.random(), self._clock.wall())

    def _handle(self, session: str, fact: Fact | FleetFact) -> None:
        if beat := self.beats.pop(session):
            self._engine.post(session, beat, self._moment())
        outcome = self._engine.post(session, fact, self._moment())
        if isinstance(fact, Beat) and not outcome.effects:
            return  # it moves deadlines away, and nobody waits for it
        self._carry_out(outcome)

    def _carry_out(self, outcome: Outcome) -> None:
        self.decided += 1
        touched = [name for name in self._engine.touched if name in self.actors]
        for name in touched:
            self._arm(name, next_timer(self._engine.sessions[name]))
            change = Change(self._engine.touched[name], self._engine.sessions[name], self._now())
            self._alone(self._measures.add, change)
        self._arm(_FLEET, self.fleet.read_host_at)
        for name in touched:
            self.actors[name].notify()
        for effect in outcome.of_fleet:
            self._alone(self._fleet.perform, effect)
        for name, done in outcome.effects:
            if actor := self.actors.get(name):
                self._alone(actor.perform, done)

    def _alone(self, perform: Callable[[Any], None], effect: Effect | FleetEffect | Change) -> None:
        """One effect, or the measurement of one change, that fails must not cost the others."""
        try:
            perform(effect)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other sessions go on
            name = type(effect).__name__
            logger.opt(exception=error).critical("a bug in waguard", event="bug", effect=name)

    def _follow_config(self) -> None:
        if (config := self._config()) is self._known:
            return
        self._known = config
        rules = RulesChanged(session_rules(config, self._timings))
        self._waiting.appendleft((_FLEET, FleetRulesChanged(fleet_rules(config))))
        self._waiting.extendleft((name, rules) for name in self._engine.sessions)

    # ---- time ----

    def _read_host_where_it_is_due(self) -> None:
        if not self._waiting and self.fleet.read_host_at <= self._now():
            self._waiting.append((_FLEET, self._read_host()))

    def _read_host(self) -> HostRead:
        offline = bool(offline_for(self.fleet, self._moment().at))
        return self._fleet.read_host(network=offline and self.fleet.rules.watch_network)

    def _arm(self, name: str, at: float) -> None:
        """One timer each. A deadline that moved away is found out when the timer fires."""
        armed, handle = self._armed.get(name, (NEVER, None))
        if handle:
            if at >= armed:
                return
            handle.cancel()
        if at == NEVER:
            return
        when = max(at, self._clock.monotonic())  # lateness is the loop's, not the deadline's
        made = self._timers(when, lambda: self._on_timer(name, when))
        self._armed[name] = (at, made)

    def _on_timer(self, name: str, when: float) -> None:
        del self._armed[name]
        now = self._clock.monotonic()
        late = now - when
        self._at = when  # a clock that stands for a test is not asked for what its timer knows
        try:
            if name == _FLEET and self.fleet.read_host_at > max(now, when):
                self._arm(name, self.fleet.read_host_at)
            elif name == _FLEET:
                self.post_to_fleet(self._read_host())
            elif (state := self._engine.sessions.get(name)) is None:
                return
            elif (at := next_timer(state)) > max(now, when):
                self._arm(name, at)
            else:
                self.post(name, TimerDue(late=late if late > STALL else 0.0))
        finally:
            self._at = 0.0


def loop_timer(when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
    """``Timers`` of the running loop."""
    return asyncio.get_running_loop().call_at(when, callback)
