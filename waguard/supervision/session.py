"""One session: its lifecycle, its worker, and what the row and the world are told of it.

Everything here happens on the event loop, so a fact is taken and ``step`` is applied without a
gap; what takes time (a spawn, a stop, a write) is a task of its own that comes back with a fact.
What the database is told is ``ledger.py``'s.
"""

import asyncio
import contextlib
import functools
import signal
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loguru import logger

from waguard.core import takeover
from waguard.core.admission import Candidate, Cause, Wait
from waguard.core.announcements import announce
from waguard.core.exits import (
    EXIT_BROWSER_KILLED,
    EXIT_BROWSER_UNUSABLE,
    EXIT_MEANINGS,
    EXIT_PROFILE_HELD,
    EXIT_PROFILE_LOCKED,
)
from waguard.core.incidents import incident_event
from waguard.core.lifecycle import HAS_PROCESS, TRANSITIONS, WANTED_UP, Effect, Event, State, step
from waguard.core.link import Link
from waguard.core.outbox import number_of
from waguard.core.page_care import STUCK, passkey_words
from waguard.core.recycle import Size
from waguard.core.restart import GiveUp, RestartPolicy, Retries, decide, retry_delay
from waguard.core.status import (
    LEFT,
    LIVE_STATUSES,
    ParkCause,
    Reason,
    Standing,
    Status,
    Verdict,
    derive,
    understood,
)
from waguard.errors import UnacknowledgedError, UnavailableError, WaguardError, printable
from waguard.host import credentials, profiles
from waguard.host.credentials import Places
from waguard.host.lock import private_folder
from waguard.host.patience import patience
from waguard.ports import (
    AuditEntry,
    Process,
    SessionRow,
    Usage,
)
from waguard.supervision import shutdown, translate
from waguard.supervision.ack_watch import AckWatch
from waguard.supervision.admission import say_held_back
from waguard.supervision.faults import Faults
from waguard.supervision.intake import Intake
from waguard.supervision.ledger import Ledger
from waguard.supervision.limits import Limits
from waguard.supervision.page_care import PageCare, Seen
from waguard.supervision.surroundings import Surroundings
from waguard.supervision.undecryptable import Undecryptable
from waguard.supervision.worker_link import WorkerLink
from waguard.supervision.worker_spec import worker_spec
from waguard.wire import protocol
from waguard.wire.protocol import PROTOCOL, Heartbeat, Hello, Report, WorkerRecord, WorkerSpec

STOP_GRACE: Final = 12.0  # s; Browser.close has 5, TERM and KILL of its group follow
LAST_WORDS: Final = 1.0  # s; what a dead worker said last is still in the socket
ADOPTION_DEADLINE: Final = 5.0  # s that the row keeps its word while a worker is being adopted
LINK_DEADLINE: Final = 30.0  # s that the row keeps its word while the link is unknown
CATCH_UP_RETRY: Final = 5.0  # s
HELD_RETRY: Final = 10.0  # s until a profile that could not be used is looked at again
# not the session's fault, and no restart cures it: it waits until the cause is gone
HELD: Final = frozenset({EXIT_PROFILE_HELD, EXIT_PROFILE_LOCKED})
# the kernel may have ended it, or its browser, for its memory, which is not there for the next one
PERHAPS_OUT_OF_MEMORY: Final = frozenset({-signal.SIGKILL, EXIT_BROWSER_KILLED})
# of a worker that went on meanwhile: to the world nothing has happened
ADOPTION: Final = frozenset({Event.ADOPTED, Event.BECAME_READY})
# phases in which a start no longer needs a core: it waits for its page, or is through
# while the host lacks these, no QR code is what comes next
LACKING: Final = frozenset({Cause.EXECUTABLE, Cause.SESSIONS_FOLDER})
NEEDS_NO_CORE: Final = frozenset({"settling", "ready"})
HAS_BROWSER: Final = frozenset({"loading", *NEEDS_NO_CORE})


def describe_exit(code: int | None) -> str:
    """A worker's exit code in words."""
    if code is None:
        return "its exit code is unknown (adopted)"
    if code < 0:
        named = {number.value: number.name for number in signal.Signals}
        return f"the worker was ended by {named.get(-code, f'signal {-code}')}"
    return EXIT_MEANINGS.get(code, f"the worker failed with exit code {code}")


class Session:
    """A session in memory."""

    def __init__(self, row: SessionRow, around: Surroundings) -> None:
        self._around = around
        self._log = logger.bind(session=row.session_id)
        self.state = State.STOPPED
        self.parked: ParkCause | None = None
        self.report: Report | None = None
        self.heard_at: float | None = None
        """Monotonic time of the worker's last heartbeat or report."""
        self.page_seen_at: float | None = None
        """Monotonic time at which the page last answered."""
        self.showed_code = False
        """Somebody may have scanned it: it is not known yet which number is linked."""
        self.page_hopeless = False
        """While it is silent: nothing more can be done for it."""
        self.silence: str | None = None
        """What is silent now, in words."""
        now = around.clock.monotonic()
        self.in_state_since = self.link_since = self._code_at = self._busy_at = now
        self.restarts = self._calls = 0
        self.process: Process | None = None
        self.usage: Usage | None = None
        """As it was last measured."""
        self._wait: Wait | None = None
        self._failure = ""
        self._ended_at: float | None = None
        self._recycled_at: float | None = None
        self._link: WorkerLink | None = None
        self._link_told = Link.UNKNOWN
        self._details: str | None = None
        self._crashes, self._takeovers = list[float](), list[float]()
        self.retries = Retries()
        self._connected_since: float | None = None
        self._asked = self._planned = self._held = self._daemon_stopping = False
        # unusable: Chromium started for nobody; unseen: its profile is to be found before a start
        # adopting: its worker is an earlier daemon's, and how it stands is not known yet
        self._unusable = self._profile_unseen = self.adopting = self._adoption_overdue = False
        self._caught_up: tuple[int, Process | None, int] | None = None
        self.acks = AckWatch(
            around.clock,
            limit=lambda: around.config().send.ack_limit,
            since=self._acks_since,
            ask=self._ask_for_acks,
            note=self.note,
        )
        self.care = PageCare(around.clock, self)
        self.limits = Limits(
            row.session_id,
            row.limits,
            around.clock,
            phone=lambda: number_of(self.phone),
            write=functools.partial(around.store.keep_limits, row.session_id),
            moved=self._move,
        )
        self.faults = Faults(row.session_id, self.note)
        self._expects_qr = row.status == Status.QR_SCANNING or row.unpaired
        # the workspace in which its profile lies; the row's may be newer
        self._workspace, self.left = row.workspace_id, row.removed_at is not None
        """It was logged out or deleted; its worker, if it still lives, is on its way out."""
        self._verdict = (
            LEFT
            if self.left
            else understood(row.status, row.disconnect_reason, row.disconnect_details)
        )
        self._moved = asyncio.Event()
        self._backoff: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ledger = Ledger(
            row,
            around.store,
            around.clock,
            newest=lambda: (self._verdict, self.phone),
            moved=self._move,
            told=self._tell_incident,
        )
        self.undecryptable = Undecryptable(
            row.session_id,
            around,
            reread=self._reread,
            paired_at=self._paired_at,
            note=self.note,
        )
        self._intake = Intake(
            around,
            self._ledger,
            acked=self._acked,
            active=self._be_active,
            publish=self._publish,
            begin=self._task,
            undecryptable=self.undecryptable,
        )
        for keep in (self._ledger.rows, self._ledger.trail, self.limits.keep):
            self._task(keep(), keep.__name__)
        around.fleet.join(row.session_id, self)

    # ---- what others ask ----

    @property
    def row(self) -> SessionRow:
        """The row as it was last read."""
        return self._ledger.row

    @row.setter
    def row(self, row: SessionRow) -> None:
        self._ledger.row = row

    @property
    def link(self) -> Link:
        """How it stands with WhatsApp, as far as a ready worker says."""
        if self.state is State.RUNNING and self.report:
            return self.report.link
        return Link.UNKNOWN

    @property
    def lifecycle(self) -> str:
        """As the API shows it."""
        return "unknown" if self.adopting else str(self.state)

    @property
    def verdict(self) -> Verdict:
        """The status as it is, or will be as soon as the database takes it, in the row."""
        return self._verdict

    @property
    def row_pending(self) -> bool:
        """Whether the newest verdict is still on its way to the row."""
        return self._ledger.row_pending

    @property
    def details(self) -> str | None:
        """Why it is not well."""
        return self.waiting or self._details

    @property
    def waiting(self) -> str | None:
        """Why it waits for its start; None: it does not."""
        return self._wait.words if self._wait else None

    @property
    def waits_for(self) -> Cause | None:
        """The same without words."""
        return self._wait.cause if self._wait else None

    @property
    def held_by_fleet(self) -> bool:
        """Whether the fleet breaker keeps it down."""
        return self.waits_for is Cause.FLEET

    @property
    def idle(self) -> float | None:
        """Seconds since the last message or call; None: a call is under way."""
        return None if self._calls else self._around.clock.monotonic() - self._busy_at

    @property
    def process_groups(self) -> tuple[int, ...]:
        """Those of its worker and its browser."""
        browser = self.report.browser_pid if self.report else None
        return tuple(pid for pid in (self.process.pid if self.process else None, browser) if pid)

    @property
    def recycled(self) -> float | None:
        """Seconds since it was recycled; None: never."""
        return self._since(self._recycled_at)

    def _since(self, at: float | None) -> float | None:
        return None if at is None else self._around.clock.monotonic() - at

    def candidate(self) -> Candidate:
        """It, as one of those that are to start."""
        row, active = self.row, self.row.last_activity
        return Candidate(
            session=row.session_id,
            priority=row.priority,
            active=active.timestamp() if active else 0.0,
            asked=self._asked,
            ended=self._since(self._ended_at),
        )

    @property
    def paired(self) -> bool:
        """Whether it has a profile to miss, by its row."""
        row = self.row
        return row.status != Status.QR_SCANNING and not row.unpaired and row.removed_at is None

    def profile_left(self) -> bool | None:
        """Whether there is a profile, or a snapshot that may bring it back; None: the folder of all
        profiles cannot tell. Raises ``OSError`` where its own cannot be read."""
        try:
            left = credentials.something_left(self.at)
        except OSError:
            if self._around.admission.profiles_unknown:
                return None
            raise
        unknown = profiles.dangling(self.at.profile) or self._around.admission.profiles_unknown
        return left or (None if unknown else False)

    @property
    def at(self) -> Places:
        """Where its profile and the copies of it lie."""
        sessions = self._around.config().paths.sessions
        return credentials.places(sessions, self._workspace, self.row.session_id)

    def settle_profile(self) -> None:
        """Have its profile in the workspace of its row, before a start or after the last end.

        Only a paired session is given one that lies elsewhere: an old one of a new session's name
        may be another customer's. Raises ``OSError``.
        """
        sessions, row = self._around.config().paths.sessions, self.row
        before: int | None = self._workspace
        if before == row.workspace_id and self.paired and not self.profile_left():
            before = profiles.elsewhere(sessions, row.workspace_id, row.session_id)
        profiles.settle(sessions, row.workspace_id, row.session_id, before=before)
        if before not in {None, row.workspace_id}:
            self._log.warning("profile moved to another workspace", before=before)
        self._workspace = row.workspace_id

    def start(self, *, restart: bool = False, asked: bool = True) -> None:
        """Want it up; ``restart`` also replaces a living worker, which counts as no crash.

        ``asked``: by somebody outside, whom the fleet breaker does not stop.
        """
        self._daemon_stopping = self.left = False
        self._asked = asked
        self.retries = Retries()
        self._planned = (
            restart
            or self.state in {State.STOPPING, State.PARKING}
            or (self._planned and self.state is State.RECYCLING)
        )
        if self.state not in {State.STARTING, State.RUNNING, State.RECYCLING}:
            self._details = None
            self._crashes.clear()
            self._takeovers.clear()
            left = self.profile_left()
            self._profile_unseen = left is None
            self._expects_qr = left is False or self._expects_qr
        self.parked = None
        self._happen(Event.RESTART_REQUESTED if restart else Event.START_REQUESTED)

    def adopt(self, process: Process, record: WorkerRecord) -> None:
        """Take over a worker that an earlier daemon started."""
        self.process, self.adopting = process, True
        self._workspace = profiles.workspace_of(Path(record.profile), self._workspace)
        self._log.info("worker adopted", worker=process.pid)
        self._ledger.record("adopted", before=self.row.status)
        self._happen(Event.ADOPTED)
        self._task(self._await_adoption(), "adoption")
        self._task(self._await_exit(process), "exit")
        self._task(self._converse(process, record), "worker")

    async def _await_adoption(self) -> None:
        if not await self.settle(lambda s: not s.adopting, timeout=ADOPTION_DEADLINE):
            self.adopting, self._adoption_overdue = False, True
            self._judge()

    def leave(self) -> None:
        """Its row says that it was logged out or deleted, and so do we until the next start."""
        self.left = True
        self._judge()

    async def stop(self, *, daemon_stopping: bool = False) -> None:
        """Stop it in order and wait until worker and browser are gone."""
        self._daemon_stopping = daemon_stopping
        self.retries = Retries()
        if not daemon_stopping:
            self._details, self.parked = None, None
        if not daemon_stopping or self.state not in {State.STOPPED, State.PARKED}:
            self._happen(Event.STOP_REQUESTED)
        while self.state in HAS_PROCESS:
            await self.moved()

    def recycle(self, why: str) -> None:
        """Replace its worker, as planned."""
        self._details, self._recycled_at = why, self._around.clock.monotonic()
        self._log.warning("session recycled", why=why)
        self.acks.replaced()
        self.care.recycled()
        self.start(restart=True)
        self._ledger.record("recycled", reason=why)

    def reload(self, why: str) -> None:
        """Have its page loaded anew."""
        self._log.warning("page reloaded", why=why)
        self._ledger.record("reloaded", reason=why)
        self._task(self._reload(), "reload")

    async def _reload(self) -> None:
        try:
            if self._link:
                await self._link.call(protocol.Reload())
        except WaguardError as error:
            self._log.warning("page not reloaded", why=error.line())

    def measured(self, size: Size, *, limit: int) -> None:
        """Its memory was looked at; ``limit`` in MB."""
        if size is Size.BIG_AGAIN and self.usage:
            used = self.usage.memory
            why = f"recycling does not help: it uses {used >> 20} MB again, a moment after that"
            self.care.memory(f"{why}; worker.memory_limit is {limit} MB", used=used)
        elif size is Size.FITS:
            self.care.memory(None, used=None)

    def retry(self) -> None:
        """It spent its restarts a while ago: one more."""
        self.retries = Retries(self.retries.tries + 1, running=True)
        self._log.warning("parked session is tried again", tries=self.retries.tries)
        self._ledger.record("retried", reason=self._details)
        self._asked, self.parked = False, None
        self._happen(Event.START_REQUESTED)

    def _give_up(self, why: str) -> None:
        delay = retry_delay(
            self.retries.tries,
            first=self._around.config().restart.retry_parked,
            jitter=self._around.chance.random(),
        )
        due = self._around.clock.monotonic() + delay
        at = datetime.fromtimestamp(self._around.clock.wall() + delay, UTC)
        again = f"it is tried again at {at:%H:%M} UTC"
        self.park(ParkCause.RESTART_BUDGET, f"{why}: {self._details}; {again}", retry_at=due)

    def park(self, cause: ParkCause, details: str, *, retry_at: float | None = None) -> None:
        """Give up until a person acts, or until ``retry_at`` (monotonic time)."""
        self.parked, self._details = cause, details
        self.retries = Retries(self.retries.tries, retry_at)
        self._log.error("session parked", cause=str(cause), details=details)
        self._ledger.record("parked", reason=str(cause), evidence={"details": details})
        self._happen(Event.PARK)

    def unhealthy(self, why: str) -> None:
        """Replace the worker: it hangs, or did not become ready."""
        if Event.BECAME_UNHEALTHY in TRANSITIONS[self.state]:
            self._details = why
            ready = self.state is State.RUNNING
            self._failure = "a worker or its page hung" if ready else "it did not become ready"
            self._log.error("session unhealthy", why=why, state=str(self.state))
            self._happen(Event.BECAME_UNHEALTHY)

    async def moved(self) -> None:
        """Wait for the next change of anything here."""
        await self._moved.wait()

    async def settle(self, settled: Callable[["Session"], bool], *, timeout: float) -> bool:
        """Wait until ``settled`` or the deadline; whether it was."""
        try:
            async with patience(timeout):
                while not settled(self):
                    await self.moved()
        except TimeoutError:
            return settled(self)
        return True

    async def call(self, call: protocol.Call) -> protocol.Sent | protocol.Value:
        """Have the worker do it now. Raises ``UnavailableError`` when there is none, or WhatsApp grants
        no more of it for now."""
        if self._link is None:
            raise UnavailableError(f"Session not ready: it is {self.state}", retry_after=2)
        self._calls += 1
        began = self._around.clock.monotonic()
        try:
            outcome = await self.limits.call(self._link, call)
        except UnacknowledgedError as error:
            message_id = str(error.value)
            self.acks.sent(message_id, began, first_contact=self.limits.is_silent(message_id))
            raise
        else:
            if isinstance(outcome, protocol.Sent):
                self.acks.acknowledged()
            return outcome
        finally:
            self._calls -= 1
            self._busy_at = self._around.clock.monotonic()

    async def written(self) -> None:
        """Wait until the database has the newest verdict, every audit entry, and what WhatsApp grants no
        more of."""
        while self.row_pending or self._ledger.unrecorded or self.limits.pending:
            await self.moved()

    async def forget(self) -> None:
        """End every task of this session; call after ``stop``."""
        if self._ledger.unrecorded:
            self._log.error("audit entries lost", count=self._ledger.unrecorded)
        self._around.fleet.leave(self.row.session_id, self)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- the machine ----

    def _happen(self, event: Event) -> None:
        before = self.state
        self.state, effects = step(before, event)
        if self.state is not before:
            self.in_state_since = self._around.clock.monotonic()
            self._wait = None
            self._log.debug(
                "lifecycle", before=str(before), after=str(self.state), because=str(event)
            )
            if not (self.adopting and event in ADOPTION):
                self._publish("lifecycle", {"from": before, "to": self.state, "because": event})
        for effect in effects:
            self._apply(effect)
        self._judge()

    def _apply(self, effect: Effect) -> None:
        match effect:
            case Effect.SPAWN:
                self.report = None
                self._planned = False  # whatever was planned for the one before
                self._around.admission.ask(self.row.session_id, self)
            case Effect.TERMINATE:
                if self.process:
                    self._task(self._end(self.process), "stop")
                elif self._around.admission.withdraw(self.row.session_id):
                    # it was never started: after this step, as its end is another event
                    asyncio.get_running_loop().call_soon(self._happen_if, Event.EXITED)
            case Effect.ARM_BACKOFF:
                # after this step: the decision may be another event
                asyncio.get_running_loop().call_soon(self._arm_backoff)
            case Effect.DISARM_BACKOFF:
                if self._backoff:
                    self._backoff.cancel()
                    self._backoff = None

    def _arm_backoff(self) -> None:
        if self.state is not State.BACKOFF:
            return
        loop = asyncio.get_running_loop()
        if self._planned:
            self._planned = False
            self._backoff = loop.call_later(0, self._happen_if, Event.BACKOFF_ELAPSED)
            return
        if self._held:
            self.retries = Retries(self.retries.tries)  # others get their turn meanwhile
            self._log.warning("waiting for its folders", delay=HELD_RETRY, why=self._details)
            self._backoff = loop.call_later(HELD_RETRY, self._happen_if, Event.BACKOFF_ELAPSED)
            return
        if self._unusable:
            self.retries = Retries(self.retries.tries)
            self._log.warning("waiting for Chromium", why=self._details)
            self._backoff = loop.call_later(0, self._happen_if, Event.BACKOFF_ELAPSED)
            return
        self._asked = False
        self._around.fleet.failed(self.row.session_id, self._failure)
        if self._around.fleet.open:
            self._hold()
            return
        settings = self._around.config().restart
        policy = RestartPolicy(
            intensity=settings.intensity,
            period=settings.period,
            base_delay=settings.base_delay,
            max_delay=settings.max_delay,
        )
        now = self._around.clock.monotonic()
        if self.retries.running:
            self._give_up("another try did not help")
            return
        verdict = decide(policy, self._crashes, now=now, jitter=self._around.chance.random())
        if isinstance(verdict, GiveUp):
            self._give_up(f"{verdict.restarts} restarts in {settings.period:g} s did not help")
            return
        self._crashes.append(now)
        self.restarts += 1
        self._log.warning("restarting", delay=round(verdict.delay, 2), why=self._details)
        self._ledger.record("restart", reason=self._details, evidence={"delay": verdict.delay})
        self._backoff = loop.call_later(verdict.delay, self._end_backoff)

    def _end_backoff(self) -> None:
        if self._around.fleet.open:  # since this one failed
            self._backoff = None
            self._hold()
        else:
            self._happen_if(Event.BACKOFF_ELAPSED)

    def _hold(self) -> None:
        """Stay in backoff until the fleet breaker says otherwise."""
        self._wait = Wait(Cause.FLEET, self._around.fleet.open or "")
        self._log.warning("restart waits for the fleet breaker", why=self._details)
        self._judge()

    def resume(self) -> None:
        """The fleet breaker holds it no more; this restart is not counted against it."""
        if not self.held_by_fleet:
            return
        self._asked = True
        if self.state is State.BACKOFF:
            self.restarts += 1
            self._ledger.record("restart", reason=self._details)
            self._happen(Event.BACKOFF_ELAPSED)

    def on_admitted(self) -> None:
        """It has a place, and its time begins."""
        waited, self._wait = self._wait, None
        self.in_state_since = self._around.clock.monotonic()
        self._task(self._run_worker(), "spawn")
        if waited:
            self._judge()

    def on_held_back(self, wait: Wait) -> None:
        """Only another cause is news to the row; numbers change all the time."""
        before, self._wait = self.waits_for, wait
        if wait.cause is Cause.SESSIONS_FOLDER:
            self._profile_unseen = self.paired
        if before is not wait.cause:
            say_held_back(self.row.session_id, wait)
            self._judge()

    def _happen_if(self, event: Event) -> None:
        """For timers: the state may have moved on."""
        self._backoff = None
        if event in TRANSITIONS[self.state]:
            self._happen(event)

    def _judge(self) -> None:
        """Derive link and status, and tell the world what changed."""
        if self.link is not self._link_told:
            self._on_link(self._link_told)
        if self.link is not Link.UNKNOWN or self.state not in {State.STARTING, State.RUNNING}:
            self.adopting = self._adoption_overdue = False
        standing = Standing(
            state=self.state,
            link=self.link,
            parked=self.parked,
            daemon_stopping=self._daemon_stopping,
            left=self.left,
            expects_qr=self._expects_qr and self.waits_for not in LACKING,
            details=printable(self._told_details or "") or None,
            adopting=self.adopting,
            retrying=self.retries.running,
            link_overdue=self._adoption_overdue or self.link_unknown_for > LINK_DEADLINE,
        )
        verdict = derive(standing)
        if verdict is not None and verdict != self._verdict:
            before, self._verdict = self._verdict, verdict
            self._ledger.write()
            if before.status != verdict.status or before.reason != verdict.reason:
                self._log.info(
                    "status",
                    before=str(before.status),
                    after=str(verdict.status),
                    why=verdict.details,
                )
                self._ledger.record(
                    "status",
                    before=str(before.status),
                    after=str(verdict.status),
                    reason=verdict.details,
                )
            for event, data in announce(before, verdict, phone=self.phone):
                self._publish(event, data)
        if not self._needs_core:
            self._around.admission.give_back(self.row.session_id)
        self._move()

    @property
    def _told_details(self) -> str | None:
        if self.passkey:
            return f"passkey_required: {self.passkey}"
        reported = self.report.details if self.report else None
        if self.link is Link.OFFLINE:  # why it was started is over
            return self._around.fleet.network_down or reported or self.details
        return self.details or reported

    def on_network(self) -> None:
        """See ``fleet.Member``."""
        self._judge()

    @property
    def _needs_core(self) -> bool:
        """Whether its start still keeps the cores from the next one."""
        through = self.report is not None and self.report.phase in NEEDS_NO_CORE
        return self.state is State.STARTING and not through

    @property
    def link_unknown_for(self) -> float:
        """Seconds since which a ready worker has not said how it stands with WhatsApp."""
        if self.state is not State.RUNNING or self.link is not Link.UNKNOWN:
            return 0.0
        return self._around.clock.monotonic() - max(self.link_since, self.in_state_since)

    @property
    def no_code_for(self) -> float | None:
        """Seconds since the newest QR code came; None while it waits for no scan."""
        if self.link is not Link.QR_PENDING or self.state is not State.RUNNING:
            return None
        return self._around.clock.monotonic() - max(self._code_at, self.link_since)

    def stood_still(self, seconds: float) -> None:
        """The daemon could hear nobody for so long: no layer's silence has grown meanwhile."""
        now = self._around.clock.monotonic()
        self.in_state_since = min(now, self.in_state_since + seconds)
        self.link_since = min(now, self.link_since + seconds)
        self._code_at = min(now, self._code_at + seconds)
        if self.heard_at is not None:
            self.heard_at = min(now, self.heard_at + seconds)
        if self.page_seen_at is not None:
            self.page_seen_at = min(now, self.page_seen_at + seconds)

    def silent(self, why: str | None) -> None:
        """A tick: what is silent now, None: all layers are heard. Nothing is done yet."""
        if why == self.silence:
            return
        self.silence = why
        if why:
            evidence = self.report.silence if self.report else None
            self._log.warning("silence", why=why, evidence=evidence)
        else:
            self._log.info("heard again")

    def look(self) -> None:
        """A tick: that the link is unknown is no change, but it has a deadline; acks have theirs."""
        if self.link_unknown_for > LINK_DEADLINE:
            self._judge()
        if self.state is State.RUNNING and self.link is Link.CONFLICT:
            self._answer_conflict()
        self.acks.tick(self._task)
        self.undecryptable.tick(self._task)
        self._care_for_page()

    def _care_for_page(self) -> None:
        if self.state is State.RUNNING and self.report:
            seen = Seen(
                report=self.report,
                link=self.link,
                link_for=self._around.clock.monotonic() - self.link_since,
                stuck=self._stuck_for,
                unsure=self._around.fleet.network_unsure,
                idle=self.idle,
                acks_in_vain=self.acks.in_vain,
                undecryptable=self.undecryptable.condition,
                undecryptable_since=self.undecryptable.since,
                first_contacts=self.limits.pause,
            )
            self.care.tick(seen)
        elif self.state not in WANTED_UP:
            self.care.forget()

    @property
    def passkey(self) -> str | None:
        """That its linking waits for the account's passkey, in words."""
        until = self.report.passkey_until if self.report else None
        waits = until is not None and self.link is Link.PASSKEY_REQUIRED
        return passkey_words(until) if until is not None and waits else None

    @property
    def _stuck_for(self) -> float | None:
        """Seconds offline, pairing or synchronizing while the network was there, or may have been;
        None: it is not, or neither of these."""
        fleet = self._around.fleet
        network = self.link_since if fleet.network_unsure else fleet.network_since
        if self.link not in STUCK or network is None:
            return None
        return self._around.clock.monotonic() - max(self.link_since, network)

    def note(self, kind: str, **about: Any) -> None:
        """Put an entry on its audit trail; ``about`` as ``Ledger.record`` has it."""
        self._ledger.record(kind, **about)

    def correct_row(self, said: SessionRow) -> None:
        """Write the row again: somebody else changed it, or it promises what is not so."""
        if self.state is State.STOPPED and self._verdict.status in LIVE_STATUSES:
            self._verdict = Verdict(Status.DISCONNECTED, Reason.UNKNOWN, "no worker runs")
        self._ledger.record(
            "row_corrected",
            before=said.status,
            after=str(self._verdict.status),
            reason=self._verdict.details or "the row said something else than what is so",
            evidence={"lifecycle": str(self.state), "link": str(self.link)},
        )
        if self._verdict.status is Status.CONNECTED:
            for event, data in announce(None, self._verdict, phone=self.phone):
                self._publish(event, data)
        self._ledger.write()

    def restore_number(self) -> None:
        """Write the row again, which has lost its phone number; to the world nothing has happened."""
        status = str(self._verdict.status)
        self._ledger.record(
            "row_corrected", before=status, after=status, reason="its phone number was missing"
        )
        self._ledger.write()

    def _move(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    @property
    def linked(self) -> str | None:
        """Digits of the number that its worker says it is linked to, while it is connected."""
        return self.report.phone if self.report and self.link is Link.CONNECTED else None

    @property
    def phone(self) -> str | None:
        """Digits of the linked number, from the worker or else from the row."""
        return (self.report and self.report.phone) or self.row.phone_number

    # ---- the worker ----

    async def _run_worker(self) -> None:
        around = self._around
        try:
            self.settle_profile()
            spec = worker_spec(self.row, self.at, around.config(), instance=around.instance)
            if self._waits_for_its_disk() or self._misses_its_profile():
                return
            if not self._has_runtime(spec) or not await self._sweep(spec):
                return
            process = await self._around.spawn.spawn(spec)
        except Exception as error:  # noqa: BLE001 - without an exit it would be starting for ever
            self._details = error.line() if isinstance(error, WaguardError) else str(error)
            self._failure = "no worker could be started"
            self._held = self._unusable = False  # of the worker before
            self._log.opt(exception=error).error("worker not started", why=self._details)
            self._happen(Event.EXITED)
            return
        self.process = process
        self.heard_at = self.page_seen_at = self._around.clock.monotonic()
        self._log.info("worker started", worker=process.pid)
        self._task(self._await_exit(process), "exit")
        if self.state is not State.STARTING:  # stopped while it was being started
            self._task(self._end(process), "stop")
        await process.listening()
        await self._converse(process, spec)

    def _waits_for_its_disk(self) -> bool:
        """Whether its profile is a link to what is not there; no restart is spent."""
        if (link := profiles.dangling(self.at.profile)) is None:
            return False
        self._held, self._details = True, f"{link} links to {link.readlink()}, which is not there"
        self._details += ": mount its disk"
        self._happen(Event.EXITED)
        return True

    def _misses_its_profile(self) -> bool:
        """Whether the folder of all profiles has come back without its own, so it is parked."""
        unseen, self._profile_unseen = self._profile_unseen, False
        if not unseen or not self.paired or credentials.something_left(self.at):
            return False
        self.park(ParkCause.PROFILE_MISSING, f"profile missing: {self.at.profile}")
        self._happen(Event.EXITED)
        return True

    def _has_runtime(self, spec: WorkerSpec) -> bool:
        """False: its folder was removed and cannot be made anew, so it waits; no restart is spent."""
        try:
            private_folder(Path(spec.record).parent)
        except OSError as error:
            self._held = True
            self._details = f"paths.runtime cannot be used: {error.strerror}"
            self._happen(Event.EXITED)
            return False
        return True

    async def _sweep(self, spec: WorkerSpec) -> bool:
        """End what a dead worker left on this profile; False: a stranger uses it, so it waits."""
        swept = await self._around.spawn.sweep(records=spec.record, profiles=spec.profile)
        for stray in swept.ended:
            self._ledger.record("stray_ended", reason=stray.command, evidence={"pid": stray.pid})
        self._held = bool(swept.foreign)
        if swept.foreign:
            self._details = str(swept.foreign[0])
            self._happen(Event.EXITED)
        return not swept.foreign

    async def _converse(self, process: Process, worker: WorkerSpec | WorkerRecord) -> None:
        hello = Hello(
            protocol=PROTOCOL,
            instance=self._around.instance,
            session=worker.session,
            generation=worker.generation,
        )
        try:
            link = await WorkerLink.connect(
                Path(worker.socket), hello, lambda message: self._take(process, message)
            )
        except WaguardError as error:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await process.wait()  # its exit code tells more
                    return
            if self.process is process:
                self._log.warning("worker does not listen", worker=process.pid, why=str(error))
                self.unhealthy(f"the worker does not listen: {error}")
            return
        self._link = link
        self._move()
        try:
            await link.listen()
        finally:
            if self._link is link:
                self._link = None
        if link.nonsense and self.process is process:
            self._log.error("worker talks nonsense", worker=process.pid, why=link.nonsense)
            self.unhealthy(f"the worker talks nonsense: {link.nonsense}")
        elif self._intake.left_with(link) and self.process is process:
            self._task(self._converse(process, worker), "worker")

    async def _await_exit(self, process: Process) -> None:
        standstill = self._task(self._await_standstill(process), "standstill")
        code = await process.wait()
        standstill.cancel()
        if self._link:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._link.ended.wait()
        if self.process is not process:
            return
        self.process, self._link = None, None
        unplanned = not self._planned and self.state in {State.STARTING, State.RUNNING}
        killed = unplanned and code in PERHAPS_OUT_OF_MEMORY
        self.usage, self._ended_at = None, None if killed else self._around.clock.monotonic()
        if unplanned:
            self._failure = describe_exit(code)
            told = self.report.details if self.report else None
            self._details = told or describe_exit(code)
        self._log.info("worker exited", worker=process.pid, code=code, meaning=describe_exit(code))
        self.report = None
        self._connected_since = None
        self._held = code in HELD
        self._unusable = code == EXIT_BROWSER_UNUSABLE
        if self._unusable:
            self._around.admission.browser_failed(self._details or describe_exit(code))
        self._happen(Event.EXITED)

    async def _await_standstill(self, process: Process) -> None:
        await process.stopped()
        self._log.error("worker stands still", worker=process.pid)
        self.unhealthy("the worker was stopped (SIGSTOP)")
        process.kill()  # it hears nothing less; its Chromium is killed with it

    async def _end(self, process: Process) -> None:
        code = await shutdown.stop(process, grace=STOP_GRACE)
        self._log.debug("worker stopped", worker=process.pid, code=code)

    # ---- what the worker tells ----

    def _take(self, process: Process, message: Report | Heartbeat | protocol.Event) -> None:
        try:
            self._take_from(process, message)
        except Exception as error:  # noqa: BLE001 - one odd message must not cost the session
            self._log.opt(exception=error).critical("a bug in waguard", told=type(message).__name__)

    def _take_from(self, process: Process, message: Report | Heartbeat | protocol.Event) -> None:
        if isinstance(message, protocol.Event):
            self._intake.take(message, self._link)
            return
        if self.process is not process:  # the last words of one that is gone
            return
        self.heard_at = self._around.clock.monotonic()
        match message:
            case Heartbeat(page=page, hopeless=hopeless):
                self.page_hopeless = hopeless
                if page is not None:
                    self.page_seen_at = self.heard_at
                self._forgive()
            case Report():
                self._take_report(message)

    def _take_report(self, report: Report) -> None:
        qr_before = self.report.qr if self.report else None
        self.report = report
        self.showed_code = (self.showed_code or report.qr is not None) and not report.phone
        if report.qr is not None and report.qr != qr_before:
            self._code_at = self._around.clock.monotonic()
        if report.phase in HAS_BROWSER and self.state is State.STARTING:
            self._around.admission.browser_started(self.row.session_id)
        if report.phase == "ready" and self.state is State.STARTING:
            self.page_seen_at = self.heard_at
            self._happen(Event.BECAME_READY)
        if self.link is Link.CONNECTED:
            self.limits.said(report.locked_until)
        shows_code = self.link is Link.QR_PENDING and not self.left  # the end of an unlink
        if report.qr is not None and report.qr != qr_before and shows_code:
            self._publish(
                "qr_code_generated", translate.qr_code(report.qr, self._around.clock.wall())
            )
        if report.phone and report.phone != self.row.phone_number and self.link is Link.CONNECTED:
            self._ledger.write()
        self._judge()
        self._park_where_a_restart_cures_nothing(report)
        seen = (report.generation, self.process, report.loads)
        if self.link is Link.CONNECTED and seen != self._caught_up:
            self._caught_up = seen
            self._task(self._catch_up(), "catch up")

    async def _catch_up(self) -> None:
        """Have the worker tell what came in while nobody listened, once after each load."""
        seen, process, asked, told_to_go_on = self._caught_up, self.process, None, False
        while self._caught_up == seen and self.process is process:
            if (link := self._link) is None or self.link is not Link.CONNECTED:
                await self.moved()
                continue
            try:
                if (left := self._intake.deferred(self.at.profile)) > 0:
                    if not told_to_go_on:
                        await link.call(protocol.GoOn())
                        told_to_go_on = True
                    await asyncio.sleep(min(left, CATCH_UP_RETRY))
                    continue
                # once: what comes meanwhile is newer than what is still missed
                asked = asked or await self._intake.missed(self.at.profile)
                await link.call(asked)  # by itself, so the session is no less idle
            except WaguardError as error:
                self._log.warning("missed messages not read, trying again", why=error.line())
                await asyncio.sleep(CATCH_UP_RETRY)
            else:
                return

    def _acked(self, ids: Iterable[str], refused: bool | None) -> None:  # noqa: FBT001 - a callback
        self.acks.acknowledged(ids)
        if refused is not None:
            self.limits.answered(ids, refused=refused)

    def _acks_since(self) -> float | None:
        network = self._around.fleet.network_since
        if self.link is not Link.CONNECTED or network is None:
            return None
        return max(self.link_since, network)

    def _paired_at(self) -> float | None:
        return credentials.paired_at(self.at.profile)

    async def _reread(self, call: protocol.Reread) -> protocol.Sent | protocol.Value:
        if self._link is None:
            raise UnavailableError("its worker is not there")
        return await self._link.call(call)  # by itself, so the session is no less idle

    async def _ask_for_acks(self, call: protocol.Acks) -> dict[str, int]:
        if self._link is None:
            raise UnavailableError("its worker is not there")
        told = await self._link.call(call)
        return (told.acks if isinstance(told, protocol.Value) else None) or {}

    def _on_link(self, before: Link) -> None:
        self._link_told = self.link
        self.link_since = self._around.clock.monotonic()
        self.undecryptable.link_is(connected=self.link is Link.CONNECTED)
        self._log.info("link", before=str(before), after=str(self.link))
        said = (self._verdict.status, self.link)
        if not (self.adopting and said == (Status.CONNECTED, Link.CONNECTED)):
            self._publish("link", {"from": before, "to": self.link})
        self._connected_since = None
        if self.link is Link.CONNECTED:
            self._connected_since = self._around.clock.monotonic()
            self._details, self._expects_qr = None, False
        if self.link is Link.QR_PENDING:
            self._details, self._expects_qr = None, True
            self.acks.forget()
        if self.link is not Link.UNKNOWN:
            self.retries = Retries(self.retries.tries)
            self._around.fleet.came_up(self.row.session_id)

    def _park_where_a_restart_cures_nothing(self, report: Report) -> None:
        if self.state is not State.RUNNING:
            return
        if self.link is Link.CONFLICT:
            self._answer_conflict()
        elif self.link is Link.BLOCKED:
            why = report.details or "WhatsApp blocks this session"
            outdated = why == "DEPRECATED_VERSION"
            self.park(ParkCause.NEEDS_UPDATE if outdated else ParkCause.BLOCKED, why)
        elif report.qr_idle:
            self.park(ParkCause.QR_EXPIRED, "no one scanned the QR codes that were shown")

    def _answer_conflict(self) -> None:
        """Another client of this device took the session: take it back, or park it."""
        elsewhere = "WhatsApp Web is open elsewhere with this device"
        if self._around.config().whatsapp.on_conflict == "park":
            self.park(ParkCause.CONFLICT, elsewhere)
            return
        now = self._around.clock.monotonic()
        self._takeovers = takeover.recent(self._takeovers, now=now)
        match takeover.answer(self._takeovers, now=now):
            case takeover.Answer.TAKE_OVER:
                self._takeovers.append(now)
                self._log.warning("another client took the session, taking it back")
                self._ledger.record("taken_over", reason=elsewhere)
                self._task(self._take_over(), "takeover")
            case takeover.Answer.PARK:
                count, minutes = len(self._takeovers), takeover.PERIOD / 60
                why = f"{elsewhere}: it was taken back {count} times in {minutes:g} min"
                self.park(ParkCause.CONFLICT, why)
            case takeover.Answer.WAIT:
                pass

    async def _take_over(self) -> None:
        try:
            if self._link:
                await self._link.call(protocol.TakeOver())
        except WaguardError as error:  # a tick tries again
            self._log.warning("not taken back", why=error.line())

    def _forgive(self) -> None:
        """Old crashes no longer count after a long time connected."""
        stable_after = self._around.config().restart.stable_after
        since = self._connected_since
        if since is not None and self._around.clock.monotonic() - since > stable_after:
            self._crashes.clear()
            self.retries = Retries()

    def _be_active(self) -> None:
        self._busy_at = self._around.clock.monotonic()

    # ---- the world ----

    def _publish(self, event: str, data: Any, *, stored: bool = False) -> None:
        row = self.row
        self._around.bus.publish(event, row.session_id, row.workspace_id, data, stored=stored)

    def _tell_incident(self, entry: AuditEntry) -> None:
        if event := incident_event(entry):
            self._publish("incident", event)

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self.row.session_id}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.opt(exception=error).critical("a bug in waguard", task=task.get_name())
