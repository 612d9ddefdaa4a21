"""One page, driven by DevTools. Every call has its own deadline and may be cancelled at any point."""

import asyncio
import base64
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loguru import logger

from waguard.host.patience import patience
from waguard.worker.browser.connection import PipeSession
from waguard.worker.browser.errors import (
    DevToolsError,
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
    NavigationError,
)
from waguard.worker.browser.identity import UserAgent

TAKEN_WITHIN: Final = 10.0  # s in which Chromium takes a binding or a script
LARGE_CHUNK = 1 << 20  # characters; 16 MB in one message took 5 s, 64 MB never arrived
CONSOLE_LIMIT = 500  # messages

UNSERIALIZABLE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "-0": -0.0}
DEFAULT_PORTS = {"http": 80, "https": 443}
# No page can change what ``location.origin`` is, nor how text is compared and joined.
ELSEWHERE = "elsewhere: "
GUARD = f"if (location.origin !== %s) throw {json.dumps(ELSEWHERE)} + location.origin;\n"


@contextlib.asynccontextmanager
async def deadline(what: str, seconds: float) -> AsyncIterator[None]:
    """``DevToolsTimeoutError``, naming what was waited for, when the body takes longer."""
    try:
        async with patience(seconds):
            yield
    except TimeoutError:
        raise DevToolsTimeoutError(
            f"{what} had no answer within {seconds:g} s", method=what
        ) from None


class _Contexts:
    """The origin of each context of JavaScript, by its id: frames have their own."""

    def __init__(self) -> None:
        self._origins: dict[int, str] = {}

    def follow(self, session: PipeSession) -> None:
        session.on("Runtime.executionContextCreated", self._on_created)
        session.on("Runtime.executionContextDestroyed", self._on_destroyed)
        session.on("Runtime.executionContextsCleared", lambda _: self._origins.clear())

    def origin(self, context: int) -> str | None:
        """None: there is no such context."""
        return self._origins.get(context)

    def _on_created(self, params: dict[str, Any]) -> None:
        self._origins[params["context"]["id"]] = params["context"]["origin"]

    def _on_destroyed(self, params: dict[str, Any]) -> None:
        self._origins.pop(params["executionContextId"], None)


class PageSession:
    """A page (tab) and our session with it.

    ``crashed`` is set while its renderer is dead, ``ended`` for good when the page or the browser is
    gone. All calls raise ``DevToolsError`` or one of its kinds. What the page logs, with all that it refers to,
    Chromium keeps until it is discarded: after each ``console_limit`` messages.
    """

    def __init__(
        self, session: PipeSession, target_id: str, *, console_limit: int = CONSOLE_LIMIT
    ) -> None:
        self._console_limit = console_limit
        self._session = session
        self.target_id = target_id
        self.crashed = session.crashed
        self.ended = session.ended
        self._bindings: dict[str, Callable[[str], object]] = {}
        self._origin: str | None = None
        self._contexts = _Contexts()
        self._console = self._dialogs = 0

    async def prepare(self, user_agent: UserAgent, *, timeout: float) -> None:
        """Before the first navigation: events on, identity set."""
        self.on("Runtime.bindingCalled", self._on_binding)
        self._contexts.follow(self._session)
        self.on("Runtime.consoleAPICalled", self._on_console)
        self.on("Page.javascriptDialogOpening", self._on_dialog)
        async with deadline("preparing the page", timeout):
            await self.send("Emulation.setUserAgentOverride", user_agent.override, timeout=timeout)
            await self.send("Page.enable", timeout=timeout)
            # without it a binding does not survive a navigation
            await self.send("Runtime.enable", timeout=timeout)

    async def send(
        self, method: str, params: dict[str, Any] | None = None, *, timeout: float
    ) -> dict[str, Any]:
        """Any DevTools method of a page."""
        async with deadline(method, timeout):
            return await self._session.send(method, params)

    def post(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Call a method whose answer matters to nobody."""
        self._session.send(method, params)

    def rest(self, seconds: float) -> None:
        """Read nothing of the browser for so long: what it says waits there."""
        self._session.rest(seconds)

    def keep_to(self, url: str) -> None:
        """From now on evaluate, and hear bindings, only where the page is of the URL's origin."""
        self._origin = _origin(url)

    async def evaluate(self, expression: str, *, timeout: float, await_promise: bool = True) -> Any:
        """The value of a JavaScript expression, by way of JSON; ``undefined`` is ``None``.

        A promise is waited for unless ``await_promise`` is false. What the page throws is an
        ``EvaluationError``; an ``ElsewhereError`` where it is not where it is kept to. After a
        time-out or a cancellation the page goes on with it.
        """
        guard = GUARD % json.dumps(self._origin) if self._origin else ""
        try:
            return await self._evaluate(guard + expression, timeout, await_promise=await_promise)
        except EvaluationError as error:
            if guard and error.text.startswith(ELSEWHERE):
                raise ElsewhereError(error.text.removeprefix(ELSEWHERE)) from None
            raise

    async def _evaluate(self, expression: str, timeout: float, *, await_promise: bool) -> Any:
        return _value(
            await self.send(
                "Runtime.evaluate",
                {
                    "expression": expression,
                    "returnByValue": True,
                    "awaitPromise": await_promise,
                },
                timeout=timeout,
            )
        )

    async def ping(self, timeout: float) -> None:
        """Prove that the renderer runs JavaScript."""
        if await self._evaluate("1", timeout, await_promise=False) != 1:
            raise DevToolsError(
                "the page does not evaluate an expression", method="Runtime.evaluate"
            )

    async def navigate(self, url: str, *, timeout: float) -> None:
        """Go to a URL and be there: committed, of the URL's origin. Not: loaded.

        Raises ``NavigationError`` when Chromium shows something else (a dead server, a redirect to
        another origin), ``DevToolsTimeoutError`` when the server does not answer; then the attempt
        is stopped.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        try:
            result = await self.send("Page.navigate", {"url": url}, timeout=timeout)
        except DevToolsTimeoutError:
            self.post("Page.stopLoading")
            raise
        if reason := result.get("errorText"):
            raise NavigationError(url, reason)
        wanted = _origin(url)
        if wanted is None:
            return
        left = max(until - loop.time(), 0.0)
        shown = await self._evaluate("location.origin", left, await_promise=False)
        if shown != wanted:
            raise NavigationError(url, f"the page shows {shown}")

    async def add_binding(self, name: str, callback: Callable[[str], object]) -> None:
        """Give the page a function ``name(text)`` that calls ``callback(text)`` here.

        It survives navigations. A callback that raises is reported and nothing else happens.
        """
        self._bindings[name] = callback
        await self.send("Runtime.addBinding", {"name": name}, timeout=TAKEN_WITHIN)

    async def on_new_document(self, source: str) -> None:
        """Run JavaScript in each document from the next one on, before the page's own."""
        await self.send(
            "Page.addScriptToEvaluateOnNewDocument", {"source": source}, timeout=TAKEN_WITHIN
        )

    def on(self, event: str, callback: Callable[[dict[str, Any]], object]) -> None:
        """Call back for each DevTools event of that name, such as ``Page.loadEventFired``."""
        self._session.on(event, callback)

    def off(self, event: str, callback: Callable[[dict[str, Any]], object]) -> None:
        """Undo ``on``."""
        self._session.remove_listener(event, callback)

    async def terminate_execution(self, *, timeout: float = 5.0) -> None:
        """Stop the JavaScript that runs now; works on a page that is caught in a loop."""
        await self.send("Runtime.terminateExecution", timeout=timeout)

    async def screenshot(self, timeout: float) -> bytes:
        """What the page shows, as PNG."""
        result = await self.send("Page.captureScreenshot", {"format": "png"}, timeout=timeout)
        return base64.b64decode(result["data"])

    async def put_large(self, name: str, text: str, *, timeout: float) -> None:
        """Make ``globalThis[name]`` of the page the string ``text``, however long it is.

        ``timeout`` is for the whole. Until all of it has arrived the variable keeps what it held. ``delete_variable``
        deletes what had arrived where that fails.
        """
        parts = _parts(name)
        async with deadline(f"the transfer of {len(text)} characters", timeout):
            await self.evaluate(f"void ({parts} = [])", timeout=timeout)
            for start in range(0, len(text), LARGE_CHUNK):
                part = json.dumps(text[start : start + LARGE_CHUNK])
                await self.evaluate(f"void {parts}.push({part})", timeout=timeout)
            await self.evaluate(
                f"void (globalThis[{json.dumps(name)}] = {parts}.join(''), delete {parts})",
                timeout=timeout,
            )

    def _on_binding(self, params: dict[str, Any]) -> None:
        if self._origin not in {None, self._contexts.origin(params.get("executionContextId", 0))}:
            return  # it, or a frame in it, is somebody else's
        if callback := self._bindings.get(params.get("name", "")):
            callback(params.get("payload", ""))

    def _on_dialog(self, params: dict[str, Any]) -> None:
        """Nobody will answer it, and the page stands still until somebody does."""
        leaving = params.get("type") == "beforeunload"
        self._session.send("Page.handleJavaScriptDialog", {"accept": leaving})
        if not self._dialogs:  # its text is the page's, and there may be many
            logger.warning(
                "the page shows a dialog; it is closed",
                event="page_dialog",
                kind=params.get("type"),
            )
        self._dialogs += 1

    def _on_console(self, params: dict[str, Any]) -> None:
        del params
        self._console += 1
        if self._console >= self._console_limit:
            self._console = 0
            self._session.send("Runtime.discardConsoleEntries")


def delete_variable(page: PageSession, name: str) -> None:
    """Delete ``globalThis[name]`` and what has arrived of it; waits for nothing."""
    expression = f"delete {_parts(name)}, delete globalThis[{json.dumps(name)}]"
    page.post("Runtime.evaluate", {"expression": expression})


def _parts(name: str) -> str:
    return f"globalThis[{json.dumps(f'__parts_of_{name}')}]"


async def put_file(page: PageSession, name: str, path: Path, *, timeout: float) -> None:
    """Make ``globalThis[name]`` of the page a ``File`` with what is at ``path``: nothing of it passes through here.

    ``timeout`` is for the whole.
    """
    origin = page._origin  # noqa: SLF001 - of this file
    guard = GUARD % json.dumps(origin) if origin else ""
    made = guard + "Object.assign(document.createElement('input'), { type: 'file' })"
    keep = "function (name) { globalThis[name] = this.files[0]; return this.files[0].size; }"
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DevToolsError(f"the file cannot be read: {error.strerror}") from None
    async with deadline("the transfer of a file", timeout):
        result = await page.send("Runtime.evaluate", {"expression": made}, timeout=timeout)
        _value(result)  # it may have thrown
        held = {"objectId": result["result"].get("objectId")}
        await page.send("DOM.setFileInputFiles", {**held, "files": [str(path)]}, timeout=timeout)
        kept = {**held, "functionDeclaration": keep, "arguments": [{"value": name}]}
        found = _value(await page.send("Runtime.callFunctionOn", kept, timeout=timeout))
        await page.send("Runtime.releaseObject", held, timeout=timeout)
    if found != size:
        raise DevToolsError(f"the page sees {found} bytes of the file's {size}")


def _value(result: dict[str, Any]) -> Any:
    if details := result.get("exceptionDetails"):
        thrown = details.get("exception", {})
        text = thrown.get("description", thrown.get("value", details.get("text", "?")))
        raise EvaluationError(str(text))
    remote = result["result"]
    if (text := remote.get("unserializableValue")) is None:
        return remote.get("value")
    if text in UNSERIALIZABLE:
        return UNSERIALIZABLE[text]
    try:
        return int(text.removesuffix("n"))  # a BigInt
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise EvaluationError("a number that is too long") from None


def _origin(url: str) -> str | None:
    """As ``location.origin`` shows it; ``None`` for what has none to compare."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or parts.hostname is None:
        return None
    port = parts.port
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port in {None, DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown}"
