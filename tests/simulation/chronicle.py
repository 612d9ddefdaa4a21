"""Live a few faults, and remember what was done."""

from collections.abc import Callable
from typing import TypeVar

from tests.simulation.faults import EVERYWHERE, Fault
from tests.simulation.world import World
from waguard.core.fleet.facts import FleetEffect, FleetOutage
from waguard.core.row_status import Status
from waguard.core.session import effects as do
from waguard.core.session.effects import Effect
from waguard.core.session.state import SessionState

E = TypeVar("E", bound=Effect | FleetEffect)
BEGIN = 1_000.0  # s; all has been up for long


def own(kind: str, session: str, lasts: float = 1.0, *, at: float = 0.0) -> Fault:
    """A fault of one session, ``at`` seconds after ``BEGIN``."""
    return Fault(BEGIN + at, kind, session, BEGIN + at + lasts)


def of_all(kind: str, lasts: float = 1.0, *, at: float = 0.0) -> Fault:
    """A fault of all."""
    return own(kind, EVERYWHERE, lasts, at=at)


class Chronicle:
    """Live ``faults`` and remember what was done. Times are seconds after ``BEGIN``."""

    def __init__(
        self, *faults: Fault, sessions: int = 3, dense: bool = False, seed: int = 1
    ) -> None:
        self.effects: list[tuple[float, str, Effect | FleetEffect]] = []
        self.world = World(seed, sessions, sorted(faults), dense=dense, watch=self._watch)
        self.world.run(BEGIN - 1.0)
        assert all(page.up_since is not None for page in self.world.pages.values())
        self.effects.clear()

    def _watch(self, at: float, session: str, effect: Effect | FleetEffect) -> None:
        self.effects.append((at - BEGIN, session, effect))

    def until(self, seconds: float) -> "Chronicle":
        """Let time pass until so many seconds after ``BEGIN``."""
        self.world.run(BEGIN + seconds)
        return self

    def state(self, session: str) -> SessionState:
        """As the core has it."""
        state = self.world.state(self.world.pages[session])
        assert state is not None
        return state

    def all_up(self) -> bool:
        """By what is true, and by the rows."""
        return all(
            page.up_since is not None and page.row.status is Status.CONNECTED
            for page in self.world.pages.values()
        )

    def up(self, session: str) -> bool:
        """Whether it is."""
        return self.world.pages[session].up_since is not None

    def starts(self, name: str | None = None) -> list[float]:
        """When a Chromium was started. A worker that is ended in the same moment has not: its spec did not hold."""
        ended = {(at, who, it.worker) for at, who, it in self.did(do.Terminate, name)}
        let_start = self.did(do.StartBrowser, name)
        with_slot = [at for at, _, it in self.did(do.Spawn, name) if not it.waits]
        return sorted(
            with_slot + [at for at, who, it in let_start if (at, who, it.worker) not in ended]
        )

    def did(
        self, kind: type[E], session: str | None = None, only: Callable[[E], bool] | None = None
    ) -> list[tuple[float, str, E]]:
        """When what was done, in order."""
        return [
            (at, name, effect)
            for at, name, effect in self.effects
            if isinstance(effect, kind)
            and session in {None, name}
            and (only is None or only(effect))
        ]

    def recorded(self, kind: str, session: str | None = None) -> list[float]:
        """When an entry of this kind was put on the trail."""
        return [at for at, _, _ in self.did(do.Record, session, lambda it: it.kind == kind)]

    def outages(self, kind: str) -> list[tuple[float, bool]]:
        """When it began (True) and ended (False)."""
        found = self.did(FleetOutage, None, lambda it: it.kind == kind)
        changes = [(at, effect.why is not None) for at, _, effect in found]
        # other words of the same outage are no change
        return [it for n, it in enumerate(changes) if n == 0 or it[1] != changes[n - 1][1]]
