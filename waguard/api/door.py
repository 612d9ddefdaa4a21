"""Connections: whoever says nothing is shown out, and there is always room for one more.

The oldest idle connection makes the room. One that is working on a request never does: the
application's requests come whole within milliseconds, and so it is never the one that waits.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from waguard.api.connection import KNOWN_PIECE, Connection, asked, peer_of
from waguard.api.intake import Intake
from waguard.api.newcomers import NOBODY, Clients, Newcomers
from waguard.api.no_room import NoRoom
from waguard.api.problems import CLIENT_LEFT, answer, of_waguard
from waguard.api.timings import DEFAULT_LIMITS, DEFAULT_TIMINGS, Limits, Timings
from waguard.core.host import http_cost
from waguard.core.text import raw_http
from waguard.errors import WaguardError
from waguard.host.system.listen import BACKLOG, HangUps, has_hung_up, is_knocked_at, unread

CONNECTIONS: Final = 2_048  # about 8 kB of memory each
ACCEPTED: Final = 16  # connections at a time; then it is the turn of what else is to be done …
NEWCOMERS: Final = 4  # … or so many newcomers for each of them
LAST_REQUESTS_POLLS: Final = 20
CATCHING_UP: Final = BACKLOG // ACCEPTED  # turns of the loop
_CONTINUE: Final = "100-continue"


class ExpectationError(WaguardError):
    """aiohttp answers to this by itself, and shows what was sent to it."""

    status = 417


def attend_requests(server: web.Server) -> None:
    """Let each connection know of its requests; once, before there are doors."""
    application = server.request_handler

    async def attend(request: web.BaseRequest) -> web.StreamResponse:
        """A request is under way, until its task has written the response."""
        of, task = request.protocol, asyncio.current_task()
        if isinstance(of, Connection) and task and not await of.attend(request, task):
            return web.Response(status=CLIENT_LEFT)
        if request.headers.get("Expect", _CONTINUE).lower() != _CONTINUE:
            wrong = ExpectationError(
                "unknown expectation", field="Expect", remedy=f"expect {_CONTINUE}, or nothing"
            )
            return answer(wrong)
        return await application(request)

    server.request_handler = attend


class Door(web.BaseSite):
    """Accepts connections for an application, ``most`` at a time."""

    def __init__(
        self,
        runner: web.AppRunner,
        listener: socket.socket,
        *,
        most: int,
        timings: Timings = DEFAULT_TIMINGS,
        limits: Limits = DEFAULT_LIMITS,
        kept: Callable[[], bool] = lambda: False,
        clients: Clients = NOBODY,
    ) -> None:
        super().__init__(runner)
        assert runner.server  # noqa: S101 - a site is made of a runner that is set up
        self._web_server = runner.server
        self._listener = listener
        self._log = logging.getLogger("waguard.http")
        self._log.addFilter(of_waguard)
        self._most = most
        self._timings = timings
        self._kept = kept
        self.limits = limits
        self.accept, self.given_up = clients
        self.intake = Intake(limits)
        self._newcomers = Newcomers(
            self.intake,
            partial(self._receive, has_turn=True),
            timings.first_request,
            clients,
        )
        self.buffer = memoryview(bytearray(KNOWN_PIECE))
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._hang_ups = HangUps[Connection]()
        self._keyless: set[Connection] = set()
        self._discarding: dict[Connection, None] = {}
        # the oldest first, with the end of each
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._said = 0  # by those
        self._coming: set[asyncio.Task[None]] = set()
        self._resumption: asyncio.TimerHandle | None = None
        self._no_room = NoRoom(timings.full_reported_every)

    @property
    def name(self) -> str:
        """See ``web.BaseSite``."""
        return str(self._listener.getsockname())

    async def start(self) -> None:
        """Accept from now on."""
        await super().start()
        self._loop.add_reader(self._listener, self._accept)

    async def stop(self) -> None:
        """Accept no more; those that are there are the runner's to end."""
        self._loop.remove_reader(self._listener)
        if self._resumption:
            self._resumption.cancel()
        if not self._kept():  # else those that come wait for the next daemon
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        await asyncio.gather(*self._coming)
        await self._first_requests()
        self._newcomers.stop()
        for one in self.intake.waiting:  # aiohttp would wait for them
            if isinstance(one, Connection):
                self.show_out(one)
        self.intake.stop()
        await super().stop()

    async def _first_requests(self) -> None:
        """Those that were accepted say what they want within a moment, and get their answer."""
        for _ in range(LAST_REQUESTS_POLLS):
            if (
                all(one.answered for one in self._idle)
                and not self._newcomers
                and not self._discarding
            ):
                return
            await asyncio.sleep(self._timings.last_requests / LAST_REQUESTS_POLLS)
        for one in list(self._discarding):  # aiohttp would wait for them
            self.show_out(one)

    # ---- what connections say ----

    def idle(self, connection: Connection) -> None:
        """Wait for the next request, unless the connection was lost meanwhile."""
        if connection in self._open:
            self._wait(connection, self._timings.next_request)

    def _wait(self, connection: Connection, deadline: float) -> None:
        self.busy(connection)  # so far: what it said meanwhile is of no request that only begins
        self._idle[connection] = self._loop.call_later(deadline, self.show_out, connection)

    def heard(self, connection: Connection, count: int, *, ahead: bool) -> None:
        """Count bytes of the connection; those of a request's body are no matter of the door's."""
        if connection in self._idle:
            connection.said += count
            self._said += count
            while self._said > self.limits.begun_bytes:
                self.show_out(next(one for one in self._idle if one.said))
        elif ahead:
            connection.said += count
            if connection.said > self.limits.ahead_bytes:
                self.show_out(connection)

    def busy(self, connection: Connection) -> None:
        """A request of it is under way."""
        if timer := self._idle.pop(connection, None):
            timer.cancel()
            self._said -= connection.said
        connection.said = 0
        self._discarding.pop(connection, None)

    def recognized(self, connection: Connection, *, known: bool) -> None:
        """The connection has shown a key, or has not any more."""
        if known:
            self._keyless.discard(connection)
        elif connection in self._open:
            self._keyless.add(connection)

    def discards(self, connection: Connection) -> None:
        """The rest of a body that was refused is still to come."""
        self._discarding[connection] = None
        if len(self._discarding) > self.limits.discarding:
            self.show_out(next(iter(self._discarding)))

    def left(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self.busy(connection)
        self._open.discard(connection)
        self._hang_ups.remove(connection)
        self._keyless.discard(connection)

    def show_out(self, connection: Connection) -> None:
        """End it at once."""
        self.intake.leave(connection)
        self.left(connection)
        if isinstance(connection.transport, asyncio.Transport):
            connection.transport.abort()  # what it has not taken so far, it will not take

    # ---- what comes in ----

    def _accept(self) -> None:
        """Somebody knocks: a client of thousands of connections is not to keep the others waiting
        for longer than it must."""
        left = ACCEPTED * NEWCOMERS
        while left > 0 and self._accept_one():
            left -= NEWCOMERS if len(self._keyless) < self.limits.keyless else 1
            # one at a time where it is full: room is made for nobody who is not there
            left = left if len(self._open) + len(self._newcomers) < self._most else 0

    def _accept_one(self) -> bool:
        """Whether there may be another."""
        if len(self._open) + len(self._newcomers) >= self._most and not self._make_room():
            self._no_room.report(f"{self._most} connections are at work")
            self._pause()
            return False
        try:
            accepted, name = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # mostly no file or memory is left
            self._no_room.report(error.strerror or str(error))
            if not self._make_room():  # its file is free when this is called again
                self._pause()
            return False
        if has_hung_up(accepted):  # it waited for longer than its client did
            self.given_up(raw_http.asked(unread(accepted)), peer_of(name))
            accepted.close()
            return True
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        if len(self._keyless) < self.limits.keyless:
            self._receive(accepted)
        else:
            self.intake.charge(http_cost.KNOCK)
            self._newcomers.add(accepted, peer_of(name))
        return True

    async def caught_up(self) -> None:
        """Return when all questions are given up whose clients have left until now, though they wait in the kernel or are
        being answered; while there is no room, after a moment. Where nothing waits, that is at once."""
        for _ in range(CATCHING_UP):
            if not is_knocked_at(self._listener):
                break
            await asyncio.sleep(0)
        unread_yet = self._hang_ups.owners()
        for _ in range(CATCHING_UP):
            unread_yet = {it for it in unread_yet & self._open if it.request is None}
            if not unread_yet:
                break
            await asyncio.sleep(0)
        for one in self._hang_ups.owners():
            if one.request and not one.is_given_up:
                one.is_given_up = True
                self.given_up(asked(one.request), one.request.remote)

    def _receive(self, accepted: socket.socket, *, has_turn: bool = False) -> None:
        self.intake.charge(http_cost.CONNECTION)
        connection = Connection(self, self._web_server, self._log, has_turn=has_turn)
        self._open.add(connection)
        self._hang_ups.add(accepted, connection)
        self._keyless.add(connection)
        self._wait(connection, self._timings.first_request)
        task = self._loop.create_task(self._begin(connection, accepted))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _begin(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            if accepted.family != socket.AF_UNIX:
                milliseconds = int(self._timings.unread * 1000)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:  # it is gone already
            self.left(connection)
            self.given_up(raw_http.asked(unread(accepted)), None)
            accepted.close()

    def _make_room(self) -> bool:
        if self._newcomers.make_room():
            return True
        one = next(iter(self._idle), None) or self.intake.slowest
        if not isinstance(one, Connection):
            return False
        self.show_out(one)
        return True

    def _pause(self) -> None:
        """Those that knock wait in the kernel's queue."""
        self._loop.remove_reader(self._listener)
        self._resumption = self._loop.call_later(
            self._timings.full, self._loop.add_reader, self._listener, self._accept
        )
