"""Compares rows, memory and host, and carries out the plan of ``core/reconcile.py``."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from loguru import logger
from msgspec import Struct

from waguard.core.blame import Condition
from waguard.core.conditions import of_finding
from waguard.core.reconcile import (
    Action,
    Add,
    Correction,
    CorrectRow,
    EndRemains,
    EndWorker,
    Finding,
    Host,
    Lose,
    Observed,
    Remove,
    Renew,
    Start,
    Stop,
    Wanted,
    explain,
    findings,
    plan,
)
from waguard.core.session.facts import RowRead
from waguard.errors import DatabaseUnfitError, OutageLevels, UnavailableError, WaguardError
from waguard.host.process import strays
from waguard.host.process.children import read_records
from waguard.ports.store import SessionRow
from waguard.supervision.fleet import leaving, shutdown
from waguard.supervision.fleet.inventory import read_inventory
from waguard.supervision.fleet.readiness import linked_number, promises_too_much, wanted
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.fleet.run_state import RunState
from waguard.supervision.fleet.starting import begin, start_or_park
from waguard.supervision.fleet.stray_sweep import sweep
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.faults import Faults
from waguard.supervision.session.session_context import SessionContext

if TYPE_CHECKING:
    from waguard.ports.cluster import OwnedSessions


class _Sources(Struct, frozen=True, kw_only=True):
    """The three sources at one moment."""

    rows: Mapping[str, SessionRow]
    wanted: Mapping[str, Wanted]
    observed: Mapping[str, Observed]
    host: Host


class Reconciler:
    """Fills ``ports.sessions.Reconciliation``."""

    def __init__(
        self,
        ctx: SessionContext,
        registry: Registry,
        state: RunState,
        owned: "OwnedSessions | None" = None,
    ) -> None:
        """``owned``: adds and loses sessions in a cluster; None: there is no other host."""
        self._ctx = ctx
        self._owned = owned
        self._registry = registry
        self._state = state
        self._findings: dict[Finding, float] = {}
        """Since when (unix time)."""
        self._outages = OutageLevels()
        self._reconciling = asyncio.Lock()

    @property
    def conditions(self) -> list[Condition]:
        """What only a person can decide, as it was found last."""
        return [of_finding(found, since=since) for found, since in self._findings.items()]

    async def reconcile(self) -> None:
        """The tick: ``correct``, and end what dead workers left; a failed read changes nothing."""
        if not self._state.restored or self._state.stopping:
            return
        try:
            await self.correct()
            await self._ctx.proxies.confirm_all()
            # what a restart does not search for: it goes by the last worker's groups, and the profile's lock
            living = {s.runner.process.pid for s in self._registry.sessions if s.runner.process}
            await sweep(self._ctx, living)
            self._outages.is_unfit = False
        except WaguardError as error:
            said = "the comparison was skipped: the rows could not be read"
            level = self._outages.level(error)
            logger.log(level, said, event="reconcile_skipped", why=error.line())

    async def correct(self) -> list[Correction]:
        """See ``ports.sessions.Reconciliation``."""
        self._state.require_loaded()
        if not self._state.restored or self._state.stopping:  # who is not up yet is no difference
            raise UnavailableError("sessions are being restored or stopped", retry_after=5)
        async with self._reconciling:
            sources = await self._read_sources()
            self._report_findings(self._findings_of(sources))
            done = []
            planned = self._plan(sources)
            self._follow_rows(sources.rows)
            concerned = {action.session for action in planned}
            for session in self._registry.sessions:
                if session.row.session_id not in concerned:
                    session.faults.end("reconcile")
            for action in planned:
                correction = explain(action, sources.wanted, sources.observed)
                with self._alone(action.session, "reconcile"):
                    if await self._is_meant(action, sources) and await self._carry_out(
                        action, sources.rows, correction
                    ):
                        done.append(correction)
            return done

    async def difference(self) -> tuple[list[Correction], list[Finding]]:
        """See ``ports.sessions.Reconciliation``."""
        self._state.require_loaded()
        sources = await self._read_sources()
        actions = self._plan(sources)
        corrections = [explain(action, sources.wanted, sources.observed) for action in actions]
        return corrections, self._findings_of(sources)

    # ---- compare ----

    def _plan(self, it: _Sources) -> list[Action]:
        return plan(it.wanted, it.observed, it.host, self._registry.ours.has)

    def _findings_of(self, it: _Sources) -> list[Finding]:
        return findings(it.wanted, it.observed, it.host, self._registry.ours.has)

    async def _read_sources(self) -> _Sources:
        # memory follows the rows: what is read before them is never ahead of them
        observed = _observed(self._registry)
        paths, instance = self._ctx.config().paths, self._ctx.instance
        try:
            found = await self._ctx.store.sessions_of_all_hosts()
        except WaguardError as error:
            self._state.database_failed(error)
            raise
        await _require_tables(self._ctx, self._state)
        rows = {row.session_id: row for row in found}
        host = await asyncio.to_thread(
            read_inventory, paths.sessions, paths.runtime / "workers", instance=instance
        )
        return _Sources(rows=rows, wanted=wanted(rows), observed=observed, host=host)

    def _report_findings(self, found: list[Finding]) -> None:
        for new in set(found) - self._findings.keys():
            logger.warning(
                "found", event="finding", kind=str(new.kind), about=new.about, session=new.session
            )
            if session := self._registry.get(new.session):
                session.publisher.writer.record(str(new.kind), reason=new.about)
        now = self._ctx.clock.wall()
        self._findings = {it: self._findings.get(it, now) for it in found}

    def _follow_rows(self, rows: Mapping[str, SessionRow]) -> None:
        """The application may put a session into another workspace; its worker goes on. Or it switches the account of
        one that is down anyway."""
        for session in self._registry.sessions:
            was, row = session.row, rows.get(session.row.session_id)
            if row is None or row.generation < was.generation:
                continue
            moved = row.workspace_id != was.workspace_id
            if moved:
                logger.warning(
                    "the session's workspace changed",
                    event="workspace_changed",
                    session=row.session_id,
                    workspace=row.workspace_id,
                )
            if moved or (row.switched_off != was.switched_off and _wants(row) == _wants(was)):
                session.update_row(row)

    async def _is_meant(self, action: Action, it: _Sources) -> bool:
        """``_still_meant``, and the row wants what it wanted: what was done before this took seconds, in which a person may
        have asked for something else. Raises ``DatabaseUnavailableError``."""
        if not self._still_meant(action, it.observed):
            return False
        if not isinstance(action, Add | Start | Stop):
            return True
        row = await self._ctx.store.session(action.session)
        wants = row is not None and _wants(row) == _wants(it.rows[action.session])
        return wants and self._still_meant(action, it.observed)

    def _still_meant(self, action: Action, before: Mapping[str, Observed]) -> bool:
        """Whether nobody else has moved the session since the plan was made."""
        name = action.session
        if isinstance(action, EndRemains):
            return True  # whatever became of the session
        if isinstance(action, Lose):
            return not self._registry.ours.has(name)
        if self._state.stopping or self._registry.is_leaving(name):
            return False
        was, now = before.get(name), _observed(self._registry).get(name)
        if isinstance(action, EndWorker):
            return now is None or now.worker != action.pid
        if not self._registry.ours.has(name):
            return False
        if isinstance(action, CorrectRow):
            return now is not None
        if was is None or now is None:
            return was is now
        return (was.state, was.generation) == (now.state, now.generation)

    # ---- carry out ----

    def _alone(self, name: str, what: str) -> contextlib.AbstractContextManager[None]:
        """See ``Faults.alone``; a session that memory does not have yet has no condition."""
        session = self._registry.get(name)
        if session:
            return session.faults.alone(what)
        return Faults(name, lambda *_, **__: None, self._ctx.clock.wall).alone(what)

    async def _carry_out(
        self, action: Action, rows: Mapping[str, SessionRow], correction: Correction
    ) -> bool:
        """Do it, and record it; whether there was anything to do."""
        logger.warning(
            "reconcile: {}",
            correction.action,
            event="reconciled",
            session=correction.session,
            why=correction.reason,
        )
        registry, name = self._registry, action.session
        match action:
            case Add():
                return await self._add(rows[name], correction)
            case Lose():
                return await self._lose(name)
            case Remove():
                return await self._remove(name, correction)
            case Start():
                registry[name].update_row(rows[name])
                _record(registry[name], correction)
                start_or_park(registry[name])
            case Stop():
                registry[name].update_row(rows[name])
                _record(registry[name], correction)
                await registry[name].stop()
            case EndWorker(pid=pid):
                return await self._end_worker(name, pid, correction)
            case EndRemains(pid=pid):
                return await self._end_remains(name, pid, correction)
            case Renew():
                _record(registry[name], correction)
                registry[name].start(restart=True)
            case CorrectRow():
                return await self._correct_row(registry[name])
        return True

    async def _add(self, row: SessionRow, correction: Correction) -> bool:
        registry, wanted = self._registry, row.desired_up
        if self._owned:
            await self._owned.acquire([row.session_id])
            session = registry.get(row.session_id)
        else:
            session = registry.add(row)
        if session is None:
            return False  # another host has it
        # a new row that wants nothing is no trouble
        _record(session, correction, kind="reconciled" if wanted else "taken_in")
        if not self._owned:
            begin(session)
        return True

    async def _lose(self, name: str) -> bool:
        if self._owned:
            await self._owned.lose([name])
        return self._owned is not None

    async def _remove(self, name: str, correction: Correction) -> bool:
        is_gone, session = await self._registry.row_is_gone(name), self._registry.get(name)
        if not is_gone or session is None or self._registry.is_leaving(name):
            return False  # created again, or taken down, meanwhile
        with self._registry.leaving(name):
            _record(session, correction)
            await session.stop()
            await leaving.tidy(session)
            await self._registry.flush(session)
            await self._registry.remove(name)
        return True

    async def _end_worker(self, name: str, pid: int, correction: Correction) -> bool:
        """End a worker that belongs to nobody here, if it is still the one that was seen."""
        for _, record in read_records(self._ctx.config().paths.runtime / "workers"):
            if record.pid == pid and record.session == name:
                process = self._ctx.spawn.adopt(record)
                if process is None:
                    return False
                if not self._registry.ours.has(name):
                    process.kill()
                await shutdown.stop(process, grace=self._ctx.timings.stop_grace)
                if session := self._registry.get(name):
                    _record(session, correction)
                return True
        return False

    async def _end_remains(self, name: str, pid: int, correction: Correction) -> bool:
        """What ends by itself meanwhile needs no correction."""
        ended = [await strays.end(one) for one in strays.remains([pid])]
        if not any(ended):
            return False
        if session := self._registry.get(name):
            _record(session, correction)
        return True

    async def _correct_row(self, session: SessionActor) -> bool:
        """The plan may be older than the newest write: read again before saying that it lies."""
        try:
            row = await self._ctx.store.session(session.row.session_id)
        except WaguardError as error:
            logger.error(
                "the row is not corrected",
                event="row_not_corrected",
                session=session.row.session_id,
                why=error.line(),
            )
            return False
        lies = row is not None and row.status != session.state.status.status
        if row and not lies and not row.phone_number and linked_number(session):
            session.update_row(row)
            session.post(RowRead(said=row.status, number_only=True))
            return True
        if (
            row
            and not session.publisher.writer.row_pending
            and (lies or promises_too_much(session))
        ):
            session.post(RowRead(said=row.status, knows_number=bool(row.phone_number)))
            return True
        return False


def _observed(registry: Registry) -> Mapping[str, Observed]:
    return {
        session.row.session_id: Observed(
            state=session.lifecycle,
            generation=session.row.generation,
            status=str(session.state.status.status),
            row_pending=session.publisher.writer.row_pending,
            worker=session.runner.process.pid if session.runner.process else None,
            phone=linked_number(session),
        )
        for session in registry.sessions
    }


def _wants(row: SessionRow) -> tuple[bool, int, bool]:
    return row.desired_up, row.generation, row.removed_at is None


async def _require_tables(ctx: SessionContext, state: RunState) -> None:
    """The rows were read and can be compared, whatever else is missing."""
    try:
        await ctx.store.require_tables()
    except DatabaseUnfitError as error:
        state.database_answered()
        state.database_failed(error)
    except (
        WaguardError
    ):  # a table that somebody locks says nothing of the database, which has just answered
        state.database_answered()
    else:
        state.rows_read()


def _record(session: SessionActor, correction: Correction, *, kind: str = "reconciled") -> None:
    session.publisher.writer.record(
        kind,
        before=correction.before,
        after=correction.after,
        reason=correction.reason,
        evidence={"link": str(session.link), "status": session.row.status},
    )
