"""What a client notices while others abuse the API without a key, against a bare aiohttp server.

    python -m bench.abuse [--seconds N] [--only calm,idle,chunks,...] [--alone]

Each attack runs for N seconds on both, five at a time in turn, and in turn with the daemon without an
attack, on loopback only, from a process of its own. ``--alone`` leaves the bare server out. The client asks for the status (key in a header) and sends (key in the body, as the application does) in
turn, each time on a new connection, twenty times a second. The daemon is the real one with ten simulated
workers; the bare server reads the JSON, compares the key and answers, and as many connections as the
daemon's may wait in its kernel's queue, for one that finds no place there is answered a second later. What
is compared is the status: sending is work that the bare server does not do. A goal that is missed is
said and is no failure. p99 is that of each turn, the worst of fifty, and of these the median: an
attack of many connections is felt in the moment in which they are opened.

The attacks are in ``bench.floods``; those by a page are no matter of the bare server's. After the last turn of each: how long until the daemon answers a status,
and how long until its memory is back.
"""

import argparse
import asyncio
import contextlib
import itertools
import math
import os
import re
import resource
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import web

from bench.floods import ATTACKS, MEDIA, PAGES, SEND, STATUS, attack
from bench.rig import Daemon, environment
from waguard.api.limits import MEDIA_BODY_LIMIT
from waguard.host.files.lock import read_pid_file
from waguard.host.process import open_files as files
from waguard.host.system.listen import BACKLOG, listen

KEY = "the-key-of-the-bare-server"
SESSIONS = {f"s{number}": "" for number in range(10)}
SENT = {"session_id": "s0", "recipient_phone": "6281234567890", "type": "text"}
EVERY = 0.05  # s from one request of the client to the next
MOST = (
    512 << 20
)  # bytes of the bare server, and of an attack: a bare server has no bound of its own
TURN = 5.0  # s; then it is the other one's: what else the machine does hits both
CALM = 1.0  # s after an attack
GOAL_RATIO, GOAL_MEMORY = 2.0, 50.0  # times, MB
BACK, BACK_WITHIN, ANSWERS_WITHIN = 10.0, 60.0, 1.0  # MB, s, s
GOAL_GAP = 2.0  # s without a sign of life for the watchdog


# ---- the bare server, in a process of its own ----


async def bare() -> None:
    """Until it is told to end; its port is the first line that it prints."""
    files.raise_limit()

    async def post(request: web.Request) -> web.Response:
        body = await request.json()
        given = request.headers.get("X-Api-Key") or body.get("api_key")
        return web.json_response({"success": given == KEY}, status=200 if given == KEY else 401)

    async def status(request: web.Request) -> web.Response:
        good = request.headers.get("X-Api-Key") == KEY
        return web.json_response({"status": "connected"}, status=200 if good else 401)

    app = web.Application(client_max_size=MEDIA_BODY_LIMIT)
    app.add_routes([web.get(STATUS, status), web.post(SEND, post), web.post(MEDIA, post)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = listen("127.0.0.1", 0)
    await web.SockSite(runner, listener).start()
    listener.listen(BACKLOG)  # asyncio takes as many at a time as it is told to let wait
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextlib.asynccontextmanager
async def part(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """This program in another role."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bench.abuse", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(PYTHONPATH=str(Path.cwd())),
    )
    assert process.stdin
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()


# ---- what is measured ----


@dataclass
class Target:
    """A server that is asked, and attacked."""

    port: int
    key: str
    pid: int


@dataclass
class Seen:
    """What its client noticed in each turn, and its memory in MB."""

    status: list[list[float]] = field(default_factory=list)
    send: list[list[float]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    before: float = 0.0
    peak: float = 0.0
    answers_after: float = 0.0
    """Seconds from the end of the attack to the answer to a status."""
    back_after: float = math.inf
    """Seconds until the memory was back."""

    @property
    def grown(self) -> float:
        """MB."""
        return self.peak - self.before

    @property
    def failed(self) -> int:
        """Requests without a 200."""
        return self.answers.total() - self.answers["200"]


def p99(turns: list[list[float]]) -> float:
    """In ms: the median of the turns, so that no single moment of a busy machine decides."""
    return statistics.median(sorted(turn)[int(len(turn) * 0.99)] for turn in turns) * 1000


def median(turns: list[list[float]]) -> float:
    """In ms, of all."""
    return statistics.median(itertools.chain(*turns)) * 1000


def memory(pid: int) -> float:
    """MB that are resident now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


async def _ask(request: Any) -> str:
    try:
        async with request as response:
            await response.read()
            return str(response.status)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return type(error).__name__


async def measure(name: str, target: Target, seconds: float, seen: Seen) -> None:
    """A client during an attack; what it notices is added to ``seen``."""
    seen.before = seen.before or memory(target.pid)
    status_times, send_times = list[float](), list[float]()
    seen.status.append(status_times)
    seen.send.append(send_times)
    base = f"http://127.0.0.1:{target.port}"

    async def one(request: Any, times: list[float]) -> None:
        began = time.perf_counter()
        seen.answers[await _ask(request)] += 1
        times.append(time.perf_counter() - began)

    async def weigh() -> None:
        while True:
            seen.peak = max(seen.peak, memory(target.pid))
            await asyncio.sleep(EVERY)

    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        part("--attack", name, "--port", str(target.port)) as attacker,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
    ):
        assert attacker.stdout
        await attacker.stdout.readline()  # it begins
        if kind := PAGES.get(name):
            flood = SENT | {"session_id": "s9", "message": f"flood {kind} {seconds}"}
            await _ask(http.post(base + SEND, json=flood | {"api_key": target.key}))
        weighing, asking = asyncio.create_task(weigh()), []
        for number in range(int(seconds / EVERY / 2)):  # whatever answers take: none is left out
            body = SENT | {"message": f"{name} {number}", "api_key": target.key}
            status = http.get(base + STATUS, headers={"X-Api-Key": target.key})
            for request, times in (
                (status, status_times),
                (http.post(base + SEND, json=body), send_times),
            ):
                asking.append(asyncio.create_task(one(request, times)))
                await asyncio.sleep(EVERY)
        await asyncio.gather(*asking)
        weighing.cancel()
    began = time.perf_counter()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=BACK_WITHIN)) as http:
        await _ask(http.get(base + STATUS, headers={"X-Api-Key": target.key}))
    seen.answers_after = max(seen.answers_after, time.perf_counter() - began)
    await asyncio.sleep(CALM)


async def calms_down(target: Target, seen: Seen) -> None:
    """Wait until the memory is back, but not for too long."""
    began = time.perf_counter()
    while (waited := time.perf_counter() - began) < BACK_WITHIN:
        if memory(target.pid) <= seen.before + BACK:
            seen.back_after = waited
            return
        await asyncio.sleep(CALM)


class Watchdog(asyncio.DatagramProtocol):
    """Stands for the service manager."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        """See ``asyncio.DatagramProtocol``."""
        del addr
        if b"WATCHDOG=1" in data:
            self.times.append(time.monotonic())

    def longest(self) -> float:
        """Seconds without a sign of life."""
        return max((b - a for a, b in itertools.pairwise(self.times)), default=0.0)


async def run(names: list[str], seconds: float, *, alone: bool) -> None:
    """The table."""
    print(f"load before: {os.getloadavg()[0]:.1f}; {seconds:g} s each; median (p99) in ms")
    program = (sys.executable, str(Path(__file__).with_name("simulated.py")), "daemon")
    nobody: Any = SimpleNamespace(url="http://127.0.0.1:9/", browser_args=[])
    watchdog = Watchdog()
    with tempfile.TemporaryDirectory(prefix="wg-abuse-") as name:
        folder = Path(name)
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.bind(str(folder / "notify"))
        heard.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: watchdog, sock=heard)
        async with (
            aiohttp.ClientSession() as http,
            Daemon(folder / "daemon", nobody, http, program) as daemon,
            part("--bare") as other,
        ):
            await daemon.start({"NOTIFY_SOCKET": str(folder / "notify")})
            await daemon.ready()
            for session in SESSIONS:
                (daemon.profile(session) / "Default").mkdir(
                    parents=True
                )  # which a real worker would make
                await daemon.call(
                    "POST", "/api/sessions", {"session_id": session, "workspace_id": 1}
                )
            await daemon.connected(SESSIONS)
            assert other.stdout
            theirs = Target(int(await other.stdout.readline()), KEY, other.pid)
            holder = read_pid_file(folder / "daemon/run")
            assert holder
            key = (folder / "daemon/state/api-key").read_text().split()[-1]
            ours = Target(int(holder.api.rpartition(":")[2]), key, daemon.pid)
            for attack_name in names:
                calm, floor, mine = Seen(), Seen(), Seen()
                watchdog.times.clear()
                for _ in range(max(1, int(seconds / TURN))):
                    await measure("calm", ours, TURN, calm)
                    if not alone and attack_name not in PAGES:
                        await measure(attack_name, theirs, TURN, floor)
                    await measure(attack_name, ours, TURN, mine)
                await calms_down(ours, mine)
                _print_comparison(attack_name, calm, floor, mine)
                _print_goals(mine, p99(mine.status) / p99(calm.status), watchdog.longest())
            fleet = await daemon.call("GET", "/api/incidents")
            reported = [
                (await daemon.call("GET", f"/api/sessions/{session}/incidents"))["incidents"]
                for session in SESSIONS
            ]
            health = await daemon.call("GET", "/health/detailed")
        log = (folder / "daemon/waguard.log").read_text()
    print(f"incidents: {len(fleet['incidents'])} of all, {sum(map(len, reported))} of sessions")
    # without browsers there are no profiles, which the reconciler misses rightly
    problems = [reported for reported in health["problems"] if "profile folder" not in reported]
    print(f"{health['sessions']['connected']} connected; other problems: {problems or 'none'}")
    print(f"log: {len(log) >> 10} kB, {log.count('Traceback')} tracebacks")


def _print_comparison(name: str, calm: Seen, floor: Seen, mine: Seen) -> None:
    print(f"{name}:")
    for who, seen in (("calm", calm), ("bare", floor), ("waguard", mine)):
        if not seen.status:
            continue
        print(
            f"  {who:<8} status {median(seen.status):7.1f} ({p99(seen.status):7.1f})"
            f"   send {median(seen.send):7.1f} ({p99(seen.send):7.1f})"
            f"   +{seen.grown:.0f} MB   answers {dict(seen.answers)}"
        )
    if not floor.status:
        return
    ratio = p99(mine.status) / p99(floor.status)
    print(f"  status, p99: {ratio:.2f} of the bare one, {_met(ratio <= GOAL_RATIO)}", end="")
    print(f"; memory: {_met(mine.grown <= GOAL_MEMORY)}", flush=True)


def _print_goals(mine: Seen, ratio: float, gap: float) -> None:
    back = f"{mine.back_after:.0f} s" if mine.back_after < BACK_WITHIN else "not"
    print(
        f"  against calm: {ratio:.2f}, {_met(ratio <= GOAL_RATIO)}"
        f"; watchdog: {gap:.1f} s, {_met(gap <= GOAL_GAP)}"
        f"; answers {mine.answers_after:.2f} s after, {_met(mine.answers_after <= ANSWERS_WITHIN)}"
        f"; memory back after {back}, {_met(mine.back_after <= BACK_WITHIN)}",
        flush=True,
    )


def _met(good: bool) -> str:  # noqa: FBT001 - what is told depends on nothing else
    return "met" if good else "MISSED"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--only", default=",".join(ATTACKS))
    parser.add_argument("--alone", action="store_true", help="without the bare server")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare or given.attack:
        resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    if given.bare:
        asyncio.run(bare())
    elif given.attack:
        asyncio.run(attack(given.attack, given.port))
    else:
        asyncio.run(run(given.only.split(","), min(given.seconds, 60.0), alone=given.alone))


if __name__ == "__main__":
    main()
