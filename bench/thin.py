"""The floor: the thinnest script that drives WhatsApp Web. Nothing of it is waguard's but the flags.

A bare Chromium, DevTools over its pipe with the standard library alone, wa-js injected by the cold-load
recipe (load event → core modules exist → evaluate → wa-js is ready). No worker process, no repair, no deadline on any
call: what waguard does on top of this is what the ratios show.
"""

import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any, Self

CONFIG = "window.WPPConfig = {disableGoogleAnalytics: true, linkPreviewApiServers: [], deviceName: false};"
EVERY = 10  # ms between two looks inside the page

UNTIL_MODULES = """
  const ids = Object.keys(require('__debug').modulesMap);
  return ['Socket', 'Stream', 'Conn', 'Cmd', 'Msg'].every((word) => ids.some((id) => id.includes(word)));
"""
UNTIL_READY = "return WPP.isReady;"
UNTIL_CODE = "return (await WPP.conn.getAuthCode()).fullCode;"
UNTIL_CONNECTED = """
  return WPP.conn.isAuthenticated() && WPP.conn.getStreamData().mode === 'MAIN'
    && WPP.whatsapp.Socket.state === 'CONNECTED';
"""
SEND = """(async () => {
  const sent = await WPP.chat.sendTextMessage(%s, %s, {
    waitForAck: true, linkPreview: false, markIsRead: false, messageId: %s,
  });
  const result = await sent.sendMsgResult;
  return [sent.ack, String(result.messageSendResult ?? result)];
})()"""


class Browser:
    """One Chromium and its first page."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: Any, read: Any) -> None:
        self.pid = pid
        self._reader, self._writer, self._read = reader, writer, read
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session = ""
        self._attached = asyncio.Event()
        self._loaded = asyncio.Event()
        self.crashed = asyncio.Event()
        self.closed = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, argv: list[str], temporary: Path) -> Self:
        """Run it with its DevTools pipe at descriptors 3 and 4."""
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        theirs_in, ours_out = (_high(fd) for fd in os.pipe())
        ours_in, theirs_out = (_high(fd) for fd in os.pipe())
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        ends = [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
        pid = os.posix_spawn(
            argv[0],
            argv,
            {**os.environ, "TMPDIR": str(temporary), "BREAKPAD_DUMP_LOCATION": str(temporary)},
            file_actions=[*null, *ends],
            setpgroup=0,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 26)
        writer, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(ours_out, "wb", 0)
        )
        read, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb", 0)
        )
        return cls(pid, reader, writer, read)

    async def _listen(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                params = message.get("params", {})
                match message.get("method"):
                    case None:
                        self._calls.pop(message["id"]).set_result(message)
                    case "Target.attachedToTarget" if params["targetInfo"]["type"] == "page":
                        self._session = params["sessionId"]
                        self._attached.set()
                    case "Page.loadEventFired":
                        self._loaded.set()
                    case "Inspector.targetCrashed":
                        self.crashed.set()
                    case _:
                        pass
        self.closed.set()
        for call in self._calls.values():
            call.set_exception(EOFError("the browser is gone"))

    def _call(
        self, method: str, params: dict[str, Any], *, browser: bool = False
    ) -> "asyncio.Future[dict[str, Any]]":
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if not browser:
            message["sessionId"] = self._session
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(message).encode() + b"\0")
        return answer

    async def watch(self) -> None:
        """Have a page, and be told when it crashes."""
        attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
        self._call("Target.setAutoAttach", attach, browser=True)
        await self._attached.wait()
        await self._call("Inspector.enable", {})

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, a promise included."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = await self._call("Runtime.evaluate", asked)
        if "error" in answer or "exceptionDetails" in answer["result"]:
            raise RuntimeError(f"the page refused: {answer}")
        return answer["result"]["result"].get("value")

    async def until(self, body: str) -> Any:
        """Look again inside the page until ``body`` returns something true; that."""
        return await self.evaluate(
            f"""(async () => {{ for (;;) {{
              const found = await (async () => {{ {body} }})().catch(() => null);
              if (found) return found;
              await new Promise((again) => setTimeout(again, {EVERY}));
            }} }})()"""
        )

    async def load(self, url: str, wajs: str, *, hasty: bool = False) -> None:
        """Open the page and inject wa-js by the recipe. ``hasty``: do not wait until it is ready."""
        attach = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": True}
        self._call("Target.setAutoAttach", attach, browser=True)
        await self._attached.wait()
        # Chromium takes them in order: nothing has to be waited for but the last event
        self._call("Page.enable", {})
        self._call("Page.addScriptToEvaluateOnNewDocument", {"source": CONFIG})
        self._call("Page.navigate", {"url": url})
        await self._loaded.wait()
        await self.until(UNTIL_MODULES)
        await self.evaluate(wajs)
        if not hasty:
            await self.until(UNTIL_READY)

    async def send(self, chat: str, text: str, message_id: str) -> None:
        """wa-js's send; raises where it was not acknowledged."""
        ack, result = await self.evaluate(SEND % tuple(map(json.dumps, (chat, text, message_id))))
        if ack < 1 or result != "OK":
            raise RuntimeError(f"not sent: ack {ack}, {result}")

    async def close(self) -> None:
        """End it in order, so that its profile is whole; then nothing of its group is left."""
        pidfd = os.pidfd_open(self.pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, ended.set)
        try:
            with contextlib.suppress(TimeoutError, EOFError):
                async with asyncio.timeout(10):
                    self._call("Browser.close", {}, browser=True)
                    await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(pidfd)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(pidfd)
            self._listening.cancel()
            if not self._writer.is_closing():  # asyncio's own is not safe to repeat
                self._writer.abort()
            self._read.close()


def _high(fd: int) -> int:
    """A copy that is closed on exec and out of the way of 3 and 4."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return copy
