"""The real engine, watched step by step."""

from collections import Counter
from typing import Final, get_args

from tests.simulation.clock import Violation
from waguard.core.blame import Blame
from waguard.core.engine import Engine, Outcome
from waguard.core.fleet.facts import FleetFact
from waguard.core.fleet.state import FleetState
from waguard.core.replace import replace
from waguard.core.session.facts import Fact, Moment
from waguard.core.session.restart import recent
from waguard.core.session.state import SessionState, Slot

FLEET_FACTS: Final = frozenset(get_args(FleetFact))
ENDLESS: Final = 40  # steps for each session in one post
NOWHERE: Final = "no worker"


def stage_of(state: SessionState | None) -> str:
    """Of its worker."""
    return str(state.worker.stage) if state and state.worker else NOWHERE


class Seen:
    """What was met, over many worlds."""

    def __init__(self) -> None:
        self.pairs: Counter[tuple[str, str]] = Counter()
        """(stage, fact)."""
        self.transitions: Counter[tuple[str, str]] = Counter()
        """(stage before, stage after)."""
        self.moves: Counter[str] = Counter()
        """Posts after which a state was another one, by fact."""


class WatchedEngine(Engine):
    """Raises ``Violation``."""

    def __init__(self, fleet: FleetState, seen: Seen) -> None:
        super().__init__(fleet)
        self._seen = seen
        self._in_post = 0
        self.changed = False

    def post(self, session: str, fact: Fact | FleetFact, now: Moment) -> Outcome:
        """As the engine does, and count."""
        self._in_post, self.changed = 0, False
        try:
            outcome = super().post(session, fact, now)
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"{now.at:.1f} s: {type(fact).__name__} raised {error!r}") from error
        if self.changed:
            self._seen.moves[type(fact).__name__] += 1
        return outcome

    def last_beat(self, session: str, *, heard_at: float, page_at: float) -> None:
        """As if it had beaten each second until now: sparse time has beats until a fault."""
        state = self.sessions[session]
        if state.worker:
            worker = replace(state.worker, heard_at=heard_at, page_at=page_at)
            self.sessions[session] = replace(state, worker=worker)

    def _step(self, name: str, fact: Fact | FleetFact, now: Moment, outcome: Outcome) -> None:
        self._in_post += 1
        if self._in_post > ENDLESS * (len(self.sessions) + 5):
            raise Violation(f"{now.at:.1f} s: the engine does not come to an end ({name}: {fact})")
        if type(fact) in FLEET_FACTS:
            fleet = self.fleet
            super()._step(name, fact, now, outcome)
            self.changed = self.changed or self.fleet != fleet
            return
        before = self.sessions.get(name)
        super()._step(name, fact, now, outcome)
        if before is None:
            return
        was = stage_of(before)
        self._seen.pairs[was, type(fact).__name__] += 1
        after = self.sessions[name]
        if after is before:
            return
        self.changed = True
        if (now_in := stage_of(after)) != was:
            self._seen.transitions[was, now_in] += 1
        if after.counted is not before.counted and len(after.counted):
            _check_budget(before, after, now)

    def check_slots(self) -> None:
        """Session and fleet have the same idea of who holds a slot."""
        fleet = self.fleet
        if len(fleet.starting) > fleet.rules.limits.places:
            raise Violation(f"{sorted(fleet.starting)} are starting at once")
        for name, state in self.sessions.items():
            known = (
                Slot.HELD
                if name in fleet.starting
                else Slot.REQUESTED
                if name in fleet.waiting
                else Slot.FREE
            )
            if state.slot is not known and not fleet.closed:
                raise Violation(f"{name} has the slot {state.slot}, the fleet says {known}")


def _check_budget(before: SessionState, after: SessionState, now: Moment) -> None:
    policy = after.rules.restart
    if len(recent(after.counted, now=now.at, period=policy.period)) > policy.intensity:
        raise Violation(f"{now.at:.1f} s: {after.session} restarts more often than it may")
    if after.restarts == before.restarts:  # their times were moved: a worker was unhealthy
        return
    if after.failure is None or after.failure.blame is not Blame.SESSION:
        raise Violation(f"{now.at:.1f} s: {after.session}: {after.failure} spends its budget")
    if before.worker and before.worker.planned:
        raise Violation(f"{now.at:.1f} s: {after.session}: a planned end spends its budget")
