"""Hosts with clocks of their own, one engine, one database; what befalls them, and what has to hold."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from tests.simulation.clock import Violation, VirtualTime
from tests.simulation.cluster.machine import Daemon, Machine
from tests.simulation.cluster.stores import Leases, Network, Rows
from waguard.core.cluster.host_lease import LeaseTerms
from waguard.core.cluster.lease_facts import PeersSeen
from waguard.core.cluster.records import Found

DRIFT: Final = 0.04
LIFE: Final = 400.0  # s
QUIET: Final = 20.0  # s at the begin
ORPHANED: Final = (
    40.0  # s that a session may run nowhere while somebody could take it: twelve, and lost calls
)
RECOVERED: Final = 60.0  # s after the last fault at which each session runs
STABLE: Final = 60.0  # s thereafter in which no session changes its owner


class World:
    """One life of a cluster."""

    kernel_kills = True
    """Each worker has a timer of the kernel's."""

    def __init__(
        self,
        seed: int,
        *,
        hosts: int = 3,
        sessions: int = 4,
        drift: float = DRIFT,
        faults: bool = True,
        lasts: float = 10.0,
    ) -> None:
        self.time, self.chance = VirtualTime(seed), random.Random(seed)
        self.terms = LeaseTerms(lasts)
        self.scale = lasts / 10.0
        """How much longer everything takes than with a lease of 10 s."""
        self.sessions = tuple(f"s{n}" for n in range(sessions))
        self.leases, self.rows = Leases(), Rows(self.time, self.sessions)
        self.engine = Network(self.time, self.chance, faults=faults)
        self.database = Network(self.time, self.chance, faults=faults)
        self.leases.on_change = self._publish
        self.starts = 0
        self._watched: dict[str, float] = {}
        self._down_since: dict[str, float] = {}
        self._able_since: dict[str, float] = {}
        self.story: list[str] = []
        self.machines = [
            Machine(
                self,
                f"h{n}",
                speed=1 + self.chance.uniform(-drift, drift),
                max_sessions=self.chance.choice((2, 4)),
            )
            for n in range(hosts)
        ]
        for machine in self.machines:
            self.time.after(self.chance.uniform(0, 1), machine.start)
        self.time.after(1.0, self._tick)

    # ---- what a planted mistake changes ----

    def before_timer(self, daemon: Daemon) -> None:
        """A daemon looks at its timers."""

    def sweep(self, machine: Machine) -> None:
        """End everything of earlier incarnations."""
        machine.workers.clear()

    def read_holder(
        self, daemon: Daemon, host: str, answer: Callable[[Found | None], None]
    ) -> None:
        """Read a holder's lease for a claim."""
        daemon.ask_holder(host, answer)

    # ---- the watch ----

    def watch(self, daemon: Daemon) -> None:
        """A daemon begins to watch."""
        self._watched[daemon.machine.name] = self.time.t
        self._show(daemon.machine)

    def _publish(self) -> None:
        for machine in self.machines:
            self._show(machine)

    def _show(self, machine: Machine) -> None:
        """In order, and sometimes late. What a blind one misses it sees with the next change."""
        if machine.blind or machine.cut or machine.daemon is None:
            return
        late = self.chance.choice((0.2, 1.0, 5.0)) if self.chance.random() < 0.05 else 0.02
        at = max(self._watched.get(machine.name, 0.0), self.time.t + late)
        self._watched[machine.name] = at
        daemon, seen = machine.daemon, self.leases.hosts()
        self.time.later(at, lambda: daemon.receive(lambda: daemon.hear(PeersSeen(seen))))

    # ---- what has to hold ----

    def started(self, machine: Machine, session: str) -> None:
        """A browser was started: it must be the only one."""
        self.starts += 1
        self.record(f"{session} starts on {machine.name}")
        running = [it.name for it in self.machines if it.runs(session)]
        if len(running) > 1:
            raise Violation(f"{self.time.t:.2f} s: {session} runs on {', '.join(running)}")

    def _tick(self) -> None:
        """Who can take sessions takes those that run nowhere."""
        now = self.time.t
        self.time.after(1.0, self._tick)
        down = {it for it in self.sessions if not any(host.runs(it) for host in self.machines)}
        able = {it.name for it in self.machines if self._is_able(it)}
        self._down_since = {it: self._down_since.get(it, now) for it in down}
        self._able_since = {it: self._able_since.get(it, now) for it in able}
        for session, since in self._down_since.items():
            for host, from_ in self._able_since.items():
                if now - max(since, from_) > ORPHANED * self.scale:
                    row = self.rows[session]
                    raise Violation(f"{now:.2f} s: {host} leaves {session} to nobody: {row}")

    def _is_able(self, machine: Machine) -> bool:
        daemon = machine.daemon
        reached = not (machine.cut or machine.blind or self.engine.away or self.database.away)
        free = daemon and not daemon.frozen and not daemon.owner.drain and daemon.room() > 0
        return bool(daemon and free and reached and daemon.holds())

    def exited(self, machine: Machine) -> None:
        """A daemon believes that another machine has its name."""
        raise Violation(f"{self.time.t:.2f} s: {machine.name} believes that it is there twice")

    def all_run(self) -> None:
        """Each session has a browser."""
        for session in self.sessions:
            if not any(it.runs(session) for it in self.machines):
                row = self.rows[session]
                raise Violation(f"{self.time.t:.2f} s: {session} runs nowhere: {row}")

    def record(self, what: str) -> None:
        """For the story."""
        self.story.append(f"{self.time.t:9.2f} s  {what}")

    # ---- what befalls it ----

    def trouble_until(self, end: float) -> None:
        """One fault after the other, until then."""

        def strike() -> None:
            if self.time.t < end:
                self.time.after(self.scale * self.chance.uniform(1, 10), strike)
                self._strike(self.chance.choice(self.machines))

        self.time.after(QUIET, strike)

    def _strike(self, machine: Machine) -> None:
        kinds: Sequence[tuple[float, Callable[[Machine], None]]] = (
            (0.42, self._freeze),
            (0.15, self._lose_runtime_folder),
            (0.14, self._restart),
            (0.03, self._reboot),
            (0.10, self._blind),
            (0.06, self._cut),
            (0.02, self._engine_away),
            (0.02, self._database_away),
            (0.04, self._move),
            (0.02, self._drain),
        )
        drawn = self.chance.random()
        for share, strike in kinds:
            if drawn < share:
                self.record(f"{strike.__name__.strip('_')} {machine.name}")
                strike(machine)
                return
            drawn -= share

    def _freeze(self, machine: Machine) -> None:
        daemon = machine.daemon
        if daemon and not daemon.frozen:
            daemon.frozen = True
            self.time.after(self.scale * self.chance.choice((1, 4, 9, 15, 30)), daemon.thaw)

    def _start_again(self, machine: Machine) -> None:
        def start() -> None:
            if machine.daemon is None:
                machine.start()

        self.time.after(self.scale * self.chance.choice((0.5, 0.5, 2.0, 15.0)), start)

    def _restart(self, machine: Machine) -> None:
        machine.kill_daemon()
        self._start_again(machine)

    def _lose_runtime_folder(self, machine: Machine) -> None:
        machine.kill_daemon()
        machine.incarnation = None
        self._start_again(machine)

    def _reboot(self, machine: Machine) -> None:
        machine.reboot()
        self._start_again(machine)

    def _blind(self, machine: Machine) -> None:
        self.for_a_while(machine, "blind")

    def _cut(self, machine: Machine) -> None:
        self.for_a_while(machine, "cut")

    def _drain(self, machine: Machine) -> None:
        self.for_a_while(machine, "drain")

    def _engine_away(self, _: Machine) -> None:
        self.for_a_while(self.engine, "away")

    def _database_away(self, _: Machine) -> None:
        self.for_a_while(self.database, "away")

    def _move(self, machine: Machine) -> None:
        session = self.chance.choice(self.sessions)
        for here in self.machines:
            here.move(session, machine.name)

    def for_a_while(self, what: object, switch: str, seconds: float | None = None) -> None:
        """Switch it on, and off again."""

        def over() -> None:
            setattr(what, switch, False)
            self._publish()  # who was blind sees again

        setattr(what, switch, True)
        self.time.after(seconds or self.scale * self.chance.uniform(2, 30), over)


def live(seed: int, *, drift: float = DRIFT, lasts: float = 10.0) -> World:
    """One life with faults."""
    world = World(seed, drift=drift, lasts=lasts)
    end = LIFE * world.scale
    world.trouble_until(end)
    world.time.run(end)
    return world


def recover(world: World) -> None:
    """After the last fault each session runs, and stays where it is."""
    world.engine.faults = world.database.faults = False
    world.time.run(world.time.t + RECOVERED * world.scale)
    world.all_run()
    claims = world.rows.claims
    world.time.run(world.time.t + STABLE * world.scale)
    world.all_run()
    if world.rows.claims != claims:
        raise Violation(f"{world.time.t:.2f} s: sessions change their owner for no reason")
