"""The probes on the real machine, a real Chromium, and a real PostgreSQL."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.processes import (
    NOBODY,
    OTHERS_CANNOT,
    others_can_run_this_python,
    program,
)
from tests.store import servers
from tests.store.application import SqlApplication
from waguard.config.sections import Browser, Config
from waguard.core.lease import Holder, Terms
from waguard.doctor.checks import database as checks_of
from waguard.doctor.checks.host import browser
from waguard.doctor.checks.instance import Instance, PidFile, Socket
from waguard.doctor.probes import database, host
from waguard.doctor.probes.machine import Machine
from waguard.doctor.probes.receiver import is_here
from waguard.doctor.report import Cli
from waguard.host.process.executable import find_executable
from waguard.store.revision import HEAD
from waguard.store.sql import SqlStore

CLI = Cli()


# ---- the machine ----


def test_what_this_machine_says_of_itself(tmp_path: Path) -> None:
    machine = Machine()
    space = machine.space(tmp_path)
    assert space is not None
    assert space.free > 0
    assert not space.read_only
    assert machine.space(tmp_path / "none") is None
    assert machine.open_files(None) == machine.open_files(os.getpid())
    assert machine.open_files(2**22 + 1) is None
    left = machine.left(os.getpid())
    assert left.memory is not None
    assert left.pids is not None
    assert machine.synchronized() in {True, False, None}
    assert machine.sysctl("kernel.ostype") == "Linux"
    assert machine.sysctl("kernel.none") is None
    [me] = [one for one in machine.processes() if one.pid == os.getpid()]
    assert me.parent == os.getppid()
    assert "pytest" in me.command or "python" in me.command


def test_who_has_a_port() -> None:
    machine = Machine()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert machine.listeners(port) == [os.getpid()]
        assert machine.taken("127.0.0.1", port) == (True, None)
    assert machine.taken("127.0.0.1", port) == (False, None)
    taken, refusal = machine.taken("192.0.2.1", port)
    assert (taken, refusal) == (False, "Cannot assign requested address")
    assert is_here("localhost")
    assert not is_here("192.0.2.1")


def test_a_lock_is_seen_and_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    hold = (
        "import fcntl, sys\nf = open(sys.argv[1], 'w')\nfcntl.flock(f, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    machine = Machine()
    assert machine.locked_by(path) is None
    with program(hold, str(path)) as holder:
        assert machine.locked_by(path) == holder.pid
    assert machine.locked_by(path) is None


async def test_programs_end_in_time() -> None:
    machine = Machine()
    said = await machine.run([sys.executable, "-c", "print('yes')"], within=60)
    assert (said.code, said.out) == (0, "yes\n")
    silent = await machine.run(
        [sys.executable, "-c", "input(open('/dev/zero').read())"], within=0.1
    )
    assert (silent.code, silent.error) == (None, "it did not end within 0.1 s")
    none = await machine.run(["/nowhere/program"], within=1)
    assert (none.code, none.error) == (None, "No such file or directory")


# ---- Chromium ----


def configured(executable: str, *, sandbox: bool) -> Config:
    return Config(browser=Browser(executable=executable, sandbox=sandbox))


@pytest.mark.long
@pytest.mark.chromium
async def test_a_real_chromium_in_its_sandbox(no_child_left: None) -> None:
    path = str(find_executable(None, "chromium"))
    user = None
    if os.geteuid() == 0:
        if not others_can_run_this_python():
            pytest.skip(OTHERS_CANNOT)
        user = (NOBODY, NOBODY)
    seen = await host.browser(Machine(), configured(path, sandbox=True), user)
    assert seen.started, seen
    assert seen.version
    assert [(c.name, c.result) for c in browser(seen, timeout=3_600)] == [
        ("chromium", "ok"),
        ("sandbox", "ok"),
    ]


@pytest.mark.long
@pytest.mark.chromium
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has no sandbox")
async def test_a_real_chromium_that_has_none(no_child_left: None) -> None:
    path = str(find_executable(None, "chromium"))
    seen = await host.browser(Machine(), configured(path, sandbox=True), None)
    assert (seen.started, seen.starts_without) == (False, True), seen
    assert [(c.name, c.result) for c in browser(seen, timeout=30)] == [
        ("chromium", "ok"),
        ("sandbox", "failed"),
    ]


async def test_a_chromium_that_ends_at_once() -> None:
    seen = await host.browser(Machine(), configured("/bin/false", sandbox=False), None)
    assert (seen.started, seen.starts_without) == (False, False)
    [check] = browser(seen, timeout=30)
    assert (check.name, check.result) == ("chromium", "failed")


# ---- PostgreSQL ----


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.postgresql() as made:
        yield made


@pytest.mark.long
async def test_a_real_postgresql(server: servers.Server) -> None:
    await SqlApplication(server.url(server.maintenance)).run_alone("CREATE DATABASE doctor")
    url = server.url("doctor")
    empty = await database.database(url)
    assert (empty.error, empty.revision, empty.lease, empty.refusal) == (None, None, None, None)
    store = SqlStore(url)
    await store.open()
    await store.create("s1", 1, account_id=None, priority=0)
    holder = Holder(machine="m", runtime="/run/waguard", host="other", pid=7, instance="i")
    await store.lease.acquire(holder, Terms(lasts=75, renewed_every=5), lambda _: True)
    await store.close()
    seen = await database.database(url)
    assert seen.revision == seen.newest == HEAD
    assert seen.rows is not None
    assert [row.session for row in seen.rows] == ["s1"]
    assert seen.now is not None
    assert abs(seen.now - Machine().now()) < 60
    down = Instance(runtime="/run/here", pid_file=PidFile.ABSENT, socket=Socket.ABSENT)
    [lease] = [c for c in checks_of.database(seen, down, "/run/here", CLI) if c.name == "lease"]
    assert lease.result == "failed"
    assert "the waguard on other" in lease.seen
    here = Instance(runtime="/run/waguard", pid_file=PidFile.DEAD, socket=Socket.ABSENT)
    [lease] = [c for c in checks_of.database(seen, here, "/run/waguard", CLI) if c.name == "lease"]
    assert lease.result == "ok"


@pytest.mark.long
async def test_a_postgresql_without_that_database(server: servers.Server) -> None:
    seen = await database.database(server.url("none"))
    assert seen.error == 'database "none" does not exist'
    assert checks_of.database(seen, Instance(runtime=""), "", CLI)[0].result == "failed"


@pytest.mark.long
async def test_another_applications_database(server: servers.Server) -> None:
    app = SqlApplication(server.url(server.maintenance))
    await app.run_alone("CREATE DATABASE other")
    other = SqlApplication(server.url("other"))
    await other.run("CREATE TABLE users (id INTEGER)")
    seen = await database.database(server.url("other"))
    assert seen.refusal == "there is no such table"
