"""Random facts for random states: what no world makes, and what it makes too seldom."""

import random
from collections.abc import Callable
from typing import Final

from tests.simulation.clock import Violation
from tests.simulation.watched import Seen, WatchedEngine
from waguard.core.backoff import NEVER
from waguard.core.blame import Blame, Failure
from waguard.core.engine import Outcome
from waguard.core.fleet import facts as fleet_facts
from waguard.core.fleet.ack_watch import Late
from waguard.core.fleet.facts import FleetFact, FleetRules
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.fleet.state import FleetState
from waguard.core.host.admission import Cause, Reading, Wait
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.passkey_link import PasskeyLink, PasskeyStage
from waguard.core.row_status import DerivedStatus, ParkCause, Reason, Status
from waguard.core.session import effects as do
from waguard.core.session import facts
from waguard.core.session.deadlines import next_deadline, while_heard
from waguard.core.session.facts import Fact, Moment
from waguard.core.session.state import FleetView, Intent, Rules, SessionState, Stage
from waguard.core.session.views import conditions, derive_status, is_adopting
from waguard.core.session.worker import can_wait, heard

SPINS: Final = 50
_EXITS: Final = (None, -9, -15, 0, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 99)


class Fuzz:
    """``honest``: only what a shell may post; else also what only the fleet or a session says."""

    def __init__(self, seed: int, seen: Seen, *, honest: bool) -> None:
        self._chance = random.Random(seed)
        self._honest = honest
        self.engine = WatchedEngine(FleetState(rules=FleetRules(memory_limit=1 << 30)), seen)
        self.t = 100.0
        self.names = [f"s{n}" for n in range(self._chance.randint(1, 5))]
        for name in self.names:
            self._add(name)
        facts_of_shell = _facts(self._chance, self._worker)
        self._facts = list(facts_of_shell.values())
        self._reported = facts_of_shell[facts.Reported]
        self._fleet_facts = _fleet_facts(self._chance)
        if not honest:
            self._facts += _facts_of_the_fleet(self._chance)
            self._fleet_facts += _facts_of_sessions(self._chance)

    def _add(self, name: str) -> None:
        status = self._chance.choice(list(Status))
        row = DerivedStatus(
            status, None if status is Status.CONNECTED else Reason.ERROR, "as it was"
        )
        rules = Rules(takeover=self._chance.random() < 0.5)
        self.engine.add(SessionState(session=name, status=row, rules=rules))

    def _worker(self, name: str) -> int:
        state = self.engine.sessions.get(name)
        number = state.worker.number if state and state.worker else 1
        return number if self._chance.random() < 0.9 else number + self._chance.choice((-1, 1))

    def step(self) -> None:
        """One fact, or a deadline that has passed. Raises ``Violation``."""
        chance = self._chance
        self.t += chance.choice((0.0, 0.0, 0.01, 0.5, 3.0, 30.0, 400.0)) * chance.random()
        name = chance.choice(self.names)
        if name not in self.engine.sessions:
            self._add(name)
        what = chance.random()
        if what < 0.15:
            self._pass_deadline(name)
        elif what < 0.35:
            self._post(
                "" if chance.random() < 0.2 else name, chance.choice(self._fleet_facts)(name)
            )
        elif what < 0.36:
            self.engine.forget(name, Moment(self.t))
        elif what < 0.65:
            self._go_on(name)
        else:
            self._post(name, chance.choice(self._facts)(name))

    def _go_on(self, name: str) -> None:
        """What comes next where nothing is in the way: else nobody is ever ready."""
        state = self.engine.sessions[name]
        if state.worker and state.worker.stage is Stage.SPAWNING:
            self._post(name, facts.Spawned(worker=state.worker.number))
        elif state.worker is None and self._chance.random() < 0.5:
            self._post(name, facts.Adopted())
        elif state.intent is not Intent.UP:
            self._post(name, facts.StartRequested())
        elif state.worker is None:
            self._post("", fleet_facts.HostRead())
        elif state.worker.stage is Stage.ENDING:
            self._post(name, facts.Exited(worker=state.worker.number, code=0))
        else:
            self._post(name, self._reported(name))

    def _pass_deadline(self, name: str) -> None:
        due = next_deadline(self.engine.sessions[name])
        if due == NEVER:
            return
        self.t = max(self.t, due)
        for _ in range(SPINS):
            if next_deadline(self.engine.sessions[name]) > self.t:
                return
            self._post(name, facts.TimerDue())
        raise Violation(f"{name}: a deadline fires {SPINS} times at the same moment")

    def _post(self, name: str, fact: Fact | FleetFact) -> None:
        now = Moment(self.t, self._chance.random(), 1_700_000_000.0 + self.t)
        outcome = self.engine.post(name, fact, now)
        self._check(fact, outcome)

    def _check(self, fact: object, outcome: Outcome) -> None:
        if self._honest:
            self.engine.check_slots()
        for name, effect in outcome.effects:
            state = self.engine.sessions[name]
            if isinstance(effect, do.Spawn) and state.workers < effect.worker:
                raise Violation(f"{name}: worker {effect.worker} is spawned, and is not known")
        for name in self.engine.touched:
            state = self.engine.sessions[name]
            if derive_status(state) != state.status:
                raise Violation(f"{name}: {fact} leaves the status at {state.status}")
            if state.worker and state.worker.number > state.workers:
                raise Violation(f"{name} has worker {state.worker.number} of {state.workers}")
            up = state.status.status is Status.CONNECTED or is_adopting(state)
            wanted = state.begun and state.intent is not Intent.DOWN and not state.left
            if wanted and not up and not conditions(state):
                raise Violation(f"{name}: after {fact} no condition says why it is not up")
            if (
                state.worker
                and state.worker.stage is Stage.ENDING
                and next_deadline(state) == NEVER
            ):
                raise Violation(f"{name} may end forever")
            self._check_heartbeat(state)

    def _check_heartbeat(self, state: SessionState) -> None:
        """The short way to the deadline after a heartbeat finds the same one as the long way."""
        worker, short = state.worker, while_heard(state)
        if worker is None or short is None:
            return
        lost = worker.unrecoverable
        beat = facts.Beat(worker=worker.number, at=self.t, page_at=self.t - 0.5, unrecoverable=lost)
        if not can_wait(state, beat):
            return
        after = heard(state, worker, beat)
        assert after.worker
        if short.next_deadline(after.worker.heard_at, after.worker.page_at) != next_deadline(after):
            raise Violation(f"{state.session}: a heartbeat moves its deadline to another time")


def _facts(
    chance: random.Random, number: Callable[[str], int]
) -> dict[type[Fact], Callable[[str], Fact]]:
    """What a shell may post."""
    pick, flip = chance.choice, chance.random

    def reported(name: str) -> Fact:
        link = pick(list(Link))
        return facts.Reported(
            worker=number(name),
            at=1e9 if flip() < 0.5 else 0.0,
            phase=pick(("launching", "loading", "settling", "ready", "ready", "ready", "closing")),
            link=link,
            phone="49" if flip() < 0.5 else None,
            code=f"{flip()}" if link is Link.QR_PENDING else None,
            codes_ended=flip() < 0.1,
            loads=pick((0, 1, 2, 3, 4)),
            scripts_ended=pick((0, 1)),
            details=pick((None, "why", "DEPRECATED_VERSION")),
            update_offered=flip() < 0.2,
            covered=flip() < 0.2,
            flooded=flip() < 0.1,
            passkey=PasskeyLink(stage=pick(list(PasskeyStage)), until=1_700_000_600.0)
            if link is Link.PASSKEY_REQUIRED
            else None,
            passkey_left=600.0 * flip(),
            refused=flip() < 0.1,
            refusals=pick((0, 1, 2)),
            retry_after=pick((0.0, 0.0, 600.0)),
        )

    def failure() -> Failure:
        return Failure(pick(list(Blame)), pick(("a", "browser_unusable")), pick(("x", "y")))

    return {
        facts.Spawned: lambda name: facts.Spawned(worker=number(name)),
        facts.SpawnFailed: lambda name: facts.SpawnFailed(worker=number(name), failure=failure()),
        facts.Reported: reported,
        facts.Beat: lambda name: facts.Beat(
            worker=number(name),
            at=flip() * 1e5,
            page_at=pick((None, 1e5)),
            unrecoverable=flip() < 0.2,
        ),
        facts.Exited: lambda name: facts.Exited(
            worker=number(name), code=pick(_EXITS), host=failure() if flip() < 0.2 else None
        ),
        facts.Stopped: lambda name: facts.Stopped(worker=number(name)),
        facts.Unanswered: lambda name: facts.Unanswered(
            worker=number(name), rests=flip() < 0.5, ran=flip() * 2
        ),
        facts.Unusable: lambda name: facts.Unusable(worker=number(name), why="nonsense"),
        facts.SpecChanged: lambda name: facts.SpecChanged(worker=number(name)),
        facts.Adopted: lambda _: facts.Adopted(outdated=flip() < 0.3),
        facts.StartRequested: lambda _: facts.StartRequested(
            asked=flip() < 0.5, restart=flip() < 0.3, profile_unknown=flip() < 0.1
        ),
        facts.StopRequested: lambda _: facts.StopRequested(daemon_stopping=flip() < 0.3),
        facts.RestartRequested: lambda _: facts.RestartRequested(why="somebody wants it"),
        facts.ParkRequested: lambda _: facts.ParkRequested(
            cause=pick(list(ParkCause)), details="found"
        ),
        facts.Left: lambda _: facts.Left(),
        facts.LoggedOut: lambda _: facts.LoggedOut(pick((None, "unknown_companion"))),
        facts.IdleRead: lambda _: facts.IdleRead(pick((None, 0.0, 500.0))),
        facts.Noticed: lambda _: facts.Noticed(kind=pick(list(Kind)), message=pick((None, "m"))),
        facts.RowRead: lambda _: facts.RowRead(
            said="connected", number_only=flip() < 0.5, knows_number=flip() < 0.5
        ),
        facts.ProxyChanged: lambda _: facts.ProxyChanged(proxied=flip() < 0.5),
        facts.RulesChanged: lambda _: facts.RulesChanged(Rules(takeover=flip() < 0.5)),
        facts.Moved: lambda _: facts.Moved(priority=pick((0, 5)), active=flip()),
        facts.TimerDue: lambda _: facts.TimerDue(late=pick((0.0, 0.0, 7.0, 90.0))),
    }


def _facts_of_the_fleet(chance: random.Random) -> list[Callable[[str], Fact]]:
    """What a session hears of nobody else."""
    view = FleetView(network_down="away", network_unsure=True)
    return [
        lambda _: facts.SlotGranted(),
        lambda _: facts.ReloadRequested(why="its turn"),
        lambda _: facts.ReloadRequested(why="its turn"),
        lambda _: facts.HeldBack(Wait(chance.choice(list(Cause)), "it waits")),
        lambda _: facts.FleetChanged(chance.choice((FleetView(), view, FleetView(breaker="open")))),
    ]


def _fleet_facts(chance: random.Random) -> list[Callable[[str], FleetFact]]:
    """What a shell may post."""
    pick, flip = chance.choice, chance.random

    def host(_: str) -> FleetFact:
        left = Reading(
            memory=pick((None, 0, 1 << 40)),
            pids=pick((None, 0, 10_000)),
            executable=pick((None, None, "missing")),
            empty=pick((None, None, "empty")),
        )
        network = NetworkReading(
            route=pick((None, True, False)),
            reachable=pick((None, None, True, False)),
            pending=flip() < 0.2,
        )
        return fleet_facts.HostRead(left=left, network=network, paired=flip() < 0.5)

    def acks(_: str) -> FleetFact:
        late = Late(pick((1, 3)), 500.0 * flip()) if flip() < 0.7 else None
        return fleet_facts.AcksSeen(
            late=late,
            curable=late,
            overdue=bool(late),
            acked_at=pick((None, 1e3 * flip())),
            in_vain=flip() < 0.3,
            on_trial=flip() < 0.3,
            versions_decide=flip() < 0.3,
            other_arm=flip() < 0.3,
        )

    return [
        host,
        host,
        host,
        acks,
        lambda _: fleet_facts.Measured(memory=int(4e9 * flip()), idle=pick((None, 1.0, 900.0))),
        lambda _: fleet_facts.FleetRulesChanged(FleetRules(memory_limit=1 << 30)),
    ]


def _facts_of_sessions(chance: random.Random) -> list[Callable[[str], FleetFact]]:
    """What only a session itself says."""
    pick, flip = chance.choice, chance.random
    return [
        lambda _: do.RequestSlot(asked=flip() < 0.5, slow=flip() < 0.3, ended_at=pick((None, 1.0))),
        lambda _: do.ReleaseSlot(),
        lambda _: do.MemberChanged(pick(list(State)), pick(list(Link)), pick(list(Link))),
        lambda _: do.WorkerFailed(Failure(pick(list(Blame)), "a", pick(("x", "y")))),
        lambda _: do.BrowserStarted(),
        lambda _: do.RefusalChanged(pick((None, "500")), pick((0.0, 600.0))),
        lambda _: do.Recycled(),
    ]
