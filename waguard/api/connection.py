"""One connection: what its client sends is read in pieces, and what costs too much without a key ends it.

Who has shown a key is read as fast as it sends. Anybody else gets a share of the CPU (``intake.py``) and is read in
small pieces: one of 4 kB can hold 680 chunks of a body, each as costly as a whole body is. A small request that is
there as a whole never waits.
"""

import asyncio
import json
from collections.abc import Callable
from logging import Logger
from typing import Final, Protocol

from aiohttp import StreamReader, web

from waguard.api.auth import shown_keys
from waguard.api.intake import Intake
from waguard.api.problems import DiscreetHandler
from waguard.api.timings import Limits
from waguard.core.host import http_cost
from waguard.core.text import raw_http
from waguard.host.system.listen import has_hung_up

HEADERS: Final = 64  # of a request, of up to 8 kB each
PIECE: Final = 4 << 10  # bytes that are read at a time without a key, at first …
LARGEST_PIECE: Final = 64 << 10  # … and as long as they cost little
KNOWN_PIECE: Final = 256 << 10  # bytes, with a key
CHEAP: Final = 0.000_3  # s of CPU for a piece


SHREDDED: Final = "it comes in too many small pieces"
_REFUSED: Final = json.dumps(
    {
        "error": f"the body was not read to its end: {SHREDDED}",
        "field": "body",
        "remedy": "send the key in X-Api-Key, or the body in larger pieces",
    }
).encode()
REFUSAL: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_REFUSED), _REFUSED)
)


class CostlyBodyError(web.RequestPayloadError):
    """A body that costs too much to be read for somebody without a key."""


GivenUp = Callable[[raw_http.Question, str | None], None]
"""Hears of each request whose client left before it was begun, as far as that is known, and of the client's address."""


def asked(request: web.BaseRequest) -> raw_http.Question:
    """What a request asks whose head is there as a whole."""
    return raw_http.Question(
        method=request.method,
        path=request.path,
        keys=shown_keys(request),
        host=request.headers.get("Host"),
        headers=frozenset(name.lower() for name in request.headers),
    )


def peer_of(name: object) -> str | None:
    """The address in the ``peername`` of a connection; None: it has none, or that is not known any more."""
    return str(name[0]) if isinstance(name, tuple) else None


class Entrance(Protocol):
    """The door, as its connections see it."""

    limits: Limits
    intake: Intake
    accept: Callable[[list[str]], bool]
    """Whether one of the values is a key."""
    given_up: GivenUp
    buffer: memoryview
    """What any of them reads next, until it has taken a copy."""

    def left(self, connection: "Connection") -> None:
        """The connection was closed."""

    def heard(self, connection: "Connection", count: int, *, ahead: bool) -> None:
        """The connection said ``count`` bytes that are of no body."""

    def busy(self, connection: "Connection") -> None:
        """A request of it is under way."""

    def idle(self, connection: "Connection") -> None:
        """The connection waits for the next request."""

    def show_out(self, connection: "Connection") -> None:
        """End it at once."""

    def recognized(self, connection: "Connection", *, known: bool) -> None:
        """The connection has shown a key, or has not any more."""

    def discards(self, connection: "Connection") -> None:
        """The rest of a body that was refused is still to come."""


class Expense:
    """What one connection has cost without a key."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cost = 0.0
        self._read = 0
        self._framing = 0
        self._discarded = 0
        self.piece = PIECE
        """Bytes that are read next."""

    def of_request(self) -> None:
        """Another request begins."""
        self._framing = self._discarded = 0

    def of_reading(self, count: int, content: int, *, discarded: bool) -> float:
        """So many bytes were read, of which so many are content of a body."""
        cost = http_cost.of_reading(count, content)
        self.piece = min(self.piece * 2, LARGEST_PIECE) if cost < CHEAP else PIECE
        self._read += count
        if content:
            self._framing += count - content
        if discarded:
            self._discarded += count
        return self.add(cost)

    def add(self, cost: float) -> float:
        """So many seconds of CPU time."""
        self._cost += cost
        return cost

    def forget(self) -> None:
        """A key was shown."""
        self._cost = 0.0

    @property
    def slowness(self) -> float:
        """Seconds for a byte."""
        return self._cost / (self._read + PIECE)

    @property
    def too_much_discarded(self) -> bool:
        """Whether a refused body is not worth to be read any further."""
        return self._discarded > self._limits.discarded

    @property
    def too_much(self) -> bool:
        """Whether no more is read."""
        framing = self._limits.framing + self._read // 4
        return self._cost > self._limits.keyless_cost or self._framing > framing


class Connection(DiscreetHandler, asyncio.BufferedProtocol):
    """One of a door's; its own clock runs while no request is under way."""

    def __init__(self, door: Entrance, server: web.Server, log: Logger, *, has_turn: bool) -> None:
        """``has_turn``: what it says first does not wait for one."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            logger=log,
            # it would write the query, and with it the key
            access_log=None,  # type: ignore[arg-type] # as aiohttp's runners pass it
            auto_decompress=False,
            max_headers=HEADERS,
        )
        self._door = door
        self.said = 0
        """Bytes since the last request came whole: parts of others, which the parser keeps."""
        self.answered = False
        """Whether it has had a request."""
        self._known = False
        self.request: web.BaseRequest | None = None
        """The one that is under way."""
        self.is_given_up = False
        """Whether it is known already that nobody waits for that one."""
        self._content: StreamReader | None = None  # of the last request
        self._is_chunked = self._holds_shreds = False
        self._held = b""
        self._has_turn = has_turn  # for what comes next
        self._turn = asyncio.Event()  # is clear while a request waits
        self._turn.set()
        self._expense = Expense(door.limits)

    # ---- what asyncio reports ----

    def connection_lost(self, exc: BaseException | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._held and self.transport:
            peer = peer_of(self.transport.get_extra_info("peername"))
            self._door.given_up(raw_http.asked(self._held), peer)
        self._held = b""
        self._turn.set()
        self._door.intake.leave(self)
        super().connection_lost(exc)
        self._door.left(self)
        content, self._content = self._content, None  # else only the collector of garbage ends them
        if content and not content.exception():
            content.feed_eof()  # else aiohttp waits 10 s for the rest, and keeps all of this meanwhile

    def get_buffer(self, sizehint: int) -> memoryview:
        """See ``asyncio.BufferedProtocol``."""
        del sizehint
        if self._known:
            return self._door.buffer[:KNOWN_PIECE]
        piece = self._expense.piece
        # of those that will have to wait little is kept, and the more is read when it is their turn
        if piece > PIECE and not self._has_turn and self._door.intake.busy:
            piece = PIECE
        return self._door.buffer[:piece]

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        data = bytes(self._door.buffer[:nbytes])
        has_turn, self._has_turn = self._has_turn, False
        if self._is_coming and self._content and self._content.exception():
            return  # it is refused, and the connection ends when that is answered
        if self._known:
            self.data_received(data)
        elif self._is_ahead or self._held:
            self._hold(data)  # until the request that is under way is answered
        elif raw_http.is_in_shreds(data, chunked=self._is_chunked if self._is_coming else None):
            self._read_head(data)
        elif (
            has_turn
            or not self._door.intake.busy
            or raw_http.is_whole(data)
            or self._door.accept(raw_http.shown_keys(data))
        ):
            self._read(data)
        else:
            self._hold(data)
            self._door.intake.queue(self)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``; aiohttp calls it, too, for what it has kept."""
        ahead, of_body = self._is_ahead, self._is_coming
        super().data_received(data)
        if not of_body:
            self._door.heard(self, len(data), ahead=ahead)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's own
        """aiohttp calls it for each chunk that is read, and it parses what may be left each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    # ---- its requests ----

    async def attend(self, request: web.BaseRequest, task: "asyncio.Task[object]") -> bool:
        """A request is under way, until the task has written its response. Where nobody has shown a key here, another
        one than the first waits until there is time for it. False: its client has left."""
        while self.request is not None:  # noqa: ASYNC110 - its task is done, and ``_done`` is called next
            await asyncio.sleep(0)
        self.request, self._content = request, request.content
        self._is_chunked = "Transfer-Encoding" in request.headers
        self._expense.of_request()
        self._door.busy(self)
        task.add_done_callback(self._done)
        may_wait = self.answered and not self._known and self._door.intake.busy
        if may_wait and not self._door.accept(shown_keys(request)):
            self._turn.clear()
            self._door.intake.queue(self)
            await self._turn.wait()
        if self.has_hung_up:
            if not self.is_given_up:
                self.is_given_up = True
                self._door.given_up(asked(request), request.remote)
            return False
        return True

    def recognize(self, *, known: bool) -> None:
        """Whether the request that is under way has shown a key."""
        if known is not self._known:
            self._known = known
            self._door.recognized(self, known=known)
        if known:
            self._expense.forget()
            self._door.intake.leave(self)
            self._release()
        elif self._holds_shreds:
            self._held = b""
            self._refuse()

    def charge(self, cost: float) -> None:
        """So many seconds of CPU time were spent for somebody without a key."""
        self._door.intake.charge(self._expense.add(cost))

    @property
    def has_hung_up(self) -> bool:
        """Whether nobody is there any more to get an answer."""
        if self.transport is None or self.transport.is_closing():
            return True
        return has_hung_up(self.transport.get_extra_info("socket"))

    def _done(self, _: "asyncio.Task[object]") -> None:
        self.request, self.is_given_up = None, False
        self._holds_shreds = False
        self.answered = True
        if not self._known:
            self.charge(http_cost.REQUEST)
        self._door.idle(self)
        if self._is_coming:
            self._door.discards(self)
        if self._held:
            self._door.intake.queue(self)

    # ---- what is read without a key ----

    @property
    def slowness(self) -> float:
        """See ``Waiting``."""
        return self._expense.slowness

    def resume(self) -> None:
        """See ``Waiting``."""
        if not self._turn.is_set():
            self._turn.set()
            if self._held and self._is_coming and not self._holds_shreds:  # it came meanwhile
                self._door.intake.queue(self)
        elif self.has_hung_up:
            self._door.show_out(self)
        else:
            self._has_turn = True
            self._release()

    @property
    def _is_coming(self) -> bool:
        """Whether a part of the last request's body is missing."""
        return self._content is not None and not self._content.is_eof()

    @property
    def _is_ahead(self) -> bool:
        """Whether nothing is missing of the request that is under way: what comes is of another one."""
        return self.request is not None and not self._is_coming

    def _hold(self, data: bytes) -> None:
        self._held += data
        if self.transport:
            self.transport.pause_reading()

    def _release(self) -> None:
        if self.transport and self._held:
            data, self._held = self._held, b""
            self.transport.resume_reading()
            self._read(data)

    def _read(self, data: bytes) -> None:
        content = self._content if self._is_coming else None
        before, discarded = content.total_bytes if content else 0, self.request is None
        self.data_received(data)
        if self._known:
            return
        come = content.total_bytes - before if content else 0
        cost = self._expense.of_reading(len(data), come, discarded=bool(content) and discarded)
        self._door.intake.charge(cost)
        if self._expense.too_much_discarded:
            self._door.show_out(self)
        elif self._expense.too_much:
            self._refuse()

    def _read_head(self, data: bytes) -> None:
        """Read the head of a request whose body comes in shreds: with a key the rest is read, too."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if self.request or self._is_coming or not raw_http.shown_keys(head):
            self._refuse()
            return
        self._hold(rest)
        self._holds_shreds = True
        self.data_received(head + end)

    def _refuse(self) -> None:
        """Before it costs more; as the answer of its request, where there is one that waits for its body."""
        if self.request and self._content and self._is_coming:
            self._content.set_exception(CostlyBodyError(SHREDDED))
        elif self.transport and not self.answered and not self.request:
            self.transport.write(REFUSAL)
            self.force_close()
        else:
            self._door.show_out(self)


def of(request: web.BaseRequest) -> Connection | None:
    """That of a request; None: it came by no door."""
    return request.protocol if isinstance(request.protocol, Connection) else None
