"""WhatsApp's page with wa-js in it: how it is made ready, and what it is asked.

Theory of operation. ``load event`` proves nothing: wa-js injected while only some of the page's
modules exist says *injected* and never *ready*. So after each load event: wait until the core
modules exist (or a deadline), evaluate wa-js and the hook; not ready after a while → evaluate
again, which recovers it → reload → give up. WhatsApp reloads itself on a logout, hence after
*each* load event.

*Ready* proves little, too: a module may be registered long before it can be had, and wa-js keeps in
mind what it did not find until another one is registered (wa-js#3640). So what waguard uses is resolved
before the page is called ready, and a fresh wa-js looks for what is missing.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from loguru import logger

from waguard.core.link import PageFacts
from waguard.core.session.page_load import REFUSED, Refusal, refusal, spent
from waguard.errors import WaguardError
from waguard.host.patience import patience
from waguard.wire.protocol import PageVersion
from waguard.worker import wajs
from waguard.worker.browser.devtools import (
    DevToolsError,
    DevToolsTimeoutError,
    EvaluationError,
    NavigationError,
    PageSession,
)
from waguard.worker.load_watch import DocumentAnswer, LoadWatch
from waguard.worker.page_document import PageDocument
from waguard.worker.page_reports import CHAT_LIMIT, ERROR_LIMIT, ID_LIMIT, ack, moment, word

EARLY: Final = (Path(__file__).parent / "early.js").read_text()
HOOK: Final = (Path(__file__).parent / "page.js").read_text()
BINDING: Final = "waguardReport"

NAVIGATION_DEADLINE: Final = 30.0  # s
MODULES_DEADLINE: Final = 10.0  # s; a page with none of them is not WhatsApp's, or changed
READY_DEADLINE: Final = 8.0  # s; wa-js itself needs about 1 s after the modules are there
CALL_DEADLINE: Final = 15.0  # s; for calls that have no deadline of their own
MEDIA_DEADLINE: Final = 15.0  # s
CODE_LIMIT: Final = 1_000  # characters of ASCII; WhatsApp's have 240, a QR code holds 2,953
INJECTIONS: Final = 2
RESOLVE_DEADLINE: Final = 16.0  # s for wa-js to find in the page what waguard uses of it
INJECTION_PAUSES: Final = (
    0.25,
    0.5,
    1.0,
    2.0,
)  # s before each further injection; the last one repeats
NAMED_AT_MOST: Final = 10  # exports in one message
NAMES_LIMIT: Final = 100
CHAT_STATES_AT_MOST: Final = 100  # a session has fewer sends at a time
LOADS: Final = 2

_POLL_INTERVAL: Final = 20  # ms, inside the page
_NO_HOOK: Final = "waguard: no hook"
_HOOKED: Final = f"if (!window.__waguard) throw {json.dumps(_NO_HOOK)};"
_WAIT: Final = """new Promise((done) => {
  const end = Date.now() + %d;
  const look = () => (%s) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, %d);
  look();
})"""
_MODULES: Final = """(() => { try {
  const ids = Object.keys(require('__debug').modulesMap);
  return ['Socket', 'Stream', 'Conn', 'Cmd', 'Msg'].every((word) => ids.some((id) => id.includes(word)));
} catch { return false; } })()"""


class PageNotReadyError(WaguardError):
    """WhatsApp's page did not become usable; the message says how far it came."""


class ExportsMissingError(PageNotReadyError):
    """wa-js cannot resolve what waguard uses of it: it does not fit this version of WhatsApp Web."""

    def __init__(self, names: Sequence[str]) -> None:
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        named = ", ".join(names[:NAMED_AT_MOST])
        super().__init__(
            f"wa-js cannot resolve {named}{more} in this version of WhatsApp Web",
            remedy="look for a newer wa-js (whatsapp.wajs)",
        )


class NotTransmittedError(WaguardError):
    """Nothing was sent: the same may safely be tried again."""


class PageLoadingError(EvaluationError):
    """The page has no hook yet: it is just being loaded, by itself too, and nothing was evaluated."""

    def __init__(self) -> None:
        super().__init__(_NO_HOOK)
        self.message = "the page is just being loaded"
        self.args = (self.message,)


class NotSendableError(WaguardError):
    """Nothing was sent; ``reason`` is the hook's word: not_in_chat, no_whatsapp, asked_too_often, held,
    or no_chat with the page's error."""

    def __init__(self, reason: str, why: str | None = None) -> None:
        super().__init__(f"the page refused: {reason}")
        self.reason = reason
        self.why = why


class TooOftenError(WaguardError):
    """WhatsApp was asked too often (429)."""


class PageUnreachableError(WaguardError):
    """Nothing here is broken, and a restart cures nothing. ``refusal``: what WhatsApp, or the network
    on the way to its scripts, did instead of serving the page; None: no connection was made."""

    def __init__(self, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of the page."""

    facts: PageFacts
    code: str | None
    me: str | None
    """The linked account as a wid (``<digits>@c.us``)."""
    locked_until: float | None = None
    """Unix time until which WhatsApp takes no first contacts, 0: it does; None: the page does not say."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """wa-js's exports that are not there: those without which nothing works, and further ones; then what
    it lacks itself."""

    needed: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """As far as a report holds them."""
        return (*self.needed, *self.further, *self.lacking)[:NAMES_LIMIT]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """wa-js's answer to a send: the ack, the result as it names it, unix time."""

    ack: int | None
    result: str | None
    at: int | None


class WhatsAppPage:
    """Drives one page. ``report(kind, data)`` is called for everything that the hook reports."""

    def __init__(
        self,
        session: PageSession,
        *,
        url: str,
        bundle: str,
        report: Callable[[str, Any], None],
        document: PageDocument | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._bundle = bundle
        self._digest = wajs.digest(bundle)
        self._report = report
        self._document = document or PageDocument(url)
        self.version: PageVersion | None = None
        """Of the page that is there; None: none is, or it is not known yet."""
        self._missing: tuple[str, ...] = ()
        self._background: set[asyncio.Task[None]] = set()
        self._injection: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading = False
        """Somebody waits for it to become ready."""
        self._refused = False
        """WhatsApp refused the last load: what it sent instead is a document, too."""
        self._chat_states: dict[str, str] = {}
        """Of the chats of sends under way, by the message's id."""

    async def open(self) -> None:
        """Navigate and wait until wa-js is ready; once on each object, ``load`` after it.

        Raises ``PageNotReadyError``, ``PageUnreachableError``.
        """
        self._session.keep_to(self._url)
        await self._document.attach(self._session)
        await self._session.on_new_document(EARLY)
        await self._session.add_binding(BINDING, self._on_binding)
        self._session.on("Page.loadEventFired", lambda _: self._on_load())
        await self.load()

    async def load(self) -> None:
        """Navigate, and again where it did not become ready; raises as ``open``."""
        self._loading, self._refused = True, False
        watch = LoadWatch()
        try:
            async with watch.watching(self._session):
                await self._document.before_load()
                try:
                    await self._load(watch)
                except PageNotReadyError:
                    if keeping := await self._keeping(watch.document):
                        await keeping
                    raise
                if keeping := await self._keeping(watch.document):
                    self._in_background(keeping)  # it takes longer than what is left to do
        finally:
            self._loading = False

    async def _keeping(self, answer: DocumentAnswer | None) -> Coroutine[Any, Any, None] | None:
        """To store the document that came; None: it is stored, or not to be."""
        version = self.version
        body = await self._document.body(answer, version) if version else None
        return self._keep(answer, version, body) if answer and version and body else None

    async def _keep(self, answer: DocumentAnswer, version: PageVersion, body: bytes) -> None:
        if await self._document.keep(answer, version, body) and self.version is version:
            self.version = msgspec.structs.replace(version, kept=True)
            self._report("changed", "kept")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="keep the document")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _load(self, watch: LoadWatch) -> None:
        loads = LOADS
        for load in itertools.count(1):
            self.version = None
            if self._ready.done():  # of the page that is there now
                self._ready = asyncio.get_running_loop().create_future()
            try:
                await self._navigate(watch)
            except NavigationError as error:
                if error.reason.startswith("net::"):
                    raise PageUnreachableError(error.message) from None
                raise PageNotReadyError(error.message) from None
            except (PageNotReadyError, DevToolsTimeoutError, TimeoutError) as error:
                if self._document.serves and (gone := spent(watch.answers)):
                    await self._document.give_up(gone)
                    loads += 1  # the network's document is another page
                    continue
                if refused := refusal(watch.answers):
                    self._refused, self.version = True, None
                    await self._document.serve_again()
                    self._session.post("Page.stopLoading")  # what hangs keeps its connections
                    raise PageUnreachableError(refused.message, refused) from None
                why = str(error) or f"{self._url} did not finish loading"
                if load == loads:
                    known = isinstance(error, PageNotReadyError)
                    raise (error if known else PageNotReadyError(why)) from None
                logger.warning("the page is not ready; reloading it", event="page_retried", why=why)
            else:
                return

    async def _navigate(self, watch: LoadWatch) -> None:
        await self._session.navigate(self._url, timeout=NAVIGATION_DEADLINE)
        if (status := watch.answers.status) and status >= REFUSED:
            raise PageNotReadyError(f"HTTP status {status}")
        async with patience(NAVIGATION_DEADLINE + MODULES_DEADLINE):
            await self._ready_or_unrecoverable(watch)

    async def _ready_or_unrecoverable(self, watch: LoadWatch) -> None:
        ready, unrecoverable = self._ready, asyncio.ensure_future(watch.unrecoverable.wait())
        either: set[asyncio.Future[Any]] = {ready, unrecoverable}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unrecoverable.cancel()
        if not ready.done():
            self.close()  # what it would wait for cannot come
            raise PageNotReadyError("its scripts cannot be loaded")
        ready.result()

    def close(self) -> None:
        """Stop injecting."""
        if self._injection:
            self._injection.cancel()

    def _on_binding(self, payload: str) -> None:
        try:
            message = json.loads(payload)
            kind, data = str(message["kind"]), message["data"]
        except (ValueError, LookupError, TypeError, RecursionError):
            logger.error(
                "the page reported something invalid", event="page_odd", characters=len(payload)
            )
            return
        if kind == "standing":
            self._record_chat_state(data)
        else:
            self._report(kind, data)

    def _record_chat_state(self, reported: Any) -> None:
        reported = reported if isinstance(reported, dict) else {}
        message_id, chat_state = word(reported.get("id"), ID_LIMIT), word(reported.get("standing"))
        if message_id and chat_state:
            self._chat_states[message_id] = chat_state
            while len(self._chat_states) > CHAT_STATES_AT_MOST:
                del self._chat_states[next(iter(self._chat_states))]

    def _on_load(self) -> None:
        self._report("loaded", None)
        self.version = None
        if self._ready.done():
            self._ready = asyncio.get_running_loop().create_future()
        if self._injection:
            self._injection.cancel()
        self._injection = asyncio.create_task(self._inject(self._ready), name="inject")

    async def _inject(self, ready: asyncio.Future[None]) -> None:
        try:
            await self._wait(_MODULES, MODULES_DEADLINE)
            await self._make_usable()
            await self._read_version()
            if self._document.evaded and not self._loading:
                self._report("evaded", None)
            ready.set_result(None)
            self._report("changed", "injected")
        except (DevToolsTimeoutError, EvaluationError, PageNotReadyError) as error:
            with contextlib.suppress(DevToolsError, EvaluationError):
                await self._read_version()
            known = isinstance(error, PageNotReadyError)
            if not ready.done():
                ready.set_exception(error if known else PageNotReadyError(str(error)))
                ready.exception()  # whoever waits has seen it; nobody may wait
            # else it is loaded again: at once, or when it is time to ask WhatsApp again
            if known and not self._loading and not self._refused:
                self._report("unusable", str(error))

    async def _read_version(self) -> None:
        self.version = await self._document.version(wajs=self._digest, missing=self._missing)

    async def _make_usable(self) -> None:
        """Inject until wa-js is ready, and has what waguard uses of it."""
        self._missing = ()
        end = time.monotonic() + RESOLVE_DEADLINE
        for injection in itertools.count(1):
            await self._session.evaluate(self._bundle, timeout=CALL_DEADLINE)
            await self._session.evaluate(HOOK, timeout=CALL_DEADLINE)
            self._report("settling", None)
            is_ready = await self._wait("window.WPP && window.WPP.isReady", READY_DEADLINE)
            if is_ready:
                # again: only a ready wa-js has every part that the hook needs
                await self._session.evaluate(HOOK, timeout=CALL_DEADLINE)
            missing = await self._unresolved()
            self._missing = missing.all
            if is_ready and not missing.needed and (not missing.further or injection > INJECTIONS):
                if missing.further:
                    logger.warning(
                        "wa-js lacks some exports",
                        event="wajs_exports_missing",
                        names=", ".join(missing.further),
                    )
                return
            logger.warning(
                "wa-js injected but not usable",
                event="wajs_unusable",
                injection=injection,
                ready=is_ready,
                missing=", ".join([*missing.needed, *missing.further][:NAMED_AT_MOST]),
            )
            if injection >= INJECTIONS and (not is_ready or time.monotonic() > end):
                if missing.needed:
                    raise ExportsMissingError(missing.needed)
                raise PageNotReadyError(f"wa-js did not become ready on {self._url}")
            await asyncio.sleep(INJECTION_PAUSES[min(injection, len(INJECTION_PAUSES)) - 1])

    async def _unresolved(self) -> Unresolved:
        reported = await self._session.evaluate(
            "window.__waguard ? window.__waguard.unresolved() : null", timeout=CALL_DEADLINE
        )
        reported = reported if isinstance(reported, dict) else {}
        kinds = ("needed", "further", "lacking")
        return Unresolved(*(_names(reported.get(kind)) for kind in kinds))

    async def _wait(self, condition: str, deadline: float) -> bool:
        expression = _WAIT % (deadline * 1000, condition, _POLL_INTERVAL)
        return bool(await self._session.evaluate(expression, timeout=deadline + CALL_DEADLINE))

    async def read(self, *, timeout: float) -> Reading:
        """Read the page once. Raises ``ElsewhereError`` where it is WhatsApp's no more."""
        reported = await self._session.evaluate(
            "window.__waguard ? window.__waguard.facts() : null", timeout=timeout
        )
        return _reading(reported)

    async def send_text(
        self, chat: str, text: str, options: dict[str, Any], *, timeout: float
    ) -> SendOutcome:
        """``options`` are wa-js's (messageId, quotedMsg, mentionedList), aliases (other ids of those who are
        mentioned), firstContactCheck (ms), absent, hold (refuse a first contact).

        Raises ``DevToolsTimeoutError`` when WhatsApp never answered: an unknown outcome;
        ``NotSendableError``.
        """
        return _outcome(await self._call("sendText", chat, text, options, timeout=timeout))

    async def send_file(
        self, chat: str, content: bytes, options: dict[str, Any], *, timeout: float
    ) -> SendOutcome:
        """As ``send_text``; further options: type, mimetype, filename, caption."""
        url = f"data:{options['mimetype']};base64,{base64.b64encode(content).decode()}"
        variable = f"__waguard_file_{abs(hash(options['messageId']))}"
        began = time.monotonic()
        try:
            await self._session.put_large(variable, url, timeout=timeout / 2)
        except DevToolsError as error:
            raise NotTransmittedError(f"the file did not reach the page: {error}") from None
        timeout -= time.monotonic() - began
        arguments = f"{json.dumps(chat)}, window.{variable}, {json.dumps(options)}"
        expression = (
            f"(async () => {{ {_HOOKED} return await window.__waguard.sendFile({arguments})"
            f".finally(() => {{ delete window.{variable}; }}); }})()"
        )
        return _outcome(await self._ask(expression, timeout=timeout))

    async def ack_of(
        self, message_id: str, aliases: Sequence[str] = (), *, timeout: float = CALL_DEADLINE
    ) -> int | None:
        """The ack of a message in its chat, which may have these ``aliases``, or the id by which
        the page has it now; None: it is in none of them, which proves nothing.

        Raises ``EvaluationError`` where one of them could not be read.
        """
        return ack(await self._call("ackOf", message_id, list(aliases), timeout=timeout))

    async def media(self, message_id: str, limit: int) -> bytes:
        """Download and decrypt a message's file; ``EvaluationError`` beyond ``limit`` bytes."""
        reported = await self._call("media", message_id, limit, timeout=MEDIA_DEADLINE)
        if not isinstance(reported, str):
            raise EvaluationError("no file")
        content = base64.b64decode(reported)
        if len(content) > limit:  # the page was asked to see to that
            raise EvaluationError(f"a file of {len(content)} bytes, the limit is {limit}")
        return content

    async def chats(self) -> list[tuple[str | None, int | None]]:
        """All chats: the id, None where it cannot be read, and the time of the newest message.

        Unix time; 0: there is none, None: that cannot be read.
        """
        reported = _listed(await self._call("chats"), "chats")
        return [_chat(entry) for entry in reported]

    async def history(self, chat: str, before: str | None, count: int) -> list[Any]:
        """Up to ``count`` messages of a chat as the hook projects them, in no certain order.

        They stand before the message with the id ``before``; None: the newest.
        """
        reported = await self._call("history", chat, before, count)
        return _listed(reported, "messages")

    async def message(self, message_id: str, aliases: Sequence[str] = ()) -> Any:
        """A message by its id, as the hook projects it; None: the page has none. ``aliases`` and
        errors as ``ack_of``."""
        return await self._call("message", message_id, list(aliases))

    async def exists(self, chat: str) -> bool:
        """Whether WhatsApp knows the number; False also when its server failed to say."""
        return bool(await self._call("exists", chat))

    def chat_state_of(self, message_id: str) -> str | None:
        """What its chat was before it was sent, in the hook's word; None: it never came so far. Once."""
        return self._chat_states.pop(message_id, None)

    async def pairing_code(self, phone: str) -> str:
        """Eight characters to be typed on the phone. Raises ``TooOftenError``."""
        reported = await self._call("pairingCode", phone)
        if isinstance(reported, dict) and reported.get("refused") == "too_often":
            raise TooOftenError("WhatsApp answers 429: it was asked for too many pairing codes")
        return word(reported) or ""

    async def refresh_qr(self) -> None:
        """Have a new code shown."""
        await self._call("refreshQr")

    async def unlink(self) -> None:
        """Log out at WhatsApp."""
        await self._call("unlink")

    async def takeover(self) -> None:
        """Use WhatsApp here although another client of this device took the stream."""
        await self._call("takeover")

    async def _call(self, name: str, *arguments: Any, timeout: float = CALL_DEADLINE) -> Any:
        listed = ", ".join(json.dumps(argument) for argument in arguments)
        # nothing of what wa-js resolves to but plain values may cross: models are cyclic
        return await self._ask(
            f"(async () => {{ {_HOOKED} const it = await window.__waguard.{name}({listed});"
            " return it === null || typeof it !== 'object' || it.constructor === Object ? it : null;"
            " })()",
            timeout=timeout,
        )

    async def _ask(self, expression: str, *, timeout: float) -> Any:
        """Raises ``PageLoadingError``: between a new document and its load event nobody has said yet
        that the page is another."""
        try:
            return await self._session.evaluate(expression, timeout=timeout)
        except EvaluationError as error:
            if error.text == _NO_HOOK:
                raise PageLoadingError from None
            raise


def _names(reported: Any) -> tuple[str, ...]:
    listed = reported[:NAMES_LIMIT] if isinstance(reported, list) else []
    return tuple(name for one in listed if (name := word(one)))


def _listed(reported: Any, name: str) -> list[Any]:
    found = reported.get(name) if isinstance(reported, dict) else None
    if not isinstance(found, list):
        raise EvaluationError(f"no {name}")
    return found


def _chat(entry: Any) -> tuple[str | None, int | None]:
    chat, newest = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)  # noqa: PLR2004 - id and time
    found = chat if isinstance(chat, str) and 0 < len(chat) <= CHAT_LIMIT else None
    return found and word(found), 0 if newest == 0 else moment(newest)


def _reading(reported: Any) -> Reading:
    reported = reported if isinstance(reported, dict) else {}
    authenticated, code = reported.get("authenticated"), reported.get("code")
    facts = PageFacts(
        authenticated=authenticated if isinstance(authenticated, bool) else None,
        mode=word(reported.get("mode")),
        info=word(reported.get("info")),
        socket=word(reported.get("socket")),
        has_code=code is not None,
        events_wired=bool(reported.get("full")),
        update_offered=reported.get("update") is True,
        covered=reported.get("covered") is True,
    )
    fits = isinstance(code, str) and code.isascii() and 0 < len(code) <= CODE_LIMIT
    locked = reported.get("locked")
    return Reading(
        facts=facts,
        code=word(code, CODE_LIMIT) if fits else None,
        me=word(reported.get("me")),
        locked_until=0.0 if locked == 0 else moment(locked),
    )


def _outcome(reported: Any) -> SendOutcome:
    """What cannot be read says nothing, and is no outcome."""
    reported = reported if isinstance(reported, dict) else {}
    if reason := word(reported.get("refused")):
        raise NotSendableError(reason, word(reported.get("why"), ERROR_LIMIT))
    return SendOutcome(
        ack=ack(reported.get("ack")),
        result=word(reported.get("result")),
        at=moment(reported.get("at")),
    )
