"""The daemon's calls, and the answers to them."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from waguard.core.link import Link
from waguard.core.messages.sentinel import is_sentinel
from waguard.errors import WaguardError
from waguard.host.files.lock import private_folder
from waguard.wire.calls import (
    SAVED,
    Acks,
    Ask,
    CatchUp,
    Exists,
    Failed,
    FetchFile,
    MarkSeen,
    OfPage,
    PairingCode,
    PasskeyAnswer,
    PasskeyCancel,
    PasskeyConfirm,
    PasskeyStart,
    RefreshQr,
    Reload,
    Reread,
    Screenshot,
    Send,
    SendContent,
    SendMedia,
    SendText,
    Sent,
    SetLog,
    ShowTyping,
    TakeOver,
    Unlink,
    Value,
)
from waguard.wire.protocol import Reply, Request
from waguard.worker.browser import downloads
from waguard.worker.browser.devtools import DevToolsTimeoutError, EvaluationError
from waguard.worker.link.status_reporter import StatusReporter
from waguard.worker.link_reader import LinkReader
from waguard.worker.messages import asking, rereading, sending
from waguard.worker.messages.sentinel import send_sentinel
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_errors import NotSendableError, TooOftenError
from waguard.worker.page.passkey import PasskeyCalls
from waguard.worker.page_host import PageHost
from waguard.worker.running_backfill import RunningBackfill
from waguard.worker.worker_context import WorkerContext

Answer = Sent | Value | Failed


class CallHandler:
    """Answers from the worker's begin to its end."""

    def __init__(self, reporter: StatusReporter) -> None:
        self._reporter = reporter
        self._page_calls: Callable[[OfPage], Awaitable[Answer]] = self._refuse

    def serve(self, calls: "PageCalls") -> None:
        """There is a page: calls are answered by it, while it is ready."""
        self._page_calls = calls.answer

    async def answer(self, request: Request) -> Reply:
        """What becomes of a call. A failure is an answer, too."""
        outcome: Answer
        try:
            if isinstance(request.call, SetLog):
                self._reporter.set_log(request.call.log)
                self._reporter.report()
                outcome = Value()
            elif self._reporter.phase == "ready":
                outcome = await self._page_calls(request.call)
            else:
                outcome = await self._refuse(request.call)
        except DevToolsTimeoutError as error:
            outcome = Failed(kind="timeout", error=str(error))
        except WaguardError as error:
            outcome = Failed(kind="error", error=str(error))
        return Reply(id=request.id, outcome=outcome)

    async def _refuse(self, call: OfPage) -> Failed:
        del call
        return Failed(kind="not_ready", error=f"the page is {self._reporter.phase}")


class PageCalls:
    """Answers what is asked of a page that is ready."""

    def __init__(
        self, ctx: WorkerContext, host: PageHost, reader: LinkReader, backfill: RunningBackfill
    ) -> None:
        self._ctx = ctx
        self._host = host
        self._reader = reader
        self._backfill = backfill
        self._fetching = asyncio.Lock()
        self._passkey = PasskeyCalls(ctx.watch, timeout=ctx.timings.call)

    async def answer(self, call: OfPage) -> Answer:
        """Raises ``WaguardError`` where the page does not do it."""
        ctx, page = self._ctx, self._host.page
        match call:
            case (
                SendText() | SendMedia() | SendContent()
            ):  # SendFile and SendViewOnce are SendMedia
                return await self._send(page, call)
            case PairingCode(phone=phone):
                ctx.watch.passkey_over()
                return await _pairing_code(page, phone)
            case RefreshQr():
                ctx.watch.refreshed()
                ctx.watch.passkey_over()
                await page.refresh_qr()
                await self._reader.read_again()
                return Value()
            case Unlink() | TakeOver():
                await (page.unlink() if isinstance(call, Unlink) else page.takeover())
                return Value()
            case Screenshot():
                session = self._host.session
                return Value(content=await session.screenshot(timeout=ctx.timings.read))
            case Exists(chat=chat):
                return Value(flag=await page.exists(chat))
            case Acks() | Ask():
                return await self._read(page, call)
            case PasskeyStart() | PasskeyAnswer() | PasskeyConfirm() | PasskeyCancel():
                answer = await self._passkey.perform(self._host.session, call)
                ctx.reporter.report()  # first: the daemon knows the stage when it has the answer
                return answer
            case Reload() | CatchUp() | Reread() | FetchFile() | MarkSeen() | ShowTyping():
                return await self._care_for_messages(page, call)

    async def _send(self, page: WhatsAppPage, call: Send) -> Answer:
        ctx = self._ctx
        if ctx.watch.link is not Link.CONNECTED:
            return Failed(kind="not_ready", error=f"the session is {ctx.watch.link}")
        if isinstance(call, SendText) and is_sentinel(call.text):
            return await send_sentinel(
                page, call, ctx.inbound.filter.sentinels, ctx.people, timings=ctx.timings
            )
        ctx.inbound.filter.sends(call.message_id)
        return await sending.send(page, call, ctx.people, timings=ctx.timings)

    async def _read(self, page: WhatsAppPage, call: Acks | Ask) -> Answer:
        if isinstance(call, Ask):
            return await asking.answer(self._host.session, call, now=time.time())
        ctx = self._ctx
        return await sending.acks(page, call, ctx.people, timings=ctx.timings)

    async def _fetch_file(self, page: WhatsAppPage, call: FetchFile) -> None:
        """Have it saved as ``SAVED``; where that fails, nothing of it is left."""
        folder = Path(call.folder)
        await asyncio.to_thread(_emptied, folder)
        until = time.monotonic() + call.timeout
        try:
            try:
                url = _address(
                    await page.call("fileUrl", call.message_id, call.limit, timeout=call.timeout)
                )
                saved = await downloads.save(
                    self._host.devtools,
                    url,
                    lambda: page.call("saveFile", url),
                    folder,
                    limit=call.limit,
                    timeout=max(until - time.monotonic(), 0.0),
                )
            finally:  # also where no address came: the page may still be fetching
                with contextlib.suppress(WaguardError):
                    await page.call("discardFile")
            saved.rename(folder / SAVED)
        except BaseException as error:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise WaguardError(f"the file was not saved: {error.strerror}") from None
            raise

    async def _care_for_messages(
        self,
        page: WhatsAppPage,
        call: Reload | CatchUp | Reread | FetchFile | MarkSeen | ShowTyping,
    ) -> Answer:
        ctx = self._ctx
        match call:
            case Reload():
                self._host.ask_to_reload()
            case CatchUp():
                return await self._backfill.run(page, call)
            case Reread():
                found = await rereading.reread(page, call, ctx.inbound, ctx.daemon.room)
                return Value(found=found)
            case FetchFile():
                async with self._fetching:
                    await self._fetch_file(page, call)
            case MarkSeen() | ShowTyping():
                return await _in_chat(page, call)
        return Value()


def _address(reported: Any) -> str:
    if not isinstance(reported, str):
        raise EvaluationError("no file")
    return reported


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    private_folder(folder)


async def _in_chat(page: WhatsAppPage, call: MarkSeen | ShowTyping) -> Value | Failed:
    try:
        state = "seen" if isinstance(call, MarkSeen) else call.state
        await page.send("inChat", call.chat, state)
    except NotSendableError:
        return Failed(kind="refused", error="the page has no such chat", field="chat_id")
    return Value()


async def _pairing_code(page: WhatsAppPage, phone: str) -> Value | Failed:
    try:
        return Value(text=await page.pairing_code(phone))
    except TooOftenError as error:
        return Failed(kind="too_often", error=error.message)
