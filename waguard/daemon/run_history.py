"""From run to run: what the last daemon left is reported, and what the next one needs is written."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from loguru import logger
from msgspec.structs import asdict

from waguard.core.host import last_run
from waguard.core.incidents.kinds import DIED, RESTORED, STARTED
from waguard.core.session.restart import Remembered
from waguard.host.memory.restart_memory import RestartMemory
from waguard.host.memory.run_file import RunFile
from waguard.supervision.status_writer import AuditLog
from waguard.supervision.supervisor import Supervisor
from waguard.wire.worker import WorkerRecord


class RunHistory:
    """The run's own file and the history of restarts, kept while the daemon lives."""

    def __init__(
        self,
        run_file: RunFile,
        restarts: RestartMemory,
        trail: AuditLog,
        supervisor: Supervisor,
    ) -> None:
        self._run_file = run_file
        self._restarts = restarts
        self._trail = trail
        self._supervisor = supervisor

    def report_last_run(self) -> None:
        """How it ended, and those before it whose deaths are not in the audit log yet."""
        self._trail.record(STARTED, reason=self._run_file.before)
        for death in self._run_file.deaths:
            reported = last_run.account(death)
            logger.error("{}", reported, event="daemon_died")
            self._trail.record(DIED, reason=reported, evidence=last_run.evidence(death))

    async def report_restored(
        self, left: Sequence[WorkerRecord], lost: Collection[str], summary: str
    ) -> None:
        """``left``: living workers of an earlier daemon; ``lost``: sessions whose workers were gone."""
        views = await self._supervisor.sessions.views()
        restored = last_run.restoration(
            [(record.session, record.pid) for record in left],
            lost,
            {view.session_id: view.worker_pid for view in views if view.worker_pid},
        )
        reported = last_run.result(restored)
        logger.info("restore finished: {}; {}", summary, reported, event="daemon_restored")
        self._trail.record(RESTORED, reason=reported, evidence=asdict(restored))

    async def renew(self) -> None:
        """A disk that hangs holds up this tick alone."""
        reported = not self._trail.unrecorded
        kept = None  # until the rows are loaded it is what the last daemon wrote
        if self._supervisor.state.loaded:
            kept = {it.name: it.remember() for it in self._supervisor.registry.sessions}
        await asyncio.to_thread(self._write, kept, reported=reported)

    def _write(self, kept: Mapping[str, Remembered] | None, *, reported: bool) -> None:
        self._run_file.renew(reported=reported)
        if kept is not None:
            self._restarts.save(kept)

    async def renew_when_reported(self) -> None:
        """At once: the next daemon reports again what is not noted as reported."""
        await self._trail.recorded()
        await self.renew()

    async def stopping(self, why: str) -> None:
        """Where the daemon is killed from here on, that is known."""
        await asyncio.to_thread(self._run_file.stopping, why)
