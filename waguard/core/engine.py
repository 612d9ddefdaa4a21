"""All sessions and the fleet, and the one queue between them. Pure: the shell performs what comes out,
the simulator does the same in virtual time.

It runs to completion: ``post`` returns when the fact, and all facts that follow from it, have been handled.
Nobody sees half a decision.
"""

from collections import deque
from typing import NamedTuple

from waguard.core.fleet import fleet as fleets
from waguard.core.fleet.facts import FleetEffect, FleetFact, Forgotten
from waguard.core.fleet.fleet import ALL
from waguard.core.fleet.state import FleetState
from waguard.core.replace import replace
from waguard.core.session.effects import Effect, ToFleet
from waguard.core.session.facts import Fact, Moment
from waguard.core.session.session import advance
from waguard.core.session.state import SessionState


class Outcome(NamedTuple):
    """What the shell has to perform, in order."""

    effects: list[tuple[str, Effect]]
    of_fleet: list[FleetEffect]


class Engine:
    """Holds the newest values. A state may be read by anybody, at any time: it never changes."""

    def __init__(self, fleet: FleetState) -> None:
        self.fleet = fleet
        self.sessions: dict[str, SessionState] = {}
        self.touched: dict[str, SessionState] = {}
        """Sessions whose state changed in the last ``post``, with the state before it: their ``next_deadline`` may
        have moved."""
        self._queue: deque[tuple[str, Fact | FleetFact]] = deque()

    def add(self, state: SessionState) -> None:
        """Add a session to the fleet."""
        self.sessions[state.session] = replace(state, fleet=self.fleet.view)

    def forget(self, session: str, now: Moment) -> Outcome:
        """Remove a session, also from the fleet's state."""
        self.sessions.pop(session, None)
        return self.post(session, Forgotten(), now)

    def post(self, session: str, fact: Fact | FleetFact, now: Moment) -> Outcome:
        """Handle ``fact`` and all that follows from it."""
        self._queue.append((session, fact))
        self.touched.clear()
        outcome = Outcome([], [])
        while self._queue:
            self._step(*self._queue.popleft(), now, outcome)
        return outcome

    def _step(self, name: str, fact: Fact | FleetFact, now: Moment, outcome: Outcome) -> None:
        if isinstance(fact, FleetFact):
            self.fleet, posted, effects = fleets.advance(self.fleet, name, fact, now)
            outcome.of_fleet.extend(effects)
            for to, news in posted:
                self._queue.extend((one, news) for one in (self.sessions if to == ALL else (to,)))
            return
        if (state := self.sessions.get(name)) is None:
            return  # it was forgotten meanwhile
        after, done = advance(state, fact, now)
        if after is not state:
            self.sessions[name] = after
            self.touched.setdefault(name, state)
        for effect in done:
            outcome.effects.append((name, effect))
            if isinstance(effect, ToFleet):
                self._queue.append((name, effect))
