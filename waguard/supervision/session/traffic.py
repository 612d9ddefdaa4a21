"""One session's messages and calls: data that no decision sees, and what decisions must know of it.

Acks that do not come, first contacts that WhatsApp refuses, messages that cannot be decrypted: each has
its own keeper here, and what it finds is posted as a fact when it changes.
"""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator

from loguru import logger

from waguard.core.fleet.facts import AcksSeen, FleetFact
from waguard.core.link import Link
from waguard.core.messages.first_contact_pauses import Cause
from waguard.core.messages.message_ids import parse
from waguard.core.page_care import Kind
from waguard.core.replace import replace
from waguard.core.session import views
from waguard.core.session.facts import Fact, LoggedOut, Noticed
from waguard.core.session.state import SessionState
from waguard.errors import UnavailableError, WaguardError, one_line
from waguard.ports.outcomes import Acked, NotSent, Outcome, Uncertain
from waguard.supervision.session import kept_screenshots
from waguard.supervision.session.ack_watch import AckWatch
from waguard.supervision.session.asking import Asking
from waguard.supervision.session.backfiller import Backfiller
from waguard.supervision.session.deaf_watch import DeafWatch
from waguard.supervision.session.intake import Intake
from waguard.supervision.session.receipt_backfill import ReceiptBackfill
from waguard.supervision.session.sentinel import Sentinel
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import SessionProfile
from waguard.supervision.session.status_publisher import StatusPublisher
from waguard.supervision.session.tasks import Begin
from waguard.supervision.session.throw_watch import ThrowWatch
from waguard.supervision.session.undecryptable import Undecryptable
from waguard.supervision.session.whatsapp_quotas import Limits
from waguard.supervision.session.worker_link import WorkerLink
from waguard.wire import calls, reports


class Traffic:
    """``state`` and ``link`` are the newest; ``post`` takes facts, ``begin`` runs a task, ``changed`` wakes
    whoever awaits ``moved``, the next change of the session."""

    def __init__(  # noqa: PLR0913 - what messages need from outside
        self,
        ctx: SessionContext,
        publisher: StatusPublisher,
        profile: SessionProfile,
        *,
        state: Callable[[], SessionState],
        link: Callable[[], WorkerLink | None],
        post: Callable[[Fact | FleetFact], None],
        begin: Begin,
        changed: Callable[[], None],
        moved: Callable[[], Awaitable[None]],
    ) -> None:
        row, writer = publisher.writer.row, publisher.writer
        self._name, self._record = row.session_id, writer.record
        self._ctx = ctx
        self._state = state
        self._link = link
        self._post = post
        self._begin = begin
        self._log = logger.bind(session=row.session_id)
        self._calls = 0
        self.transfers = 0
        """Large files that are on their way, in or out."""
        self._busy_at = ctx.clock.monotonic()
        self._acks_seen = AcksSeen()
        self.acks = AckWatch(
            row.session_id,
            ctx.clock,
            limit=lambda: ctx.config().send.ack_limit,
            since=self._acks_since,
            ask=self._ask,
            note=writer.record,
        )
        self.throws = ThrowWatch(
            row.session_id, ctx.clock, since=self._acks_since, note=writer.record
        )
        self.deaf = DeafWatch(
            row.session_id,
            ctx.clock,
            since=self._events_since,
            ask=lambda call: self._ask(self.backfiller.paced(call)),
            record=writer.record,
        )
        self.sentinel = Sentinel(
            row.session_id,
            ctx.clock,
            config=ctx.config,
            since=self._acks_since,
            phone=lambda: state().number,
            send=self.send,
            note=writer.record,
        )
        self.limits = Limits(
            row.session_id,
            row.limits,
            ctx.clock,
            phone=lambda: state().number,
            write=functools.partial(ctx.store.keep_limits, row.session_id),
            retry=ctx.timings.write_retry,
            moved=changed,
        )
        self._asking = Asking(row.session_id, self.limits)
        self.undecryptable = Undecryptable(
            row.session_id,
            ctx,
            reread=self._ask,
            paired_at=lambda: _paired_at(profile),
            note=writer.record,
        )
        receipts = ReceiptBackfill(ctx, self._name, lambda event: self.intake.handle(event, None))
        self.backfiller = Backfiller(
            ctx, profile, state=state, link=link, begin=begin, moved=moved, receipts=receipts
        )
        self.intake = Intake(
            ctx,
            writer,
            acked=self._acked,
            active=self._be_active,
            logged_out=lambda reason: post(LoggedOut(reason)),
            deaf=self.deaf,
            begin=begin,
            undecryptable=self.undecryptable,
            owe=self.backfiller.owe,
        )

    @property
    def idle(self) -> float | None:
        """Seconds since the last message or call; None: a call is under way."""
        return None if self._calls else self._ctx.clock.monotonic() - self._busy_at

    async def send(self, call: calls.Send) -> Outcome:
        """Have the worker send it now."""
        try:
            link = self._ready_link()
        except UnavailableError as error:
            return NotSent(error)
        began = self._ctx.clock.monotonic()
        with self._under_way(call):
            outcome = await self.limits.send(link, call)
            if isinstance(call, calls.SendContent) and call.target:
                return outcome  # it proves nothing of what becomes of messages
            if outcome.thrown:
                self.throws.threw(call.chat, outcome.thrown)
            match outcome:
                case Acked():
                    self.intake.touch()
                    self.acks.acknowledged(began=began)
                    self.throws.acknowledged(call.chat, began)
                case Uncertain(at_page=True):
                    silent = self.limits.is_silent(call.message_id)
                    self.acks.sent(call.message_id, began, first_contact=silent)
                case _:
                    pass
        return outcome

    async def call(self, call: calls.Operation) -> calls.Value:
        """Have the worker do it now. Raises ``UnavailableError`` when there is none, or WhatsApp grants
        no more of it for now."""
        link = self._ready_link()
        with self._under_way(call):
            if isinstance(call, calls.PairingCode):
                return await self.limits.code(link, call)
            if isinstance(call, calls.Ask):
                return await self._asking.ask(link, call)
            return await link.call(call)

    @contextlib.contextmanager
    def _under_way(self, call: calls.Call) -> Iterator[None]:
        transfers = int(isinstance(call, calls.SendFile | calls.FetchFile))
        self._calls += 1
        self.transfers += transfers
        try:
            yield
        finally:
            self._calls -= 1
            self.transfers -= transfers
            self._be_active()
            if self._ctx.shipping:
                self._ctx.shipping.changed(self._name)

    def _ready_link(self) -> WorkerLink:
        if (link := self._link()) is None:
            now = views.lifecycle(self._state())
            raise UnavailableError(f"Session not ready: it is {now}", retry_after=2)
        return link

    def link_changed(self, link: Link) -> None:
        """The session's link to WhatsApp has changed."""
        self.undecryptable.link_is(connected=link is Link.CONNECTED)
        if link is Link.QR_PENDING:
            self.acks.forget()
            self.throws.forget()

    def replaced(self) -> None:
        """The worker is replaced, as planned."""
        self.acks.replaced()
        self.throws.replaced()

    def reported(self, report: reports.Report) -> None:
        """What its page says of WhatsApp's limits, and which calls its worker knows."""
        self._asking.answers = report.answers
        if views.link(self._state()) is Link.CONNECTED:
            self.limits.said(report.locked_until)

    def tick(self) -> None:
        """Acks and messages that could not be decrypted have deadlines of their own."""
        pause, unread = self.limits.pause, self.undecryptable
        if pause is not None and pause.cause is Cause.LOCKED:
            self.acks.explain_first_contacts()
        self.acks.tick(self._begin)
        self.undecryptable.tick(self._begin)
        self.deaf.tick(self._begin)
        self.sentinel.tick(self._begin)
        self._post_acks()
        in_vain = self.acks.in_vain
        self._post_condition(Noticed(kind=Kind.ACKS_IN_VAIN, message=in_vain))
        words = unread.condition
        self._post_condition(Noticed(kind=Kind.UNDECRYPTABLE, message=words, since=unread.since))
        self._post_condition(
            Noticed(
                kind=Kind.FIRST_CONTACTS_PAUSED,
                message=None if pause is None else str(pause),
                since=pause.since if pause else None,
                until=pause.until if pause else None,
            )
        )

    def _post_condition(self, noticed: Noticed) -> None:
        """Conditions are of a page that runs: what is stopped or parked has none."""
        state = self._state()
        found = state.care.found.get(noticed.kind)
        known = (found.message, found.until) if found else (None, None)
        if views.link(state) is not Link.UNKNOWN and (noticed.message, noticed.until) != known:
            self._post(noticed)

    def _post_acks(self) -> None:
        acks, throws, versions = self.acks, self.throws, self._ctx.versions
        seen = AcksSeen(
            late=throws.shown or acks.late,
            curable=throws.curable or acks.curable,
            overdue=acks.overdue,
            acked_at=acks.proved_at,
            in_vain=throws.in_vain or acks.in_vain is not None,
            on_trial=throws.on_trial or acks.on_trial,
            busy=self._calls > 0,
        )
        if seen != AcksSeen():  # for one of which nothing is known it makes no difference
            seen = replace(
                seen,
                versions_decide=versions.cures(self._name),
                other_arm=versions.has_other_arm(self._name),
            )
        if seen != self._acks_seen:
            self._acks_seen = seen
            self._post(seen)

    # ---- screenshots ----

    def keep_screenshot(self) -> None:
        """Have a picture of the page kept."""
        self._begin(self._keep_screenshot(), "screenshot")

    async def _keep_screenshot(self) -> None:
        folder = self._ctx.config().paths.state / kept_screenshots.FOLDER
        try:
            content = (await self._ask(calls.Screenshot())).content
            if not content:
                raise UnavailableError("the worker sent no picture")
            if len(content) > kept_screenshots.LARGEST:
                raise UnavailableError(f"the picture has {len(content)} bytes")
            now = self._ctx.clock.wall()
            kept = await asyncio.to_thread(
                kept_screenshots.keep, folder, self._name, content, now=now
            )
        except (WaguardError, OSError) as error:
            why = one_line(error)
            self._log.warning("no screenshot is kept", event="screenshot_failed", why=why)
            return
        self._record("screenshot", reason=str(kept))

    # ---- acks ----

    def _be_active(self) -> None:
        self._busy_at = self._ctx.clock.monotonic()

    def _acked(self, ids: Iterable[str], refused: bool | None) -> None:  # noqa: FBT001 - a callback
        ids = tuple(ids)
        key = parse(ids[0]) if ids else None
        self.throws.acknowledged(key.chat if key else "", self.acks.began(ids))
        self.acks.acknowledged(ids)
        if refused is not None:
            self.limits.answered(ids, refused=refused)

    def _acks_since(self) -> float | None:
        state = self._state()
        worker = state.worker
        if worker is None or views.link(state) is not Link.CONNECTED or state.network_down:
            return None
        return max(worker.link_since, state.fleet.network_since)

    def _events_since(self) -> float | None:
        """None also where no other version is served, and until what was missed before the load is read."""
        since, worker = self._acks_since(), self._state().worker
        if since is None or worker is None or self._ctx.config().versions.mode == "off":
            return None
        ended = self.backfiller.ended_at(worker.number, worker.loads)
        return None if ended is None else max(since, ended)

    async def _ask(self, call: calls.Operation) -> calls.Value:
        """By itself, so the session is no less idle."""
        if (link := self._link()) is None:
            raise UnavailableError("its worker is not there")
        return await link.call(call)


def _paired_at(profile: SessionProfile) -> float | None:
    """As it has it; None also where that cannot be read now."""
    try:
        return profile.paired_at
    except OSError:
        return None
