"""The API's port under a real systemd: it is never free between two daemons, and closed after the last.

The short form of those marked ``long`` is ``tests/host/test_api_port.py``."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.ports import reserved_port
from tests.systemd.namespace import SystemdNamespace
from tests.systemd.unit import CHECKOUT, UNIT, command, configure, drop_in, shipped, why_not

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
SOCKET = "waguard.socket"
LIVE = "/health/live"


@pytest.fixture(scope="module")
def systemd() -> Iterator[SystemdNamespace]:
    with shipped() as namespace:
        yield namespace


@contextlib.contextmanager
def configured(systemd: SystemdNamespace, port: int) -> Iterator[None]:
    configure(systemd, ("port = 0", f"port = {port}"))
    systemd.systemctl("reset-failed")
    try:
        yield
    finally:
        systemd.run("systemctl", "stop", UNIT)


@pytest.fixture
def port(systemd: SystemdNamespace) -> Iterator[int]:
    with reserved_port() as number, configured(systemd, number):
        yield number


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


class Squatter(threading.Thread):
    """Tries to bind the port each millisecond."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.binds = self.tries = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """See ``threading.Thread``."""
        while not self.ended.wait(0.001):
            self.tries += 1
            with socket.socket() as mine:
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    mine.bind(("127.0.0.1", self._port))
                    mine.listen()
                    self.binds += 1


@contextlib.asynccontextmanager
async def called(port: int) -> AsyncIterator[Counter[str]]:
    """What a client gets that calls each 10 ms, on a new connection each time."""
    answers: Counter[str] = Counter()

    async def call(http: aiohttp.ClientSession) -> None:
        try:
            async with http.get(f"http://127.0.0.1:{port}{LIVE}") as response:
                answers[str(response.status)] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            answers[repr(error)] += 1

    async def calls(http: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                group.create_task(call(http))
                await asyncio.sleep(0.01)

    over = asyncio.Event()
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        calling = asyncio.create_task(calls(http))
        try:
            yield answers
        finally:
            over.set()
            await calling


@pytest.mark.parametrize(
    "restarts", [2, pytest.param(50, marks=pytest.mark.long)], ids=["some", "many"]
)
async def test_nobody_else_gets_it_and_no_call_is_refused(
    systemd: SystemdNamespace, port: int, restarts: int
) -> None:
    systemd.systemctl("start", UNIT)
    squatter = Squatter(port)
    async with called(port) as answers:
        squatter.start()
        for number in range(restarts):
            verb = ("kill", "-s", "KILL", "--kill-whom=main") if number % 2 else ("restart",)
            before = systemd.show(UNIT)["MainPID"]
            await asyncio.to_thread(systemd.systemctl, *verb, UNIT)
            other = rf"(?!{before}$)[1-9]\d*"
            await asyncio.to_thread(systemd.wait, UNIT, ActiveState="active", MainPID=other)
        squatter.ended.set()
    squatter.join()
    print(f"{restarts} restarts, {squatter.tries} tries to bind; answers: {dict(answers)}")
    assert squatter.tries > restarts
    assert squatter.binds == 0
    refused = [what for what in answers if "onnection refused" in what or "111" in what]
    assert refused == []
    # what a kill cuts off is cut off; a restart answers to all
    assert answers["200"] >= 0.9 * answers.total()


@pytest.mark.long
async def test_a_restart_answers_to_all(systemd: SystemdNamespace, port: int) -> None:
    systemd.systemctl("start", UNIT)
    async with called(port) as answers:
        for _ in range(2):
            await asyncio.to_thread(systemd.systemctl, "restart", UNIT)
    assert set(answers) == {"200"}


@pytest.mark.long
@pytest.mark.parametrize("attack", ["chunks", "crowd", "again", "ahead", "plain"])
async def test_no_flood_without_a_key_gets_it_restarted(
    systemd: SystemdNamespace, port: int, attack: str
) -> None:
    """The watchdog has 30 s; each lasts for longer."""
    systemd.systemctl("start", UNIT)
    before = systemd.wait(UNIT, ActiveState="active")
    program = (sys.executable, "-P", "-m", "bench.abuse", "--attack", attack, "--port", str(port))
    flood = await asyncio.create_subprocess_exec(
        *program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    assert flood.stdin
    assert flood.stdout
    await flood.stdout.readline()
    ends, answers = time.monotonic() + 40, Counter[str]()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
        while time.monotonic() < ends:
            async with http.get(f"http://127.0.0.1:{port}{LIVE}") as response:
                answers[str(response.status)] += 1
            await asyncio.sleep(0.1)
    flood.stdin.close()
    await flood.wait()
    after = systemd.wait(UNIT, ActiveState="active")
    assert (after["MainPID"], after["NRestarts"]) == (before["MainPID"], "0")
    assert set(answers) == {"200"}


def test_the_doctor_as_root_knows_it_as_the_daemons(systemd: SystemdNamespace, port: int) -> None:
    """Root sees the copy that pid 1 has, too."""
    systemd.systemctl("start", UNIT)
    assert systemd.show(UNIT)["NFileDescriptorStore"] == "1"
    answer = json.loads(command(systemd, "doctor", "--json").stdout)
    [check] = [it for it in answer["checks"] if it["check"] == "port"]
    assert (check["result"], check["seen"]) == ("ok", f"127.0.0.1:{port} is waguard's")


def test_after_a_stop_calls_are_refused_and_no_child_has_it(
    systemd: SystemdNamespace, port: int
) -> None:
    systemd.systemctl("start", UNIT)
    systemd.systemctl("restart", UNIT)
    assert is_open(port)
    main = systemd.show(UNIT)["MainPID"]
    script = "for p in $(pgrep -u waguard); do echo $p; tr '\\0' '\\n' </proc/$p/environ; ls -l /proc/$p/fd; done"
    shown = systemd.run("sh", "-c", script).stdout
    listening = _listening(systemd, main, port)
    assert shown.count(f"socket:[{listening}]") == 1
    assert shown.count("LISTEN_FDS") <= 1  # of the daemon alone, as it was executed
    systemd.systemctl("stop", UNIT)
    assert not is_open(port)


def _listening(systemd: SystemdNamespace, pid: str, port: int) -> str:
    """The inode of the socket on the port."""
    table = (systemd.root / f"proc/{pid}/net/tcp").read_text().splitlines()[1:]
    (inode,) = (
        row.split()[9]
        for row in table
        if row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A"
    )
    return inode


@pytest.mark.long
def test_of_another_address_the_old_one_is_closed(systemd: SystemdNamespace, port: int) -> None:
    systemd.systemctl("start", UNIT)
    with reserved_port() as other:
        configure(systemd, ("port = 0", f"port = {other}"))
        systemd.systemctl("restart", UNIT)
        assert is_open(other)
        assert not is_open(port)
        systemd.systemctl("stop", UNIT)


@pytest.mark.long
def test_the_unit_of_an_older_release_keeps_nothing(systemd: SystemdNamespace, port: int) -> None:
    """Its daemon would find the port in use, by what it was handed."""
    systemd.systemctl("start", UNIT)
    assert systemd.show(UNIT)["NFileDescriptorStore"] == "1"
    with drop_in(systemd, "older.conf", "[Service]\nFileDescriptorStoreMax=0\n"):
        assert systemd.show(UNIT)["NFileDescriptorStore"] == "0"
        systemd.systemctl("restart", UNIT)
        assert is_open(port)
        systemd.systemctl("stop", UNIT)
    assert not is_open(port)


@pytest.mark.long
def test_systemd_may_listen_itself(systemd: SystemdNamespace, port: int) -> None:
    text = (CHECKOUT / "systemd" / SOCKET).read_text()
    systemd.put(
        f"/etc/systemd/system/{SOCKET}", text.replace("127.0.0.1:3001", f"127.0.0.1:{port}")
    )
    systemd.systemctl("daemon-reload")
    verified = systemd.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{SOCKET}")
    assert (verified.returncode, verified.stderr) == (0, "")
    systemd.systemctl("start", SOCKET)
    try:
        assert is_open(port)  # which starts it
        systemd.wait(UNIT, ActiveState="active")
        systemd.systemctl("stop", UNIT)
        assert is_open(port)  # and again
        systemd.wait(UNIT, ActiveState="active")
    finally:
        systemd.run("systemctl", "stop", SOCKET)
        systemd.run("systemctl", "stop", UNIT)
        Path(systemd.root / f"etc/systemd/system/{SOCKET}").unlink()
        systemd.systemctl("daemon-reload")
    assert not is_open(port)
