"""Faults of the host, of WhatsApp, of the daemon: they concern all sessions."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.faults import ANOTHER, DAEMON, KINDS, LACKS
from tests.simulation.page import Page
from waguard.core.exits import EXIT_LEASE_EXPIRED
from waguard.core.fleet.facts import FleetRules, FleetRulesChanged
from waguard.core.replace import replace
from waguard.core.session.facts import Moved, RulesChanged

if TYPE_CHECKING:
    from tests.simulation.world import World


class Calamities:
    """Begin and end."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._begins: dict[str, Callable[[], object]] = {
            "network": self._lose_network,
            "network_unsure": self._lose_network,
            "daemon": world.kill_daemon,
            "daemon_long": world.kill_daemon,
            "upgrade": self._upgrade,
            "orderly": world.stop_daemon,
            "standstill": world.freeze,
            "fleet_crash": self._kill_most,
            "fleet_kill": self._kill_most,
            "disk_full": self._fill_disk,
            "runtime_full": self._fill_disk,
            "inodes": self._fill_disk,
            "read_only": self._fill_disk,
            "build_reloads": self._reload_all,
            "lease": self._expire_lease,
            "acks_everywhere": self._lose_acks,
            "wall_step": self._step_wall,
            "settings": self._change_settings,
            "host_stall": self._stall,
        }
        self._ends: dict[str, Callable[[], object]] = {
            "network": self._find_network,
            "network_unsure": self._find_network,
            **dict.fromkeys(("database", *ANOTHER), self._find_database),
            "standstill": world.thaw,
            "acks_everywhere": world.plane.acks_come,
            "host_stall": self._go_on,
            **dict.fromkeys(DAEMON, world.begin_daemon),
        }

    def begin(self, kind: str) -> None:
        """It happens."""
        if begin := self._begins.get(kind):
            begin()

    def end(self, kind: str) -> None:
        """Its cause has gone."""
        world = self._world
        if kind == "orderly" and world.stopping:
            world.after(20.0, partial(self.end, kind))
            return
        if end := self._ends.get(kind):
            end()
        if KINDS[kind].afflicts:
            for page in world.pages.values():
                world.checks.over(page, kind)

    def _each(self, do: Callable[[Page], object], what: str, within: float, least: float) -> None:
        """Not all at the same moment."""
        world = self._world
        for page in world.pages.values():
            seconds = least + within * world.draw(what, page.name, int(world.t))
            world.after(seconds, partial(do, page))

    def _lose_network(self) -> None:
        self._world.network_lost = self._world.t
        for page in self._world.pages.values():
            page.quiet_until = None
        self._each(self._world.workers.refresh, "noticed", 8.0, 0.0)

    def _find_network(self) -> None:
        self._world.network_since = self._world.t
        self._each(self._world.workers.refresh, "back", 9.0, 1.0)

    def _find_database(self) -> None:
        self._world.database_since = self._world.t

    def _upgrade(self) -> None:
        self._world.kill_daemon()
        for page in self._world.pages.values():
            page.old = page.alive

    def _kill_most(self) -> None:
        self._each(self._kill, "blow", 0.5, 0.0)

    def _kill(self, page: Page) -> None:
        if self._world.draw("hit", page.name, int(self._world.t)) < 0.9:
            self._world.strikes.kill(page)

    def _fill_disk(self) -> None:
        self._each(self._close_storage, "full", 10.0, 0.1)

    def _close_storage(self, page: Page) -> None:
        """Of those that write."""
        writes = self._world.draw("writes", page.name, int(self._world.t)) < 0.7
        if writes and any(self._world.active[kind] for kind in LACKS):
            workers = self._world.workers
            workers.die(page, page.number, workers.code_of_a_lack(page))

    def _reload_all(self) -> None:
        self._each(partial(self._world.workers.reload_itself, "build_reloads"), "build", 5.0, 0.1)

    def _expire_lease(self) -> None:
        """With a standby: whoever still runs ends, in order or by the kernel."""
        self._each(self._end_with_lease, "lease", 2.0, 0.0)

    def _end_with_lease(self, page: Page) -> None:
        self._world.workers.die(page, page.number, EXIT_LEASE_EXPIRED)

    def _stall(self) -> None:
        """A disk that hangs, or swapping: workers wait, each from its next step on; the daemon has what it needs."""
        self._each(self._world.strikes.fall_late, "stall", 0.9, 0.0)

    def _go_on(self) -> None:
        self._each(self._serve, "served", 0.9, 0.0)

    def _serve(self, page: Page) -> None:
        if not self._world.suffers("worker_hang", page.name):
            self._world.strikes.go_on(page)

    def _lose_acks(self) -> None:
        for page in self._world.pages.values():
            self._world.plane.go_deaf(page)

    def _step_wall(self) -> None:
        world = self._world
        world.wall_step += 7_200.0 * (world.draw("step", int(world.t)) - 0.5)

    def _change_settings(self) -> None:
        world = self._world
        if world.engine is None:
            return
        rules = FleetRules(memory_limit=world.engine.fleet.rules.memory_limit)
        world.post("", FleetRulesChanged(rules))
        for name, state in list(world.engine.sessions.items()):
            world.post(name, RulesChanged(replace(state.rules, takeover=not state.rules.takeover)))
            world.post(name, Moved(priority=state.priority, active=world.t))
