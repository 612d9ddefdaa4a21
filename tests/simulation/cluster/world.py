"""Hosts with clocks of their own, one engine, one database; what befalls them, and what has to hold."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from tests.simulation.clock import VirtualTime, Violation
from tests.simulation.cluster.machine import Daemon, Machine
from tests.simulation.cluster.stores import Leases, Network, Rows
from waguard.core.cluster.lease_facts import PeersSeen
from waguard.core.cluster.owner_facts import DrainAsked
from waguard.core.cluster.records import Found

DRIFT: Final = 0.04
QUIET: Final = 20.0  # s at the begin
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
        max_sessions: int = 4,
        drift: float = DRIFT,
        faults: bool = True,
    ) -> None:
        self.time, self.chance = VirtualTime(seed), random.Random(seed)
        self.sessions = tuple(f"s{n}" for n in range(sessions))
        self.leases, self.rows = Leases(), Rows(self.time, self.sessions)
        self.engine = Network(self.time, self.chance, faults=faults)
        self.database = Network(self.time, self.chance, faults=faults)
        self.leases.on_change = self._publish
        self.starts = self.exits = 0
        self._watched: dict[str, float] = {}
        self.story: list[str] = []
        self.machines = [
            Machine(
                self,
                f"h{n}",
                speed=1 + self.chance.uniform(-drift, drift),
                max_sessions=max_sessions,
            )
            for n in range(hosts)
        ]
        for machine in self.machines:
            self.time.after(self.chance.uniform(0, 1), machine.start)

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
        self.note(f"{session} starts on {machine.name}")
        running = [it.name for it in self.machines if it.runs(session)]
        if len(running) > 1:
            raise Violation(f"{self.time.t:.2f} s: {session} runs on {', '.join(running)}")

    def all_run(self) -> None:
        """Each session has a browser."""
        for session in self.sessions:
            if not any(it.runs(session) for it in self.machines):
                row = self.rows[session]
                raise Violation(f"{self.time.t:.2f} s: {session} runs nowhere: {row}")

    def note(self, what: str) -> None:
        """Remember what happened, for the story."""
        self.story.append(f"{self.time.t:9.2f} s  {what}")

    # ---- what befalls it ----

    def trouble_until(self, end: float) -> None:
        """One fault after the other, until then."""

        def strike() -> None:
            if self.time.t < end:
                self.time.after(self.chance.uniform(1, 10), strike)
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
                self.note(f"{strike.__name__.strip('_')} {machine.name}")
                strike(machine)
                return
            drawn -= share

    def _freeze(self, machine: Machine) -> None:
        daemon = machine.daemon
        if daemon and not daemon.frozen:
            daemon.frozen = True
            self.time.after(self.chance.choice((1, 4, 9, 15, 30)), daemon.thaw)

    def _start_again(self, machine: Machine) -> None:
        def start() -> None:
            if machine.daemon is None:
                machine.start()

        self.time.after(self.chance.choice((0.5, 0.5, 2.0, 15.0)), start)

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
        self._for_a_while(lambda on: setattr(machine, "blind", on))

    def _cut(self, machine: Machine) -> None:
        self._for_a_while(lambda on: setattr(machine, "cut", on))

    def _engine_away(self, _: Machine) -> None:
        self._for_a_while(lambda on: setattr(self.engine, "away", on))

    def _database_away(self, _: Machine) -> None:
        self._for_a_while(lambda on: setattr(self.database, "away", on))

    def _move(self, machine: Machine) -> None:
        self.rows.ask_for_move(self.chance.choice(self.sessions), machine.name)

    def _drain(self, machine: Machine) -> None:
        def drain(on: bool) -> None:  # noqa: FBT001 - switched
            machine.drain = on
            if daemon := machine.daemon:
                daemon.receive(lambda: daemon.own(DrainAsked(drain=on)))

        self._for_a_while(drain)

    def _for_a_while(self, switch: Callable[[bool], None]) -> None:
        def over() -> None:
            switch(False)
            self._publish()  # who was blind sees again

        switch(True)
        self.time.after(self.chance.uniform(2, 30), over)


def live(seed: int, *, seconds: float = 400.0, drift: float = DRIFT) -> World:
    """One life with faults, and then without: each session has to run, and to stay where it is."""
    world = World(seed, drift=drift)
    world.trouble_until(seconds)
    world.time.run(seconds)
    return world


def recover(world: World) -> None:
    """After the last fault each session runs, and stays where it is."""
    world.engine.faults = world.database.faults = False
    world.time.run(world.time.t + RECOVERED)
    world.all_run()
    claims = world.rows.claims
    world.time.run(world.time.t + STABLE)
    world.all_run()
    if world.rows.claims != claims:
        raise Violation(f"{world.time.t:.2f} s: sessions change their owner for no reason")
