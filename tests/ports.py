"""A port of loopback that stays the test's own while nobody listens there."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Connections to it are refused until somebody listens there by its number (with SO_REUSEADDR,
    as all servers here do).

    It is bound all the while: a port that was free a moment ago is soon another process's, for
    the kernel gives it to whoever connects, on a machine that runs tests in parallel.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
