"""All of supervision: the parts put together, and their common end."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from waguard.config.sections import Config
from waguard.core.fleet.facts import Closing
from waguard.core.fleet.network import Reading as NetworkReading
from waguard.core.host.admission import Reading
from waguard.core.metrics.tally import Tally
from waguard.core.session.restart import Remembered
from waguard.core.shipping import LAST_ONES
from waguard.ports.clock import Ages, Clock
from waguard.ports.inbox import Inbox
from waguard.ports.messages import SessionMessages
from waguard.ports.process import Browsers, Meter, Spawn, Witness
from waguard.ports.store import Store
from waguard.supervision.event_bus import Bus
from waguard.supervision.fleet.account_rows import AccountRowOwner
from waguard.supervision.fleet.health import HealthReport
from waguard.supervision.fleet.reconciler import Reconciler
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.fleet.restorer import Restorer
from waguard.supervision.fleet.run_state import RunState
from waguard.supervision.fleet.watchdog import Watchdog
from waguard.supervision.fleet_effects import Fleet
from waguard.supervision.heartbeats import Heartbeats
from waguard.supervision.mailbox import Mailbox, Timers, loop_timer
from waguard.supervision.own_proxies import OwnProxies, ProxyFiles
from waguard.supervision.proxy_records import ProxyRecords
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.passkeys import Passkeys
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session_service import SessionService
from waguard.supervision.timings import Timings
from waguard.supervision.versions.decision import Documents, Packed, VersionDecision
from waguard.supervision.versions.observer import VersionObserver
from waguard.supervision.versions.operators import VersionOperators
from waguard.wire.heartbeat_slots import NAME

if TYPE_CHECKING:
    from waguard.ports.cluster import OwnedSessions, Ownership
    from waguard.supervision.shipping.credential_shipping import CredentialShipping


class Ports(Struct, frozen=True, kw_only=True):
    """What supervision reaches of the world; ``host`` and ``network`` are read now."""

    store: Store
    inbox: Inbox
    messages: SessionMessages
    spawn: Spawn
    documents: Documents
    clock: Clock
    ages: Ages
    meter: Meter
    witness: Witness
    browsers: Browsers
    proxies: ProxyRecords
    host: Callable[[Callable[[], Collection[Path]]], Reading]
    network: Callable[[], NetworkReading]
    abandon: Callable[[str, str], Awaitable[None]]
    """See ``SessionContext``."""
    cpu_is_saturated: Callable[[], bool]
    remembered: Callable[[], Mapping[str, Remembered]]
    """What is remembered of sessions' restarts, from the daemon before this one."""
    lent_until: Callable[[], float | None] = lambda: None
    """Until when workers may live, seconds by CLOCK_BOOTTIME; None: forever."""
    shipping: "CredentialShipping | None" = None
    """See ``SessionContext``."""
    ownership: "Ownership | None" = None
    """See ``SessionContext``."""
    tally: Tally = field(default_factory=Tally)
    timers: Timers = loop_timer
    chance: random.Random = field(default_factory=random.Random)
    """The chance of the jitter."""


async def _nobody() -> None:
    """Nobody waits for that."""


class Supervisor:
    """Callers use the parts."""

    def __init__(
        self,
        config: Callable[[], Config],
        ports: Ports,
        bus: Bus,
        *,
        instance: str,
        packed: Packed,
        timings: Timings,
    ) -> None:
        """``packed``: see ``VersionDecision``."""
        self.fleet = Fleet(
            store=ports.store,
            bus=bus,
            clock=ports.clock,
            host=lambda: ports.host(self.registry.unpaired_profiles),
            network=ports.network,
            paired=lambda: self.registry.any_paired,
            write_retry=timings.write_retry,
        )
        self.mailbox = Mailbox(
            config,
            ports.clock,
            self.fleet,
            timings=timings,
            timers=ports.timers,
            chance=ports.chance,
            tally=ports.tally,
        )
        self.versions = VersionDecision(
            config, ports.clock, self.fleet, self.mailbox, packed=packed, documents=ports.documents
        )
        self.operators = VersionOperators(self.versions)
        self.observer = VersionObserver(self.versions)
        ctx = SessionContext(
            config=config,
            instance=instance,
            store=ports.store,
            inbox=ports.inbox,
            messages=ports.messages,
            spawn=ports.spawn,
            bus=bus,
            clock=ports.clock,
            ages=ports.ages,
            fleet=self.fleet,
            heartbeats=Heartbeats(config().paths.runtime / NAME),
            mailbox=self.mailbox,
            versions=self.observer,
            meter=ports.meter,
            witness=ports.witness,
            browsers=ports.browsers,
            timings=timings,
            tally=ports.tally,
            remembered=ports.remembered,
            lent_until=ports.lent_until,
            shipping=ports.shipping,
            ownership=ports.ownership,
            proxies=ports.proxies,
            abandon=ports.abandon,
            cpu_is_saturated=ports.cpu_is_saturated,
        )
        self.shipping = ports.shipping
        self._last_write = timings.last_write
        self.state = RunState(self.fleet.outages)
        self.registry = Registry(ctx)
        self.restorer = Restorer(ctx, self.registry, self.state)
        self.watchdog = Watchdog(ctx, self.registry)
        self.owned = self._owned(ctx) if ports.ownership else None
        self.reconciler = Reconciler(ctx, self.registry, self.state, self.owned)
        self.health = HealthReport(ctx, self.registry, self.state, self.reconciler)
        self.account_rows = AccountRowOwner(self.registry, self.health)
        files = ProxyFiles(ctx, self.registry)
        self.sessions = SessionService(ctx, self.registry, self.state, self.health, files)
        self.proxies = OwnProxies(ctx, files, self.sessions.find)
        self.passkeys = Passkeys(ctx, self.sessions.find)
        self._trail = asyncio.create_task(self.fleet.trail.trail(), name="trail of the fleet")

    def _owned(self, ctx: SessionContext) -> "OwnedSessions":
        # few have a cluster
        from waguard.supervision.fleet.owned_sessions import OwnedActors  # noqa: PLC0415

        return OwnedActors(
            ctx,
            self.registry,
            self.state,
            self.restorer,
            forgotten=lambda session: self.passkeys.forget(session),  # noqa: PLW0108 - they are made later
        )

    async def stop(self, *, write: bool = True, shipping: float = LAST_ONES) -> None:
        """Stop every session, all in parallel, and have their rows written where that is to be. ``shipping``: seconds for
        what is shared at the end."""
        self.begin_stop()
        await asyncio.gather(*map(_stop, self.registry.sessions))
        await self._end(write=write, shipping=shipping)

    async def leave(self, left: Callable[[], Awaitable[None]] = _nobody) -> None:
        """End, and let the workers go on for the next daemon. ``left`` is awaited as soon as nobody here serves them any
        more, which is before all has ended that was begun for them."""
        self.begin_stop()
        await self._end(write=True, shipping=LAST_ONES, left=left)

    def begin_stop(self) -> None:
        """From now on nothing is started; ``stop`` and ``leave`` begin with it."""
        self.state.begin_stop()
        self.versions.begin_stop()
        self.mailbox.post_to_fleet(Closing())

    async def _end(
        self, *, write: bool, shipping: float, left: Callable[[], Awaitable[None]] = _nobody
    ) -> None:
        sessions = self.registry.sessions
        last = []
        if write:
            last += [self.fleet.trail.end(self._last_write), self.registry.flush(*sessions)]
        else:
            self.fleet.trail.report_lost()
        if self.shipping:
            last.append(self.shipping.close(shipping))
        await asyncio.gather(*last)  # all have their seconds at once
        self._trail.cancel()
        await asyncio.gather(self._trail, return_exceptions=True)
        ends = [asyncio.create_task(session.forget(), name="forget") for session in sessions]
        await asyncio.sleep(0)  # they have begun
        await left()
        await asyncio.gather(*ends)
        await self.versions.save()
        await self.watchdog.browsers.close()

    def kill(self) -> None:
        """A second Ctrl-C: end every worker now."""
        for session in self.registry.sessions:
            session.runner.kill()


async def _stop(session: SessionActor) -> None:
    with session.faults.alone("stop"):
        await session.stop(daemon_stopping=True)
