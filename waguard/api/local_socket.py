"""The API on a Unix socket in the runtime folder, for the command line.

The same application as over TCP. The folder is 0700 and the socket 0600, so root and the daemon's own
user get that far; the kernel says who it is, and these two need no key. Whoever else got there is
asked for one.
"""

import os
import socket
from pathlib import Path
from typing import Final

from aiohttp import web
from loguru import logger

from waguard.api.auth import is_for_another
from waguard.api.deps import FORWARDED
from waguard.api.door import Door
from waguard.errors import ConfigError
from waguard.host.files.lock import remedy_of
from waguard.host.system.listen import LOCAL_SOCKET, listen_local, peer_uid

CONNECTIONS: Final = 64  # of their own: a full TCP side keeps no operator out


def is_trusted(request: web.Request) -> bool:
    """Whether root or the daemon's own user calls on the local socket, by itself."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX or is_for_another(request.headers):
        return False
    return peer_uid(connection) in {0, os.geteuid()}


def is_of_a_person(request: web.Request) -> bool:
    """Whether root or the daemon's own user asked on a local socket: this host's, or that of the host that forwards it."""
    forwarded = request.get(FORWARDED)
    return forwarded.on_socket if forwarded else is_trusted(request)


class LocalApi:
    """The socket of one running daemon."""

    def __init__(self, runner: web.AppRunner, runtime: Path) -> None:
        """``runner`` serves already, and ends this with the rest."""
        self._runner = runner
        self._path = runtime / LOCAL_SOCKET
        self._door: _LocalDoor | None = None

    async def listen(self) -> None:
        """Raises ``ConfigError`` where the folder takes no socket."""
        try:
            listener = listen_local(self._path)
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be made: {error.strerror or error}",
                field="paths.runtime",
                value=str(self._path.parent),
                remedy=remedy_of(error, self._path.parent)
                or "name a folder on a local disk that this user can write",
            ) from None
        self._door = _LocalDoor(self._runner, listener, self._path)
        await self._door.start()

    async def keep(self) -> None:
        """Listen again where somebody removed the socket; what goes wrong is tried again later."""
        if self._door:
            if self._door.in_place:
                return
            await self._door.stop()
            self._door = None
        try:
            await self.listen()
        except ConfigError:
            return  # the folder is gone, too: that is reported, and it is made again
        logger.warning(
            "the socket of the command line was removed, and is there again", event="socket_removed"
        )


class _LocalDoor(Door):
    """A door that removes its socket at the end, if it still is its own."""

    def __init__(self, runner: web.AppRunner, listener: socket.socket, path: Path) -> None:
        super().__init__(runner, listener, most=CONNECTIONS)
        self._path = path
        self._made = path.lstat()

    @property
    def in_place(self) -> bool:
        """Whether a client finds it."""
        try:
            return os.path.samestat(self._path.lstat(), self._made)
        except OSError:
            return False

    async def stop(self) -> None:
        """Accept no more."""
        if self.in_place:
            self._path.unlink(missing_ok=True)
        await super().stop()
