"""pyppeteer's ``Connection`` and ``CDPSession`` over the DevTools pipe, with a table of calls of our own.

Theory of operation: one table on the connection holds every call that waits, of the browser and of
all pages. An entry leaves it exactly once: by its answer, by the death of what was asked (page closed,
renderer crashed, browser gone), or by the caller's own giving up. An answer whose call is no longer in
the table is dropped. So no answer, however late, meets a future that is already done, and no call
outlives the thing that could have answered it. pyppeteer's classes keep two tables and repair neither.

Sessions are flat (the session's id stands beside the message, not around it): one JSON encoding less.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from msgspec import Struct
from pyee import EventEmitter
from pyppeteer.connection import CDPSession, Connection

from waguard.worker.browser.errors import DevToolsClosedError, DevToolsError, TargetCrashedError
from waguard.worker.browser.pipe import MAX_MESSAGE, Pipe

# What the browser process answers for a crashed page; everything else would wait forever.
WITHOUT_RENDERER = ("Page.navigate", "Page.reload", "Page.close", "Target.", "Browser.")
# What Chromium says of a call whose document has made way for another one.
_NAVIGATED: Final = (
    "Inspected target navigated or closed",
    "Execution context was destroyed",
    "Cannot find context with specified id",
)
# Chromium writes the id first.
ANSWER_ID = re.compile(rb'^\s*\{\s*"id"\s*:\s*(\d+)')


class _Call(Struct, eq=False):
    future: "asyncio.Future[dict[str, Any]]"
    method: str
    session: str | None


def _report(loop: asyncio.AbstractEventLoop, event: object, error: Exception) -> None:
    """A listener's bug is its own: the loop's exception handler reports it, the rest goes on."""
    loop.call_exception_handler(
        {"message": f"a listener of {event} raised", "exception": error},
    )


class _Emitter(EventEmitter):
    """Listeners that cannot hurt each other nor the receive loop."""

    _loop: asyncio.AbstractEventLoop

    def _emit_run(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        try:
            f(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # the boundary between us and any listener
            _report(self._loop, getattr(f, "__qualname__", f), error)


class PipeConnection(_Emitter, Connection):  # type: ignore[misc]  # pyppeteer has no types
    """A pyppeteer ``Connection`` whose other side is a Chromium on a pipe.

    ``closed`` is set when the browser can no longer be reached, whoever ended it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # not Connection.__init__: that one opens a websocket
        EventEmitter.__init__(self)
        self._loop = loop
        self._url = ""
        self._lastId = 0
        self._calls: dict[int, _Call] = {}
        self._sessions: dict[str, PipeSession] = {}
        self._targets: dict[str, str] = {}  # session → target
        self._closeCallback: Callable[[], None] | None = None
        self._pipe: Pipe
        self.closed = asyncio.Event()

    @classmethod
    async def open(cls, read_fd: int, write_fd: int, *, limit: int = MAX_MESSAGE) -> Self:
        """Take over both descriptors. ``limit`` bounds one message in bytes, both ways (64 MiB)."""
        connection = cls(asyncio.get_running_loop())
        connection._pipe = await Pipe.open(
            read_fd,
            write_fd,
            deliver=connection._on_bytes,
            oversize=connection._on_oversize,
            lost=connection._on_lost,
            limit=limit,
        )
        return connection

    @property
    def pending(self) -> int:
        """Calls that wait for an answer."""
        return len(self._calls)

    def send(
        self, method: str, params: Mapping[str, Any] | None = None
    ) -> "asyncio.Future[dict[str, Any]]":
        """Call the browser; the future fails with a ``DevToolsError``. No deadline of its own."""
        return self.call(method, params, None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it lives in."""
        return self._loop

    def call(
        self, method: str, params: Mapping[str, Any] | None, session: str | None
    ) -> "asyncio.Future[dict[str, Any]]":
        """``send``, to the session of a page when one is given."""
        self._lastId += 1
        number = self._lastId
        call = _Call(self._loop.create_future(), method, session)
        message = {"id": number, "method": method, "params": dict(params or {})}
        if session is not None:
            message["sessionId"] = session
        try:
            self._pipe.send(json.dumps(message, separators=(",", ":")).encode())
        except DevToolsError as error:
            error.method = method
            _fail(call, error)
        else:
            self._calls[number] = call
            # a caller that gives up leaves the table by this door
            call.future.add_done_callback(lambda _: self._calls.pop(number, None))
        return call.future

    def rest(self, seconds: float) -> None:
        """Read nothing for so long, of any page."""
        self._pipe.rest(seconds)

    def _on_bytes(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            if "id" in message:
                self._on_answer(message)
            else:
                self._on_event(message)
        except Exception as error:  # noqa: BLE001  # whatever Chromium says, go on reading
            _report(self._loop, data[:200], error)

    def _on_answer(self, message: dict[str, Any]) -> None:
        call = self._calls.pop(message["id"], None)
        if call is None or call.future.done():
            return
        if (error := message.get("error")) is None:
            call.future.set_result(message.get("result", {}))
            return
        text = " ".join(str(error[key]) for key in ("message", "data") if error.get(key))
        kind = DevToolsClosedError if any(it in text for it in _NAVIGATED) else DevToolsError
        _fail(call, kind(f"{call.method} was refused: {text}", method=call.method))

    def _on_event(self, message: dict[str, Any]) -> None:
        method, params = message.get("method", ""), message.get("params", {})
        session = self._sessions.get(message.get("sessionId", ""))
        if method == "Target.detachedFromTarget":
            self._drop_session(params.get("sessionId", ""))
        elif method == "Target.targetCrashed":
            for number, target in list(self._targets.items()):
                if target == params.get("targetId"):
                    self._sessions[number].record_crash()
        if session is not None:
            session.receive(method, params)
        elif "sessionId" not in message:
            self.emit(method, params)

    def _on_oversize(self, head: bytes, size: int) -> None:
        found = ANSWER_ID.match(head)
        call = self._calls.pop(int(found[1]), None) if found else None
        error = DevToolsError(
            f"Chromium sent a message of {size} bytes, more than the limit",
            remedy="ask for it in chunks",
        )
        if call is None:
            _report(self._loop, head[:200], error)
        else:
            error.method = call.method
            _fail(call, error)

    def fail_calls(self, session: str | None, make: Callable[[str], DevToolsError]) -> None:
        """End what waits: of one session, or with ``None`` everything."""
        for number, call in list(self._calls.items()):
            if session is None or call.session == session:
                self._calls.pop(number, None)
                _fail(call, make(call.method))

    def _drop_session(self, number: str) -> None:
        self._targets.pop(number, None)
        if session := self._sessions.pop(number, None):
            session._on_closed()  # noqa: SLF001  # pyppeteer's own name for it

    def _on_lost(self) -> None:
        if self.closed.is_set():
            return
        self.closed.set()
        self.fail_calls(
            None,
            lambda method: DevToolsClosedError(f"the browser ended during {method}", method=method),
        )
        for number in list(self._sessions):
            self._drop_session(number)
        if callback := self._closeCallback:
            self._closeCallback = None
            try:
                callback()
            except Exception as error:  # noqa: BLE001  # a listener again
                _report(self._loop, "disconnected", error)

    async def dispose(self) -> None:
        """Leave the browser; with the pipe closed Chromium ends by itself."""
        self._pipe.abort()
        await self._pipe.wait_closed()

    async def createSession(self, targetInfo: dict[str, Any]) -> "PipeSession":  # noqa: N802, N803
        """Attach to a target; pyppeteer's targets call this."""
        target = targetInfo["targetId"]
        answer = await self.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        return self.adopt_session(targetInfo["type"], answer["sessionId"], target)

    def adopt_session(self, kind: str, number: str, target: str = "") -> "PipeSession":
        """Know a session that Chromium has attached."""
        session = PipeSession(self, kind, number)
        self._sessions[number] = session
        self._targets[number] = target
        return session


class PipeSession(_Emitter, CDPSession):  # type: ignore[misc]  # pyppeteer has no types
    """A pyppeteer ``CDPSession`` in flat mode. ``crashed`` and ``ended`` say what became of its page."""

    def __init__(self, connection: PipeConnection, kind: str, number: str) -> None:
        EventEmitter.__init__(self)
        self._connection: PipeConnection | None = connection
        self._targetType = kind
        self._sessionId = number
        self._sessions: dict[str, CDPSession] = {}
        self._loop = connection.loop
        self.crashed = asyncio.Event()
        self.ended = asyncio.Event()

    def send(
        self, method: str, params: Mapping[str, Any] | None = None
    ) -> "asyncio.Future[dict[str, Any]]":
        """Call the page; the future fails with a ``DevToolsError``. No deadline of its own."""
        if self._connection is None:
            return self._refuse(DevToolsClosedError("the page is gone", method=method))
        if self.crashed.is_set() and not method.startswith(WITHOUT_RENDERER):
            return self._refuse(TargetCrashedError("the page has crashed", method=method))
        if method in {"Target.setAutoAttach", "Target.attachToTarget"}:
            params = {**(params or {}), "flatten": True}  # pyppeteer knows only the nested kind
        return self._connection.call(method, params, self._sessionId)

    def rest(self, seconds: float) -> None:
        """As ``PipeConnection.rest``."""
        if self._connection is not None:
            self._connection.rest(seconds)

    def _refuse(self, error: DevToolsError) -> "asyncio.Future[dict[str, Any]]":
        call = _Call(self._loop.create_future(), error.method or "", self._sessionId)
        _fail(call, error)
        return call.future

    def receive(self, method: str, params: dict[str, Any]) -> None:
        """An event of this session's page."""
        if method == "Inspector.targetCrashed":
            self.record_crash()
        elif method == "Inspector.targetReloadedAfterCrash":
            self.crashed.clear()
        self.emit(method, params)

    def record_crash(self) -> None:
        """The renderer is dead: nothing that waits for it will be answered."""
        if self._connection is None or self.crashed.is_set():
            return
        self.crashed.set()
        self._connection.fail_calls(
            self._sessionId,
            lambda method: TargetCrashedError(f"the page crashed during {method}", method=method),
        )

    def _on_closed(self) -> None:
        connection, self._connection = self._connection, None
        self.ended.set()
        if connection is not None:
            connection.fail_calls(
                self._sessionId,
                lambda method: DevToolsClosedError(
                    f"the page was closed during {method}", method=method
                ),
            )

    def _createSession(self, targetType: str, sessionId: str) -> "PipeSession":  # noqa: N802, N803
        if self._connection is None:
            raise DevToolsClosedError("the page is gone")
        return self._connection.adopt_session(targetType, sessionId)


def _fail(call: _Call, error: DevToolsError) -> None:
    if not call.future.done():
        call.future.set_exception(error)
        call.future.exception()  # seen: pyppeteer does not await all that it sends
