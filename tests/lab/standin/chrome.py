"""A small DevTools client over Chromium's pipe, and one page of it with the real wa-js. For these tests only."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from waguard.lab.standin import StandIn

CHROMIUM = "/usr/lib/chromium/chromium"
BUNDLE = (
    Path(__file__).parents[3] / "waguard/wajs/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"
)
BUNDLE_SOURCE = (
    f"{BUNDLE.read_text(encoding='utf-8')}\n;0"  # ;0 is a value that DevTools can return
)
USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36"
)
FLAGS = [
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-dev-shm-usage",
]
DISABLED = "WebUIOmniboxPopup,WebUIOmniboxAimPopup,SpareRendererForSitePerProcess,Translate,BackForwardCache,MediaRouter,OptimizationHints"
BEFORE = (
    "window.WPPConfig = {disableGoogleAnalytics: true, linkPreviewApiServers: [], "
    "deviceName: false, poweredBy: 'waguard'}; window.seen = [];"
)
EVENTS = [
    "conn.auth_code_change",
    "conn.authenticated",
    "conn.main_ready",
    "conn.logout",
    "conn.logout_reason",
    "conn.require_auth",
    "conn.needs_update",
    "conn.qrcode_idle",
    "conn.stream_mode_changed",
    "conn.stream_info_changed",
    "conn.online",
    "chat.new_message",
    "chat.msg_ack_change",
]
HOOK = """
(() => {
  const plain = (v) => v && v.attributes ? {id: String(v.id), body: v.body, from: String(v.from),
      isNewMsg: v.isNewMsg, fromMe: v.id.fromMe}
    : v && v.ids ? {ack: v.ack, ids: v.ids.map(String), chat: String(v.chat)} : v ?? null;
  for (const name of EVENTS) WPP.on(name, (v) => window.tell(JSON.stringify([name, plain(v)])));
})()
""".replace("EVENTS", json.dumps(EVENTS))
CONNECTED = (
    "WPP.conn.isAuthenticated() && WPP.conn.getStreamData().mode === 'MAIN' "
    "&& WPP.conn.getStreamData().info === 'NORMAL' && WPP.whatsapp.Socket.state === 'CONNECTED'"
)
# anyone else runs Chromium with its own sandbox on
SANDBOX = ["--no-sandbox"] if os.getuid() == 0 else []


class PageError(Exception):
    """What the page threw, or DevTools refused."""


class Chrome:
    """A Chromium with one page on a profile folder. `close` ends it in order, `kill` does not."""

    def __init__(self, profile: Path, args: list[str], *, user_agent: str = USER_AGENT) -> None:
        self.profile, self._args, self._user_agent = profile, args, user_agent
        self.events: list[tuple[str, Any]] = []
        self.errors: list[str] = []  # exceptions in the page that nobody caught
        self.loads = 0
        self.stored: tuple[dict[str, str], str] | None = None
        self._serving: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Condition()
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._session = ""

    async def start(self) -> Self:
        self._scratch = tempfile.mkdtemp(prefix="wg-")
        page_reads, we_write = os.pipe()
        we_read, page_writes = os.pipe()

        def wire() -> None:
            # fds 3 and 4 may be taken by the pipes themselves: move those out of the way first
            reads, writes = os.dup(page_reads), os.dup(page_writes)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        env = os.environ | {"TMPDIR": self._scratch}
        self._process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            *SANDBOX,
            *(f"{arg},{DISABLED}" if "-features=" in arg else arg for arg in self._args),
            f"--user-data-dir={self.profile}",
            "--remote-debugging-pipe",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            close_fds=False,
            start_new_session=True,
            preexec_fn=wire,
            env=env,
        )
        os.close(page_reads)
        os.close(page_writes)
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=1 << 28)
        self._read_transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), os.fdopen(we_read, "rb", 0)
        )
        self._writer, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(we_write, "wb", 0)
        )
        self._loop_task = asyncio.create_task(self._listen())
        await self._attach()
        return self

    async def _attach(self) -> None:
        targets = await self.send("Target.getTargets", session="")
        page = next(t for t in targets["targetInfos"] if t["type"] == "page")
        attached = await self.send(
            "Target.attachToTarget", session="", targetId=page["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Network.setUserAgentOverride", userAgent=self._user_agent)
        await self.send("Runtime.addBinding", name="tell")
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=BEFORE)

    async def _listen(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                future = self._pending.pop(message.get("id", 0), None)
                if future is not None and not future.done():
                    if "error" in message:
                        future.set_exception(PageError(message["error"]["message"]))
                    else:
                        future.set_result(message["result"])
                async with self._changed:
                    self._record(message)
                    self._changed.notify_all()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ConnectionResetError("Chromium is gone"))

    def _record(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.bindingCalled":
            name, value = json.loads(params["payload"])
            self.events.append((name, value))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Fetch.requestPaused":
            task = asyncio.create_task(self._fulfil(params["requestId"]))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        elif method == "Page.loadEventFired":
            self.loads += 1

    async def serve(self, url: str, headers: dict[str, str], text: str) -> None:
        """From now on this document at this address, whatever the network has."""
        self.stored = headers, text
        await self.send("Fetch.enable", patterns=[{"urlPattern": url, "resourceType": "Document"}])

    async def serve_nothing(self) -> None:
        """The network does again."""
        await self.send("Fetch.disable")

    async def _fulfil(self, request: str) -> None:
        assert self.stored
        headers, text = self.stored
        await self.send(
            "Fetch.fulfillRequest",
            requestId=request,
            responseCode=200,
            responseHeaders=[{"name": name, "value": value} for name, value in headers.items()],
            body=base64.b64encode(text.encode()).decode(),
        )

    async def send(
        self, method: str, *, session: str | None = None, within: float = 20, **params: Any
    ) -> Any:
        self._number += 1
        call = {"id": self._number, "method": method, "params": params}
        session = self._session if session is None else session
        if session:
            call["sessionId"] = session
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[self._number] = future
        self._writer.write(json.dumps(call).encode() + b"\0")
        return await asyncio.wait_for(future, within)

    async def js(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise; raises PageError if it throws."""
        answer = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            thrown = details.get("exception", {})
            value = thrown.get("description") or thrown.get("value") or details["text"]
            raise PageError(str(value))
        return answer["result"].get("value")

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something that events change is true; returns it."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), 60)
        return condition()

    async def until_js(self, expression: str, *, every: float = 0.03, within: float = 60) -> Any:
        """Poll the page until the expression is true; returns its value."""
        last: object = None

        async def poll() -> Any:
            nonlocal last
            while True:
                try:
                    if last := await self.js(expression):
                        return last
                except PageError as error:  # a page in navigation has no context yet
                    last = error
                await asyncio.sleep(every)

        try:
            return await asyncio.wait_for(poll(), within)
        except TimeoutError:
            raise AssertionError(f"never true: {expression} (last {last!r})") from None

    async def event(self, name: str, **fields: Any) -> Any:
        """Wait for an event of wa-js, past or to come, whose value has these fields."""

        def seen() -> list[Any]:
            return [
                [value]
                for n, value in self.events
                if n == name and all(value.get(k) == v for k, v in fields.items())
            ]

        return (await self.until(seen))[-1][0]

    def count(self, name: str, value: object = ...) -> int:
        return sum(1 for n, v in self.events if n == name and value in (..., v))

    async def open(self, url: str, *, inject: bool = True) -> None:
        loads = self.loads
        await self.send("Page.navigate", url=url)
        await self.until(lambda: self.loads > loads)
        if inject:
            await self.inject()

    async def inject(self) -> None:
        """Evaluate the bundle and the hook, and wait until wa-js says full ready."""
        await self.evaluate_bundle()
        await self.until_js("WPP.isFullReady")

    async def evaluate_bundle(self) -> None:
        await self.until_js("Object.keys(require('__debug').modulesMap).length > 0")
        await self.js(BUNDLE_SOURCE)
        await self.js(HOOK)

    async def code(self) -> str:
        """The code that the page shows now."""
        code = await self.until_js("WPP.conn.getAuthCode().then((c) => c && c.fullCode)")
        return str(code)

    async def connected(self) -> None:
        await self.until_js(CONNECTED)

    async def close(self) -> None:
        """End in order: everything is flushed to the profile."""
        if self._process.returncode is None:
            with contextlib.suppress(ConnectionError, TimeoutError, PageError):
                await self.send("Browser.close", session="")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 30)
        await self.kill()

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._writer.close()
        self._read_transport.close()
        self._loop_task.cancel()
        await asyncio.gather(self._loop_task, return_exceptions=True)
        shutil.rmtree(self._scratch, ignore_errors=True)


class Launcher:
    """Starts browsers that take the stand-in for WhatsApp."""

    def __init__(
        self, standin: StandIn, new_profile: Callable[[], Path], stack: contextlib.AsyncExitStack
    ) -> None:
        self.standin, self._new_profile, self._stack = standin, new_profile, stack

    async def launch(self, profile: Path | None = None, *, user_agent: str = USER_AGENT) -> Chrome:
        folder = profile or self._new_profile()
        chrome = Chrome(folder, self.standin.browser_args, user_agent=user_agent)
        await chrome.start()
        self._stack.push_async_callback(chrome.close)
        return chrome

    async def link(self, chrome: Chrome, phone: str = "6281180001") -> None:
        """Open the page, scan its code, wait until it is connected."""
        await chrome.open(self.standin.url)
        self.standin.phone.scan(await chrome.code(), phone)
        await chrome.connected()


async def eventually(condition: Callable[[], Any], within: float = 10) -> Any:
    """Wait until something of the stand-in, in this process, is true; returns it."""

    async def poll() -> Any:
        while not (value := condition()):
            await asyncio.sleep(0.01)
        return value

    return await asyncio.wait_for(poll(), within)
