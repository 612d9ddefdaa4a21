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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SOCKET: Final = Path("/run/systemd/journal/socket")
_TOO_LARGE: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def entry(fields: Sequence[tuple[str, str]]) -> bytes:
    """Names in capitals; a value may have several lines."""
    whole = "".join([f"{name}={value}\n" for name, value in fields])
    if whole.count("\n") == len(fields):
        return whole.encode(errors="backslashreplace")
    return b"".join(_field(name, value.encode(errors="backslashreplace")) for name, value in fields)


def _field(name: str, content: bytes) -> bytes:
    if b"\n" not in content:
        return b"%b=%b\n" % (name.encode(), content)
    return b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(content)), content)


class Journal:
    """Nothing here waits longer than its caller allows."""

    def __init__(self, path: Path = SOCKET) -> None:
        """Raises ``OSError`` where no journal listens."""
        self._path = str(path)
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_UNIX, kind)
        self._ready = select.poll()
        self._ready.register(self._socket, select.POLLOUT)
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
            self._socket.send(content)
        except BlockingIOError:
            if not patience or not self._ready.poll(patience * 1000):
                return False
            return self.send(content, 0.0)
        except OSError as error:
            with contextlib.suppress(OSError):
                if error.errno in _TOO_LARGE:
                    self._send_as_file(content)
                else:  # it may have been restarted
                    self._socket.connect(self._path)
                    self._socket.send(content)
                return True
            return False
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
