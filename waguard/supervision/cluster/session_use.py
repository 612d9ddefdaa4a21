"""How many more sessions this host can take, and which of its own could run elsewhere as well."""

from collections.abc import Callable, Collection
from typing import Final, Protocol

from waguard.config.sections import Config
from waguard.core.cluster import placement
from waguard.core.cluster.placement import HELD_BACK, Capacity
from waguard.core.host.admission import Cause, Reading
from waguard.core.recycle import IDLE
from waguard.ports.clock import Clock
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.session.actor import SessionActor

UNLIMITED: Final = 1_000_000  # sessions, where the configuration sets no limit
UNKNOWN: Final = 1 << 60  # bytes: what cannot be read is not short
LACKS: Final = frozenset({Cause.MEMORY, Cause.PRESSURE, Cause.PIDS})
"""What another host may have."""


class SessionUse(Protocol):
    """What is known here of the sessions that run."""

    def room(self, owned: Collection[str]) -> int:
        """How many more sessions fit beside these."""

    def idle(self) -> frozenset[str]:
        """Those that nobody uses now."""

    def not_admitted(self) -> Collection[str]:
        """Those that admission has held back for so long that another host should have them."""

    def knows(self, session: str) -> bool:
        """Whether memory has it."""


class SessionsHere:
    """Fills ``SessionUse``. ``host`` reads what the host has left."""

    def __init__(
        self,
        registry: Callable[[], Registry],
        config: Callable[[], Config],
        clock: Clock,
        host: Callable[[], Reading],
    ) -> None:
        self._registry = registry
        self._config = config
        self._clock = clock
        self._host = host

    def room(self, owned: Collection[str]) -> int:
        """See ``SessionUse``."""
        config, found = self._config(), self._host()
        needs = config.admission
        pressure = found.pressure
        return placement.room(
            Capacity(
                max_sessions=config.cluster.max_sessions or UNLIMITED,
                owned=len(owned),
                unstarted=sum(not self._runs(session) for session in owned),
                free_memory=UNKNOWN if found.memory is None else found.memory,
                reserve=needs.memory_reserve << 20,
                session_memory=max(1, needs.session_memory << 20),
                under_pressure=pressure is not None and pressure > needs.memory_pressure,
            )
        )

    def idle(self) -> frozenset[str]:
        """See ``SessionUse``."""
        return frozenset(it.name for it in self._registry().sessions if _rests(it))

    def not_admitted(self) -> Collection[str]:
        """See ``SessionUse``."""
        now = self._clock.monotonic()
        return [it.name for it in self._registry().sessions if _is_held_back(it, now)]

    def knows(self, session: str) -> bool:
        """See ``SessionUse``."""
        return session in self._registry()

    def _runs(self, session: str) -> bool:
        found = self._registry().get(session)
        # who is not to run needs no memory, until somebody wants it up
        return found is not None and (found.runner.process is not None or not found.row.desired_up)


def _rests(it: SessionActor) -> bool:
    idle = it.traffic.idle
    return idle is not None and idle >= IDLE


def _is_held_back(it: SessionActor, now: float) -> bool:
    wait = it.state.held_back
    return wait is not None and wait.cause in LACKS and now - it.state.since >= HELD_BACK
