"""All of supervision: the parts put together, and their common end."""

import asyncio

from waguard.core.fleet.facts import Closing
from waguard.supervision.actor import SessionActor
from waguard.supervision.health import HealthReport
from waguard.supervision.reconciler import Reconciler
from waguard.supervision.registry import Registry
from waguard.supervision.restorer import Restorer
from waguard.supervision.run_state import RunState
from waguard.supervision.session_context import SessionContext
from waguard.supervision.session_service import SessionService
from waguard.supervision.watchdog import Watchdog


class Supervisor:
    """Callers use the parts."""

    def __init__(self, ctx: SessionContext) -> None:
        self._ctx = ctx
        self.state = RunState(ctx.fleet.outages)
        self.registry = Registry(ctx)
        self.restorer = Restorer(ctx, self.registry, self.state)
        self.watchdog = Watchdog(ctx, self.registry)
        self.reconciler = Reconciler(ctx, self.registry, self.state)
        self.health = HealthReport(ctx, self.registry, self.state, self.reconciler)
        self.sessions = SessionService(ctx, self.registry, self.state, self.health)
        self._trail = asyncio.create_task(ctx.fleet.trail.trail(), name="trail of the fleet")
        ctx.fleet.paired = lambda: self.registry.any_paired

    async def stop(self, *, write: bool = True) -> None:
        """Stop every session, all in parallel, and have their rows written where that is to be."""
        self._begin_stop()
        await asyncio.gather(*map(_stop, self.registry.sessions))
        await self._end(write=write)

    async def leave(self) -> None:
        """End, and let the workers go on for the next daemon."""
        self._begin_stop()
        await self._end(write=True)

    def _begin_stop(self) -> None:
        self.state.begin_stop()
        self._ctx.versions.decision.begin_stop()
        self._ctx.mailbox.post_to_fleet(Closing())

    async def _end(self, *, write: bool) -> None:
        sessions = self.registry.sessions
        if write:
            await self.registry.flush(*sessions)
        self._trail.cancel()
        await asyncio.gather(self._trail, return_exceptions=True)
        await asyncio.gather(*(session.forget() for session in sessions))
        await self._ctx.versions.decision.close()

    def kill(self) -> None:
        """A second Ctrl-C: end every worker now."""
        for session in self.registry.sessions:
            session.runner.kill()


async def _stop(session: SessionActor) -> None:
    with session.faults.alone("stop"):
        await session.stop(daemon_stopping=True)
