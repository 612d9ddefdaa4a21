"""Takes the API's port before anything heavy is imported."""

import contextlib
import errno
import ipaddress
import select
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

from waguard.errors import ConfigError, PortInUseError
from waguard.host.process import procfs

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

# connections that wait to be accepted: as many as are ever open, for one that finds no place there is
# tried again after a second, and whose that is, is chance. More are not served any sooner: clients leave
# them there, and each is accepted before it is seen that nobody waits. The kernel has net.core.somaxconn at most.
BACKLOG: Final = 2_048
LOCAL_BACKLOG: Final = 128
PEEKED: Final = 4 << 10  # bytes
T = TypeVar("T")
LOCAL_SOCKET: Final = "waguard.sock"
"""In the runtime folder: where the command line finds the API."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises ``PortInUseError`` that names the process which has it."""
    family, kind, protocol, _, address = _resolved(host, port)
    listener: socket.socket | None = None
    try:
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        if listener:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _in_use(port) from None
        if error.errno == errno.EACCES:
            raise ConfigError(
                f"{port} is not allowed for this user",
                field="api.port",
                value=port,
                remedy="use a port of 1024 or above",
            ) from None
        raise _bad_host(host, error.strerror or "it cannot be bound") from None
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return listener


def is_at(listener: socket.socket, host: str, port: int) -> bool:
    """Whether it listens there; port 0 is any. Raises as ``listen``."""
    family, _, _, _, address = _resolved(host, port)
    there, at = listener.getsockname()[:2]
    return (listener.family, there) == (family, address[0]) and port in {0, at}


def _resolved(host: str, port: int) -> tuple[Any, ...]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise _bad_host(host, "it is not an address of this machine") from None


def base_url(listener: socket.socket) -> str:
    """``http://host:port`` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def public_url(configured: str | None, listener: socket.socket) -> str:
    """What others call it by; ``configured`` as it is. A wildcard is no address to be called."""
    return configured or called(base_url(listener))


def called(base: str) -> str:
    """What others call a ``base_url`` by; a text that is none, as it is."""
    address = urlsplit(base)
    host = address.hostname or ""
    # the other loopback addresses are not what the name leads to
    if host in {"127.0.0.1", "::1"}:
        return f"http://localhost:{address.port}"
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
            return f"http://{socket.gethostname()}:{address.port}"
    return base


def _in_use(port: int) -> PortInUseError:
    pid = next(iter(procfs.listeners(port)), None)
    who = (
        f"pid {pid} ({' '.join(procfs.command_line(pid))[:120]})"
        if pid
        else "a process not visible to this user"
    )
    return PortInUseError(
        f"port {port} is in use by {who}",
        field="api.port",
        value=port,
        remedy="disable the unit that `systemctl list-sockets` names, or set another api.port"
        if pid == 1
        else "stop that process, or set another api.port",
    )


def _bad_host(host: str, why: str) -> ConfigError:
    return ConfigError(
        f"{host!r}: {why}",
        field="api.host",
        value=host,
        remedy="use 127.0.0.1, ::1 or an address of this machine",
    )


def listen_local(path: Path) -> socket.socket:
    """A listening Unix socket that only this user and root can connect to.

    It takes the place of what lies at ``path``: whoever holds the instance's lock may do that.
    Raises ``OSError``.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(draft))
        draft.chmod(0o600)
        listener.listen(LOCAL_BACKLOG)
        draft.replace(path)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return listener


def is_knocked_at(listener: socket.socket) -> bool:
    """Whether somebody waits to be accepted."""
    poll = select.poll()
    try:
        poll.register(listener.fileno(), select.POLLIN)
    except ValueError:  # it is closed
        return False
    return any(found & select.POLLIN for _, found in poll.poll(0))


def has_hung_up(connection: "socket.socket | TransportSocket") -> bool:
    """Whether its client sends no more: it has closed its end, or is gone. What it sent may be unread."""
    poll = select.poll()
    try:
        poll.register(connection.fileno(), select.POLLRDHUP)
    except ValueError:  # it is closed here
        return True
    return bool(poll.poll(0))


class HangUps(Generic[T]):
    """Whose clients send no more, of many: one question to the kernel for all of them."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._numbers: dict[T, int] = {}
        self._owners: dict[int, T] = {}

    def add(self, connection: socket.socket, owner: T) -> None:
        """Observe an open one until its ``owner`` is removed, which has to be before it is closed."""
        number = self._numbers[owner] = connection.fileno()
        self._owners[number] = owner
        self._poll.register(number, select.POLLRDHUP)

    def remove(self, owner: T) -> None:
        """Observe it no more."""
        if (number := self._numbers.pop(owner, None)) is not None:
            del self._owners[number]
            self._poll.unregister(number)

    def owners(self) -> set[T]:
        """Those whose clients have closed their end, or are gone."""
        return {self._owners[number] for number, _ in self._poll.poll(0)}


def unread(connection: socket.socket) -> bytes:
    """What its client has said first, also where that is gone; the kernel keeps it for whoever reads it."""
    with contextlib.suppress(OSError):
        return connection.recv(PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return b""


def peer_uid(connection: "socket.socket | TransportSocket") -> int:
    """Whose process connected to a Unix socket, as the kernel saw it then."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")
    )
    uid: int = struct.unpack("iII", credentials)[1]
    return uid
