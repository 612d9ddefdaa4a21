"""systemd's journal, by its native protocol: one datagram for an entry, with fields of its own.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SOCKET: Final = Path("/run/systemd/journal/socket")
_TOO_LARGE: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def entry(fields: Iterable[tuple[str, str]]) -> bytes:
    """Names in capitals; a value may have several lines."""
    parts: list[bytes] = []
    for name, value in fields:
        content = value.encode(errors="backslashreplace")
        if b"\n" in content:
            parts.append(b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(content)), content))
        else:
            parts.append(b"%b=%b\n" % (name.encode(), content))
    return b"".join(parts)


class Journal:
    """Nothing here waits longer than it is told to."""

    def __init__(self, path: Path = SOCKET) -> None:
        """Raises ``OSError`` where no journal listens."""
        self._path = str(path)
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind)
        try:
            self._socket.connect(self._path)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Harmless to repeat."""
        self._socket.close()

    def send(self, content: bytes, patience: float) -> bool:
        """Whether the journal has the entry; ``patience``: s for one that does not read."""
        try:
            return self._send(content, patience)
        except OSError:
            with contextlib.suppress(OSError):  # it may have been started anew
                self._socket.connect(self._path)
                return self._send(content, patience)
            return False

    def _send(self, content: bytes, patience: float) -> bool:
        try:
            self._socket.send(content)
        except BlockingIOError:
            ready = select.poll()
            ready.register(self._socket, select.POLLOUT)
            if not patience or not ready.poll(patience * 1000):
                return False
            return self._send(content, 0.0)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_as_file(content)
        return True

    def _send_as_file(self, content: bytes) -> None:
        """What is larger than a datagram goes as a sealed file in memory."""
        file = os.memfd_create("waguard-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(file, "wb", closefd=False) as out:
                out.write(content)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(self._socket, [b""], [file])
        finally:
            os.close(file)
