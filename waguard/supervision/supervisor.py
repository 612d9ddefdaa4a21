"""All sessions of this host: fills ``ports.Sessions``, restores, watches, reconciles, stops."""

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from loguru import logger

from waguard.core import admission, probe, recycle
from waguard.core.admission import Cause
from waguard.core.lifecycle import WANTED_UP, State
from waguard.core.link import Link
from waguard.core.page_care import ADVICE, Kind
from waguard.core.reconcile import (
    Action,
    Add,
    Correction,
    CorrectRow,
    EndWorker,
    Finding,
    Host,
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
from waguard.core.recycle import Size
from waguard.core.status import ParkCause, Status
from waguard.errors import (
    ConflictError,
    NotFoundError,
    NotYetError,
    SessionIdTakenError,
    UnavailableError,
    WaguardError,
)
from waguard.host import credentials
from waguard.host.children import read_records
from waguard.host.inventory import take_stock
from waguard.ports import AuditEntry, Connection, Health, Process, SessionRow, SessionView
from waguard.supervision import ack_watch, leaving, shutdown
from waguard.supervision.ack_watch import Replacements
from waguard.supervision.faults import Faults
from waguard.supervision.greeting import greeted
from waguard.supervision.readiness import (
    SENDING,
    UNLINKED,
    Needs,
    is_down,
    needs,
    no_code_will_come,
    not_ready,
    outcome,
    promises_too_much,
    require_number,
    settled,
    shown_code,
    summary,
    wanted,
)
from waguard.supervision.session import STOP_GRACE, Session
from waguard.supervision.surroundings import Surroundings
from waguard.wire.protocol import (
    PROTOCOL,
    Call,
    PairingCode,
    QrCode,
    RefreshQr,
    Sent,
    Value,
    WorkerRecord,
)

QR_RETRY_AFTER: Final = 2.0  # s
WRITE_DEADLINE: Final = 5.0  # s; for the last words to the database


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The three sources at one moment."""

    rows: Mapping[str, SessionRow]
    wanted: Mapping[str, Wanted]
    observed: Mapping[str, Observed]
    host: Host


class Supervisor:
    """Knows every session that has a row."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._sessions: dict[str, Session] = {}
        self._restored = False
        self._loaded = False
        self._database = False
        self._stopping = False
        self._recycled: Session | None = None
        self._replacements = Replacements(around.clock)
        self._trail = asyncio.create_task(around.fleet.trail.trail(), name="trail of the fleet")
        self._leaving: set[str] = set()
        self._outdated: dict[str, tuple[WorkerRecord, Process]] = {}
        """Living workers that speak another protocol, by session: they wait to be replaced."""
        self._watched_at: float | None = None
        self._findings: list[Finding] = []
        self._held: Mapping[str, str] = {}
        """Whose webhooks wait for too long, in words."""
        self._reconciling = asyncio.Lock()
        around.admission.paired = lambda: any(
            s.paired and s.row.desired_up for s in self._sessions.values()
        )
        around.admission.report = around.fleet.outages.tell

    # ---- start and stop of the daemon ----

    async def restore(self, records: list[tuple[WorkerRecord, Process]]) -> str:
        """Bring up the sessions that should run, and only those; returns the summary.

        ``records`` are living workers of an earlier daemon; what belongs to a wanted session is
        adopted, the rest is stopped.
        """
        rows = await self._around.store.sessions()
        self._database = self._loaded = True
        self._around.fleet.outages.tell("database_down", None)
        for row in rows:
            self._take_in(row)
        unwanted = self._take_over(records)
        kept = {process.pid for _, process in records}
        clearing = asyncio.create_task(self._clear(unwanted, kept), name="clear")
        try:
            outcomes = await self._bring_up()
            for session in self._sessions.values():
                if promises_too_much(session):
                    session.correct_row(session.row)
            await clearing
        finally:
            clearing.cancel()
        await self._finish_removals()
        self._restored = True
        return summary(outcomes)

    @property
    def loaded(self) -> bool:
        """Whether the rows are known, and with them whose the workers are."""
        return self._loaded

    async def _bring_up(self) -> list[str]:
        """How it ended, for each session that should run."""
        should_run = [s for s in self._sessions.values() if s.row.desired_up]
        should_run.sort(key=lambda session: admission.order(session.candidate()))
        old = [s for s in should_run if s.row.session_id in self._outdated]
        places = asyncio.Semaphore(self._around.config().restore.concurrency)
        outcomes = await asyncio.gather(
            *(self._restore_alone(s) for s in should_run if s not in old),
            *(self._replace_outdated(s, places) for s in old),
        )
        return [outcome for outcome in outcomes if outcome]

    async def _clear(self, unwanted: list[Process], kept: Collection[int]) -> None:
        """End what a dead instance left. Nobody waits for it but a session on the same profile, which
        looks for itself before it starts."""
        await asyncio.gather(
            self._sweep(kept),
            *(shutdown.stop(process, grace=STOP_GRACE) for process in unwanted),
        )

    async def _finish_removals(self) -> None:
        for session in list(self._sessions.values()):
            try:
                await self._finish(session)
            except (WaguardError, OSError) as error:
                name = session.row.session_id
                logger.error(
                    "profile of a deleted session not put aside", session=name, why=str(error)
                )

    async def _finish(self, session: Session) -> None:
        """What a daemon that died in the middle of its deletion left; its pairing never comes back."""
        if session.row.removed_at and session.row.session_id not in self._leaving:
            with self._leave(session.row.session_id):
                await leaving.finish(session)

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
        for stranger in swept.foreign:
            logger.error("somebody else's Chromium is left alone", what=str(stranger))

    def _take_over(self, records: list[tuple[WorkerRecord, Process]]) -> list[Process]:
        """Adopt what belongs to a wanted session; the rest."""
        unwanted: list[Process] = []
        for record, process in records:
            session = self._sessions.get(record.session)
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
        if self._stopping:
            return "interrupted"
        if session.state is State.STOPPED and (refusal := self._begin(session, asked=False)):
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

    def _begin(self, session: Session, *, asked: bool = True) -> str | None:
        """Start it, or say why not; ``asked``: as ``Session.start`` has it."""
        try:
            session.settle_profile()
            left = session.profile_left()
        except OSError as error:
            if not self._around.admission.profiles_unknown:
                session.park(ParkCause.PROFILE_MISSING, f"profile cannot be used: {error}")
                return "failed"
            left = None
        # one that still waits for its first scan has none to lose; unknown is not missing
        if left is False and session.paired:
            session.park(ParkCause.PROFILE_MISSING, f"profile missing: {session.at.profile}")
            return "missing profile"
        session.start(asked=asked)
        return None

    async def stop(self, *, write: bool = True) -> None:
        """Stop every session, all in parallel, and have their rows written where that is to be."""
        self._stopping = True
        self._around.admission.close()
        sessions = list(self._sessions.values())
        await asyncio.gather(
            *(self._stop_alone(session) for session in sessions),
            *(shutdown.stop(process, grace=STOP_GRACE) for _, process in self._outdated.values()),
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITE_DEADLINE if write else 0):
                await asyncio.gather(*(session.written() for session in sessions))
        self._trail.cancel()
        await asyncio.gather(self._trail, return_exceptions=True)
        await asyncio.gather(*(session.forget() for session in sessions))

    async def _stop_alone(self, session: Session) -> None:
        with session.faults.alone("stop"):
            await session.stop(daemon_stopping=True)

    def kill(self) -> None:
        """A second Ctrl-C: end every worker now."""
        for session in self._sessions.values():
            if session.process:
                session.process.kill()
        for _, process in self._outdated.values():
            process.kill()

    # ---- ticks ----

    async def watch(self) -> None:
        """Look for silent layers in every session."""
        now = self._around.clock.monotonic()
        before, self._watched_at = self._watched_at, now
        if before is not None and now - before > probe.STALL:
            logger.warning("silence not judged: waguard itself stood still", seconds=now - before)
            for session in self._sessions.values():
                with session.faults.alone("watch"):
                    session.stood_still(now - before)
            return
        self._around.admission.look()
        self._around.fleet.tick()
        self._around.fleet.look_at_network()
        config = self._around.config()
        crowded = self._around.crowded()
        limits = probe.Limits(start=config.browser.launch_timeout + config.restore.timeout)
        for session in list(self._sessions.values()):
            with session.faults.alone("watch"):
                self._watch_one(session, limits, now, crowded=crowded)
        self._care_for_acks()
        self._retry_parked(now)

    def _retry_parked(self, now: float) -> None:
        """One at a time; not while many fail alike, or none could succeed."""
        fleet, sessions = self._around.fleet, list(self._sessions.values())
        if (
            self._stopping
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

    def _watch_one(
        self, session: Session, limits: probe.Limits, now: float, *, crowded: bool
    ) -> None:
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

    def _care_for_acks(self) -> None:
        connected = [s for s in self._sessions.values() if s.link is Link.CONNECTED]
        everywhere = ack_watch.everywhere(connected)
        self._around.fleet.outages.tell("acks_missing_everywhere", everywhere)
        if not self._stopping and not self._around.fleet.network_down:
            limit = self._around.config().send.ack_limit
            self._replacements.look(connected, limit=limit, everywhere=everywhere is not None)

    async def measure(self) -> None:
        """Look at what each session uses, and replace those that use too much."""
        looked_at = {
            name: (session, session.process)
            for name, session in self._sessions.items()
            if session.process
        }
        groups = {name: session.process_groups for name, (session, _) in looked_at.items()}
        now = self._around.clock.monotonic()
        used = await asyncio.to_thread(self._around.meter.look, groups, now)
        for name, (session, process) in looked_at.items():
            if session.process is process:
                session.usage = used.get(name)
                with session.faults.alone("measure"):
                    self._recycle_where_too_big(session)

    def _recycle_where_too_big(self, session: Session) -> None:
        config = self._around.config().worker
        if session.state is not State.RUNNING or session.usage is None or self._stopping:
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

    async def reconcile(self) -> None:
        """The tick: ``correct``; a failed read changes nothing."""
        if not self._restored or self._stopping:
            return
        try:
            await self.correct()
        except WaguardError as error:
            logger.error("reconcile left out: the database did not answer", why=error.line())

    async def correct(self) -> list[Correction]:
        """See ``ports.Sessions``."""
        self._refuse_before_restore()
        if not self._restored or self._stopping:  # who is not up yet is no difference
            raise UnavailableError("sessions are being restored or stopped", retry_after=5)
        async with self._reconciling:
            seen = await self._look()
            self._tell_findings(findings(seen.wanted, seen.observed, seen.host))
            done = []
            planned = plan(seen.wanted, seen.observed, seen.host)
            self._follow_workspaces(seen.rows)
            for name in self._sessions.keys() - {action.session for action in planned}:
                self._sessions[name].faults.end("reconcile")
            for action in planned:
                if self._still_meant(action, seen.observed):
                    told = explain(action, seen.wanted, seen.observed)
                    with self._alone(action.session, "reconcile"):
                        if await self._carry_out(action, seen.rows, told):
                            done.append(told)
            return done

    def _follow_workspaces(self, rows: Mapping[str, SessionRow]) -> None:
        """The application may put a session into another workspace; its worker goes on."""
        for name, session in self._sessions.items():
            row = rows.get(name)
            if (
                row
                and row.workspace_id != session.row.workspace_id
                and row.generation >= session.row.generation
            ):
                logger.warning("another workspace", session=name, workspace=row.workspace_id)
                session.row = row

    async def difference(self) -> tuple[list[Correction], list[Finding]]:
        """See ``ports.Sessions``."""
        self._refuse_before_restore()
        seen = await self._look()
        actions = plan(seen.wanted, seen.observed, seen.host)
        corrections = [explain(action, seen.wanted, seen.observed) for action in actions]
        return corrections, findings(seen.wanted, seen.observed, seen.host)

    async def _look(self) -> _Seen:
        # memory follows the rows: what is looked at before them is never ahead of them
        observed = self._observed()
        paths, instance = self._around.config().paths, self._around.instance
        try:
            rows = {row.session_id: row for row in await self._around.store.sessions()}
        except WaguardError as error:
            self._database = False
            self._around.fleet.outages.tell("database_down", error.message)
            raise
        self._database = True
        self._around.fleet.outages.tell("database_down", None)
        host = await asyncio.to_thread(
            take_stock, paths.sessions, paths.runtime / "workers", instance=instance
        )
        return _Seen(rows=rows, wanted=wanted(rows), observed=observed, host=host)

    def _tell_findings(self, found: list[Finding]) -> None:
        for new in set(found) - set(self._findings):
            logger.warning("found", kind=str(new.kind), about=new.about, session=new.session)
            if session := self._sessions.get(new.session):
                session.note(str(new.kind), reason=new.about)
        self._findings = found

    def _still_meant(self, action: Action, before: Mapping[str, Observed]) -> bool:
        """Whether nobody else has moved the session since the plan was made."""
        name = action.session
        if self._stopping or name in self._leaving:
            return False
        was, now = before.get(name), self._observed().get(name)
        if isinstance(action, EndWorker):
            return now is None or now.worker != action.pid
        if isinstance(action, CorrectRow):
            return now is not None
        if was is None or now is None:
            return was is now
        return (was.state, was.generation) == (now.state, now.generation)

    def _observed(self) -> Mapping[str, Observed]:
        return {
            name: Observed(
                state=session.state,
                generation=session.row.generation,
                status=str(session.verdict.status),
                row_pending=session.row_pending,
                worker=session.process.pid if session.process else None,
                phone=session.linked,
            )
            for name, session in self._sessions.items()
        }

    async def _carry_out(
        self, action: Action, rows: Mapping[str, SessionRow], told: Correction
    ) -> bool:
        """Do it, and put it on the trail; whether there was anything to do."""
        logger.warning("reconcile: {}", told.action, session=told.session, why=told.reason)
        match action:
            case Add(name):
                session = self._sessions[name] = Session(rows[name], self._around)
                # a new row that wants nothing is no trouble
                _note(session, told, kind="reconciled" if session.row.desired_up else "taken_in")
                if session.row.desired_up:
                    self._begin(session)
            case Remove(name):
                if not await self._is_gone(name):
                    return False  # the application has made it anew meanwhile
                with self._leave(name):
                    session = self._sessions[name]
                    _note(session, told)
                    await session.stop()
                    await self._last_words(session)
                    await self._sessions.pop(name).forget()
            case Start(name):
                session = self._sessions[name]
                session.row = rows[name]
                _note(session, told)
                self._begin(session)
            case Stop(name):
                self._sessions[name].row = rows[name]
                _note(self._sessions[name], told)
                await self._sessions[name].stop()
            case EndWorker(name, pid):
                return await self._end_worker(name, pid, told)
            case Renew(name):
                _note(self._sessions[name], told)
                self._sessions[name].start(restart=True)
            case CorrectRow(name):
                return await self._correct(self._sessions[name])
        return True

    async def _end_worker(self, name: str, pid: int, told: Correction) -> bool:
        """End a worker that belongs to nobody here, if it is still the one that was seen."""
        for _, record in read_records(self._around.config().paths.runtime / "workers"):
            if record.pid == pid and record.session == name:
                process = self._around.spawn.adopt(record)
                if process is None:
                    return False
                await shutdown.stop(process, grace=STOP_GRACE)
                if session := self._sessions.get(name):
                    _note(session, told)
                return True
        return False

    def _alone(self, name: str, what: str) -> contextlib.AbstractContextManager[None]:
        """See ``Faults.alone``; a session that memory does not have yet has no condition."""
        session = self._sessions.get(name)
        return (session.faults if session else Faults(name, lambda *_, **__: None)).alone(what)

    async def _last_words(self, session: Session) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITE_DEADLINE):
                await session.written()

    async def _correct(self, session: Session) -> bool:
        """The plan may be older than the newest write: look again before saying that it lies."""
        try:
            row = await self._around.store.session(session.row.session_id)
        except WaguardError as error:
            logger.error("row not corrected", session=session.row.session_id, why=error.line())
            return False
        lies = row is not None and row.status != session.verdict.status
        if row and not lies and not row.phone_number and session.linked:
            session.row = row
            session.restore_number()
            return True
        if row and not session.row_pending and (lies or promises_too_much(session)):
            session.correct_row(row)
            return True
        return False

    # ---- ports.Sessions ----

    async def create(
        self, session_id: str, workspace_id: int, *, account_id: int | None, priority: int
    ) -> tuple[SessionView, bool]:
        """See ``ports.Sessions``."""
        self._refuse_change(session_id)
        known = self._sessions.get(session_id)
        if known and known.row.workspace_id != workspace_id:
            known.row = await self._around.store.session(session_id) or known.row
        if known and known.row.workspace_id != workspace_id:
            raise SessionIdTakenError(
                f"session {session_id} belongs to another workspace",
                field="workspace_id",
                value=workspace_id,
                remedy="use another session_id",
            )
        runs = known is not None and known.state in WANTED_UP and not known.left
        if known and runs and not await self._is_gone(session_id):
            return self._view(known), False
        if known:
            await self._finish(known)
        row = await self._around.store.create(
            session_id, workspace_id, account_id=account_id, priority=priority
        )
        self._refuse_change(session_id)  # much may have happened meanwhile
        session = self._take_in(row)
        session.row = row
        session.start()
        if runs and row.status != session.verdict.status:
            session.correct_row(row)  # it is new, and the session has never been away
        return self._view(session), known is None

    async def _is_gone(self, session_id: str) -> bool:
        """Whether it has no row any more; unknown is not gone."""
        try:
            return await self._around.store.session(session_id) is None
        except WaguardError:
            return False

    def _take_in(self, row: SessionRow) -> Session:
        """The session of a row, which may have come to memory a moment ago."""
        if row.session_id not in self._sessions:
            self._sessions[row.session_id] = Session(row, self._around)
        return self._sessions[row.session_id]

    async def views(self, *, removed: bool = False) -> list[SessionView]:
        """See ``ports.Sessions``."""
        self._refuse_before_restore()
        return [
            self._view(session)
            for _, session in sorted(self._sessions.items())
            if removed or not session.row.removed_at
        ]

    async def view(self, session_id: str) -> SessionView:
        """See ``ports.Sessions``."""
        return self._view(await self._find(session_id))

    async def start(self, session_id: str, *, restart: bool) -> SessionView:
        """See ``ports.Sessions``."""
        self._refuse_change(session_id)
        session = await self._find(session_id)
        await self._finish(session)
        row = _existing(await self._around.store.set_desired(session_id, up=True))
        self._refuse_change(session_id)
        session.row = row
        session.start(restart=restart)
        return self._view(session)

    async def take_down(self, session_id: str) -> SessionView:
        """See ``ports.Sessions``."""
        self._refuse_change(session_id)
        session = await self._find(session_id)
        row = _existing(await self._around.store.set_desired(session_id, up=False))
        self._refuse_change(session_id)
        session.row = row
        await session.stop()
        return self._view(session)

    async def logout(self, session_id: str) -> SessionView:
        """See ``ports.Sessions``."""
        session = await self._find(session_id)
        self._require_profiles()
        with self._leave(session_id):
            await self._log_out(session, removed=False)
        return self._view(session)

    async def delete(self, session_id: str, *, purge: bool) -> None:
        """See ``ports.Sessions``."""
        session = await self._find(session_id)
        self._require_profiles()
        with self._leave(session_id):
            await self._log_out(session, removed=True)
            if purge:
                await self._last_words(session)
                await self._around.store.soft_delete(session_id)
                self._sessions.pop(session_id, None)
                await session.forget()

    async def _log_out(self, session: Session, *, removed: bool) -> None:
        name, why = session.row.session_id, leaving.DELETED if removed else leaving.LOGGED_OUT
        # without a row, which the application has deleted already, the reconciler forgets it
        session.row = await self._around.store.leave(name, removed=removed) or session.row
        await leaving.leave(session, why=why)

    @contextlib.contextmanager
    def _leave(self, session_id: str) -> Iterator[None]:
        """While it is taken down for good nobody else may start it, or take it down too."""
        self._refuse_leaving(session_id)
        self._leaving.add(session_id)
        try:
            yield
        finally:
            self._leaving.discard(session_id)

    async def qr(self, session_id: str, *, wait: float, refresh: bool = False) -> QrCode:
        """See ``ports.Sessions``."""
        session = await self._find(session_id)
        if refresh:
            self._refuse_leaving(session_id)
        if refresh and (session.left or session.state not in WANTED_UP):
            await self.start(session_id, restart=False)
        elif refresh and session.link in UNLINKED:
            await session.call(RefreshQr())
        await session.settle(
            lambda s: shown_code(s) is not None or no_code_will_come(s), timeout=wait
        )
        if code := shown_code(session):
            return code
        if session.link is Link.PASSKEY_REQUIRED:
            raise ConflictError(
                f"passkey_required: {session.passkey}", remedy=ADVICE[Kind.PASSKEY_REQUIRED]
            )
        if session.link in {Link.CONNECTED, Link.PAIRING, Link.SYNCING}:
            raise ConflictError(
                "the session is already linked", remedy="log it out to link it anew"
            )
        if is_down(session):
            raise ConflictError(
                f"the session is {session.state}: {session.details or 'it is not wanted up'}",
                remedy=f"POST /api/sessions/{session_id}/regenerate-qr",
            )
        raise NotYetError(
            "no QR code yet", remedy="ask again, or with ?wait=20", retry_after=QR_RETRY_AFTER
        )

    async def call(
        self, session_id: str, call: Call, *, wait: float, phone: str | None = None
    ) -> Sent | Value:
        """See ``ports.Sessions``."""
        if isinstance(call, PairingCode):
            self._refuse_linked_number(session_id, call.phone)
        session = await self._usable(session_id, needs(call), wait)
        if phone is not None:
            require_number(session, phone)
        return await session.call(call)

    def _refuse_linked_number(self, session_id: str, phone: str) -> None:
        """WhatsApp was seen to unlink a session for whose number a code was asked (OpenWA#1653)."""
        for name, other in self._sessions.items():
            same = name != session_id and other.phone == phone and not other.left
            if same and credentials.pairing(other.at.profile):
                raise ConflictError(
                    f"session {name} is linked to this number, and a code for it may unlink that",
                    field="phone_number",
                    value=phone,
                    remedy=f"scan the QR code instead, or log {name} out first",
                )

    async def ready(self, session_id: str, *, wait: float, hoping: bool = False) -> None:
        """See ``ports.Sessions``."""
        await self._usable(session_id, SENDING, wait, hoping=hoping)

    def first_contacts_pause(self, session_id: str) -> float:
        """See ``ports.Sessions``."""
        session = self._sessions.get(session_id)
        return session.limits.paused_for if session else 0.0

    async def _usable(
        self, session_id: str, needs: Needs, wait: float, *, hoping: bool = False
    ) -> Session:
        session = await self._find(session_id)
        usable, hopeless = needs
        await session.settle(
            lambda s: usable(s) or (hopeless(s) and not hoping) or self._stopping, timeout=wait
        )
        if self._stopping:  # for now, which is no answer for ever
            raise UnavailableError("waguard is stopping", retry_after=10)
        if not usable(session):
            raise not_ready(session, hopeless=hopeless(session))
        return session

    def connection(self, session_id: str) -> Connection:
        """What GET status and /health would say of it now."""
        session = self._sessions.get(session_id)
        if session is None:
            return Connection(why_not="it is not in memory", known=False)
        if self._stopping:
            return Connection(why_not="waguard is stopping")
        if session.verdict.status is not Status.CONNECTED:
            return Connection(why_not=f"it is {session.verdict.status}")
        if session.state is not State.RUNNING or session.adopting:
            why_not = "its row says connected, its worker has not confirmed it yet"
            return Connection(why_not=why_not, known=False)
        clock = self._around.clock
        since = clock.wall() - (clock.monotonic() - session.link_since)
        return Connection(phone=session.phone, since=since)

    def webhooks_held(self, held: Mapping[str, str]) -> None:
        """By session, in words, whose webhooks wait for too long; what waits for a session that was
        stopped on purpose does so on purpose."""
        wanted = {n: why for n, why in held.items() if self._is_wanted(n)}
        for name in wanted.keys() ^ self._held.keys():
            if session := self._sessions.get(name):
                kind = "webhooks_held" if name in wanted else "webhooks_released"
                session.note(kind, reason=wanted.get(name))
        self._held = wanted
        told = "; ".join(f"{name}: {why}" for name, why in sorted(wanted.items()))
        self._around.fleet.outages.tell("webhooks_held", told or None)

    def _is_wanted(self, name: str) -> bool:
        session = self._sessions.get(name)
        return session is not None and session.row.desired_up

    def health(self) -> Health:
        """See ``ports.Sessions``."""
        sessions = [s for s in self._sessions.values() if not s.row.removed_at]
        connected = sum(s.verdict.status is Status.CONNECTED for s in sessions)
        return Health(
            supervising=not self._stopping and self._waits_for_lease is None,
            database=self._database,
            restored=self._restored,
            total=len(sessions),
            connected=connected,
            disconnected=len(sessions) - connected,
            problems=tuple(self._problems()),
        )

    @property
    def _waits_for_lease(self) -> str | None:
        return self._around.fleet.outages.why("lease_held")

    def _problems(self) -> list[str]:
        problems = []
        outages = self._around.fleet.outages
        if not self._database and not outages.why("database_down") and not self._waits_for_lease:
            problems.append("the database does not answer")
        if not self._restored:
            problems.append("sessions are still being restored")
        if why := self._around.fleet.open:
            problems.append(why)
        problems += self._around.fleet.outages.all
        problems += [f"{found.session}: {found.about}" for found in self._findings]
        for name, session in sorted(self._sessions.items()):
            if why := session.faults.words:
                problems.append(f"{name}: {why}")
            if session.row.desired_up and session.verdict.status is not Status.CONNECTED:
                why = session.details or session.verdict.details or str(session.link)
                problems.append(f"{name} is {session.verdict.status}: {why}")
                problems += [f"{name}: {it.message}. {it.remedy}" for it in session.care.conditions]
            elif why := self._degraded(session):
                problems.append(f"{name}: {why}")
        return problems

    # ---- small things ----

    def _degraded(self, session: Session) -> str | None:
        """What is wrong although it says connected."""
        late, held = session.acks.late, self._held.get(session.row.session_id)
        told = [str(late) if late else held, *map(str, session.care.conditions)]
        return "; ".join(filter(None, told)) or None

    async def _find(self, session_id: str) -> Session:
        if session := self._sessions.get(session_id):
            return session
        self._refuse_before_restore()
        # the application may have written the row itself a moment ago
        row = await self._around.store.session(session_id)
        if row is None:
            raise NotFoundError("Session not found")
        session = self._take_in(row)
        if row.desired_up and session.state is State.STOPPED and self._may_start(session_id):
            logger.warning("taken in on demand: memory had no such session", session=session_id)
            session.note(
                "reconciled",
                before="not in memory",
                after="taken in and started",
                reason="it was asked for, its row wants it up, and memory had no such session",
            )
            self._begin(session)
        return session

    def _may_start(self, session_id: str) -> bool:
        return self._restored and not self._stopping and session_id not in self._leaving

    def _refuse_before_restore(self) -> None:
        if not self._loaded:
            why = self._waits_for_lease or "the database does not answer yet"
            raise UnavailableError(why, retry_after=5)

    def _refuse_change(self, session_id: str) -> None:
        if self._stopping:
            raise UnavailableError("waguard is stopping", retry_after=10)
        self._refuse_leaving(session_id)
        self._refuse_before_restore()

    def _require_profiles(self) -> None:
        """Raises ``UnavailableError`` while a profile that is to be moved aside cannot be found."""
        if why := self._around.admission.profiles_unknown:
            raise UnavailableError(f"no profile can be moved aside: {why}", retry_after=60)

    def _refuse_leaving(self, session_id: str) -> None:
        if session_id in self._leaving:
            raise UnavailableError(
                "the session is being logged out or deleted", remedy="try again", retry_after=5
            )

    def _view(self, session: Session) -> SessionView:
        row, verdict, report = session.row, session.verdict, session.report
        return SessionView(
            session_id=row.session_id,
            workspace_id=row.workspace_id,
            status=str(verdict.status),
            phone_number=session.phone,
            connected_at=row.connected_at,
            last_activity=row.last_activity,
            disconnect_reason=str(verdict.reason) if verdict.reason else None,
            disconnect_details=verdict.details or session.silence,
            account_id=row.account_id,
            priority=row.priority,
            desired_up=row.desired_up,
            lifecycle=session.lifecycle,
            link=str(session.link),
            worker_pid=session.process.pid if session.process else None,
            browser_pid=report.browser_pid if report else None,
            restarts=session.restarts,
            waiting=session.waiting,
            degraded=session.faults.words or self._degraded(session),
            conditions=session.care.conditions,
            undecryptable=session.undecryptable.count,
            undecryptable_since=session.undecryptable.since,
            usage=session.usage,
            removed_at=row.removed_at,
        )


def _waits(session: Session) -> bool:
    """For something that need not come soon."""
    return session.waits_for not in {None, Cause.PLACE}


def _note(session: Session, told: Correction, *, kind: str = "reconciled") -> None:
    session.note(
        kind,
        before=told.before,
        after=told.after,
        reason=told.reason,
        evidence={"link": str(session.link), "status": session.row.status},
    )


def _existing(row: SessionRow | None) -> SessionRow:
    if row is None:
        raise NotFoundError("Session not found")
    return row
