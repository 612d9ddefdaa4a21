"""What may stand between waguard and its database: a pgbouncer, a replica, a proxy that takes servers in turn."""

import contextlib
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from urllib.parse import parse_qs

from tests.cluster.relay import Relay
from tests.store.servers import Server, _folder, _is_ready, _programs, _run, _served


@contextlib.contextmanager
def pgbouncer(server: Server, mode: str, *, drops: str = "") -> Iterator[str]:
    """The URL of its database. ``drops``: settings of a connection that it ignores. Skips where it is not installed."""
    (program,) = _programs("pgbouncer", "pgbouncer")
    (at,) = parse_qs(server.options)["host"]
    with _folder() as folder:
        text = f"""[databases]
postgres = host={at} user=waguard
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {drops}
"""
        (folder / "ini").write_text(text)
        socket = folder / ".s.PGSQL.6432"
        command = [program, folder / "ini"]
        with _served(command, socket.exists, folder, end=signal.SIGKILL):
            yield f"{server.base}/postgres?host={folder}&port=6432"


@contextlib.contextmanager
def replica(server: Server) -> Iterator[Server]:
    """A PostgreSQL that copies another one, which waits for no copy."""
    copy, postgres = _programs("postgresql", "pg_basebackup", "postgres")
    (at,) = parse_qs(server.options)["host"]
    with _folder() as folder:
        data = folder / "data"
        _run(copy, "-h", at, "-U", "waguard", "-D", data, "-R", "-c", "fast")
        command = [postgres, "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"]
        state = data / "postmaster.pid"
        with _served(command, lambda: _is_ready(state), folder, end=signal.SIGQUIT) as pid:
            yield Server(server.base, f"host={folder}", "postgres", pid)


class InTurn(Relay):
    """Leads each connection to the next of these sockets, as a proxy does that spreads load."""

    def __init__(self, sockets: Sequence[Path], *, at: Path) -> None:
        super().__init__(sockets[0], at=at)
        self._next = cycle(sockets)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._leads_to = next(self._next)
        await super()._serve(reader, writer)
