"""The restore at a start of the daemon: adopt, bring up, replace, and clear what a dead one left."""

import asyncio
from collections.abc import Callable, Collection, Iterable

from loguru import logger

from waguard.core.host import admission
from waguard.core.host.admission import Cause
from waguard.core.incidents.kinds import BEGUN
from waguard.core.link import Link
from waguard.core.session import views
from waguard.core.session.facts import RowRead
from waguard.errors import WaguardError, one_line
from waguard.ports.process import Process
from waguard.supervision.fleet import shutdown
from waguard.supervision.fleet.readiness import outcome, start_is_over, summary
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.fleet.run_state import RunState
from waguard.supervision.fleet.starting import begin
from waguard.supervision.fleet.stray_sweep import sweep
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext
from waguard.wire.worker import WorkerRecord


class Restorer:
    """Brings up the sessions that should run, and only those."""

    def __init__(self, ctx: SessionContext, registry: Registry, state: RunState) -> None:
        self._ctx = ctx
        self._registry = registry
        self._state = state

    async def restore(
        self,
        records: list[tuple[WorkerRecord, Process]],
        *,
        loaded: Callable[[], None] = lambda: None,
    ) -> str:
        """Bring them up; returns the summary. Raises ``WaguardError``, and can then be repeated. ``loaded`` is called when
        the sessions may be read: before, a row may promise a worker that died with the last daemon.

        ``records`` are living workers of an earlier daemon; what belongs to a wanted session is
        adopted, the rest is stopped, in a cluster at once: another host may have the session.
        """
        rows = await self._ctx.store.sessions()
        await self._registry.read_kept(rows)
        known = {session.name for session in self._registry.sessions}
        for row in rows:
            if self._registry.ours.has(row.session_id):  # it may have been lost since it was read
                self._registry.add(row)
        unwanted = self._adopt(records)
        record_begun(it for it in self._registry.sessions if it.name not in known)
        kept = {process.pid for _, process in records}
        clearing = asyncio.create_task(self._clear(unwanted, kept), name="clear")
        try:
            await self._check_for_all(clearing)
            begun = self.begin(self._registry.sessions)
            self._state.rows_loaded()
            loaded()
            outcomes = await asyncio.gather(*(self._ended(*one) for one in begun))
            await clearing
        finally:
            clearing.cancel()
        await self.finish_removals(self._registry.sessions)
        self._state.restore_finished()
        return summary(outcomes)

    # ---- what a dead daemon left ----

    def _adopt(self, records: list[tuple[WorkerRecord, Process]]) -> list[Process]:
        """Adopt what belongs to a wanted session; the rest."""
        unwanted: list[Process] = []
        for record, process in records:
            session = self._registry.get(record.session)
            running = session.runner.process if session else None
            if running and running.pid == process.pid:
                continue  # a restore before this one took it over, and failed later
            fits = (
                session and session.row.desired_up and session.row.generation == record.generation
            )
            # one that had begun has been through a restore: its own worker is gone, or another one runs
            if session and fits and not session.state.begun:
                session.adopt(process, record)
                continue
            logger.warning(
                "worker of an earlier daemon stopped",
                event="worker_unwanted",
                session=record.session,
                worker=record.pid,
            )
            unwanted.append(process)
        return unwanted

    async def _check_for_all(self, clearing: asyncio.Task[bool]) -> None:
        """One check of all processes where nothing was left, as nearly always; else each session checks for itself."""
        await asyncio.wait([clearing], timeout=self._ctx.timings.check_all)
        if clearing.done() and not clearing.exception() and clearing.result():
            for session in self._registry.sessions:
                if session.runner.process is None:
                    session.runner.remains.exited(())

    async def _clear(self, unwanted: list[Process], kept: Collection[int]) -> bool:
        """End what a dead instance left; whether nobody else uses a profile. Nobody waits longer than
        ``Timings.check_all`` but a session on the same profile, which checks for itself before it starts."""
        if self._registry.ours.in_cluster:
            for process in unwanted:
                process.kill()
        grace = self._ctx.timings.stop_grace
        found = await asyncio.gather(
            self._sweep(kept),
            *(shutdown.stop(process, grace=grace) for process in unwanted),
        )
        return bool(found[0])

    async def _sweep(self, kept: Collection[int]) -> bool:
        """End what has no record; ``kept``: what has one. Whether there is no foreign process."""
        foreign = await sweep(self._ctx, kept)
        for process in foreign:
            logger.error(
                "a Chromium that is not waguard's is not touched",
                event="foreign_browser",
                what=str(process),
            )
        return not foreign

    async def finish_removals(self, sessions: Iterable[SessionActor]) -> None:
        """End what was begun of those that were being deleted or logged out."""
        for session in sessions:
            try:
                await self._registry.finish_removal(session)
            except (WaguardError, OSError) as error:
                name = session.row.session_id
                logger.error(
                    "what a session that has left leaves behind is not cleared",
                    event="removal_unfinished",
                    session=name,
                    why=one_line(error),
                )

    # ---- bring up ----

    def begin(self, sessions: Collection[SessionActor]) -> list[tuple[SessionActor, str | None]]:
        """Start each of them that should run, and correct the rows of the others. Those that should run, with what became
        of whose start failed already, in a word of ``summary``."""
        now = self._ctx.clock.monotonic()
        in_order = sorted(sessions, key=lambda it: admission.order(views.candidate(it.state, now)))
        begun = [(session, self._begin_one(session)) for session in in_order]
        return [(session, failed) for session, failed in begun if session.row.desired_up]

    def _begin_one(self, session: SessionActor) -> str | None:
        if self._state.stopping:
            return "interrupted"
        with session.faults.alone("restore"):
            return begin(session, asked=False)
        return _left_to_reconciler(session)

    async def _ended(self, session: SessionActor, begun: str | None) -> str:
        """How its restore ended, in a word of ``summary``."""
        if begun:
            return begun
        with session.faults.alone("restore"):
            return await self._brought_up(session)
        return _left_to_reconciler(session)

    async def _brought_up(self, session: SessionActor) -> str:
        while _cause(session) is Cause.PLACE and not session.is_forgotten:
            await session.moved()
        timeout = self._ctx.config().restore.timeout
        over = await session.wait_until(lambda s: start_is_over(s) or _waits(s), timeout=timeout)
        if session.is_forgotten:
            return "interrupted"
        if over:
            return "waiting" if _waits(session) else outcome(session)
        network_down = self._ctx.mailbox.fleet.network_down
        # it goes on by itself: what it waits for has limits of its own
        return "offline" if session.link is Link.OFFLINE or network_down else "pending"


def record_begun(sessions: Iterable[SessionActor]) -> None:
    """On the trail of each that has just come to memory; one that is adopted has said so already."""
    for session in sessions:
        if not session.state.begun and not session.row.removed_at:
            session.publisher.writer.record(BEGUN)


def _left_to_reconciler(session: SessionActor) -> str:
    session.faults.end("restore")  # from here on it is the reconciler's
    session.post(RowRead(said=session.row.status))
    return "failed"


def _cause(session: SessionActor) -> Cause | None:
    wait = session.state.held_back
    return wait.cause if wait else None


def _waits(session: SessionActor) -> bool:
    """For something that need not come soon."""
    return _cause(session) not in {None, Cause.PLACE}
