"""Servers that a lab of its own starts, on loopback and in its folder: etcd, PostgreSQL or MariaDB."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from waguard.errors import ConfigError
from waguard.lab.harness import POLL, START_DEADLINE, NotStartedError

_PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
)
_ACCOUNT: Final = "nobody"  # database servers refuse to run as root
NEEDED: Final = (
    "apt-get install etcd-server, and postgresql or mariadb-server-core mariadb-client-core"
)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(closing(socket.socket()))
            one.bind(("127.0.0.1", 0))
            found.append(int(one.getsockname()[1]))
        return found


async def etcd(stack: AsyncExitStack, folder: Path, count: int) -> list[str]:
    """The endpoints of so many members, which ``stack`` ends. Raises ``ConfigError`` where it is not installed."""
    program = _required("etcd")
    ports = free_ports(2 * count)
    members = {f"m{n}": (ports[2 * n], ports[2 * n + 1]) for n in range(count)}
    everybody = ",".join(f"{it}=http://127.0.0.1:{peer}" for it, (_, peer) in members.items())
    for name, (port, peer) in members.items():
        at, theirs = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        command = [program, f"--name={name}", f"--data-dir={folder / name}", "--log-level=error"]
        command += [f"--listen-client-urls={at}", f"--advertise-client-urls={at}"]
        command += [f"--listen-peer-urls={theirs}", f"--initial-advertise-peer-urls={theirs}"]
        command += [f"--initial-cluster={everybody}", "--auto-compaction-retention=1h"]
        command += ["--unsafe-no-fsync"]  # nothing here outlives the machine
        await _served(stack, command, folder, partial(_listens, port), as_root=True)
    return [f"http://127.0.0.1:{port}" for port, _ in members.values()]


async def database(stack: AsyncExitStack, folder: Path) -> str:
    """The URL of an empty database, whose server ``stack`` ends. Raises ``ConfigError`` where none is installed."""
    folder.mkdir(mode=0o700)  # whoever reaches its socket may do everything
    if os.geteuid() == 0:
        shutil.chown(folder, _ACCOUNT)
    if find_spec("asyncpg") and _found("initdb", "postgres"):
        return await _postgresql(stack, folder)
    if find_spec("asyncmy") and _found("mariadb-install-db", "mariadbd"):
        return await _mariadb(stack, folder)
    raise ConfigError(
        "a cluster needs PostgreSQL or MariaDB, and neither its programs nor a driver are here",
        remedy=f"{NEEDED}; and waguard with its extra postgresql or mysql",
    )


async def _postgresql(stack: AsyncExitStack, folder: Path) -> str:
    data = folder / "data"
    initdb = [_required("initdb"), "-D", data, "-U", "waguard", "-A", "trust", "-E", "UTF8", "-N"]
    await _done(initdb, folder)
    command = [_required("postgres"), "-D", data, "-k", folder, "-c", "listen_addresses="]
    state = data / "postmaster.pid"

    def is_up() -> bool:
        return state.exists() and state.read_text().rstrip().endswith("\nready")

    await _served(stack, command, folder, is_up, end=signal.SIGQUIT)
    return f"postgresql+asyncpg://waguard@/postgres?host={folder}"


async def _mariadb(stack: AsyncExitStack, folder: Path) -> str:
    socket_, first = folder / "socket", folder / "first.sql"
    own = ["--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={folder}"]
    normal = "--auth-root-authentication-method=normal"
    await _done([_required("mariadb-install-db"), *own, normal, "--skip-test-db"], folder)
    first.write_text("CREATE DATABASE IF NOT EXISTS waguard CHARACTER SET utf8mb4;\n")
    first.chmod(0o644)
    command = [_required("mariadbd"), *own, "--skip-networking", f"--socket={socket_}"]
    command += [f"--pid-file={folder / 'pid'}", f"--init-file={first}"]
    await _served(stack, command, folder, socket_.exists)
    return f"mysql+asyncmy://root@localhost/waguard?unix_socket={socket_}&charset=utf8mb4"


def _found(*programs: str) -> bool:
    return all(shutil.which(name, path=_PATH) for name in programs)


def _required(program: str) -> str:
    if found := shutil.which(program, path=_PATH):
        return found
    raise ConfigError(f"there is no {program} here", remedy=NEEDED)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(_ACCOUNT)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


async def _done(command: Sequence[object], folder: Path) -> None:
    process = await _begun(command, folder, as_root=False)
    if await process.wait():
        raise _failed(command, folder)


async def _begun(
    command: Sequence[object], folder: Path, *, as_root: bool
) -> asyncio.subprocess.Process:
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *map(str, command),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for who runs the lab, and then ends these
            **({} if as_root else _unprivileged()),
        )


async def _served(
    stack: AsyncExitStack,
    command: Sequence[object],
    folder: Path,
    is_up: Callable[[], bool],
    *,
    as_root: bool = False,
    end: signal.Signals = signal.SIGKILL,
) -> None:
    process = await _begun(command, folder, as_root=as_root)

    async def ended() -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(end)
        await process.wait()

    stack.push_async_callback(ended)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_DEADLINE):
            while process.returncode is None:
                if is_up():
                    return
                await asyncio.sleep(POLL)
    raise _failed(command, folder)


def _failed(command: Sequence[object], folder: Path) -> NotStartedError:
    last = (folder / "log").read_text(errors="replace").splitlines()[-10:]
    return NotStartedError("\n".join([f"{Path(str(command[0])).name} did not start:", *last]))
