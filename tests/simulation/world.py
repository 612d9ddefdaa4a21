"""A world for the real core: daemon, host, database, workers, WhatsApp, people; in virtual time.

A healthy worker beats until a fault (``at`` = infinity), so that a year has millions of steps
instead of billions; in a dense world each heartbeat is a fact.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from functools import partial

from tests.simulation.calamities import Calamities
from tests.simulation.checks import Checks
from tests.simulation.clock import Violation, VirtualTime
from tests.simulation.database import Database
from tests.simulation.faults import DAEMON, EVERYWHERE, HOST, Fault
from tests.simulation.host import read_host
from tests.simulation.page import Page
from tests.simulation.plane import MEMORY_LIMIT, Plane
from tests.simulation.strikes import Strikes
from tests.simulation.watched import Seen, WatchedEngine
from tests.simulation.workers import Workers
from waguard.core.fleet.facts import Closing, FleetEffect, FleetFact, FleetRules
from waguard.core.fleet.state import FleetState
from waguard.core.replace import replace
from waguard.core.row_status import Status
from waguard.core.session import effects as do
from waguard.core.session.deadlines import next_deadline
from waguard.core.session.effects import Effect
from waguard.core.session.facts import (
    Adopted,
    Beat,
    Fact,
    IdleRead,
    Moment,
    Reported,
    StartRequested,
    StopRequested,
    TimerDue,
)
from waguard.core.session.state import Pairing, Rules, SessionState, Stage

ALWAYS = float("inf")
ORPHAN_GRACE = 60.0  # s
Watch = Callable[[float, str, Effect | FleetEffect], object]
SPINS = 50  # timers of one session at one moment


def _words(effect: do.Publish | do.Record) -> str:
    if isinstance(effect, do.Record):
        return f"{effect.kind}: {effect.reason}"
    return f"{effect.event} {dict(effect.data)}"


class World(VirtualTime):
    """``run`` it; it raises ``Violation``."""

    def __init__(
        self,
        seed: int,
        sessions: int,
        plan: Iterable[Fault],
        *,
        dense: bool = False,
        seen: Seen | None = None,
        watch: Watch | None = None,
    ) -> None:
        """``watch`` hears of each effect."""
        super().__init__(seed)
        self._watch = watch
        self.dense = dense
        self.seen = seen or Seen()
        self.pages = {f"s{n}": Page(f"s{n}") for n in range(sessions)}
        self.active: Counter[str] = Counter()
        self.engine: WatchedEngine | None = None
        self.events: deque[str] = deque(maxlen=16)
        """What happened last."""
        self.faults: Counter[str] = Counter()
        self.healed: defaultdict[str, list[float]] = defaultdict(list)
        self.persons: Counter[str] = Counter()
        self.daemon_since = self.database_since = 0.0
        self.network_lost = self.network_since = 0.0
        self.daemon_died = ALWAYS
        self.stopping = False
        self.frozen_at: float | None = None
        self.wall_step = 0.0
        self.host_reads = 0
        self.steps = 0
        self._waiting: list[tuple[str, Fact | FleetFact]] = []
        self._armed: dict[str, float] = {}
        self.epoch = 0
        self._reads_at = ALWAYS
        self._spins: tuple[str, float, int] = ("", 0.0, 0)
        self.checks = Checks(self)
        self.workers = Workers(self)
        self.plane = Plane(self)
        self.rows = Database(self)
        self.strikes = Strikes(self)
        self.of_all = Calamities(self)
        for fault in plan:
            self.later(fault.at, partial(self.strikes.begin, fault))
        self.begin_daemon()

    def fail(self, why: str) -> None:
        """It is broken."""
        raise Violation(f"{self.t:.1f} s: {why}")

    def record(self, what: str) -> None:
        """For the one who reads the story."""
        self.events.append(f"{self.t:10.1f} s  {what}")

    def suffers(self, kind: str, name: str = EVERYWHERE) -> bool:
        """Whether this fault goes on, for this session."""
        return self.active[kind if kind in HOST else f"{kind}:{name}"] > 0

    def state(self, page: Page) -> SessionState | None:
        """As the daemon knows it; None: it does not, or there is none."""
        return self.engine.sessions.get(page.name) if self.engine else None

    @property
    def wall(self) -> float:
        """Unix time."""
        return 1_700_000_000.0 + self.t + self.wall_step

    # ---- the daemon ----

    def begin_daemon(self) -> None:
        """A new one, as soon as the database answers."""
        if self.engine is not None or any(self.active[kind] for kind in DAEMON):
            return
        if not self.rows.used():
            self.daemon_died = ALWAYS  # it greets the workers, and decides when the rows are there
            self.after(1.0, self.begin_daemon)
            return
        if not self.rows.ours:
            self.fail("an empty database is believed, and ends whoever runs")
        rules = FleetRules(memory_limit=MEMORY_LIMIT)
        self.engine = WatchedEngine(FleetState(rules=rules), self.seen)
        self.epoch += 1
        self._armed, self._reads_at = {}, ALWAYS
        self.daemon_since, self.daemon_died, self.stopping = self.t, ALWAYS, False
        self.record("a daemon begins")
        for page in self.pages.values():
            if page.exists:
                self.add(page)
            elif page.alive:  # the reconciler ends what serves no row
                self.after(1.0, partial(self.workers.die, page, page.number, 0))

    def add(self, page: Page) -> None:
        """One row."""
        if (engine := self.engine) is None:
            return
        index = int(page.name[1:])
        state = SessionState(
            session=page.name,
            status=page.row,
            rules=Rules(takeover=index % 2 == 1),
            workers=page.number - page.alive,  # an adopted worker keeps its number
            restarts=page.restarts,
            phone=page.phone,
            pairing=Pairing(
                made=page.paired,
                lost_at=self.t if page.paired and page.row.status is Status.QR_SCANNING else None,
            ),
            priority=index % 3,
        )
        page.takeovers.clear()  # it is not known to a new daemon
        engine.add(state)
        if page.alive:
            self.checks.adopted(page)
            self.post(page.name, Adopted(outdated=page.old))
            self.workers.greet(page)
            if not page.desired:
                page.excused, page.quiet_until = True, None
                self.post(page.name, StopRequested())
        elif page.desired:
            self.post(page.name, StartRequested(asked=False))

    def kill_daemon(self) -> None:
        """Its workers live on, for a while."""
        if self.engine is None and self.daemon_died < ALWAYS:
            return
        self.record("the daemon dies")
        for page in self.pages.values():
            state = self.state(page)
            page.restarts = state.restarts if state else 0
            page.quiet_until = None
            if page.alive:
                self.after(ORPHAN_GRACE, partial(self.orphan, page, page.number, died=self.t))
        self.engine, self.frozen_at, self.daemon_died = None, None, self.t
        self.stopping = False
        self._waiting.clear()

    def orphan(self, page: Page, worker: int, *, died: float) -> None:
        """No daemon has come."""
        if self.engine is None and self.daemon_died == died and not page.stopped:
            self.workers.die(page, worker, 14)

    def stop_daemon(self) -> None:
        """In order."""
        if self.engine is None or self.stopping:
            return
        if self.frozen_at is not None:
            self.after(1.0, self.stop_daemon)
            return
        self.record("the daemon is stopped")
        self.stopping = True
        self.post("", Closing())
        for page in self.pages.values():
            page.excused, page.quiet_until = True, None
            self.post(page.name, StopRequested(daemon_stopping=True))
        self.after(16.0, partial(self.end_daemon, self.epoch))

    def end_daemon(self, epoch: int) -> None:
        """All has been stopped."""
        if self.epoch != epoch or self.engine is None:
            return
        if living := [page.name for page in self.pages.values() if page.alive]:
            self.fail(f"{living} still run 16 s after the daemon was stopped")
        self.kill_daemon()

    def freeze(self) -> None:
        """The daemon stands still."""
        if self.engine is not None and self.frozen_at is None:
            self.frozen_at = self.t

    def thaw(self) -> None:
        """It goes on, and reads what has come meanwhile."""
        if self.frozen_at is None or self.engine is None:
            return
        late, self.frozen_at, self.daemon_since = self.t - self.frozen_at, None, self.t
        self.epoch += 1
        self._armed, self._reads_at = {}, ALWAYS
        for name in list(self.engine.sessions):
            self.post(name, TimerDue(late=late))
        for page in self.pages.values():
            self.workers.beat_on(page)
        waiting, self._waiting = self._waiting, []
        for name, fact in waiting:
            match fact:
                case Beat(at=at) if at < ALWAYS:  # it is read now
                    self.post(name, replace(fact, at=self.t))
                case Reported(at=at) if at < ALWAYS:
                    self.post(name, replace(fact, at=self.t))
                case _:
                    self.post(name, fact)
        for name in list(self.engine.sessions):
            self._arm(name)
        self._arm_read()

    # ---- facts and time ----

    def request(self, page: Page, fact: Fact) -> None:
        """Somebody outside wants something of the daemon, if there is one."""
        if self.engine is None or self.stopping or page.name not in self.engine.sessions:
            return
        page.excused, page.quiet_until = True, None
        page.takeovers.clear()  # a person gives it new ones
        self.record(f"{page.name}: {fact}")
        self.post(page.name, fact)

    def post(self, name: str, fact: Fact | FleetFact) -> None:
        """Give it to the daemon, and do what it says."""
        engine = self.engine
        if engine is None:
            return
        if self.frozen_at is not None:
            self._waiting.append((name, fact))
            return
        fleet = engine.fleet
        worker = self.pages[name].number if name in self.pages else 0
        chance = self.draw("chance", name, worker, int(self.t))
        outcome = engine.post(name, fact, Moment(self.t, chance, self.wall))
        self.steps += engine.changed
        if engine.fleet is not fleet:
            self.checks.fleet(engine, fleet)
            self._arm_read()
        for to, effect in outcome.effects:
            self.perform(self.pages[to], effect)
        for of_fleet in outcome.of_fleet:
            self.perform_of_fleet(of_fleet)
        for touched in engine.touched:
            self._arm(touched)
            self.checks.session(self.pages[touched], engine.sessions.get(touched))

    def beat(self, page: Page, page_at: float | None) -> None:
        """The same for a heartbeat, which moves deadlines only away."""
        engine = self.engine
        if engine is None or self.frozen_at is not None:
            return
        state = engine.sessions.get(page.name)
        fact = Beat(
            worker=page.number, at=self.t, page_at=page_at, unrecoverable=page.unrecoverable
        )
        if state is None or state.worker is None or state.worker.stage is Stage.ADOPTING:
            return
        if state.worker.unresponsive:
            self.post(page.name, fact)
            return
        engine.post(page.name, fact, Moment(self.t))
        self.steps += engine.changed

    def forget(self, page: Page) -> None:
        """Its row is gone, and so is its worker."""
        if self.engine is None:
            return
        self._armed.pop(page.name, None)
        outcome = self.engine.forget(page.name, Moment(self.t, 0.5, self.wall))
        for to, effect in outcome.effects:  # its going may be another one's turn
            self.perform(self.pages[to], effect)
        for of_fleet in outcome.of_fleet:
            self.perform_of_fleet(of_fleet)
        self._arm_read()
        for touched in self.engine.touched:
            self._arm(touched)

    def _arm(self, name: str) -> None:
        if self.engine is None or (state := self.engine.sessions.get(name)) is None:
            return
        due = next_deadline(state)
        if due < self._armed.get(name, ALWAYS):
            self._armed[name] = due
            self.later(max(due, self.t), partial(self._timer, name, due, self.epoch))

    def arm(self, page: Page) -> None:
        """Its deadlines may have come nearer."""
        self._arm(page.name)

    def _timer(self, name: str, due: float, epoch: int) -> None:
        stale = epoch != self.epoch or self._armed.get(name) != due
        if stale or self.engine is None or self.frozen_at is not None:
            return
        del self._armed[name]
        if (state := self.engine.sessions.get(name)) is None:
            return
        if next_deadline(state) <= self.t:
            spins = self._spins[2] + 1 if self._spins[:2] == (name, self.t) else 1
            self._spins = (name, self.t, spins)
            if spins > SPINS:
                self.fail(f"{name}: a timer fires {spins} times at the same moment")
            self.post(name, TimerDue())
        self._arm(name)

    # ---- the host ----

    def _arm_read(self) -> None:
        if self.engine and self.engine.fleet.read_host_at < self._reads_at:
            self._reads_at = self.engine.fleet.read_host_at
            self.later(
                max(self._reads_at, self.t), partial(self._read_host, self._reads_at, self.epoch)
            )

    def _read_host(self, due: float, epoch: int) -> None:
        if epoch != self.epoch or self._reads_at != due or self.frozen_at is not None:
            return
        self._reads_at = ALWAYS
        if self.engine is None or self.engine.fleet.read_host_at > self.t:
            self._arm_read()
            return
        self.checks.host_read(self.engine)
        self.host_reads += 1
        self.post("", read_host(self.active))
        self._arm_read()

    # ---- effects ----

    def perform(self, page: Page, effect: Effect) -> None:  # noqa: C901 - a table of effects
        """As the shell would."""
        self.checks.effect(page, effect)
        if self._watch:
            self._watch(self.t, page.name, effect)
        match effect:
            case do.Spawn(worker, waits=waits):
                self.workers.start(page, worker, waits=waits)
            case do.StartBrowser(worker):
                self.workers.start_browser(page, worker)
            case do.Terminate(worker):
                self.workers.terminate(page, worker)
            case do.CheckAnswer(worker):
                self.after(0.01, partial(self.workers.check_answer, page, worker))
            case do.Kill(worker):
                self.after(0.01, partial(self.workers.die, page, worker, -9))
            case do.Reload(worker):
                self.after(0.05, partial(self.workers.reload, page, worker))
            case do.TakeOver(worker):
                self.strikes.reclaim(page, worker)
            case do.ReadIdle():
                fact = IdleRead(self.plane.idle(page))
                self.after(0.01, partial(self.post, page.name, fact))
            case do.WriteStatus(status, phone):
                lag = 0.1 * self.draw("row", page.name, int(self.t * 10))
                self.after(lag, partial(self.rows.write, page, status, phone, self.epoch))
            case do.Publish() | do.Record():
                self.record(f"{page.name}: {_words(effect)}")
            case _:
                pass

    def perform_of_fleet(self, effect: FleetEffect) -> None:
        """It is only recorded."""
        self.record(str(effect))
        if self._watch:
            self._watch(self.t, "*", effect)
