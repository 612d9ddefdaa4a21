"""The ticks: heartbeats, silent layers, a standstill of the daemon, what sessions use."""

import asyncio
from collections.abc import Iterable
from typing import Final

from loguru import logger

from waguard.core.fleet.facts import Measured
from waguard.core.metrics.families import PROBE
from waguard.core.session.probe import STALL
from waguard.supervision.fleet.browser_update import BrowserUpdate
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext

_PUNCTUAL: Final = 1.5  # s between two ticks; what is beyond that is the host's
# ticks until the watches of all sessions were checked, where these are more: their limits are a minute and more
_ROUND: Final = 15
_AT_LEAST: Final = 10  # sessions in one tick


class Watchdog:
    """Posts what has no timer of its own; what is done about it is decided in ``core``."""

    def __init__(self, ctx: SessionContext, registry: Registry) -> None:
        self._ctx = ctx
        self._registry = registry
        self.browsers = BrowserUpdate(ctx, registry)
        self._watched_at: float | None = None
        self._next = 0
        """The session whose watches are checked first in the next tick."""

    async def watch(self) -> None:
        """A tick, each second."""
        now = self._ctx.clock.monotonic()
        before, self._watched_at = self._watched_at, now
        sessions = self._registry.sessions
        stood = 0.0 if before is None else now - before
        self._hear(sessions, every=stood > _PUNCTUAL)
        if stood > STALL:
            logger.warning(
                "deadlines are not evaluated: waguard itself was stopped",
                event="daemon_stalled",
                seconds=round(stood, 1),
            )
            self._ctx.mailbox.stood_still(stood)
            return
        first = self._next if self._next < len(sessions) else 0
        self._next = first + max(_AT_LEAST, len(sessions) // _ROUND)
        for session in sessions[first : self._next]:
            with session.faults.alone("watch"):
                session.tick()
        if stood > _PUNCTUAL:  # so may be those that it watches
            self._ctx.mailbox.stood_still(stood - _PUNCTUAL)
        self._ctx.mailbox.tick()
        self._ctx.versions.decision.tick()

    def _hear(self, sessions: Iterable[SessionActor], *, every: bool) -> None:
        """Read all heartbeats. Each is handled where a deadline would pass without it, and before its session's next fact;
        ``every``: all now."""
        for beat in self._ctx.heartbeats.read():
            if beat.page_took:
                self._ctx.tally.add(PROBE, beat.page_took)
        # who was lent its time says in them that it knows
        if every or self._ctx.lent_until() is not None:
            for session in sessions:
                session.hear()

    async def measure(self) -> None:
        """A tick: what each session with its browser uses, and which Chromium that is."""
        measured = [
            (session, session.runner.process)
            for session in self._registry.sessions
            if session.runner.process
        ]
        groups = {session.name: session.runner.groups for session, _ in measured}
        now = self._ctx.clock.monotonic()
        used = await asyncio.to_thread(self._ctx.meter.sample, groups, now)
        for session, process in measured:
            if session.runner.process is process and (usage := used.get(session.name)):
                session.runner.usage = usage
                with session.faults.alone("measure"):
                    session.post(
                        Measured(
                            memory=usage.memory,
                            idle=session.traffic.idle,
                            transferring=session.traffic.transfers > 0,
                        )
                    )
        await self.browsers.check()
