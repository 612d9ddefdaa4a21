"""WhatsApp's page with wa-js in it: what it is asked, and what its hook reports.

How it is made ready is in ``page_loader``.
"""

import base64
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from waguard.errors import TooLargeError
from waguard.worker.browser.devtools import (
    DevToolsError,
    ElsewhereError,
    EvaluationError,
    PageSession,
)
from waguard.worker.browser.page import delete_variable, put_file
from waguard.worker.page import page_answers
from waguard.worker.page.page_answers import Reading, SendOutcome
from waguard.worker.page.page_errors import NotTransmittedError, PageLoadingError, TooOftenError
from waguard.worker.page.page_reports import ID_LIMIT, ack
from waguard.worker.page.report_gate import CHAT_STATE, LARGEST, ReportGate
from waguard.worker.page.values import word
from waguard.worker.timings import TIMINGS, Timings

BINDING: Final = "waguardReport"
CHAT_STATES_AT_MOST: Final = 100  # a session has fewer sends at a time

_THERE: Final = f"if (!window.%s) throw {json.dumps(PageLoadingError.TEXT)};"
_HOOKED: Final = _THERE % "__waguard"
_LOST: Final = (DevToolsError, EvaluationError)  # a reload takes away what was there


class WhatsAppPage:
    """Asks one page. ``report(kind, data)`` is called for everything that the hook reports."""

    def __init__(
        self,
        session: PageSession,
        *,
        report: Callable[[str, Any], None],
        gate: ReportGate | None = None,
        timings: Timings = TIMINGS,
    ) -> None:
        self._session = session
        self._gate = gate or ReportGate()
        self._report = report
        self._timings = timings
        self._chat_states: dict[str, str] = {}
        """The states of the chats of sends under way, by the message's id."""

    async def listen(self) -> None:
        """Hear what the hook reports; once, before the first navigation."""
        await self._session.add_binding(BINDING, self._on_binding)

    def _on_binding(self, payload: str) -> None:
        size = len(payload)
        try:
            message = json.loads(payload if size <= LARGEST else "")
            kind, data = str(message["kind"]), message["data"]
        except (ValueError, LookupError, TypeError, RecursionError):
            self._gate.refuse(size)
            return
        wait = self._gate.wait(kind, size)
        if wait is None:
            return
        if wait:
            self._session.rest(wait)
        if kind == CHAT_STATE:
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

    async def read(self, *, timeout: float) -> Reading:
        """Read the page once. Raises ``ElsewhereError`` where it is WhatsApp's no more."""
        reported = await self._session.evaluate(
            "window.__waguard ? window.__waguard.facts() : null", timeout=timeout
        )
        return page_answers.reading(reported)

    async def send(self, way: str, *arguments: Any, timeout: float | None = None) -> SendOutcome:
        """By the hook's sendText, sendContent, act or inChat. Options are wa-js's (messageId, quotedMsg,
        mentionedList), aliases (other ids of those who are mentioned), firstContactCheck (ms), absent, hold (refuse a
        first contact).

        Raises ``DevToolsTimeoutError`` when WhatsApp never answered: an unknown outcome;
        ``NotSendableError``.
        """
        return page_answers.send_outcome(await self.call(way, *arguments, timeout=timeout))

    async def send_file(
        self, chat: str, file: bytes | Path, options: dict[str, Any], *, timeout: float
    ) -> SendOutcome:
        """As ``send``; further options: type, mimetype, filename, caption, isPtt, isViewOnce. A ``file`` that is a path is
        read by Chromium alone. Raises ``NotTransmittedError`` where the page did not get the file."""
        variable = f"__waguard_file_{abs(hash(options['messageId']))}"
        began = time.monotonic()
        try:
            if isinstance(file, Path):
                await put_file(self._session, variable, file, timeout=timeout / 2)
            else:
                kind = options["mimetype"].partition(";")[0]
                url = f"data:{kind};base64,{base64.b64encode(file).decode()}"
                await self._session.put_large(variable, url, timeout=timeout / 2)
        except BaseException as error:  # also where nobody waits any more
            delete_variable(self._session, variable)
            if isinstance(error, ElsewhereError) or not isinstance(error, _LOST):
                raise
            raise NotTransmittedError(f"the file did not reach the page: {error}") from None
        timeout -= time.monotonic() - began
        arguments = f"{json.dumps(chat)}, window.{variable}, {json.dumps(options)}"
        expression = (
            f"(async () => {{ try {{ {_HOOKED} {_THERE % variable} return await window.__waguard.sendFile({arguments}); }}"
            f" finally {{ delete window.{variable}; }} }})()"
        )
        return page_answers.send_outcome(await self._ask(expression, timeout=timeout))

    async def ack_of(
        self, message_id: str, aliases: Sequence[str] = (), *, timeout: float | None = None
    ) -> int | None:
        """The ack of a message in its chat, which may have these ``aliases``, or the id by which
        the page has it now; None: it is in none of them, which proves nothing.

        Raises ``EvaluationError`` where one of them could not be read.
        """
        return ack(await self.call("ackOf", message_id, list(aliases), timeout=timeout))

    async def media(self, message_id: str, limit: int) -> bytes:
        """Download and decrypt a message's file; ``TooLargeError`` beyond ``limit`` bytes."""
        reported = await self.call("media", message_id, limit, timeout=self._timings.media)
        size = reported if isinstance(reported, int) else 0
        if isinstance(reported, str):
            content = base64.b64decode(reported)
            if (size := len(content)) <= limit:  # the page was asked to see to that
                return content
        if size > limit:
            raise TooLargeError(f"the file has {size} bytes, the limit is {limit}")
        raise EvaluationError("no file")

    async def chats(self) -> list[tuple[str | None, int | None]]:
        """All chats: the id, None where it cannot be read, and the time of the newest message.

        Unix time; 0: there is none, None: that cannot be read.
        """
        reported = page_answers.listed(await self.call("chats"), "chats")
        return [page_answers.chat(entry) for entry in reported]

    async def history(self, chat: str, before: str | None, count: int) -> list[Any]:
        """Up to ``count`` messages of a chat as the hook projects them, in no certain order.

        They stand before the message with the id ``before``; None: the newest.
        """
        reported = await self.call("history", chat, before, count)
        return page_answers.listed(reported, "messages")

    async def message(self, message_id: str, aliases: Sequence[str] = ()) -> Any:
        """A message by its id, as the hook projects it; None: the page has none. ``aliases`` and
        errors as ``ack_of``."""
        return await self.call("message", message_id, list(aliases))

    async def exists(self, chat: str) -> bool:
        """Whether WhatsApp knows the number; False also when its server failed to say."""
        return bool(await self.call("exists", chat))

    def chat_state_of(self, message_id: str) -> str | None:
        """What its chat was before it was sent, in the hook's word; None: it never came so far. Once."""
        return self._chat_states.pop(message_id, None)

    async def pairing_code(self, phone: str) -> str:
        """Eight characters to be typed on the phone. Raises ``TooOftenError``."""
        reported = await self.call("pairingCode", phone)
        if isinstance(reported, dict) and reported.get("refused") == "too_often":
            raise TooOftenError("WhatsApp answers 429: it was asked for too many pairing codes")
        return word(reported) or ""

    async def refresh_qr(self) -> None:
        """Have a new code shown."""
        await self.call("refreshQr")

    async def unlink(self) -> None:
        """Log out at WhatsApp."""
        await self.call("unlink")

    async def takeover(self) -> None:
        """Use WhatsApp here although another client of this device took the stream."""
        await self.call("takeover")

    async def call(self, name: str, *arguments: Any, timeout: float | None = None) -> Any:
        listed = ", ".join(json.dumps(argument) for argument in arguments)
        # nothing of what wa-js resolves to but plain values may cross: models are cyclic
        return await self._ask(
            f"(async () => {{ {_HOOKED} const it = await window.__waguard.{name}({listed});"
            " return it === null || typeof it !== 'object' || it.constructor === Object ? it : null;"
            " })()",
            timeout=self._timings.call if timeout is None else timeout,
        )

    async def _ask(self, expression: str, *, timeout: float) -> Any:
        """Raises ``PageLoadingError``: between a new document and its load event nobody has said yet
        that the page is another."""
        try:
            return await self._session.evaluate(expression, timeout=timeout)
        except EvaluationError as error:
            if error.text == PageLoadingError.TEXT:
                raise PageLoadingError from None
            raise
