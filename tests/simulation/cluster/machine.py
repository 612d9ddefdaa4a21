"""One host: its clock, its workers with the kernel's timers, and the daemon that performs what the core decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tests.simulation.clock import Violation
from waguard.core.cluster import host_lease, session_owner
from waguard.core.cluster.lease_facts import (
    CloseAll,
    DeclareDead,
    Exit,
    KillAll,
    LeaseEffect,
    LeaseFact,
    Lend,
    NoAnswer,
    OwnRead,
    ReadOwn,
    Refused,
    Renew,
    Renewed,
    Sweep,
    Swept,
    TimerDue,
)
from waguard.core.cluster.owner_facts import (
    Acquire,
    Claim,
    Claimed,
    ClaimRefused,
    DrainAsked,
    Ended,
    HolderRead,
    Lose,
    MoveAsked,
    OwnerEffect,
    OwnerFact,
    OwnersRead,
    ReadHolder,
    ReadOwners,
    Release,
    Stays,
    Unanswered,
)
from waguard.core.cluster.records import FORMAT, Found, HostRecord
from waguard.core.replace import replace
from waguard.core.session.facts import Moment

if TYPE_CHECKING:
    from tests.simulation.cluster.world import World

_Answer = TypeVar("_Answer")
CANNOT_LEAVE = 0.1  # of all that are to leave in order: their credentials cannot be shared


@dataclass
class Worker:
    """One browser. ``until``: on the machine's clock, when the kernel kills it."""

    until: float
    closing: bool = False


class Machine:
    """What a daemon's end leaves: workers, the incarnation's file, the clock."""

    def __init__(self, world: World, name: str, *, speed: float, max_sessions: int) -> None:
        self.world, self.name, self.speed = world, name, speed
        self._offset = world.chance.uniform(0, 1e6)
        self.max_sessions = max_sessions
        self.workers: dict[str, Worker] = {}
        self.incarnation: str | None = None
        self._drain = False
        self.cut = False
        """Neither engine nor database is reached."""
        self.blind = False
        """The watch shows nothing new."""
        self.daemon: Daemon | None = None

    @property
    def drain(self) -> bool:
        """Whether it is being emptied."""
        return self._drain

    @drain.setter
    def drain(self, drain: bool) -> None:
        self._drain = drain
        if daemon := self.daemon:
            daemon.receive(lambda: daemon.own(DrainAsked(drain=drain)))

    def move(self, session: str, to_host: str) -> None:
        """Somebody asks this host for it."""
        if daemon := self.daemon:
            daemon.receive(lambda: daemon.own(MoveAsked(session, to_host)))

    def now(self) -> float:
        """By the boot clock."""
        return self.world.time.t * self.speed + self._offset

    def true(self, local: float) -> float:
        """When it is, in true time."""
        return (local - self._offset) / self.speed

    def runs(self, session: str) -> bool:
        """Whether a browser of it runs."""
        worker = self.workers.get(session)
        if worker and self.world.kernel_kills and self.now() >= worker.until:
            del self.workers[session]
            return False
        return worker is not None

    def start(self) -> None:
        """Start a daemon."""
        self.daemon = Daemon(self)
        self.daemon.begin()

    def kill_daemon(self) -> None:
        """Its workers live on."""
        self.daemon = None

    def reboot(self) -> None:
        """Nothing is left but the disk."""
        self.daemon, self.incarnation = None, None
        self.workers.clear()


class Daemon:
    """Performs the effects; each answer is a fact, in the order of their arrival, when it is not frozen."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.world = machine, machine.world
        self.frozen = False
        self._inbox: list[Callable[[], None]] = []
        self._timer = 0
        adopted = frozenset(it for it in list(machine.workers) if machine.runs(it))
        adopted = adopted if machine.incarnation else frozenset()
        self.mine = set(adopted)
        """Sessions that were acquired or adopted, and have not ended."""
        self._ends: dict[str, object] = {}
        """What is being ended; each is answered once."""
        self.owner = session_owner.begin(machine.name, adopted)

    def begin(self) -> None:
        """Take the instance lock."""
        number = self.world.chance.getrandbits(62)
        step = host_lease.begin(
            self.machine.name,
            self.world.terms,
            number=number,
            adopts=self.machine.incarnation,
            now=self._moment(),
        )
        self.lease = step.state
        self._perform_lease(step.effects)
        if self.machine.drain:
            self.own(DrainAsked(drain=True))
        self._arm()
        self.world.watch(self)

    # ---- facts ----

    def receive(self, do: Callable[[], None]) -> None:
        """Handle what arrives, now or when it is not frozen any more."""
        if self.machine.daemon is not self:
            return
        if self.frozen:
            self._inbox.append(do)
        else:
            do()

    def thaw(self) -> None:
        """Go on with what has arrived meanwhile."""
        self.frozen = False
        inbox, self._inbox = self._inbox, []
        for do in inbox:
            self.receive(do)

    def hear(self, fact: LeaseFact) -> None:
        """A fact about leases."""
        before = (self.lease.incarnation, self.lease.held_since, self.lease.peers)
        step = host_lease.advance(self.lease, fact, self._moment())
        self.lease = step.state
        self._perform_lease(step.effects)
        if self.machine.daemon is not self:
            return
        if (self.lease.incarnation, self.lease.held_since, self.lease.peers) != before:
            self.own(TimerDue())
        self._arm()

    def own(self, fact: OwnerFact) -> None:
        """A fact about sessions."""
        now = self._moment()
        step = session_owner.advance(self.owner, fact, host_lease.view(self.lease, now), now)
        self.owner = step.state
        for effect in step.effects:
            self._perform_owner(effect)
        self._arm()

    def holds(self) -> bool:
        """Whether it may run sessions now."""
        return host_lease.view(self.lease, self._moment()).held_since is not None

    def _moment(self) -> Moment:
        return Moment(self.machine.now(), wall=self.world.time.t)

    def _arm(self) -> None:
        due = session_owner.due_at(self.owner)
        lease_due = host_lease.due_at(self.lease)
        due = due if lease_due is None else min(due, lease_due)
        self._timer += 1
        number = self._timer
        if due < float("inf"):
            at = max(self.machine.true(due) + 1e-6, self.world.time.t + 0.001)
            self.world.time.later(at, lambda: self.receive(lambda: self._on_timer(number)))

    def _on_timer(self, number: int) -> None:
        if number == self._timer:
            self.world.before_timer(self)
            due = host_lease.due_at(self.lease)
            if due is not None and self.machine.now() >= due:
                self.hear(TimerDue())
            if self.machine.now() >= session_owner.due_at(self.owner):
                self.own(TimerDue())
            self._arm()

    # ---- leases ----

    def _perform_lease(self, effects: tuple[LeaseEffect, ...]) -> None:
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: LeaseEffect) -> None:  # noqa: C901 - a table of effects
        leases, name = self.world.leases, self.machine.name
        match effect:
            case Renew(incarnation, number, revision):
                record = self._record(incarnation, number)

                def renewed(written: int | None) -> None:
                    self.hear(
                        Refused(incarnation, number)
                        if written is None
                        else Renewed(incarnation, number, written)
                    )

                self._ask_engine(lambda: leases.put(record, revision), renewed, number)
            case ReadOwn(call):
                self._ask_engine(
                    lambda: leases.read(name), lambda found: self.hear(OwnRead(call, found)), call
                )
            case DeclareDead(found):
                dead = replace(found.record, alive=False)
                self._ask_engine(lambda: leases.put(dead, found.revision), lambda _: None, None)
            case Lend(until):
                for session in self.mine:
                    worker = self.machine.workers.get(session)
                    if self.machine.runs(session) and worker and not worker.closing:
                        worker.until = until
            case CloseAll():
                closing = self.mine - self._ends.keys() - self.owner.adopted
                for session in sorted(closing):
                    self._end(session, None)
            case KillAll():
                for session in self.mine:
                    self.machine.workers.pop(session, None)
            case Sweep():
                self.world.sweep(self.machine)
                self.machine.incarnation = f"{self.world.chance.getrandbits(40):x}"
                fresh = self.machine.incarnation
                self._after(0.1, lambda: self.hear(Swept(fresh)))
            case Exit():
                self.machine.daemon = None
                self.world.exited(self.machine)

    def _record(self, incarnation: str, number: int) -> HostRecord:
        return HostRecord(
            format=FORMAT,
            host=self.machine.name,
            incarnation=incarnation,
            number=number,
            alive=True,
            address="",
            version="",
            room=self.room(),
            owned=len(self.owner.owned),
            drain=self.owner.drain,
            lasts=self.world.terms.lasts,
        )

    def room(self) -> int:
        """How many more sessions it takes."""
        return self.machine.max_sessions - len(self.owner.owned) - len(self.owner.ending)

    def _ask_engine(
        self, do: Callable[[], _Answer], answer: Callable[[_Answer], None], call: int | None
    ) -> None:
        def no_answer() -> None:
            if call is not None:
                self.receive(lambda: self.hear(NoAnswer(call)))

        self.world.engine.call(
            do,
            lambda found: self.receive(lambda: answer(found)),
            no_answer,
            reachable=not self.machine.cut,
        )

    # ---- sessions ----

    def _perform_owner(self, effect: OwnerEffect) -> None:
        rows, name = self.world.rows, self.machine.name
        match effect:
            case ReadOwners():
                self._ask_database(
                    rows.owners,
                    lambda found: self.own(
                        OwnersRead(rows=found, room=self.room(), idle=frozenset(self.owner.owned))
                    ),
                    lambda: self.own(Unanswered(effect)),
                )
            case ReadHolder(host):
                self.world.read_holder(self, host, lambda found: self.own(HolderRead(host, found)))
            case Claim(seen, incarnation):
                self._ask_database(
                    lambda: rows.claim(seen, name, incarnation),
                    lambda epoch: self.own(
                        ClaimRefused(effect) if epoch is None else Claimed(effect, epoch)
                    ),
                    lambda: self.own(Unanswered(effect)),
                )
            case Acquire(session):
                self.mine.add(session)
                self._start_later(session)
            case Release(session):
                self._end(session, effect)
            case Lose(session):
                self.machine.workers.pop(session, None)
                end = self._ends[session] = object()
                self._after(0.05, lambda: self._ended(session, end))

    def ask_holder(self, host: str, answer: Callable[[Found | None], None]) -> None:
        """Read a lease from the engine itself."""
        self.world.engine.call(
            lambda: self.world.leases.read(host),
            lambda found: self.receive(lambda: answer(found)),
            lambda: self.receive(lambda: self.own(Unanswered(ReadHolder(host)))),
            reachable=not self.machine.cut,
        )

    def _start_later(self, session: str) -> None:
        chance = self.world.chance
        seconds = 0.01 if chance.random() < 0.5 else chance.uniform(0.1, 1.0)
        self._after(seconds, lambda: self._start(session))

    def _start(self, session: str) -> None:
        until = host_lease.lent_until(self.lease)
        if session not in self.owner.owned or not self.holds() or until is None:
            return
        if not self.machine.runs(session):
            self.machine.workers[session] = Worker(until)
            self.world.started(self.machine, session)
        elif self.machine.workers[session].closing:
            self._start_later(session)  # its profile is held

    def _end(self, session: str, release: Release | None) -> None:
        """End it in order; then write the row, where it is released."""
        worker, machine = self.machine.workers.get(session), self.machine
        if worker:
            worker.closing = True
        end = self._ends[session] = object()
        stays = release is not None and self.world.chance.random() < CANNOT_LEAVE

        def closed() -> None:
            if machine.workers.get(session) is worker:
                machine.workers.pop(session, None)
            if release is None:
                self.receive(written)
            else:
                self.receive(stay if stays else write)

        def stay() -> None:
            if release and self._ends.get(session) is end:
                del self._ends[session]
                self.own(Stays(session, release.epoch, retry_after=5.0))

        def written(*_: bool) -> None:
            self._ended(session, end)

        def write() -> None:
            if release and self._ends.get(session) is end:
                it = release
                self._ask_database(
                    lambda: self.world.rows.release(session, it.epoch, it.to_host), written, written
                )

        hangs = self.world.chance.random() < 0.1
        self.world.time.after(8.0 if hangs else self.world.chance.uniform(0.2, 1.5), closed)

    def _ended(self, session: str, end: object) -> None:
        if self._ends.get(session) is not end:
            return  # it was lost meanwhile
        del self._ends[session]
        if self.machine.runs(session):
            raise Violation(f"{session} runs on {self.machine.name} although it has ended")
        self.mine.discard(session)
        self.own(Ended(session))

    def _ask_database(
        self,
        do: Callable[[], _Answer],
        answer: Callable[[_Answer], None],
        no_answer: Callable[[], None],
    ) -> None:
        self.world.database.call(
            do,
            lambda found: self.receive(lambda: answer(found)),
            lambda: self.receive(no_answer),
            reachable=not self.machine.cut,
        )

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self.world.time.after(seconds, lambda: self.receive(do))
