"""The ticks: silent layers, acks that are missing, memory, and sessions that are tried again."""

import asyncio

from loguru import logger

from waguard.core import probe, recycle
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.recycle import Size
from waguard.supervision import ack_watch
from waguard.supervision.ack_watch import Replacements
from waguard.supervision.readiness import settled
from waguard.supervision.registry import Registry
from waguard.supervision.run_state import RunState
from waguard.supervision.session import Session
from waguard.supervision.surroundings import Surroundings


class Watchdog:
    """Has what does not answer, or uses too much, replaced."""

    def __init__(self, around: Surroundings, registry: Registry, state: RunState) -> None:
        self._around = around
        self._registry = registry
        self._state = state
        self._replacements = Replacements(around.clock)
        self._recycled: Session | None = None
        self._watched_at: float | None = None

    async def watch(self) -> None:
        """A tick, each second: check every session for silent layers."""
        now = self._around.clock.monotonic()
        before, self._watched_at = self._watched_at, now
        if before is not None and now - before > probe.STALL:
            logger.warning("silence not judged: waguard itself stood still", seconds=now - before)
            for session in self._registry.sessions:
                with session.faults.alone("watch"):
                    session.stood_still(now - before)
            return
        self._around.admission.look()
        self._around.fleet.tick()
        self._around.fleet.look_at_network()
        config = self._around.config()
        crowded = self._around.crowded()
        limits = probe.Limits(start=config.browser.launch_timeout + config.restore.timeout)
        for session in self._registry.sessions:
            with session.faults.alone("watch"):
                self._check(session, limits, now, crowded=crowded)
        self._check_acks()
        self._retry_parked(now)

    def _check(self, session: Session, limits: probe.Limits, now: float, *, crowded: bool) -> None:
        session.look()
        if session.state is State.STARTING and self._around.fleet.network_down:
            session.in_state_since = now  # its page cannot be ready
        if session.waiting:
            return  # nothing runs that could be silent
        silence = probe.Silence(
            state=session.state,
            in_state=now - session.in_state_since,
            worker=None if session.heard_at is None else now - session.heard_at,
            page=None if session.page_seen_at is None else now - session.page_seen_at,
            link=session.link_unknown_for,
            code=session.no_code_for,
            hopeless=session.page_hopeless,
            crowded=crowded,
        )
        session.silent(probe.notice(limits, silence))
        if why := probe.diagnose(limits, silence):
            evidence = session.report.silence if session.report else None
            session.unhealthy(f"{why}: {evidence}" if evidence else why)

    def _check_acks(self) -> None:
        connected = [s for s in self._registry.sessions if s.link is Link.CONNECTED]
        everywhere = ack_watch.everywhere(connected)
        self._around.fleet.outages.tell("acks_missing_everywhere", everywhere)
        if not self._state.stopping and not self._around.fleet.network_down:
            limit = self._around.config().send.ack_limit
            self._replacements.look(connected, limit=limit, everywhere=everywhere is not None)

    def _retry_parked(self, now: float) -> None:
        """One at a time; not while many fail alike, or none could succeed."""
        fleet, sessions = self._around.fleet, self._registry.sessions
        if (
            self._state.stopping
            or fleet.open
            or fleet.network_down
            or any(s.retries.running for s in sessions)
        ):
            return
        due = [
            (session.retries.at, session)
            for session in sessions
            if session.retries.at is not None
            and session.retries.at <= now
            and session.row.desired_up
        ]
        if due:
            _, session = min(due, key=lambda pair: pair[0])
            with session.faults.alone("retry"):
                session.retry()

    async def measure(self) -> None:
        """A tick: measure what each session uses, and replace those that use too much."""
        measured = [
            (session, session.process) for session in self._registry.sessions if session.process
        ]
        groups = {session.row.session_id: session.process_groups for session, _ in measured}
        now = self._around.clock.monotonic()
        used = await asyncio.to_thread(self._around.meter.look, groups, now)
        for session, process in measured:
            if session.process is process:
                session.usage = used.get(session.row.session_id)
                with session.faults.alone("measure"):
                    self._recycle_where_too_big(session)

    def _recycle_where_too_big(self, session: Session) -> None:
        config = self._around.config().worker
        if session.state is not State.RUNNING or session.usage is None or self._state.stopping:
            return
        if self._recycled and settled(self._recycled):
            self._recycled = None
        size = recycle.judge(
            limit=config.memory_limit << 20,
            memory=session.usage.memory,
            idle=session.idle,
            recycled=session.recycled,
            in_vain=session.care.memory_in_vain,
        )
        session.measured(size, limit=config.memory_limit)
        if session.link is Link.PASSKEY_REQUIRED:
            return  # that would end it
        fleet = self._around.fleet
        calm = not self._recycled and not fleet.open and not fleet.network_down
        turn = size is Size.TOO_BIG and calm
        if turn or size is Size.FAR_TOO_BIG:
            self._recycled = session
            used = f"{session.usage.memory >> 20} MB"
            session.recycle(f"it used {used}, worker.memory_limit is {config.memory_limit} MB")
