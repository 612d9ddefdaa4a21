"""The restore at a start of the daemon: adopt, bring up, replace, and clear what a dead one left."""

import asyncio
import contextlib
from collections.abc import Collection

from loguru import logger

from waguard.core import admission
from waguard.core.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.errors import WaguardError
from waguard.ports import AuditEntry, Process
from waguard.supervision import shutdown
from waguard.supervision.greeting import greeted
from waguard.supervision.readiness import outcome, promises_too_much, settled, summary
from waguard.supervision.registry import Registry
from waguard.supervision.run_state import RunState
from waguard.supervision.session import STOP_GRACE, Session
from waguard.supervision.starting import start_or_park
from waguard.supervision.surroundings import Surroundings
from waguard.wire.protocol import PROTOCOL, WorkerRecord


class Restorer:
    """Brings up the sessions that should run, and only those."""

    def __init__(self, around: Surroundings, registry: Registry, state: RunState) -> None:
        self._around = around
        self._registry = registry
        self._state = state
        self._outdated: dict[str, tuple[WorkerRecord, Process]] = {}
        """Living workers that speak another protocol, by session: they wait to be replaced."""

    async def restore(self, records: list[tuple[WorkerRecord, Process]]) -> str:
        """Bring them up; returns the summary. Raises ``WaguardError``, and can then be repeated.

        ``records`` are living workers of an earlier daemon; what belongs to a wanted session is
        adopted, the rest is stopped.
        """
        rows = await self._around.store.sessions()
        self._state.rows_loaded()
        for row in rows:
            self._registry.take_in(row)
        unwanted = self._adopt(records)
        kept = {process.pid for _, process in records}
        clearing = asyncio.create_task(self._clear(unwanted, kept), name="clear")
        try:
            outcomes = await self._bring_up()
            for session in self._registry.sessions:
                if promises_too_much(session):
                    session.correct_row(session.row)
            await clearing
        finally:
            clearing.cancel()
        await self._finish_removals()
        self._state.restore_finished()
        return summary(outcomes)

    async def stop(self) -> None:
        """Stop the workers that still wait to be replaced."""
        await asyncio.gather(
            *(shutdown.stop(process, grace=STOP_GRACE) for _, process in self._outdated.values())
        )

    def kill(self) -> None:
        """The same at once."""
        for _, process in self._outdated.values():
            process.kill()

    # ---- what a dead daemon left ----

    def _adopt(self, records: list[tuple[WorkerRecord, Process]]) -> list[Process]:
        """Adopt what belongs to a wanted session; the rest."""
        unwanted: list[Process] = []
        for record, process in records:
            session = self._registry.get(record.session)
            _, outdated = self._outdated.get(record.session, (None, None))
            if session and process in {session.process, outdated}:
                continue  # a restore before this one took it over, and failed later
            fits = (
                session and session.row.desired_up and session.row.generation == record.generation
            )
            free = session and session.process is None and record.session not in self._outdated
            if session and fits and free:
                if record.protocol == PROTOCOL:
                    session.adopt(process, record)
                else:
                    self._outdated[record.session] = record, process
                continue
            logger.warning(
                "worker of an earlier daemon stopped", session=record.session, worker=record.pid
            )
            unwanted.append(process)
        return unwanted

    async def _clear(self, unwanted: list[Process], kept: Collection[int]) -> None:
        """End what a dead instance left. Nobody waits for it but a session on the same profile, which
        looks for itself before it starts."""
        await asyncio.gather(
            self._sweep(kept),
            *(shutdown.stop(process, grace=STOP_GRACE) for process in unwanted),
        )

    async def _sweep(self, kept: Collection[int]) -> None:
        """End what has no record; ``kept``: what has one."""
        paths = self._around.config().paths
        swept = await self._around.spawn.sweep(
            records=str(paths.runtime / "workers"), profiles=str(paths.sessions), kept=kept
        )
        for stray in swept.ended:
            await self._around.store.record(
                AuditEntry(
                    session_id=stray.session,
                    kind="stray_ended",
                    reason=stray.command,
                    evidence={"pid": stray.pid},
                )
            )
        for process in swept.foreign:
            logger.error("somebody else's Chromium is left alone", what=str(process))

    async def _finish_removals(self) -> None:
        for session in self._registry.sessions:
            try:
                await self._registry.finish_removal(session)
            except (WaguardError, OSError) as error:
                name = session.row.session_id
                logger.error(
                    "profile of a deleted session not put aside", session=name, why=str(error)
                )

    # ---- bring up ----

    async def _bring_up(self) -> list[str]:
        """How it ended, for each session that should run."""
        should_run = [s for s in self._registry.sessions if s.row.desired_up]
        should_run.sort(key=lambda session: admission.order(session.candidate()))
        old = [s for s in should_run if s.row.session_id in self._outdated]
        places = asyncio.Semaphore(self._around.config().restore.concurrency)
        outcomes = await asyncio.gather(
            *(self._restore_alone(s) for s in should_run if s not in old),
            *(self._replace_outdated(s, places) for s in old),
        )
        return [outcome for outcome in outcomes if outcome]

    async def _replace_outdated(self, session: Session, places: asyncio.Semaphore) -> str | None:
        """Replace a worker that speaks another protocol, some at a time: the others still serve their
        phones. Planned, so it is no crash, and Chromium is closed in order."""
        name = session.row.session_id
        record, process = self._outdated[name]
        async with contextlib.AsyncExitStack() as company:
            await company.enter_async_context(greeted([record], instance=self._around.instance))
            async with places:
                logger.warning(
                    "worker of another version is replaced", session=name, worker=process.pid
                )
                session.note("recycled", reason="its worker was of another version")
                await shutdown.stop(process, grace=STOP_GRACE)
                await company.aclose()
                del self._outdated[name]
                return await self._restore_alone(session) if session.row.desired_up else None

    async def _restore_alone(self, session: Session) -> str:
        with session.faults.alone("restore"):
            return await self._restore_one(session)
        session.faults.end("restore")  # from here on it is the reconciler's
        session.correct_row(session.row)
        return "failed"

    async def _restore_one(self, session: Session) -> str:
        if self._state.stopping:
            return "interrupted"
        if session.state is State.STOPPED and (
            refusal := start_or_park(session, self._around.admission, asked=False)
        ):
            return refusal
        while session.waits_for is Cause.PLACE:
            await session.moved()
        timeout = self._around.config().restore.timeout
        if not await session.settle(lambda s: settled(s) or _waits(s), timeout=timeout):
            if session.link is Link.OFFLINE or self._around.fleet.network_down:
                return "offline"  # the network is away; it goes on trying by itself
            session.unhealthy(f"not restored within {timeout:g} s")
            return "failed"
        return "waiting" if _waits(session) else outcome(session)


def _waits(session: Session) -> bool:
    """For something that need not come soon."""
    return session.waits_for not in {None, Cause.PLACE}
