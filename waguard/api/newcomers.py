"""Connections that nobody has read yet: where many are there without a key, whoever comes says first what it wants.

What is made for a connection costs ten times what it takes to peek into what it says. A good key in the head, or a
small request that is there as a whole, is let in at once; whatever else waits for its turn (``intake.py``), and is
refused then where it comes in chunks of a few bytes. So a crowd keeps nobody with a key waiting.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from waguard.api.connection import LARGEST_PIECE, PIECE, REFUSAL, GivenUp
from waguard.api.intake import Intake
from waguard.core.host import http_cost
from waguard.core.text import raw_http
from waguard.host.system.listen import has_hung_up, unread

Admit = Callable[[socket.socket], None]


class Clients(NamedTuple):
    """What the application says of them, and gets."""

    accept: Callable[[list[str]], bool]
    """Whether one of the values is a key."""
    given_up: GivenUp
    """Called with the question of one that has left before its answer."""


NOBODY: Final = Clients(bool, lambda *_: None)
"""A door without an application has none."""


class Newcomer:
    """One connection; see ``Waiting``."""

    slowness: Final = 0.0

    def __init__(self, accepted: socket.socket, peer: str | None, others: "Newcomers") -> None:
        self.socket, self.peer = accepted, peer
        self._others = others
        self.is_refused = False
        """Whether what it says is not worth to be read."""

    @property
    def has_hung_up(self) -> bool:
        """See ``Waiting``."""
        return has_hung_up(self.socket)

    def resume(self) -> None:
        """See ``Waiting``."""
        if self.has_hung_up:
            self._others.show_out(self)
        elif self.is_refused:
            self._others.refuse(self)
        else:
            self._others.let_in(self)


class Newcomers:
    """Those of one door, the oldest first."""

    def __init__(self, intake: Intake, admit: Admit, within: float, clients: Clients) -> None:
        """``within`` is for a request to begin in seconds."""
        self._intake = intake
        self._admit = admit
        self._accept, self._given_up = clients
        self._within = within
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Newcomer, asyncio.TimerHandle] = {}
        # in which of these each is
        self._silent: dict[Newcomer, None] = {}
        self._refused: dict[Newcomer, None] = {}
        self._queued: dict[Newcomer, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, accepted: socket.socket, peer: str | None) -> None:
        """Another connection, which does not block, and its client's address."""
        one = Newcomer(accepted, peer, self)
        self._waiting[one] = self._loop.call_later(self._within, self.show_out, one)
        self._silent[one] = None
        if not self._peek(one):
            self._loop.add_reader(accepted, self._peek, one)

    def show_out(self, one: Newcomer) -> None:
        """End it."""
        self._leave(one)
        self._given_up(raw_http.asked(unread(one.socket)), one.peer)
        one.socket.close()

    def make_room(self) -> bool:
        """End one; False: there is none. Whoever is next in turn has waited longest, and goes last."""
        one = next(iter(self._silent or self._refused), None) or next(reversed(self._queued), None)
        if one:
            self.show_out(one)
        return one is not None

    def stop(self) -> None:
        """End all."""
        while self.make_room():
            pass

    def _peek(self, one: Newcomer) -> bool:
        """Whether it says something; the kernel keeps it for whoever reads it."""
        try:
            said = one.socket.recv(PIECE, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            said = b""
        self._loop.remove_reader(one.socket)
        if not said:
            self.show_out(one)
        elif raw_http.is_whole(said) or self._accept(raw_http.shown_keys(said)):
            self.let_in(one)
        else:
            one.is_refused = raw_http.is_in_shreds(said, chunked=None)
            (self._refused if one.is_refused else self._queued)[one] = None
            self._silent.pop(one)
            self._intake.queue(one)
        return True

    def refuse(self, one: Newcomer) -> None:
        """Say why, and hang up."""
        self._intake.charge(http_cost.KNOCK)
        with contextlib.suppress(OSError):
            one.socket.send(REFUSAL)
            one.socket.shutdown(socket.SHUT_WR)
            one.socket.recv(LARGEST_PIECE)  # what is unread would make a reset of the end
        self.show_out(one)

    def let_in(self, one: Newcomer) -> None:
        """Read it from now on."""
        self._leave(one)
        self._admit(one.socket)

    def _leave(self, one: Newcomer) -> None:
        self._waiting.pop(one).cancel()
        for group in (self._silent, self._refused, self._queued):
            group.pop(one, None)
        self._loop.remove_reader(one.socket)
        self._intake.leave(one)
