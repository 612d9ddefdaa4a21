"""The fleet breaker at work: it hears of every failure, and says who may be restarted meanwhile."""

from collections.abc import Callable
from typing import Protocol

from loguru import logger

from waguard.config import Config
from waguard.core.admission import Candidate
from waguard.core.breaker import (
    Breaker,
    Failure,
    FleetPolicy,
    Opening,
    came_up,
    failed,
    tried,
    words,
)
from waguard.core.incidents import FLEET_ENDS
from waguard.core.lifecycle import WANTED_UP, State
from waguard.core.link import Link
from waguard.core.network import Reading, is_away, outage
from waguard.ports import AuditEntry, Clock, Store
from waguard.supervision.admission import Admission
from waguard.supervision.bus import Bus
from waguard.supervision.ledger import Trail
from waguard.supervision.outages import Outages


class Member(Protocol):
    """A session, as the fleet sees it."""

    @property
    def state(self) -> State: ...
    @property
    def link(self) -> Link: ...
    @property
    def link_since(self) -> float:
        """Monotonic time."""

    @property
    def waiting(self) -> str | None: ...
    @property
    def held_by_fleet(self) -> bool:
        """Whether the breaker keeps it down."""

    def candidate(self) -> Candidate: ...
    def resume(self) -> None:
        """The breaker holds it no more: restart it, where it waited for that."""

    def on_network(self) -> None:
        """The host's network went, or came."""


class Fleet:
    """Every session joins it. ``trail.trail`` is run as a task by the owner."""

    def __init__(
        self,
        config: Callable[[], Config],
        admission: Admission,
        *,
        store: Store,
        bus: Bus,
        clock: Clock,
        network: Callable[[], Reading] = Reading,
    ) -> None:
        """``network`` is read where sessions are offline."""
        self._config = config
        self._admission = admission
        self._bus = bus
        self._clock = clock
        self._network = network
        self._network_read = Reading()
        self._network_came_at = clock.monotonic()
        self._members: dict[str, Member] = {}
        self._breaker = Breaker()
        self.trail = Trail(None, store, clock, told=self._tell)
        self.outages = Outages(self.trail)

    def join(self, session: str, member: Member) -> None:
        """From now on its failures count."""
        self._members[session] = member

    def leave(self, session: str, member: Member) -> None:
        """It is no more; harmless where another one has taken its name."""
        if self._members.get(session) is member:
            del self._members[session]

    @property
    def open(self) -> str | None:
        """Why restarts wait; None: they do not."""
        opening = self._breaker.opening
        return words(self._policy(), opening) if opening else None

    def failed(self, session: str, cause: str) -> None:
        """It is down, unplanned. ``cause``: what another one may have in common with it."""
        wanted = [
            name
            for name, member in self._members.items()
            if member.state in WANTED_UP and member.waiting is None
        ]
        failure = Failure(session, cause, self._clock.monotonic())
        self._become(failed(self._policy(), self._breaker, failure, wanted=wanted))

    def came_up(self, session: str) -> None:
        """It is ready, and says how it stands with WhatsApp."""
        self._become(came_up(self._breaker, session))

    @property
    def network_down(self) -> str | None:
        """Why no session can reach WhatsApp; None: the network is there."""
        return self.outages.why("network_down")

    @property
    def network_unsure(self) -> bool:
        """The network is away by what the sessions say, and the host does not say so."""
        return self.network_down is not None and not is_away(self._network_read)

    @property
    def network_since(self) -> float | None:
        """Monotonic time since which the network is there."""
        return None if self.network_down else self._network_came_at

    def look_at_network(self) -> None:
        """A tick."""
        settings, now, before = self._config().fleet, self._clock.monotonic(), self.network_down
        running = [m for m in self._members.values() if m.state is State.RUNNING]
        offline = [now - m.link_since for m in running if m.link is Link.OFFLINE]
        asked = offline and settings.network == "auto"
        self._network_read = self._network() if asked else Reading()
        why = outage(
            before,
            self._network_read,
            offline=offline,
            connected=sum(m.link is Link.CONNECTED for m in running),
            threshold=settings.threshold,
        )
        self.outages.tell("network_down", why, {"offline": len(offline)})
        if before and why is None:
            self._network_came_at = now
        if (before is None) is not (why is None):
            for member in list(self._members.values()):
                member.on_network()

    def tick(self) -> None:
        """Try a canary where it is time."""
        if self._breaker.opening is None:
            return
        held = [m.candidate() for m in self._members.values() if m.held_by_fleet]
        under_way = [name for name, member in self._members.items() if _under_way(member)]
        before, now = self._breaker.opening, self._clock.monotonic()
        breaker = tried(self._policy(), self._breaker, held, under_way=under_way, now=now)
        self._become(breaker)
        after = breaker.opening
        if after is not None and after.canary is not None and after is not before:
            logger.warning("fleet breaker: a canary is started", session=after.canary)
            self._members[after.canary].resume()
            self._admission.look()

    def _policy(self) -> FleetPolicy:
        settings = self._config().fleet
        return FleetPolicy(
            threshold=settings.threshold,
            minimum=settings.minimum,
            period=settings.period,
            canary_interval=settings.canary_interval,
        )

    def _become(self, breaker: Breaker) -> None:
        before, self._breaker = self._breaker.opening, breaker
        after = breaker.opening
        self._admission.fleet = self.open
        if before is None and after is not None:
            self._record("fleet_breaker_opened", after)
        elif before is not None and after is None:
            self._record("fleet_breaker_closed", before)
            for member in list(self._members.values()):
                member.resume()
            self._admission.look()

    def _record(self, kind: str, opening: Opening) -> None:
        sessions = sorted(opening.sessions)
        logger.error(kind.replace("_", " "), why=opening.cause, sessions=sessions)
        self.trail.record(kind, reason=opening.cause, evidence={"sessions": sessions})

    def _tell(self, entry: AuditEntry) -> None:
        if entry.kind not in FLEET_ENDS and entry.kind not in FLEET_ENDS.values():
            return
        told = {"kind": entry.kind, "reason": entry.reason, **entry.evidence}
        self._bus.publish("incident", None, None, told)


def _under_way(member: Member) -> bool:
    """On its way up, or on its way down: how that ends is not known yet."""
    if member.state is State.RUNNING:
        return member.link is Link.UNKNOWN
    return member.state in {State.STARTING, State.RECYCLING} and not member.held_by_fleet
