"""One worker: one session, one profile, one Chromium, one page.

It starts Chromium, keeps WhatsApp's page ready, reports to the daemon what it sees and does what the
daemon asks. It repairs nothing by itself: when Chromium or the page is lost it says so, closes
what is left and exits with a code that says why (``core.exits.EXIT_MEANINGS``).
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from loguru import logger

from waguard.core.exits import (
    EXIT_BAD_SPEC,
    EXIT_BROWSER_GONE,
    EXIT_BROWSER_KILLED,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_BROWSER_UNUSABLE,
    EXIT_CREDENTIALS_LOST,
    EXIT_EXPORTS_MISSING,
    EXIT_MEANINGS,
    EXIT_ORPHANED,
    EXIT_PAGE_NOT_READY,
    EXIT_PROFILE_HELD,
    EXIT_PROFILE_LOCKED,
    EXIT_STORAGE_CLOSED,
    blame_disk,
)
from waguard.core.link import Link
from waguard.core.messages.identity import People
from waguard.core.profile.profile import CredentialsLost
from waguard.core.session.page_load import pause
from waguard.core.session.probe import PageLiveness, observe, should_end_script
from waguard.errors import ConfigError, WaguardError
from waguard.host import logs, procfs
from waguard.host.disk import is_full
from waguard.host.patience import patience
from waguard.host.pressure import cpu_is_saturated
from waguard.profile.lock import ProfileInUseError, ProfileLock
from waguard.wire.protocol import (
    PROTOCOL,
    Acks,
    Acquainted,
    Call,
    CatchUp,
    Exists,
    Failed,
    GoOn,
    Heartbeat,
    Hello,
    LoggedOut,
    LogSettings,
    OfPage,
    PairingCode,
    RefreshQr,
    Reload,
    Reply,
    Report,
    Request,
    Reread,
    Screenshot,
    SendMedia,
    SendText,
    Sent,
    SetLog,
    TakeOver,
    Unlink,
    Value,
    WorkerRecord,
    WorkerSpec,
)
from waguard.worker import browser_start, rereading, sending, wajs
from waguard.worker.backfill import Backfill
from waguard.worker.browser.chromium import (
    BrowserNotFoundError,
    BrowserUnusableError,
    Chromium,
    ProfileLockedError,
)
from waguard.worker.browser.devtools import (
    DevToolsError,
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
    PageSession,
    flush_storage,
)
from waguard.worker.daemon_link import HELLO_DEADLINE, DaemonLink
from waguard.worker.inbound import Inbound
from waguard.worker.link_watch import LinkWatch
from waguard.worker.page import (
    ExportsMissingError,
    PageUnreachableError,
    TooOftenError,
    WhatsAppPage,
)
from waguard.worker.page_document import PageDocument
from waguard.worker.page_reports import KINDS, asked, people, word
from waguard.worker.profile_care import ProfileCare, ProfileHeldError
from waguard.worker.unstored import UnstoredEvents

LOCK_DEADLINE: Final = 3.0  # s; a browser with much memory takes long to die
LOCK_POLL: Final = 0.02  # s; that a flock is free has no event
EXIT_DEADLINE: Final = 1.0  # s in which a Chromium that closed its pipe can be seen to have exited
PAGE_DEADLINE: Final = 30.0  # s; for the first page of a new browser
UNREACHABLE_RETRY: Final = (1.0, 2.0, 5.0, 10.0)  # s; the last one repeats
PROBE_DEADLINE: Final = 5.0  # s
EVIDENCE_AFTER: Final = 2.0  # s without an answer; all of /proc is read for it
HELP_DEADLINE: Final = 0.5  # s; it takes 2 ms, and the next heartbeat must not wait for it
READ_DEADLINE: Final = 10.0  # s
PEOPLE_AT_ONCE: Final = 500  # in one event
STOP_FLUSH: Final = 2.0  # s; for the daemon to store the last events; the rest is handed over

Answer = Sent | Value | Failed


class WorkerEndError(Exception):
    """The worker must end with this exit code."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code


class SessionWorker:
    """Runs until it is asked to stop, or cannot go on."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._log = spec.log
        hello = Hello(
            protocol=PROTOCOL,
            instance=spec.instance,
            session=spec.session,
            generation=spec.generation,
        )
        self._unstored = UnstoredEvents(Path(spec.record), spec.generation)
        self._earlier = self._unstored.read()
        self._daemon = DaemonLink(hello, self._answer, self._earlier)
        self._watch = LinkWatch()
        self._people = People()
        self._inbound = Inbound(self._daemon.event, spec.left_out, self._people)
        self._phase: Literal["launching", "loading", "settling", "ready", "closing"] = "launching"
        self._details: str | None = None
        self._stopped_member: str | None = None
        self._chromium: Chromium | None = None
        self._session: PageSession | None = None
        self._page: WhatsAppPage | None = None
        self._changed = asyncio.Event()
        self._page_opened = asyncio.Event()
        self._to_reload = asyncio.Event()
        self._storage_closed = asyncio.Event()
        self._document = PageDocument(spec.url, serve=spec.document, folder=spec.documents)
        self._logout_reason: str | None = None
        self._care: ProfileCare | None = None
        self._backfill: tuple[CatchUp, asyncio.Task[None]] | None = None
        self._loads = 0
        self._exit_code: int | None = None
        self.stop = asyncio.Event()

    async def run(self) -> int:
        """The exit code."""
        spec = self._spec
        self._server = await self._daemon.listen(Path(spec.socket))
        _write_record(spec)
        os.write(sys.stdout.fileno(), b"listening\n")
        self._report()
        try:
            self._exit_code = await self._until_the_end()
            return self._exit_code
        finally:
            self._phase = "closing"
            self._report()
            await self._close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_FLUSH):
                    if self._details:  # a start that failed at once has to be reported to a daemon
                        await self._daemon.greeted.wait()
                    await self._daemon.flushed()
            self._server.close()
            await self._daemon.close()
            self._hand_over()
            Path(spec.record).unlink(missing_ok=True)
            Path(spec.socket).unlink(missing_ok=True)

    async def _until_the_end(self) -> int:
        """Live until the first reason to end."""
        try:
            await _first_of(
                self._live(),
                self.stop.wait(),
                self._daemon.stop_asked.wait(),
                self._orphaned(),
                self._stay_reachable(),
                self._report_earlier(),
            )
        except WorkerEndError as end:
            code = blame_disk(end.code) if is_full(Path(self._spec.profile).parent) else end.code
            self._details = str(end)
            said, meaning = "worker ends", EXIT_MEANINGS[code]
            logger.log(
                self._level("ERROR"), said, event="worker_ends", why=str(end), meaning=meaning
            )
            return code
        return 0

    def _level(self, level: str) -> str:
        """Of a line about what the report says: the daemon logs that, where one is there."""
        return level if self._daemon.alone_since is not None else "DEBUG"

    async def _report_earlier(self) -> None:
        """Return never; what the worker before left is kept until it is stored, for this one too may
        be killed."""
        if self._earlier:
            logger.warning(
                "events of an earlier worker are reported",
                event="unstored_reported",
                count=len(self._earlier),
            )
        await self._daemon.stored(len(self._earlier))
        self._unstored.clear()
        await asyncio.Event().wait()

    def _hand_over(self) -> None:
        """Keep what no daemon stored, for this session's next worker."""
        if unstored := self._daemon.unstored:
            self._unstored.write(unstored)
        else:
            self._unstored.clear()

    async def _stay_reachable(self) -> None:
        """Return never; the runtime folder may be removed, and its daemon creates it again: without
        socket and record the next daemon could not adopt this worker."""
        spec = self._spec
        ours = (Path(spec.socket), Path(spec.record))
        while True:
            await asyncio.sleep(spec.heartbeat)
            logs.tick()
            if all(path.exists() for path in ours) or not ours[0].parent.is_dir():
                continue
            try:
                before, self._server = self._server, await self._daemon.listen(ours[0])
                before.close()  # its connections go on
                _write_record(spec)
                logger.warning(
                    "socket and record were removed and are there again", event="socket_removed"
                )
            except OSError as error:
                logger.error(
                    "another daemon cannot reach this worker",
                    event="socket_not_made",
                    why=error.strerror,
                )

    async def _orphaned(self) -> None:
        """Return never; raise when no daemon was there for ``orphan_grace`` seconds."""
        while True:
            alone = self._daemon.alone_since
            grace = max(self._spec.orphan_grace, HELLO_DEADLINE)  # 0 would end it at its start
            left = grace - (time.monotonic() - alone if alone else 0.0)
            if left <= 0:
                raise WorkerEndError(EXIT_ORPHANED, "no daemon")
            with contextlib.suppress(TimeoutError):
                async with patience(left):  # a daemon that was frozen too gets its time
                    await asyncio.Event().wait()

    async def _live(self) -> None:
        care = self._care = ProfileCare(self._spec, await self._lock_profile(), self._daemon.event)
        chromium = self._chromium = await self._launch(care)
        chromium.check_stopped()
        self._phase = "loading"
        self._report()
        self._session = await self._first_page(chromium)
        await _first_of(
            self._end_with_the_browser(chromium),
            self._end_with_a_stopped_browser(chromium),
            self._beat(chromium),
            self._serve(self._session),
            care.keep_copies(),
        )

    async def _serve(self, session: PageSession) -> None:
        await self._open_page(session)
        self._phase = "ready"
        await _first_of(self._follow_the_link(), self._pump(), self._renew())

    async def _renew(self) -> None:
        """Load the page again, where the daemon wants it, or where its script was ended: what it was
        about to do never ends now, and what waits for that, such as the ack of a send, would wait
        forever."""
        while True:
            await self._to_reload.wait()
            self._to_reload.clear()
            assert self._page  # noqa: S101 - opened before
            logger.debug("the page is reloaded")
            try:
                await self._load_page(self._page, self._page.load)
            except WaguardError as error:
                raise _not_ready(error) from None
            self._changed.set()

    async def _lock_profile(self) -> ProfileLock:
        """The browser of a worker that was killed dies a moment after it, and holds it until then."""
        until = time.monotonic() + LOCK_DEADLINE
        while True:
            try:
                return ProfileLock(Path(self._spec.profile))
            except ProfileInUseError as error:
                if time.monotonic() > until:
                    raise WorkerEndError(EXIT_PROFILE_LOCKED, error.line()) from None
            except WaguardError as error:
                raise WorkerEndError(EXIT_BROWSER_NOT_STARTED, error.line()) from None
            await asyncio.sleep(LOCK_POLL)

    async def _launch(self, care: ProfileCare) -> Chromium:
        try:
            return await browser_start.start(self._spec, care)
        except ProfileHeldError as error:
            raise WorkerEndError(EXIT_PROFILE_HELD, error.line()) from None
        except ProfileLockedError as error:
            raise WorkerEndError(EXIT_PROFILE_LOCKED, error.line()) from None
        except (BrowserNotFoundError, BrowserUnusableError) as error:
            raise WorkerEndError(EXIT_BROWSER_UNUSABLE, error.line()) from None
        except WaguardError as error:
            raise WorkerEndError(EXIT_BROWSER_NOT_STARTED, error.line()) from None

    async def _first_page(self, chromium: Chromium) -> PageSession:
        try:
            return await chromium.devtools.open_page(PAGE_DEADLINE)
        except WaguardError as error:
            raise WorkerEndError(EXIT_BROWSER_NOT_STARTED, error.line()) from None

    async def _open_page(self, session: PageSession) -> None:
        try:
            self._page = WhatsAppPage(
                session,
                url=self._spec.url,
                bundle=_bundle(self._spec),
                report=self._on_page_event,
                document=self._document,
            )
            self._session = session
            self._page_opened.set()
            await self._load_page(self._page, self._page.open)
        except WaguardError as error:
            raise _not_ready(error) from None

    def _hold_messages(self) -> None:
        """Until the daemon has said from when on they are wanted."""
        self._end_backfill()
        self._loads += 1
        self._inbound.hold()
        self._watch.passkey_over()
        if self._watch.link is Link.CONNECTED:  # nothing can be sent until it says so again
            self._watch.link = Link.UNKNOWN
            self._report()

    async def _load_page(self, page: WhatsAppPage, load: Callable[[], Awaitable[None]]) -> None:
        """Load the page; while there is no way to it, report "offline" and try again."""
        self._hold_messages()
        attempt = 0
        while True:
            try:
                await load()
            except PageUnreachableError as error:
                delay = _unreachable_pause(error, attempt)
                load, attempt = page.load, attempt + 1
                said, why = "WhatsApp cannot be reached", error.message
                logger.log(self._level("WARNING"), said, event="whatsapp_unreachable", why=why)
                self._phase = "ready"
                self._watch.unreachable(error.message, error.refusal)
                self._report()
                self._to_reload.clear()  # whatever was asked meanwhile is answered
                wait = self._alone_for(delay) if error.refusal else asyncio.sleep(delay)
                await _first_of(self._to_reload.wait(), wait)
                self._to_reload.clear()
            else:
                return

    async def _alone_for(self, seconds: float) -> None:
        """Return when no daemon has been there for so long: it decides for all sessions when one asks
        WhatsApp again."""
        began = time.monotonic()
        while True:
            now = time.monotonic()
            since = max(began, self._daemon.alone_since or now)
            if (left := since + seconds - now) <= 0:
                return
            await asyncio.sleep(left)

    async def _end_with_the_browser(self, chromium: Chromium) -> None:
        """Raise when the browser or the page of the moment is lost."""
        while True:
            self._page_opened.clear()
            assert self._session  # noqa: S101 - opened before
            await _first_of(
                chromium.devtools.closed.wait(),
                self._session.crashed.wait(),
                self._page_opened.wait(),
                self._storage_closed.wait(),
            )
            if chromium.devtools.closed.is_set():
                raise await _loss_of(chromium)
            if self._session.crashed.is_set():
                raise WorkerEndError(EXIT_BROWSER_KILLED, "the page crashed")
            if self._storage_closed.is_set():
                why = "Chromium closed the page's storage: its disk is full, or it is damaged"
                raise WorkerEndError(EXIT_STORAGE_CLOSED, why)

    async def _end_with_a_stopped_browser(self, chromium: Chromium) -> None:
        await chromium.until_stopped()
        raise WorkerEndError(EXIT_BROWSER_GONE, "Chromium was stopped (SIGSTOP)")

    def check_stopped(self) -> None:
        """To be called at SIGCHLD: Chromium may have been stopped."""
        if self._chromium:
            self._chromium.check_stopped()

    async def _follow_the_link(self) -> None:
        """Read the page at each change and at each heartbeat: events alone are not to be trusted."""
        while True:
            self._changed.clear()
            await self._read()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._spec.heartbeat):
                    await self._changed.wait()

    async def _read(self) -> None:
        assert self._page  # noqa: S101 - opened before
        try:
            reading = await self._page.read(timeout=READ_DEADLINE)
        except ElsewhereError as error:
            why = f"{error.line()}, which is not WhatsApp's"
            raise WorkerEndError(EXIT_PAGE_NOT_READY, why) from None
        except (DevToolsError, EvaluationError):
            return  # unknown is not a change; the heartbeat says that the page does not answer
        self._watch.apply(reading)
        assert self._care  # noqa: S101 - made before the browser
        if self._watch.link is Link.CONNECTED and self._watch.paired_here:
            await self._secure_credentials(self._care)
        if self._watch.link is Link.QR_PENDING and self._care.paired:
            self._on_unexpected_code(self._care)
        connected = self._watch.link is Link.CONNECTED
        if connected and not self._care.paired:
            self._care.claim(after_pairing=False)
        self._care.link_is(connected=connected)
        self._report()

    def _on_unexpected_code(self, care: ProfileCare) -> None:
        """A QR code although it was paired, and no logout was reported."""
        if care.was_connected:
            care.disown()  # it was unlinked before our eyes
            return
        why = "it shows a QR code although it was paired"
        care.suspect(CredentialsLost(why))
        raise WorkerEndError(EXIT_CREDENTIALS_LOST, why)

    async def _secure_credentials(self, care: ProfileCare) -> None:
        """Have the new credentials on disk before "connected" is reported.

        Chromium writes localStorage seconds later, or up to half a minute; a crash before that
        loses the pairing. Closing the page writes it at once, so the page is opened again.
        """
        assert self._chromium and self._session and self._page  # noqa: S101, PT018
        self._watch.paired_here = False
        self._watch.link = Link.SYNCING
        self._report()
        self._page.close()
        try:
            await flush_storage(self._chromium.devtools, self._session)
        except WaguardError as error:
            raise WorkerEndError(EXIT_BROWSER_GONE, error.line()) from None
        care.claim(after_pairing=True)
        care.link_is(connected=False)  # the page begins again
        await self._open_page(await self._first_page(self._chromium))
        self._changed.set()
        logger.info("credentials are on disk", event="pairing_saved")

    async def _beat(self, chromium: Chromium) -> None:
        """Report each second which layer answers. A slow layer is asked once, not again and again,
        and its late answer counts: on a busy host a page may need more than a heartbeat."""
        asked: dict[str, asyncio.Task[float | None]] = {}
        began = time.monotonic()
        liveness = PageLiveness(heard_at=began, sampled_at=began)
        layers: dict[str, Callable[..., Awaitable[object]]] = {
            "devtools": chromium.devtools.version,
            "page": self._ping_page,
        }
        try:
            while True:
                for name, ask in layers.items():
                    if name not in asked:
                        asked[name] = asyncio.create_task(_round_trip(ask), name=f"probe {name}")
                began = time.monotonic()
                await asyncio.wait(asked.values(), timeout=self._spec.heartbeat)
                reported = {name: asked.pop(name).result() for name in layers if asked[name].done()}
                unrecoverable = liveness.helped or self._stopped_member is not None
                self._daemon.heartbeat(
                    Heartbeat(
                        devtools=reported.get("devtools"),
                        page=reported.get("page"),
                        hopeless=unrecoverable,
                    )
                )
                liveness = await self._care_for_the_page(chromium, liveness, reported)
                await asyncio.sleep(max(0.0, self._spec.heartbeat - (time.monotonic() - began)))
        finally:
            for task in asked.values():
                task.cancel()

    async def _care_for_the_page(
        self, chromium: Chromium, before: PageLiveness, reported: dict[str, float | None]
    ) -> PageLiveness:
        """While it is silent: evidence for the daemon, and an end of the script that it runs."""
        answered = reported.get("page") is not None
        if answered and before.helped:
            logger.debug("the page answers again")
            self._to_reload.set()
        liveness = observe(before, now=time.monotonic(), answered=answered)
        self._stopped_member = (
            chromium.stopped_member() if liveness.silent > EVIDENCE_AFTER else None
        )
        caught = self._phase == "ready" and self._stopped_member is None
        if caught and should_end_script(
            liveness, devtools=reported.get("devtools"), cpu_saturated=cpu_is_saturated()
        ):
            logger.warning(
                "the page does not answer; its script is terminated",
                event="script_ended",
                silent=liveness.silent,
            )
            assert self._session  # noqa: S101 - opened before
            await _round_trip(self._session.terminate_execution, timeout=HELP_DEADLINE)
            liveness = replace(liveness, helped=True)
        self._report()
        return liveness

    async def _ping_page(self, *, timeout: float) -> None:
        assert self._session  # noqa: S101 - opened before
        await self._session.ping(timeout=timeout)

    async def _pump(self) -> None:
        await self._inbound.run(lambda: self._page)

    def _on_page_event(self, kind: str, reported: Any) -> None:
        if kind == "storage_closed":
            logger.debug("the page's storage was closed", database=word(reported))
            self._storage_closed.set()
        elif kind == "evaded":
            logger.debug("the page reloaded itself, past the document that it is to have")
            self._to_reload.set()
        elif kind in KINDS:
            self._inbound.handle(kind, reported)
        elif kind == "people":
            self._meet(reported)
        else:
            self._handle_page_event(kind, reported)

    def _handle_page_event(self, kind: str, reported: Any) -> None:
        match kind:
            case "logout_reason":
                self._logout_reason = word(reported)
            case "logout":
                if self._care:
                    self._care.disown()
                self._daemon.event(LoggedOut(reason=self._logout_reason))
                self._logout_reason = None
                self._changed.set()
            case "settling":
                if self._phase == "loading":
                    self._phase = "settling"
                    self._report()
            case "qr_idle":
                self._watch.idle()
                self._report()
            case "passkey":
                logger.debug("WhatsApp asks for the account's passkey")
                self._watch.passkey_asked()
                self._changed.set()
            case "loaded":  # by itself, too
                self._hold_messages()
            case "unusable":  # it has reloaded itself: once more, and then the worker ends
                logger.error("the page is unusable", event="page_unusable", why=word(reported))
                self._to_reload.set()
            case _:
                self._changed.set()

    def _meet(self, reported: Any) -> None:
        """Before what is reported of them: the daemon keeps the order."""
        if found := asked(reported):
            self._daemon.event(Acquainted(asked=found))
        news = [pair for pair in people(reported) if self._people.learn(*pair)]
        for start in range(0, len(news), PEOPLE_AT_ONCE):
            self._daemon.event(Acquainted(pairs=tuple(news[start : start + PEOPLE_AT_ONCE])))

    def _report(self) -> None:
        ready = self._phase == "ready"
        watch = self._watch
        self._daemon.report(
            Report(
                session=self._spec.session,
                generation=self._spec.generation,
                phase=self._phase,
                link=watch.link if ready else Link.UNKNOWN,
                browser_pid=self._chromium.pid if self._chromium else None,
                phone=watch.phone,
                qr=watch.qr if ready else None,
                qr_idle=watch.qr_idle,
                loads=self._loads,
                socket=watch.socket,
                update_offered=watch.update_offered,
                passkey_until=watch.passkey_until,
                covered=watch.covered,
                refused=watch.refused,
                refusals=watch.refusals,
                retry_after=watch.retry_after,
                locked_until=watch.locked_until,
                details=self._details or watch.details,
                silence=self._stopped_member,
                version=self._page.version if self._page else None,
                log=self._log,
                exit_code=self._exit_code,
            )
        )

    async def _answer(self, request: Request) -> Reply:
        try:
            outcome = await self._outcome(request.call)
        except DevToolsTimeoutError as error:
            outcome = Failed(kind="timeout", error=str(error))
        except WaguardError as error:
            outcome = Failed(kind="error", error=str(error))
        return Reply(id=request.id, outcome=outcome)

    async def _outcome(self, call: Call) -> Answer:
        if isinstance(call, SetLog):
            return self._set_log(call.log)
        return await self._do(call)

    async def _do(self, call: OfPage) -> Answer:
        if self._page is None or self._session is None or self._phase != "ready":
            return Failed(kind="not_ready", error=f"the page is {self._phase}")
        match call:
            case SendText() | SendMedia():
                return await self._send(self._page, call)
            case PairingCode(phone=phone):
                self._watch.passkey_over()
                return await _pairing_code(self._page, phone)
            case RefreshQr():
                self._watch.refreshed()
                self._watch.passkey_over()
                await self._page.refresh_qr()
                await self._read()
                return Value()
            case Unlink() | TakeOver():
                page = self._page
                await (page.unlink() if isinstance(call, Unlink) else page.takeover())
                return Value()
            case Screenshot():
                return Value(content=await self._session.screenshot(timeout=READ_DEADLINE))
            case Exists(chat=chat):
                return Value(flag=await self._page.exists(chat))
            case Acks():
                return Value(acks=await sending.acks(self._page, call, self._people))
            case GoOn() | Reload() | CatchUp() | Reread():
                return await self._care_for_messages(self._page, call)

    def _set_log(self, log: LogSettings) -> Answer:
        logs.configure(log.level, log.format)
        self._log = log
        self._report()
        return Value()

    async def _send(self, page: WhatsAppPage, call: SendText | SendMedia) -> Answer:
        if self._watch.link is not Link.CONNECTED:
            return Failed(kind="not_ready", error=f"the session is {self._watch.link}")
        self._inbound.sends(call.message_id)
        return await sending.send(page, call, self._people)

    async def _care_for_messages(
        self, page: WhatsAppPage, call: GoOn | Reload | CatchUp | Reread
    ) -> Answer:
        match call:
            case GoOn():
                self._end_backfill()
                self._inbound.go_on()
            case Reload():
                self._hold_messages()
                self._to_reload.set()
            case CatchUp():
                return await self._run_backfill(page, call)
            case Reread():
                room = self._daemon.room
                return Value(found=await rereading.reread(page, call, self._inbound, room))
        return Value()

    async def _run_backfill(self, page: WhatsAppPage, call: CatchUp) -> Answer:
        """A daemon that asks again waits for what is being done; another one asks for less."""
        asked, task = self._backfill or (None, None)
        if task is None or task.done() or asked != call:
            self._end_backfill()
            backfill = Backfill(
                self._inbound,
                gap=self._daemon.event,
                room=self._daemon.room,
                people=self._people,
            )
            reading = backfill.run(page, call, self._spec.left_out)
            task = asyncio.create_task(reading, name="backfill")
            self._backfill = call, task
        await asyncio.wait([task])
        if task.cancelled():
            return Failed(
                kind="not_ready", error="the page is reloaded, or another daemon connects"
            )
        task.result()
        return Value()

    def _end_backfill(self) -> None:
        if self._backfill:
            self._backfill[1].cancel()

    async def _close(self) -> None:
        self._end_backfill()
        if self._page:
            self._page.close()
        if self._chromium and self._care:
            await self._chromium.close()
            await self._care.ended(orderly=await self._chromium.exited == 0)


def _bundle(spec: WorkerSpec) -> str:
    """wa-js. One of waguard's own store that was damaged is not injected, and no reason to stand still."""
    path = Path(spec.wajs) if spec.wajs else None
    try:
        return wajs.bundle(path, spec.wajs_sha256)
    except ConfigError as error:
        if path is None or spec.wajs_sha256 is None:
            raise
        logger.warning(
            "the chosen wa-js cannot be used; the packed one is",
            event="wajs_damaged",
            why=error.line(),
        )
        return wajs.bundle(None)


def _unreachable_pause(error: PageUnreachableError, attempt: int) -> float:
    """Seconds until the page is loaded again, after so many attempts before this one."""
    if error.refusal is None:
        return UNREACHABLE_RETRY[min(attempt, len(UNREACHABLE_RETRY) - 1)]
    jitter = random.random()  # noqa: S311 - no secret
    return pause(attempt, retry_after=error.refusal.retry_after, jitter=jitter)


async def _pairing_code(page: WhatsAppPage, phone: str) -> Value | Failed:
    try:
        return Value(text=await page.pairing_code(phone))
    except TooOftenError as error:
        return Failed(kind="too_often", error=error.message)


def _not_ready(error: WaguardError) -> WorkerEndError:
    missing = isinstance(error, ExportsMissingError)
    return WorkerEndError(EXIT_EXPORTS_MISSING if missing else EXIT_PAGE_NOT_READY, error.line())


async def _round_trip(
    ask: Callable[..., Awaitable[object]], *, timeout: float = PROBE_DEADLINE
) -> float | None:
    """Seconds until the layer answered; None: not before its deadline."""
    began = time.monotonic()
    try:
        await ask(timeout=timeout)
    except (DevToolsError, EvaluationError):
        return None
    return time.monotonic() - began


async def _loss_of(chromium: Chromium) -> WorkerEndError:
    """A killed Chromium may have been killed by the kernel for its memory: the daemon wants to know."""
    with contextlib.suppress(
        TimeoutError
    ):  # it closes its pipe a moment before it can be seen to exit
        async with asyncio.timeout(EXIT_DEADLINE):
            await asyncio.wait([chromium.exited])
    if chromium.exited.done() and chromium.exited.result() == -signal.SIGKILL:
        return WorkerEndError(EXIT_BROWSER_KILLED, "Chromium was killed (SIGKILL)")
    return WorkerEndError(EXIT_BROWSER_GONE, "Chromium is gone")


async def _first_of(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Run all until the first ends, by returning or raising; the others are cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write_record(spec: WorkerSpec) -> None:
    pid = os.getpid()
    record = WorkerRecord(
        pid=pid,
        start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(),
        instance=spec.instance,
        session=spec.session,
        generation=spec.generation,
        profile=spec.profile,
        socket=spec.socket,
        protocol=PROTOCOL,
    )
    draft = Path(spec.record + ".new")
    draft.write_bytes(msgspec.json.encode(record))
    draft.replace(spec.record)


async def _run(spec: WorkerSpec) -> int:
    worker = SessionWorker(spec)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop.set)
    loop.add_signal_handler(signal.SIGCHLD, worker.check_stopped)
    return await worker.run()


def main() -> int:
    """``python -m waguard.worker SESSION < spec.json``: exit code."""
    os.umask(0o077)
    try:
        spec = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerSpec)
    except msgspec.DecodeError as error:
        sys.stderr.write(f"waguard.worker: its instructions (JSON on stdin) are wrong: {error}\n")
        return EXIT_BAD_SPEC
    return work(spec)


def work(spec: WorkerSpec) -> int:
    """Serve one session to its end: the exit code."""
    logs.configure(spec.log.level, spec.log.format)
    try:
        with logger.contextualize(session=spec.session, worker=os.getpid()):
            return asyncio.run(_run(spec))
    finally:
        logs.flush()
