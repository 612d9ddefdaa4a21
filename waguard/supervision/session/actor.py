"""One session in the shell: facts in, effects performed, nothing decided.

What is decided is ``core``'s; the state is a value that never changes under whoever reads it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from loguru import logger

from waguard.core.fleet.facts import FleetFact
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.row_status import LEFT, ParkCause, Status, understood
from waguard.core.session import views, waiting
from waguard.core.session.effects import (
    Backfill,
    BrowserStarted,
    CheckAnswer,
    Effect,
    Held,
    Kill,
    LatenessChanged,
    MemberChanged,
    PageRestarts,
    ProxiedChanged,
    Publish,
    ReadIdle,
    Record,
    Recycled,
    RefusalChanged,
    ReleaseSlot,
    Reload,
    RequestSlot,
    ResponsivenessChanged,
    ShowCode,
    Spawn,
    StartBrowser,
    TakeOver,
    TakeScreenshot,
    Terminate,
    WorkerFailed,
    WriteStatus,
)
from waguard.core.session.facts import (
    Adopted,
    Fact,
    IdleRead,
    Moved,
    ParkRequested,
    ProxyChanged,
    StartRequested,
    StopRequested,
)
from waguard.core.session.restart import Remembered, Retries
from waguard.core.session.state import Intent, Pairing, SessionState, Stage
from waguard.host.patience import patience
from waguard.ports.clock import Clock
from waguard.ports.process import Process
from waguard.ports.store import SessionRow
from waguard.supervision.session.faults import Faults
from waguard.supervision.session.page_watch import PageWatch
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import SessionProfile
from waguard.supervision.session.status_publisher import StatusPublisher
from waguard.supervision.session.tasks import Tasks
from waguard.supervision.session.traffic import Traffic
from waguard.supervision.session.worker_facts import beat_fact
from waguard.supervision.session.worker_runner import WorkerRunner
from waguard.supervision.session.worker_spec import has_proxy
from waguard.wire import calls, protocol
from waguard.wire.worker import WorkerRecord


class SessionActor:
    """A session in memory."""

    def __init__(
        self, row: SessionRow, ctx: SessionContext, remembered: Remembered | None = None
    ) -> None:
        """``remembered``: what the daemon before this one knew of it."""
        self.name = row.session_id
        self._ctx = ctx
        self._log = logger.bind(session=self.name)
        self._moved = asyncio.Event()
        self._last: SessionState | None = None
        self.is_forgotten = False
        """Nothing becomes of it any more: it was removed, or is another host's."""
        self.is_lost = False
        """Another host may have it: its profile is not this one's to change."""
        self._tasks = Tasks(self.name)
        self.publisher = StatusPublisher(row, ctx, self.notify)
        self.profile = SessionProfile(ctx, self.publisher.writer)
        self.traffic = Traffic(
            ctx,
            self.publisher,
            self.profile,
            state=lambda: self.state,
            link=lambda: self.runner.link,
            post=self.post,
            begin=self._tasks.begin,
            changed=self.notify,
            moved=self.moved,
        )
        traffic = self.traffic
        self.page_watch = PageWatch(
            ctx.versions,
            (traffic.acks, traffic.throws, traffic.deaf),
            state=lambda: self.state,
            report=lambda: self.runner.report,
            publish=self.publisher.publish_version,
        )
        self.runner = WorkerRunner(
            ctx,
            self.profile,
            self.publisher.writer,
            traffic,
            self.page_watch,
            self._tasks,
            post=self.post,
            missing=lambda: self.post(_profile_missing(self.profile)),
            changed=self.notify,
        )
        self.faults = Faults(self.name, self.publisher.writer.record, ctx.clock.wall)
        self.hear: Callable[[], None] = partial(_hear, ctx, self)
        ctx.mailbox.add(_initial(row, ctx.clock, remembered or Remembered()), self)
        self.post(ProxyChanged(proxied=has_proxy(ctx, self.name)))
        writer = self.publisher.writer
        for keep in (writer.rows, writer.trail, self.traffic.limits.keep):
            self._tasks.begin(keep(), keep.__name__)

    def remember(self) -> Remembered:
        """What the next daemon has to know of it."""
        state, clock = self.state, self._ctx.clock
        began, lost_at = clock.wall() - clock.monotonic(), state.pairing.lost_at
        known = Remembered(
            counted=tuple(at + began for at in state.counted),
            restarts=state.restarts,
            tries=state.retries.tries,
            # whole seconds: it is written where it is another one
            unlinked_at=None if lost_at is None else round(lost_at + began),
            unlinked_said=None if lost_at is None else state.pairing.said,
        )
        return waiting.remember(state, known, began=began)

    # ---- what others read ----

    @property
    def state(self) -> SessionState:
        """The newest value; whoever holds it may keep it."""
        return self._last or self._ctx.mailbox.state(self.name)

    @property
    def row(self) -> SessionRow:
        """As it was last read."""
        return self.publisher.writer.row

    def update_row(self, row: SessionRow) -> None:
        """The session's row was read again."""
        self.publisher.writer.row = row
        self.post(_order(row))

    @property
    def lifecycle(self) -> State:
        """What its worker does."""
        return views.lifecycle(self.state)

    @property
    def link(self) -> Link:
        """The session's connection to WhatsApp, as a ready worker reports it."""
        return views.link(self.state)

    async def moved(self) -> None:
        """Wait for the next change of anything here."""
        await self._moved.wait()

    async def wait_until(
        self, condition: Callable[["SessionActor"], bool], *, timeout: float
    ) -> bool:
        """Wait until ``condition``, the deadline (s) or the end of all that becomes of it; whether it is so."""
        with contextlib.suppress(TimeoutError):
            async with patience(timeout):
                while not condition(self) and not self.is_forgotten:
                    await self.moved()
        return condition(self)

    # ---- what others ask ----

    def post(self, fact: Fact | FleetFact) -> None:
        """Handle a fact about it; of a ready page after what its worker has written, which says until when it was
        healthy."""
        if (worker := self.state.worker) and worker.stage is Stage.READY:
            self.hear()
        self._ctx.mailbox.post(self.name, fact)

    def start(
        self, *, restart: bool = False, asked: bool = True, profile_unknown: bool = False
    ) -> None:
        """Want it up; ``restart`` also replaces a living worker, which counts as no crash.

        ``asked``: by somebody outside, whom the fleet breaker does not stop. ``profile_unknown``: whether it has one could
        not be read now, and is checked before its worker is spawned.
        """
        left = None
        if not profile_unknown:
            with contextlib.suppress(OSError):  # unknown is not missing
                left = self.profile.is_there()
        self.post(
            StartRequested(
                asked=asked,
                restart=restart,
                expects_qr=left is False,
                profile_unknown=left is None,
            )
        )

    async def stop(self, *, daemon_stopping: bool = False, moves: bool = False) -> None:
        """Stop it in order and wait until worker and browser are gone; as ``StopRequested`` has it."""
        self.post(StopRequested(daemon_stopping=daemon_stopping, moves=moves))
        # the last request wins: whoever wants it up meanwhile ends the wait
        while (
            not self.is_forgotten and (state := self.state).worker and state.intent is not Intent.UP
        ):
            await self.moved()

    def adopt(self, process: Process, record: WorkerRecord) -> None:
        """Take over a worker that an earlier daemon started."""
        outdated = record.protocol != protocol.PROTOCOL
        self.runner.adopt(self.state.workers + 1, process, record, outdated=outdated)
        self.post(Adopted(outdated=outdated))

    async def written(self) -> None:
        """Wait until the database has the newest status, every audit entry, and what WhatsApp grants no
        more of."""
        writer = self.publisher.writer
        while not self.is_forgotten and (
            writer.row_pending or writer.unrecorded or self.traffic.limits.pending
        ):
            await self.moved()

    async def forget(self) -> None:
        """End every task of this session; call after ``stop``."""
        self.publisher.writer.report_lost()
        self.detach()
        await self._tasks.end()

    def detach(self, *, lost: bool = False) -> None:
        """From now on nothing is decided of it, whatever its worker does; its state stays as it is. ``lost``: to another
        host."""
        self._last, self.is_forgotten, self.is_lost = self.state, True, lost
        self._ctx.mailbox.forget(self.name, self)
        self._ctx.versions.forget(self.name)
        self.notify()

    async def dropped(self) -> None:
        """Wait until nothing of it runs here, after ``WorkerRunner.drop``. What was recorded before is written."""
        await self.runner.dropped()
        await self._tasks.end()
        writer = self.publisher.writer
        self._tasks.begin(writer.trail(), "trail")
        await writer.flush(self._ctx.timings.last_write)
        await self._tasks.end()

    def tick(self) -> None:
        """Check what has no timer of its own."""
        row, state = self.row, self.state
        if (row.priority, _active(row)) != (state.priority, state.active):
            self.post(_order(row))
        self.page_watch.check()  # first: what it shows decides who cures it
        self.traffic.tick()

    # ---- what decisions ask for ----

    def notify(self) -> None:
        """See ``mailbox.Actor``."""
        before, self._moved = self._moved, asyncio.Event()
        before.set()

    def perform(self, effect: Effect) -> None:  # noqa: C901, PLR0912 - a table of effects
        """See ``mailbox.Actor``."""
        runner = self.runner
        match effect:
            case Spawn(worker, check_profile, waits):
                if not waits:
                    self._log.debug("start slot", held=True)
                runner.spawn(worker, check_profile=check_profile, waits=waits)
            case StartBrowser(worker):
                self._log.debug("start slot", held=True)
                runner.start_browser(worker)
            case Terminate(why=why):
                self.publisher.log_unhealthy(why)
                runner.terminate(failed=why is not None)
            case CheckAnswer(worker):
                self._tasks.begin(runner.check_answer(worker), "answer")
            case Kill():
                runner.kill()
            case Reload():
                runner.send(calls.Reload(), "page not reloaded")
            case TakeOver():
                runner.send(calls.TakeOver(), "not taken back")
            case TakeScreenshot():
                self.traffic.keep_screenshot()
            case Backfill(worker, loads):
                self.traffic.backfiller.start(worker, loads)
            case ReadIdle():
                self.post(IdleRead(self.traffic.idle))
            case ShowCode():
                self.publisher.publish_code(runner.report.qr if runner.report else None)
            case WriteStatus(status, phone):
                self.publisher.writer.write(status, phone)
            case Publish(event, data):
                self.publisher.publish(event, data)
            case Record():
                self.publisher.record(effect)
            case MemberChanged(link=link, before=before) if link is not before:
                self.publisher.log_link(before, link)
                self.traffic.link_changed(link)
            case MemberChanged():
                pass
            case Recycled():
                self.traffic.replaced()
            case Held() | ResponsivenessChanged():
                self.publisher.log(effect)
            case ReleaseSlot():
                self._log.debug("start slot", held=False)
            case (
                RequestSlot()
                | WorkerFailed()
                | BrowserStarted()
                | RefusalChanged()
                | PageRestarts()
                | LatenessChanged()
                | ProxiedChanged()
            ):
                pass  # the fleet's: the engine has carried it there


def _hear(ctx: SessionContext, session: SessionActor) -> None:
    """See ``mailbox.Actor``."""
    runner, worker = session.runner, session.state.worker
    if runner.process is None or worker is None:
        return
    with session.faults.alone("hear"):
        if beat := runner.slot.news(runner.process.pid, ctx.clock.monotonic()):
            page_at, lost = beat.page_at or None, beat.unrecoverable
            fact = beat_fact(ctx, worker.number, beat.at, page_at, unrecoverable=lost)
            ctx.mailbox.post(session.name, fact)


def _profile_missing(profile: SessionProfile) -> ParkRequested:
    why = f"profile missing: {profile.at.profile}"
    return ParkRequested(cause=ParkCause.PROFILE_MISSING, details=why)


def _initial(row: SessionRow, clock: Clock, known: Remembered) -> SessionState:
    left = row.removed_at is not None
    said = understood(row.status, row.disconnect_reason, row.disconnect_details)
    began = clock.monotonic() - clock.wall()
    pairing = _pairing(row, known, clock)
    state = SessionState(
        session=row.session_id,
        status=LEFT if left else said,
        left=left,
        phone=row.phone_number,
        expects_qr=row.status == Status.QR_SCANNING or row.unpaired or pairing.lost_at is not None,
        pairing=pairing,
        priority=row.priority,
        active=_active(row),
        counted=tuple(at + began for at in known.counted),
        restarts=known.restarts,
        retries=Retries(known.tries),
    )
    at = row.connected_at.timestamp() if row.connected_at else None
    return waiting.resume(state, known, connected_at=at, began=-began, now=clock.monotonic())


def _pairing(row: SessionRow, known: Remembered, clock: Clock) -> Pairing:
    """A row that waits for no worker says nothing of a scan: that is remembered."""
    if row.connected_at is None or row.unpaired:
        return Pairing()
    # one that connected later was scanned since, maybe under another host's daemon
    since = known.unlinked_at
    if since is not None and row.connected_at.timestamp() <= since:
        lost_at = since - clock.wall() + clock.monotonic()
        return Pairing(made=True, lost_at=lost_at, said=known.unlinked_said)
    waits = row.status == Status.QR_SCANNING
    return Pairing(made=True, lost_at=clock.monotonic() if waits else None)


def _active(row: SessionRow) -> float:
    return row.last_activity.timestamp() if row.last_activity else 0.0


def _order(row: SessionRow) -> Moved:
    return Moved(priority=row.priority, active=_active(row))
