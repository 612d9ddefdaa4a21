"""The API's listening socket: kept by the service manager from one daemon to the next, so the port is never free.

systemd keeps a copy (``FileDescriptorStoreMax``) and hands it to the next daemon (sd_listen_fds(3)); connections
that come meanwhile wait in its queue. Or systemd listens itself (``waguard.socket``). Without either the port
is bound at each start. Stdlib only but for errors: a refused second instance must cost a tenth of a second.
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

from waguard.errors import ConfigError
from waguard.host.system.listen import BACKLOG, is_at, listen
from waguard.host.system.systemd import SystemdNotifier

KEPT: Final = "waguard-api"
"""The name of the copy that systemd keeps."""
ACTIVATED: Final = "waguard.socket"
FIRST: Final = 3  # SD_LISTEN_FDS_START
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")


class ApiPort:
    """``socket`` listens. Where ``activated``, it is the service manager's own."""

    def __init__(self, listener: socket.socket, *, activated: bool = False) -> None:
        self.socket = listener
        self.activated = activated

    @classmethod
    def open(
        cls,
        host: str,
        port: int,
        notifier: SystemdNotifier,
        environ: MutableMapping[str, str] = os.environ,
        *,
        first: int = FIRST,
    ) -> Self:
        """The socket that was handed over, where it is at this address; else a new one, which is kept from now on.

        Raises as ``listen``, and ``ConfigError`` where ``waguard.socket`` listens elsewhere.
        """
        found: Self | None = None
        for name, handed in _handed_over(environ, first):
            right = found is None and handed is not None and is_at(handed, host, port)
            if handed is not None and name == ACTIVATED:
                if not right:
                    with handed:
                        raise _elsewhere(handed, host, port)
                found = cls(handed, activated=True)
            elif handed is not None and name == KEPT and right:
                found = cls(handed)
            else:  # of another address, or of an earlier version
                notifier.forget(name)
                if handed is not None:
                    _end(handed)
        if found is None:
            found = cls(listen(host, port))
            notifier.keep(KEPT, found.socket)
        return found


def _handed_over(
    environ: MutableMapping[str, str], first: int
) -> list[tuple[str, socket.socket | None]]:
    """Each with its name, closed to programs that are executed; None: it does not listen. The variables are
    gone afterwards."""
    pid, _, count, names = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    named = names.split(":") if names else []
    found = []
    for number in range(int(count)):
        name = named[number] if number < len(named) else ""
        found.append((name, _listening(first + number)))
    return found


def _listening(descriptor: int) -> socket.socket | None:
    try:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's own signature
        handed = socket.socket(fileno=descriptor)
    except OSError:  # it is no socket
        with contextlib.suppress(OSError):
            os.close(descriptor)
        return None
    if handed.family in {socket.AF_INET, socket.AF_INET6} and handed.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        handed.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        handed.listen(BACKLOG)
        return handed
    handed.close()
    return None


def _end(handed: socket.socket) -> None:
    """Refuse from now on, whoever else has a copy."""
    with contextlib.suppress(OSError):
        handed.shutdown(socket.SHUT_RDWR)
    handed.close()


def _elsewhere(handed: socket.socket, host: str, port: int) -> ConfigError:
    there = "{}:{}".format(*handed.getsockname()[:2])
    return ConfigError(
        f"{ACTIVATED} listens on {there}, the configuration says {host}:{port}",
        field="api.port",
        value=port,
        remedy=f"make ListenStream= of {ACTIVATED} the same, or disable it",
    )
