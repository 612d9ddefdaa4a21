"""sd_notify(3): what the service manager hears. Nothing happens without NOTIFY_SOCKET.

Stdlib only: the command line says its last line with ``is_journal``, whatever it could not import.
"""

import os
import socket
import time
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Final, TextIO

from waguard.host.lacking import lacks

_ALIVE: Final = "WATCHDOG=1"
_STATUS: Final = "STATUS="


KEPT: Final = 16  # messages for a manager that does not read


class SystemdNotifier:
    """The service manager; one that is gone is no reason to stop working, and neither is one
    that does not read: the kernel keeps some ten messages for it, and whoever sends one more waits
    (unix(7)). So nothing waits here; what the manager has to know comes with what is said next. Its socket is
    kept: a stop must not fail because no descriptor is left."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog: float | None = int(usec) / 1e6 if usec.isdigit() and mine else None
        """Seconds within which ``alive`` is expected; None: nobody watches."""
        self._status = ""
        self._unsaid: deque[tuple[str, tuple[socket.socket, ...]]] = deque(maxlen=KEPT)
        self._socket: socket.socket | None = None

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self._status = status
        self._notify(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``; only another one is sent."""
        if text != self._status:
            self._status = text
            self._notify(f"{_STATUS}{_line(text)}")

    def alive(self) -> None:
        """Supervision moves."""
        self._notify(_ALIVE)

    def stopping(self) -> None:
        """An orderly stop has begun."""
        self._notify("STOPPING=1")

    def reloading(self) -> None:
        """The configuration is being read again; ``ready`` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000  # Type=notify-reload wants it
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def keep(self, name: str, kept: socket.socket) -> None:
        """Keep a copy of it for the next daemon, where the unit has ``FileDescriptorStoreMax``."""
        self._notify(f"FDSTORE=1\nFDNAME={name}", kept)

    def forget(self, name: str) -> None:
        """Keep no copies of that name any more."""
        self._notify(f"FDSTOREREMOVE=1\nFDNAME={_line(name)}")

    def _notify(self, text: str, *kept: socket.socket) -> None:
        if not self._address:
            return
        self._unsaid.append((text, kept))
        try:
            notify = self._connected()
            while self._unsaid:
                unsaid, given = self._unsaid[0]
                descriptors = [it.fileno() for it in given]
                if -1 not in descriptors:  # else it was closed meanwhile
                    socket.send_fds(notify, [unsaid.encode(errors="replace")], descriptors)
                self._unsaid.popleft()
        except OSError as error:
            if lacks(error):  # also: it does not read
                self._keep_news()
            else:  # it is gone
                self._unsaid.clear()

    def _connected(self) -> socket.socket:
        """Raises ``OSError``."""
        if self._socket is None:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)
            weakref.finalize(self, self._socket.close)
        self._socket.connect(self._address)
        return self._socket

    def _keep_news(self) -> None:
        """A sign of life is one only now, and only the newest status is one."""
        kept = [one for one in self._unsaid if one[0] != _ALIVE]
        last = len(kept) - 1
        self._unsaid.clear()
        self._unsaid.extend(
            one for place, one in enumerate(kept) if place == last or not one[0].startswith(_STATUS)
        )


def is_journal(stream: TextIO) -> bool:
    """systemd.exec(5): the variable is inherited, so it is true only of the stream that it names."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


def _line(text: str) -> str:
    """Each line is an assignment of its own: a text with several would assign what it likes."""
    return " ".join(text.splitlines())
