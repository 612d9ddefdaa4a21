"""Throw-away database servers: as an unprivileged user, on Unix sockets, in a temporary folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
)
_ACCOUNT = "nobody"  # PostgreSQL refuses to run as root
# it lives for minutes: nobody tidies it
_UNTENDED = ("-c", "autovacuum=off", "-c", "bgwriter_lru_maxpages=0")
# what it stores is lost with the machine, which these tests would not survive either
_QUICK = (
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-innodb-doublewrite",
    "--innodb-log-file-size=10M",
)


@dataclass(frozen=True)
class Server:
    """``base`` is the URL up to the database's name, ``options`` what follows it."""

    base: str
    options: str
    maintenance: str
    pid: int

    def url(self, database: str) -> str:
        return f"{self.base}/{database}?{self.options}"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It keeps its sockets and answers nothing: the server and its children are stopped."""
        server = psutil.Process(self.pid)
        processes = [server, *server.children(recursive=True)]
        try:
            for process in processes:
                process.suspend()
            # every thread: one that is not stopped yet could still answer
            threads = [thread.id for process in processes for thread in process.threads()]
            while any(psutil.Process(t).status() != psutil.STATUS_STOPPED for t in threads):
                time.sleep(0.01)
            yield
        finally:
            for process in processes:
                process.resume()


@contextmanager
def postgresql() -> Iterator[Server]:
    """Skips where PostgreSQL is not installed."""
    initdb, postgres = _programs("postgresql", "initdb", "postgres")
    with _folder() as folder:
        data = folder / "data"
        _run(initdb, "-D", data, "-U", "waguard", "-A", "trust", "-E", "UTF8", "-N", "--locale=C")
        command = [postgres, "-D", data, "-k", folder, "-c", "listen_addresses=", "-F", *_UNTENDED]
        # its socket is there while it still refuses everybody: "the database system is starting up"
        state = data / "postmaster.pid"
        with _served(command, partial(_is_ready, state), folder, end=signal.SIGQUIT) as pid:
            yield Server("postgresql+asyncpg://waguard@", f"host={folder}", "postgres", pid)


@contextmanager
def mariadb() -> Iterator[Server]:
    """Skips where MariaDB is not installed."""
    packages = "mariadb-server-core mariadb-client-core"
    programs = ("mariadb-install-db", "mariadbd", "my_print_defaults")
    install, mariadbd, _ = _programs(packages, *programs)
    with _folder() as folder:
        socket, data = folder / "socket", f"--datadir={folder / 'data'}"
        normal = "--auth-root-authentication-method=normal"
        # at its start it removes temporary tables that it finds here: not those of a neighbour
        own = ("--no-defaults", data, f"--tmpdir={folder}")
        _run(install, *own, normal, "--skip-test-db", "--skip-name-resolve")
        command = [mariadbd, *own, "--skip-networking", f"--socket={socket}"]
        command += [f"--pid-file={folder / 'pid'}", *_QUICK]
        with _served(command, socket.exists, folder, end=signal.SIGKILL) as pid:
            options = f"unix_socket={socket}&charset=utf8mb4"
            yield Server("mysql+asyncmy://root@localhost", options, "mysql", pid)


def _is_ready(state: Path) -> bool:
    return state.exists() and state.read_text().rstrip().endswith("\nready")


def _programs(packages: str, *names: str) -> list[str]:
    found = [shutil.which(name, path=_PATH) for name in names]
    if None in found:
        pytest.skip(f"no {' and '.join(names)} here: apt-get install {packages}")
    return [path for path in found if path]


def _run(*command: object) -> None:
    done = subprocess.run(
        list(map(str, command)), **_unprivileged(), capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def _served(
    command: Sequence[object], is_up: Callable[[], bool], folder: Path, *, end: signal.Signals
) -> Iterator[int]:
    """``end``: at once, nobody needs its files any more."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            list(map(str, command)), **_unprivileged(), stdout=log, stderr=log, cwd=folder
        )
    try:
        _wait_for(is_up, process, folder / "log")
        yield process.pid
    finally:
        process.send_signal(end)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(is_up: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(900):
        if is_up():
            return
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"the database server did not start:\n{log.read_text()}")


@contextmanager
def _folder() -> Iterator[Path]:
    # not pytest's: that one is closed to other users, and too long for a socket
    folder = Path(tempfile.mkdtemp(prefix="wgdb"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(_ACCOUNT)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
