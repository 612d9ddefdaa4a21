"""How much is done at a time: requests, their bodies, event streams.

What others watch waguard by has shares of its own: the application takes a session for
disconnected when its status is not answered, however busy waguard is with something else.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web
from msgspec import Struct

from waguard.api.confirmations import PATH as REPLIES
from waguard.api.deadline import READS
from waguard.api.deps import DEPS, FORWARDED
from waguard.api.problems import Handler
from waguard.api.timings import LIMITS, Limits, Timings
from waguard.errors import UnavailableError

BODY_LIMIT: Final = 1 << 20  # bytes
MEDIA_BODY_LIMIT: Final = 24 << 20  # bytes; a file of MEDIA_LIMIT as base64, and a little around it
# bytes of a body without a key in header or query: up to this it may be anywhere …
SEARCHED_LIMIT: Final = 1 << 20
KEY_WITHIN: Final = 64 << 10  # … and of a larger one, as it says itself, it is within these
RETRY_AFTER: Final = 2.0  # s
SLOWNESS_FROM: Final = 4 << 10  # bytes

_EVENTS: Final = "/api/events"
_OF_HOSTS: Final = "/api/events for other hosts"
_WATCHED: Final = frozenset(
    {
        _EVENTS,
        _OF_HOSTS,
        REPLIES,
        "/health",
        "/health/live",
        "/health/ready",
        "/health/detailed",
        "/api/sessions",
        "/api/sessions/{session_id}/status",
        "/sessions/{session_id}/status",
    }
)


class Share(Struct):
    """What is under way of one kind of requests, with so many bodies at most."""

    most_bodies: int
    requests: int = 0
    bodies: int = 0
    bytes: int = 0

    @contextlib.contextmanager
    def place(self, most: int, field: str) -> Iterator[None]:
        """One of ``most`` places. Raises ``UnavailableError`` that names ``field``."""
        if self.requests >= most:
            raise _busy(f"{self.requests} requests are under way", field)
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextlib.contextmanager
    def body(self, most: int, declared: int) -> Iterator[Callable[[int], None]]:
        """Count bytes as they come, until the request is over; ``declared`` are still to come.

        It, and what it gives, raise ``UnavailableError`` where there would be more than ``most``.
        """
        taken = 0

        def charge(count: int) -> None:
            nonlocal taken
            if self.bytes + count > most:
                raise _busy("too many large requests are under way", "body")
            self.bytes += count
            taken += count

        if self.bodies >= self.most_bodies or self.bytes + declared > most:
            raise _busy("too many or too large requests are under way", "body")
        self.bodies += 1
        try:
            yield charge
        finally:
            self.bodies -= 1
            self.bytes -= taken


class Searched:
    """A body that is read to find a key in it, as long as it is entered; ``end`` is when that must be over.

    What it gives takes the number of bytes that came. From one that made room, it and the exit raise
    ``UnavailableError``; ``end`` comes at once then. Written as a generator, its error would hold the whole
    connection until the collector comes: hundreds a second under a flood.
    """

    def __init__(self, search: "Search", end: asyncio.Timeout) -> None:
        self._search = search
        self._end = end
        self._began = time.monotonic()
        self._made_room = False
        self.bytes = 0

    def __enter__(self) -> Callable[[int], None]:
        self._search.enter(self)
        return self._charge

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._search.leave(self)
        if self._made_room and kind is asyncio.CancelledError:
            raise _overloaded() from None

    def _charge(self, count: int) -> None:
        if self._made_room:
            raise _overloaded()
        self._search.charge(self, count)

    def slowness(self, now: float) -> float:
        """Seconds for a byte; one that has just begun is not slow."""
        return (now - self._began) / (self.bytes + SLOWNESS_FROM)

    def make_room(self) -> None:
        """End it."""
        self._made_room = True
        if not self._end.expired():
            self._end.reschedule(0.0)


class Search:
    """All bodies that are read to find a key in them. Where there is no room, the slowest one has to
    make it: the application's are whole within milliseconds, and are never those that wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._under_way: dict[Searched, None] = {}
        self.held = 0
        """Bytes of them all."""

    def body(self, end: asyncio.Timeout) -> Searched:
        """One more, to be entered."""
        return Searched(self, end)

    def enter(self, one: Searched) -> None:
        """Another one is read."""
        self._under_way[one] = None
        self._make_room()

    def charge(self, one: Searched, count: int) -> None:
        """So many bytes of it came."""
        one.bytes += count
        self.held += count
        self._make_room()

    def leave(self, one: Searched) -> None:
        """Forget a body that is read no more."""
        if one in self._under_way:
            del self._under_way[one]
            self.held -= one.bytes

    def _make_room(self) -> None:
        most, most_bytes = self._limits.searched, self._limits.searched_bytes
        while len(self._under_way) > most or self.held > most_bytes:
            now = time.monotonic()
            slowest = max(self._under_way, key=lambda one: one.slowness(now))
            self.leave(slowest)
            slowest.make_room()


class Refusals:
    """Makes guessing slow. Whoever has a key never comes by here, and no address is remembered: all
    share one on loopback and behind a proxy."""

    def __init__(self, timings: Timings, limits: Limits) -> None:
        self._delay = timings.refusal
        self._limits = limits
        self._times: deque[float] = deque(maxlen=limits.refused_at_once)
        self._waiting = 0

    async def turn(self) -> None:
        """Return when one more may be answered."""
        now = asyncio.get_running_loop().time()
        many = len(self._times) == self._times.maxlen and now - self._times[0] < self._delay
        self._times.append(now)
        if not many or self._waiting >= self._limits.refusals_waiting:
            return
        self._waiting += 1
        try:
            await asyncio.sleep(self._delay)
        finally:
            self._waiting -= 1


class Load:
    """What is under way."""

    def __init__(self, timings: Timings, limits: Limits) -> None:
        self.search = Search(limits)
        self.refusals = Refusals(timings, limits)
        self._shares = {name: Share(limits.bodies) for name in ("", *_WATCHED)}

    def share(self, request: web.Request) -> Share:
        """That of the request's resource where it is watched, else the one of all others."""
        return self._shares[_watched(request)]


LOAD: Final = web.AppKey("load", Load)


def counted(
    request: web.Request, *, streams: bool
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """While the request and its body are there: give what it yields the bytes that came. ``streams``: little of it is
    ever there."""
    if streams or not request.can_read_body:
        return contextlib.nullcontext(lambda _: None)
    limits = request.app[LIMITS]
    most = limits.watchers_bytes if _watched(request) else limits.body_bytes
    declared = min(request.content_length or 0, request.client_max_size)  # beyond, it is refused
    return request.app[LOAD].share(request).body(most, declared)


@web.middleware
async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what would be too much. A request has its place when its body is there, no sooner."""
    match _watched(request):
        case "":
            most, field = request.app[DEPS].config().limits.requests, "limits.requests"
        case resource:
            limits = request.app[LIMITS]
            streams = {_EVENTS: limits.streams, _OF_HOSTS: limits.host_streams}
            most = streams.get(resource, limits.watchers)
            field = f"GET {resource}"
    with request.app[LOAD].share(request).place(most, field):
        return await handler(request)


def _watched(request: web.Request) -> str:
    """The resource, where it is a watched one."""
    resource = request.match_info.route.resource
    name = resource.canonical if resource else ""
    if name == _EVENTS and FORWARDED in request:
        return _OF_HOSTS
    # a full host must hear that its replies are written
    return name if name in _WATCHED and (request.method in READS or name == REPLIES) else ""


def _busy(why: str, field: str) -> UnavailableError:
    return UnavailableError(
        f"waguard is busy: {why}", field=field, remedy="try again", retry_after=RETRY_AFTER
    )


def _overloaded() -> UnavailableError:
    return _busy("many bodies come in without a key in header or query", "body")
