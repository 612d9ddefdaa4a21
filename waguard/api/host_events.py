"""The event stream of a cluster: a client of any host gets the events of all. Only in a cluster.

For each client its host has a connection to each other one, as long as the client listens: so one that reads slowly delays
nobody else's events. What comes of a host is passed on in its order. Where a host is away, its part goes on from where it
ended, once it is back.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from datetime import datetime
from typing import Any, Final

from aiohttp import StreamReader, web
from loguru import logger
from msgspec import Struct

from waguard.api.audit import CutOffError
from waguard.api.deps import CALLER, DEPS, FORWARDED, Cluster
from waguard.api.events import SO_FAR, Listening, encoded, may_know, own_blocks, shown
from waguard.api.host_calls import HostCalls
from waguard.api.timings import TIMINGS
from waguard.core.cluster import event_places
from waguard.core.cluster.event_places import HEADER, Change, Extent
from waguard.errors import WaguardError
from waguard.ports.bus import BusEvent
from waguard.ports.clock import Clock

PATH: Final = "/api/events"
AHEAD: Final = 64  # events that are read before the client has taken them
BLOCK: Final = 64 << 20  # bytes


class _Got(Struct, frozen=True):
    """What comes of a host; with it the client has all up to ``number``, None: as before."""

    host: str
    number: int | None
    data: dict[str, Any] | None = None
    """What an event says that is for the client."""
    extent: Extent | None = None
    """What follows is of a new connection."""
    changes: tuple[Change, ...] = ()


class HostEvents:
    """Makes streams for clients, and for other hosts."""

    def __init__(self, cluster: Cluster, calls: HostCalls, clock: Clock) -> None:
        self._cluster = cluster
        self._calls = calls
        self._clock = clock

    def listen(self, request: web.Request, given: str) -> Listening:
        """The events of all hosts; for a host: this one's own."""
        own = self._cluster.hosts.view().host
        numbers = event_places.read(given, own) if given else None
        if FORWARDED not in request:
            merged = _Merged(request, own, self._calls, numbers, self._clock.wall())
            return Listening(merged.listening(), ends_the_past=True)
        extent = Extent(own, *request.app[DEPS].events.extent)
        start = event_places.resumed(numbers.get(own) if numbers else None, extent)
        headers = {HEADER: event_places.extent_written(extent)}
        return Listening(own_blocks(request, start), headers=headers)


class _Merged:
    """The events of all hosts, for one client that has given these ``numbers``; None: it has given none."""

    def __init__(
        self,
        request: web.Request,
        own: str,
        calls: HostCalls,
        numbers: dict[str, int] | None,
        now: float,
    ) -> None:
        self._caller = request[CALLER]
        self._events = request.app[DEPS].events
        self._timings = request.app[TIMINGS]
        self._own = own
        self._calls = calls
        self._numbers = dict(numbers or {})
        """What the client has."""
        self._came = now if numbers is None else None
        hosts = {own, *calls.living()}
        self._places = event_places.begin(numbers, hosts, now=now)
        """Where that ends which was read; some of it waits for the client."""
        self._got: asyncio.Queue[_Got | None] = asyncio.Queue(AHEAD)
        self._past = event_places.Past(frozenset(hosts), {})
        self._following: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """The addresses of hosts, and what reads their events."""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The blocks of the stream."""
        extent = Extent(self._own, *self._events.extent)
        start = event_places.resumed(self._places[self._own].number, extent)
        async with self._events.subscribe(start) as events:
            own, watch = self._read_own(extent, events), self._watch()
            tasks = [self._begun(own, self._own), self._begun(watch, "hosts")]
            try:
                yield self._blocks()
            finally:
                await _ended(tasks)  # so nothing more is followed
                await _ended([it for _, it in self._following.values()])

    def _begun(self, work: Coroutine[Any, Any, None], of: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._until_end(work), name=f"events of {of}")

    async def _until_end(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the client comes back, and has missed nothing
            logger.exception("a bug in waguard", event="bug")
        await self._got.put(None)

    # ---- what is sent ----

    async def _blocks(self) -> AsyncGenerator[bytes]:
        while it := await self._got.get():
            if it.number is not None:
                self._numbers[it.host] = it.number
            written = event_places.written(self._numbers)
            if it.data:
                yield encoded(written, it.data | {"id": written})
            elif it.extent or it.changes:
                comments = "".join(f": host {it.host}: {change}\n" for change in it.changes)
                place = f"id: {written}\n" if it.extent else ""
                yield f"{comments}{place}\n".encode()
            before, self._past = (
                self._past,
                event_places.past(self._past, it.host, it.number, it.extent),
            )
            if before.to_come and not self._past.to_come:
                yield SO_FAR

    # ---- what is read: a place changes only with what is put in the queue, so nothing is left out by who is cancelled ----

    async def _read_own(self, extent: Extent, events: AsyncIterator[BusEvent]) -> None:
        """Return when waguard stops, or the client lags too far behind."""
        await self._resume(extent)
        async for it in events:
            await self._pass_on(self._own, it.id, it.at, shown(it))

    async def _watch(self) -> None:
        """Follow the hosts that live."""
        while True:
            living = self._calls.living()
            for host, (to, task) in list(self._following.items()):
                if living.get(host) != to:
                    await _ended([task])
                    del self._following[host]
            for host, to in living.items():
                if host not in self._following and host != self._own:
                    self._places.setdefault(host, event_places.newcomer(since=self._came))
                    self._following[host] = (to, self._begun(self._follow(host, to), host))
            for host in self._places.keys() - living.keys() - {self._own}:
                await self._lose(host)
            await asyncio.sleep(self._timings.host_again)

    async def _follow(self, host: str, to: str) -> None:
        while True:
            try:
                await self._receive(host, to)
            except WaguardError as error:
                logger.debug("no events of another host", host=host, why=error.message)
                await self._lose(host)
            timings, is_away = self._timings, self._places[host].is_away
            await asyncio.sleep(timings.host_away_again if is_away else timings.host_again)

    async def _receive(self, host: str, to: str) -> None:
        """Read until that host ends the stream. Raises ``NotConnectedError``, ``CutOffError``."""
        number = self._places[host].number
        async with self._calls.reading(
            PATH,
            to,
            headers={} if number is None else {"Last-Event-ID": str(number)},
            begins_within=self._timings.host_begins,
            stalled=self._timings.host_stalled,
        ) as response:
            extent = event_places.extent_read(response.headers.get(HEADER, ""))
            if response.status != web.HTTPOk.status_code or extent is None:
                raise CutOffError(f"{to} sends no events: HTTP {response.status}")
            if extent.host != host:
                raise CutOffError(f"{to} is {extent.host}")
            await self._resume(extent)
            async for block in _split(response.content):
                if found := _data(block):
                    await self._pass_on(host, *found)

    async def _resume(self, extent: Extent) -> None:
        place, changes = event_places.reached(self._places[extent.host], extent)
        await self._got.put(_Got(extent.host, place.number, extent=extent, changes=changes))
        self._places[extent.host] = place

    async def _lose(self, host: str) -> None:
        place, changes = event_places.lost(self._places[host])
        if changes:
            await self._got.put(_Got(host, None, changes=changes))
            self._places[host] = place

    async def _pass_on(self, host: str, number: int, at: float, data: dict[str, Any]) -> None:
        place = self._places[host]
        if (after := event_places.got(place, number)) is None:
            return
        workspace = data["data"]["workspace_id"]
        is_for_it = may_know(self._caller, data["event"], data["session_id"], workspace)
        wanted = is_for_it and not event_places.is_earlier(place, number, at)
        await self._got.put(_Got(host, number, data if wanted else None))
        self._places[host] = after


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _split(content: StreamReader) -> AsyncGenerator[bytes]:
    """The blocks of a stream, without one that is cut off."""
    rest, searched = bytearray(), 0
    async for piece in content.iter_any():
        rest += piece
        begin = 0
        while (end := rest.find(b"\n\n", searched)) >= 0:
            yield bytes(rest[begin:end])
            begin = searched = end + 2
        del rest[:begin]
        searched = max(0, len(rest) - 1)
        if len(rest) > BLOCK:
            raise CutOffError("an event of another host is too large")


def _data(block: bytes) -> tuple[int, float, dict[str, Any]] | None:
    """Number, Unix time and data of an event; None: it is a comment."""
    line = next((it for it in block.splitlines() if it.startswith(b"data: ")), None)
    if line is None:
        return None
    try:
        data = json.loads(line.removeprefix(b"data: "))
        at = datetime.fromisoformat(data["at"]).timestamp()
        _ = data["event"], data["session_id"], data["data"]["workspace_id"]
        return int(data["id"]), at, data
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CutOffError("an event of another host is none that this one can read") from None
