"""The engine in virtual time: what it asks for is done at once, by workers that follow a script."""

from collections import deque
from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from waguard.core.engine import Engine, Outcome
from waguard.core.fleet.facts import FleetEffect, FleetFact, FleetOutage, FleetRules, HostRead
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.fleet.state import FleetState
from waguard.core.host.admission import Cause
from waguard.core.host.admission import Reading as HostReading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.core.session import views
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import (
    Effect,
    Kill,
    ReadIdle,
    Record,
    Reload,
    Spawn,
    StartBrowser,
    Terminate,
)
from waguard.core.session.facts import (
    Beat,
    Exited,
    Fact,
    IdleRead,
    Moment,
    Reported,
    Spawned,
    StartRequested,
    TimerDue,
)
from waguard.core.session.probe import Limits
from waguard.core.session.state import Rules, SessionState, Stage, Worker

WALL = 1_732_233_600.0  # s, unix time of monotonic 0
DOWN = DerivedStatus(Status.DISCONNECTED, Reason.UNKNOWN, "no worker runs")
CONNECTED: Mapping[str, Any] = {"link": Link.CONNECTED}
LOADING: Mapping[str, Any] = {"phase": "loading", "link": Link.UNKNOWN}

One = TypeVar("One", bound=Effect)


class Script(Struct, frozen=True, kw_only=True):
    """What a worker does when it is spawned."""

    reports: tuple[Mapping[str, Any], ...] = (CONNECTED,)
    exits: int | None = None
    """Its exit code, when it ends by itself at its start."""
    held: bool = False
    """Whether it has no process until ``runs``."""
    obeys: bool = True
    """Whether it ends on TERM."""
    dies: bool = True
    """Whether it ends on KILL before anything else happens."""


class EngineBench:
    """``scripts`` are for sessions by name; ``script`` for all others."""

    def __init__(self, *names: str, rules: FleetRules | None = None, **fields: Any) -> None:
        self.at = 1_000.0
        self.chance = 0.5
        self.host = HostReading()
        self.network = NetworkReading()
        self.paired = False
        self.idle: float | None = 3_600.0
        self.script = Script()
        self.scripts: dict[str, Script] = {}
        self.done: list[tuple[str, Effect]] = []
        self.of_fleet: list[FleetEffect] = []
        self.engine = Engine(FleetState(rules=rules or FleetRules(), network_at=self.at))
        self._posted: deque[tuple[str, Fact | FleetFact]] = deque()
        for name in names:
            self.add(name, **fields)

    # ---- what a test does ----

    def add(
        self, name: str, *, rules: Rules | None = None, status: DerivedStatus = DOWN, **fields: Any
    ) -> None:
        """A session that is down; ``status``: what its row says."""
        state = SessionState(session=name, status=status, rules=rules or Rules(), **fields)
        self.engine.add(state)

    def post(self, name: str, fact: Fact | FleetFact) -> None:
        """A fact and all that follows from it; the host is read where that is due."""
        self._posted.append((name, fact))
        self._go_on()

    def forget(self, name: str) -> None:
        """The session is no more."""
        self._perform(self.engine.forget(name, self._moment()))
        self._go_on()

    def start(self, *names: str, asked: bool = True) -> None:
        """In this order."""
        for name in names:
            self.post(name, StartRequested(asked=asked))

    def tick(self) -> None:
        """Do what is due."""
        for name, state in list(self.engine.sessions.items()):
            if next_deadline(state) <= self.at:
                self.post(name, TimerDue())
        self._go_on()

    def pass_time(self, seconds: float, *, step: float = 1.0) -> None:
        """In steps, with workers and pages that are heard."""
        end = self.at + seconds
        while self.at < end:
            self.at = min(end, self.at + step)
            for name, state in list(self.engine.sessions.items()):
                if state.worker:
                    it = Beat(worker=state.worker.number, at=self.at, page_at=self.at)
                    self.post(name, it)
            self.tick()

    def hear_nobody(self, seconds: float) -> None:
        """No worker is heard for so long: that is reported, and at the end it is judged."""
        end = self.at + seconds
        self.at = min(end, self.at + Limits().notice)
        self.tick()
        self.at = end
        self.tick()

    def runs(self, name: str) -> None:
        """A process that was held is there, and follows its script."""
        number = self.worker(name).number
        self._posted.append((name, Spawned(worker=number)))
        self._follow(name, number, self.scripts.get(name, self.script))
        self._go_on()

    def report(self, name: str, link: Link = Link.CONNECTED, **fields: Any) -> None:
        """Its worker says so."""
        said: dict[str, Any] = {"phase": "ready", **fields}
        self.post(name, Reported(worker=self.worker(name).number, at=self.at, link=link, **said))

    def exit(self, name: str, code: int | None) -> None:
        """Its worker ends by itself."""
        self.post(name, Exited(worker=self.worker(name).number, code=code))

    # ---- what a test reads ----

    @property
    def fleet(self) -> FleetState:
        return self.engine.fleet

    @property
    def spawned(self) -> list[str]:
        """Whose Chromium was started, one after the other."""
        return [
            name
            for name, effect in self.done
            if isinstance(effect, StartBrowser) or (isinstance(effect, Spawn) and not effect.waits)
        ]

    @property
    def starting(self) -> set[str]:
        """Those whose browser is not up yet."""
        return {
            name
            for name, state in self.engine.sessions.items()
            if state.worker
            and not state.worker.waits
            and state.worker.stage in {Stage.SPAWNING, Stage.STARTING}
        }

    def state(self, name: str) -> SessionState:
        return self.engine.sessions[name]

    def worker(self, name: str) -> Worker:
        worker = self.state(name).worker
        assert worker
        return worker

    def lifecycle(self, name: str) -> State:
        return views.lifecycle(self.state(name))

    def link(self, name: str) -> Link:
        return views.link(self.state(name))

    def waits(self, name: str) -> Cause | None:
        """For what."""
        wait = self.state(name).held_back
        return wait.cause if wait else None

    def effects(self, name: str, kind: type[One]) -> list[One]:
        """Of one kind, that were done."""
        return [it for who, it in self.done if who == name and isinstance(it, kind)]

    def records(self, name: str, kind: str) -> list[str | None]:
        """Reasons of its entries of one kind on the trail."""
        return [it.reason for it in self.effects(name, Record) if it.kind == kind]

    def reloads(self, name: str) -> int:
        return len(self.effects(name, Reload))

    def outages(self, kind: str) -> list[str | None]:
        """What was reported of one kind; None: it is over."""
        return [it.why for it in self.of_fleet if isinstance(it, FleetOutage) and it.kind == kind]

    # ---- the world ----

    def _go_on(self) -> None:
        while self._posted or self.fleet.read_host_at <= self.at:
            if not self._posted:
                self._posted.append(("", self._host_read()))
            self._perform(self.engine.post(*self._posted.popleft(), self._moment()))

    def _moment(self) -> Moment:
        return Moment(self.at, self.chance, WALL + self.at)

    def _host_read(self) -> HostRead:
        return HostRead(left=self.host, network=self.network, paired=self.paired)

    def _perform(self, outcome: Outcome) -> None:  # noqa: C901 - a table of effects
        self.done += outcome.effects
        self.of_fleet += outcome.of_fleet
        for name, effect in outcome.effects:
            match effect:
                case Spawn(worker, waits=True):
                    self._posted.append((name, Spawned(worker=worker)))
                    waits = Reported(
                        worker=worker,
                        at=self.at,
                        phase="launching",
                        link=Link.UNKNOWN,
                        waits=True,
                    )
                    self._posted.append((name, waits))
                case StartBrowser(worker):
                    script = self.scripts.get(name, self.script)
                    if not script.held:
                        self._follow(name, worker, script)
                case Spawn(worker):
                    script = self.scripts.get(name, self.script)
                    if not script.held:
                        self._posted.append((name, Spawned(worker=worker)))
                        self._follow(name, worker, script)
                case Terminate(worker):
                    if self.scripts.get(name, self.script).obeys:
                        self._posted.append((name, Exited(worker=worker, code=0)))
                case Kill(worker) if self.scripts.get(name, self.script).dies:
                    self._posted.append((name, Exited(worker=worker, code=-9)))
                case ReadIdle():
                    self._posted.append((name, IdleRead(self.idle)))
                case _:
                    pass

    def _follow(self, name: str, worker: int, script: Script) -> None:
        if script.exits is not None:
            self._posted.append((name, Exited(worker=worker, code=script.exits)))
            return
        for said in script.reports:
            report: dict[str, Any] = {"phase": "ready", **said}
            self._posted.append((name, Reported(worker=worker, at=self.at, **report)))


def connected() -> EngineBench:
    """One session, "s", that is connected."""
    made = EngineBench("s")
    made.start("s")
    assert made.link("s") is Link.CONNECTED
    return made


def at_its_start() -> EngineBench:
    """One session, "s", whose page loads."""
    made = EngineBench("s")
    made.script = Script(reports=(LOADING,))
    made.start("s")
    return made
