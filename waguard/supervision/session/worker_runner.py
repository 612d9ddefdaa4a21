"""One session's worker processes: started, greeted, listened to, ended. It decides nothing.

Nothing here waits for its caller: what takes time is a task that ends in a fact. ``Exited`` comes last,
after everything that the worker reported has been posted.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from pathlib import Path

from loguru import logger

from waguard.core.blame import Blame, Failure, describe_exit
from waguard.core.replace import replace
from waguard.core.session.facts import (
    Exited,
    Fact,
    RestartRequested,
    Spawned,
    SpawnFailed,
    SpecChanged,
    Stopped,
    Unusable,
)
from waguard.errors import WaguardError, printable
from waguard.ports.process import Process, Usage
from waguard.supervision.heartbeats import WorkerSlot
from waguard.supervision.session.greeting import greeted_to_the_end, own_greeting
from waguard.supervision.session.lent_time import LentTime
from waguard.supervision.session.page_watch import PageWatch
from waguard.supervision.session.remains import Remains
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import SessionProfile
from waguard.supervision.session.tasks import Tasks
from waguard.supervision.session.traffic import Traffic
from waguard.supervision.session.worker_facts import (
    AnswerCheck,
    beat_fact,
    goes_on,
    has_ended,
    host_lacks,
    line_to,
    report_fact,
    spawn_failure,
    stable_fact,
)
from waguard.supervision.session.worker_link import WorkerLink
from waguard.supervision.session.worker_spec import (
    OTHER_PROXY,
    has_other_proxy,
    holds,
    log_settings,
    worker_spec,
)
from waguard.supervision.status_writer import StatusWriter
from waguard.wire import calls
from waguard.wire.events import Event
from waguard.wire.reports import Heartbeat, Report
from waguard.wire.stable import StableHeartbeat, StableReport
from waguard.wire.worker import WorkerRecord, WorkerSpec


class WorkerRunner:
    """``post`` takes facts: ``page_watch`` is asked before that of a report, ``traffic`` hears of it afterwards.
    ``missing`` is called where the profile is gone, ``changed`` when the connection is another one."""

    def __init__(  # noqa: PLR0913 - what a worker needs from outside
        self,
        ctx: SessionContext,
        profile: SessionProfile,
        writer: StatusWriter,
        traffic: Traffic,
        page_watch: PageWatch,
        tasks: Tasks,
        *,
        post: Callable[[Fact], None],
        missing: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._ctx = ctx
        self._profile = profile
        self._writer = writer
        self._traffic = traffic
        self._page_watch = page_watch
        self._begin = tasks.begin
        self._post = post
        self._missing = missing
        self._changed = changed
        self._log = logger.bind(session=writer.row.session_id)
        self._number = 0
        self._spec: WorkerSpec | None = None
        """What it was started with; None: an earlier daemon started it."""
        self._failed = False
        """The worker's end was requested because it failed."""
        self._outdated = False
        self._answers = AnswerCheck()
        self._dropped = False
        self._spawning: asyncio.Task[None] | None = None
        """Ends when the process is there, or none will be."""
        self.remains = Remains(ctx, profile, writer)
        self.slot = WorkerSlot(ctx.heartbeats)
        """Where it writes its heartbeats."""
        self._lent = LentTime(ctx, self.slot)
        self.process: Process | None = None
        self.report: Report | None = None
        """The newest of the living worker."""
        self.link: WorkerLink | None = None
        self.usage: Usage | None = None
        """As it was last measured."""

    @property
    def groups(self) -> tuple[int, ...]:
        """Process groups of the worker and its browser."""
        browser = self.report.browser_pid if self.report else None
        return tuple(pid for pid in (self.process.pid if self.process else None, browser) if pid)

    @property
    def is_unprotected(self) -> bool:
        """Whether its worker does not end with the lease: it is of an earlier version."""
        obeys = self.report is None or self.report.obeys
        return self.process is not None and (self._outdated or not obeys)

    # ---- what decisions ask for ----

    def spawn(self, worker: int, *, check_profile: bool, waits: bool) -> None:
        """Start worker number ``worker``, see ``effects.Spawn``; ends in ``Spawned`` or ``SpawnFailed``."""
        self._number, self.report, self._spec = worker, None, None
        self._failed = self._outdated = False
        spawning = self._spawn(worker, check_profile=check_profile, waits=waits)
        self._spawning = self._begin(spawning, "spawn")

    def adopt(self, worker: int, process: Process, record: WorkerRecord, *, outdated: bool) -> None:
        """Take over one that an earlier daemon started. ``outdated``: it speaks another protocol, so it
        is only greeted, and does not end by itself while it waits to be replaced."""
        self._number, self.process, self.report, self._spec = worker, process, None, None
        self._failed, self._outdated = False, outdated
        self._lent.begin()
        if not outdated:
            slot = self._ctx.heartbeats.adopt(process.pid, record.generation)
            self.slot.begin(slot, record.generation)
        self._profile.adopted_at(record.profile)
        self._profile.began()
        self._log.info(
            "worker adopted", event="worker_adopted", worker=process.pid, outdated=outdated
        )
        self._begin(self._await_exit(worker, process), "exit")

        def heard(message: StableReport | StableHeartbeat) -> None:
            if self.process is process:
                self._post(stable_fact(worker, message, self._ctx.clock.monotonic()))

        talk = (
            greeted_to_the_end(self._ctx, record, process, heard)
            if outdated
            else self._converse(worker, process, record)
        )
        self._begin(talk, "worker")

    def terminate(self, *, failed: bool = False) -> None:
        """Ask it to close its browser and to exit; ``failed``: it does not do its work."""
        self._failed, self._answers = failed, AnswerCheck()
        if self.process:
            self.process.terminate()

    async def check_answer(self, worker: int) -> None:
        """Report what keeps it from answering that it closes."""
        if self.process and self.link:  # else an answer could not be heard
            found = await self._answers.check(worker, self.process, self.link)
            if found:
                self._post(found)

    def kill(self) -> None:
        """End its process group."""
        if self.process:
            self.process.kill()

    def drop(self) -> None:
        """End its process group now, and start no other one: the session is another host's. Whoever waits for an answer
        has none."""
        self._dropped = True
        if self.link:
            self.link.close()
        self.kill()

    async def dropped(self) -> None:
        """Wait for the end of its process, also of one whose start is under way: what is cut off in the middle of a
        profile's change would go on in its thread."""
        if self._spawning:
            await asyncio.wait([self._spawning])
        if process := self.process:
            groups = self.groups
            self.kill()
            await process.wait()
            for group in groups:
                self._ctx.spawn.end_remains(group)
            self.process = self.link = self.report = self.usage = None
        self.slot.begin(None)

    def follow_log(self) -> None:
        """Have it log as the configuration says, where it does not."""
        wanted, report = log_settings(self._ctx.config()), self.report
        if report and report.log and report.log != wanted:
            self.send(calls.SetLog(log=wanted), "the worker's log is not set")

    def lend(self) -> None:
        """Say until when it may live, where it obeys."""
        if self.link and self.process and self.report and self.report.obeys:
            self._lent.lend(self.process.pid, self.link)

    def start_browser(self, worker: int) -> None:
        """Let it start its Chromium, if what it was started for still holds. Where it is not connected, it says that it
        waits when it is."""
        if not self.link or not self._ctx.owns(self._writer.row.session_id):
            return
        if not holds(self._ctx, self._spec, self._writer.row, self._profile.at):
            self._post(SpecChanged(worker=worker))
        else:
            self.link.start_browser()

    def send(self, call: calls.Operation, failed: str) -> None:
        """Have it do something that nobody waits for; ``failed``: what is logged where it cannot."""
        if self.link:
            self._begin(self.link.attempt(call, failed), "call")

    # ---- a process from its start to its end ----

    async def _spawn(self, worker: int, *, check_profile: bool, waits: bool) -> None:
        try:
            await self._profile.migrate()
            await self._ctx.proxies.have_newest(self._writer.row.session_id)
            row, at = self._writer.row, self._profile.at
            self.slot.begin(self._ctx.heartbeats.assign(), row.generation)
            slot = self.slot.number or 0
            self._spec = spec = worker_spec(self._ctx, row, at, slot=slot, waits=waits)
            held_up = self._profile.held_up(spec.record)
            if held_up is None and check_profile and self._profile.is_missing():
                self._missing()
                held_up = Failure(Blame.HOST, "profile_missing", "a profile is missing")
            held_up = held_up or await self.remains.end(spec) or await self._profile.have_newest()
            if self._dropped:
                return
            if not self._ctx.owns(spec.session):
                held_up = Failure(Blame.HOST, "not_owned", "another host has a session")
            if held_up:
                self.slot.begin(None)
                self._post(SpawnFailed(worker=worker, failure=held_up))
                return
            # credentials may have taken a while, and what was lent before them may be over
            self._spec = spec = replace(spec, lent_until=self._lent.begin())
            process = await self._ctx.spawn.spawn(spec)
        except Exception as error:  # noqa: BLE001 - without an answer it would be starting forever
            if self._dropped:
                return
            failure = spawn_failure(error)
            self._log.opt(exception=error).error(
                "the worker is not started", event="worker_not_started", why=failure.message
            )
            lacking = await host_lacks(self._ctx, self._writer.row.session_id, browser=True)
            self.slot.begin(None)
            self._post(SpawnFailed(worker=worker, failure=lacking or failure))
            return
        self.process = process
        if self._dropped:
            return
        self._profile.began()
        self._log.info("worker started", event="worker_started", worker=process.pid)
        self._begin(self._await_exit(worker, process), "exit")
        self._post(Spawned(worker=worker))
        self._begin(self._converse(worker, process, spec), "worker")

    async def _converse(
        self, worker: int, process: Process, spec: WorkerSpec | WorkerRecord
    ) -> None:
        if self._dropped:
            return
        if isinstance(spec, WorkerSpec):  # it was started a moment ago
            await process.listening()
        hello = own_greeting(self._ctx, spec, self.slot.number)
        try:
            link = await line_to(
                process,
                Path(spec.socket),
                hello,
                functools.partial(self._handle, worker),
                self._ctx.timings,
            )
        except WaguardError as error:
            if await has_ended(process, self._ctx.timings.final_flush):
                return  # its exit code says more
            if self.process is process:
                self._log.warning(
                    "the worker does not listen",
                    event="worker_deaf",
                    worker=process.pid,
                    why=error.line(),
                )
                self._post(Unusable(worker=worker, why=f"the worker does not listen: {error}"))
            return
        self.link = link
        self._changed()
        try:
            await link.listen()
        finally:
            if self.link is link:
                self.link = None
        if link.nonsense and self.process is process:
            self._log.error(
                "the worker sent an invalid message",
                event="worker_nonsense",
                worker=process.pid,
                why=link.nonsense,
            )
            self._post(
                Unusable(worker=worker, why=f"the worker sent an invalid message: {link.nonsense}")
            )
        elif (
            self._traffic.intake.left_with(link)
            or await goes_on(process, self.report, self._ctx.timings.greet_again)
        ) and self.process is process:
            self._begin(self._converse(worker, process, spec), "worker")

    async def _await_exit(self, worker: int, process: Process) -> None:
        standstill = self._begin(self._await_standstill(worker, process), "standstill")
        code = await process.wait()
        standstill.cancel()
        if self._dropped:
            return
        if self.link:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ctx.timings.final_flush):
                    await self.link.ended.wait()
        if self.process is not process:
            return
        self.remains.end_of(process.pid, "its worker was gone")
        last = self.report
        if last and last.browser_pid:
            self._begin(self.remains.end_of_browser(last.browser_pid), "remains")
        said = printable(last.details) if last and last.details else None
        if code is None and last:
            code = last.exit_code
        browser = last is not None and last.browser_pid is not None
        self.remains.exited(self.groups if browser else None)
        self.link = None
        code = self._lent.exit_code(code)
        self.slot.begin(None)
        name, meaning, lacking = self._writer.row.session_id, describe_exit(code), None
        if self._ctx.shipping:
            self._ctx.shipping.ended(name)
        self._log.info(
            "worker exited", event="worker_exited", worker=process.pid, code=code, meaning=meaning
        )
        if self._failed or code != 0:
            # whoever is killed by somebody else does not end because Chromium cannot be started
            killed = code is not None and code < 0 and not self._failed
            lacking = await host_lacks(self._ctx, name, browser=browser or killed)
        self.process = self.report = self.usage = None  # only now: with it goes the status
        self._post(Exited(worker=worker, code=code, details=said, host=lacking))

    async def _await_standstill(self, worker: int, process: Process) -> None:
        await process.stopped()
        self._log.debug("worker stands still", worker=process.pid)
        self._post(Stopped(worker=worker))

    # ---- what the worker says ----

    def _handle(self, worker: int, message: Report | Heartbeat | Event) -> None:
        try:
            if self._ctx.shipping and isinstance(message, Event | Report):
                self._ctx.shipping.changed(self._writer.row.session_id)
            if isinstance(message, Event):
                self._traffic.intake.handle(message, self.link)
            elif self._number == worker and self.process is not None:  # else of one that is gone
                self._learn(worker, message)
        except Exception as error:  # noqa: BLE001 - one odd message must not cost the session
            said = type(message).__name__
            self._log.opt(exception=error).critical("a bug in waguard", event="bug", received=said)

    def _learn(self, worker: int, message: Report | Heartbeat) -> None:
        now = self.slot.heard_at = self._ctx.clock.monotonic()
        match message:
            case Heartbeat(page=page, hopeless=unrecoverable):
                page_at = None if page is None else now
                fact = beat_fact(self._ctx, worker, now, page_at, unrecoverable=unrecoverable)
                self._post(fact)
            case Report():
                first, self.report = self.report is None, message
                self._page_watch.check()
                self._post(report_fact(self._ctx, worker, message, now))
                self._traffic.reported(message)
                self.follow_log()
                if first and has_other_proxy(self._ctx, message.session, message.proxy):
                    self._post(RestartRequested(why=OTHER_PROXY))
                if self._ctx.lent_until() is not None:
                    self.lend()
