"""How soon it is noticed that something died or stands still, and how soon all is well again.

    python -m bench.heal [--rounds N] [--only fork,stopped,detect,many,heal,eight,soak] [--json FILE]

As ``bench/session.py``: floor and waguard take turns in the same run.
"""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bench.rig import Daemon, children, cpu, environment
from bench.session import CALM, Bench, Figure, main
from bench.spawn import spec_in
from bench.thin import UNTIL_CONNECTED, Browser
from waguard.host.process import strays
from waguard.host.process.children import PidfdProcess
from waguard.host.process.fork_server import ForkSpawn
from waguard.host.process.procfs import command_line
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, find_executable, launch

FLEETS = (10, 100)
MORE = 10  # what takes some milliseconds is done so many times in each round
SESSIONS = 8
MANY = 300
IDLE = 20.0  # s
LAUNCH = 60.0  # s
# a worker that has done its imports and only listens
SIMULATED = """
import os, signal, socket, sys
from waguard.worker import fork_server
def job(spec):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(spec.socket)
    listening.listen()
    os.write(1, b"listening\\n")
    signal.pause()
    return 0
sys.exit(fork_server.main(job))
"""
# so that each round begins at once, and none is the last
UNLIMITED = {
    "WAGUARD_RESTART__INTENSITY": "1000",
    "WAGUARD_RESTART__BASE_DELAY": "0.001",
    "WAGUARD_RESTART__MAX_DELAY": "0.001",
}


class Heal(Bench):
    """The parts of the table."""

    # ---- a: a worker's process is replaced ----

    async def fork(self) -> list[Figure]:
        """From the fork to the first line; the floor is a trivial program in C."""
        figures = []
        for fleet in FLEETS:
            name = f"a killed worker of {fleet}: fork → its first line"
            ours = Figure(name, "ms", [], [])
            search = Figure(f"the search for orphans before it, {fleet} workers", "ms", [])
            async with self._simulated() as spawn:
                workers = [await spawn(number) for number in range(fleet)]
                for number in range(fleet, fleet + MORE * self.rounds):
                    killed = workers.pop(0)
                    killed.kill()
                    await killed.wait()
                    began = time.perf_counter()
                    workers.append(await spawn(number))
                    spawned = time.perf_counter()
                    await asyncio.to_thread(strays.scan)
                    checked = time.perf_counter()
                    ours.waguard.append((spawned - began) * 1000)
                    search.waguard.append((checked - spawned) * 1000)
                    ours.floor.append(await self._trivial() * 1000)
            last = sorted(ours.waguard)[round(0.95 * len(ours.waguard)) - 1]
            median = statistics.median(ours.waguard)
            figures += [
                ours,
                Figure(f"{name}, median", "ms", [median], goal="at most", limit=5.0),
                Figure(f"{name}, p95", "ms", [last], goal="at most", limit=10.0),
                search,
            ]
        return figures

    @contextlib.asynccontextmanager
    async def _simulated(self) -> AsyncIterator[Callable[[int], "asyncio.Future[PidfdProcess]"]]:
        folder = self.folder / "fork"
        folder.mkdir(exist_ok=True)
        script = folder / "server.py"
        script.write_text(SIMULATED)
        forking = ForkSpawn((str(script),))
        forking.start()
        started: list[PidfdProcess] = []

        async def spawn(number: int) -> PidfdProcess:
            spec = spec_in(folder, number)
            Path(spec.socket).unlink(missing_ok=True)
            process = await forking.spawn(spec)
            await process.listening()
            started.append(process)
            return process

        try:
            yield lambda number: asyncio.ensure_future(spawn(number))
        finally:
            for process in started:
                process.kill()
                await process.wait()
            await forking.close()

    async def _trivial(self) -> float:
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        said = asyncio.Event()
        loop.add_reader(read, said.set)
        began = time.perf_counter()
        pid = os.posix_spawn(
            "/bin/echo", ["echo"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)]
        )
        await said.wait()
        taken = time.perf_counter() - began
        loop.remove_reader(read)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)
        return taken

    # ---- b: what dies is noticed ----

    async def detect(self) -> list[Figure]:
        """From SIGKILL to the fact, against the bare pipe."""
        browser = Figure("a killed browser is noticed", "ms", [], goal="times", limit=1.3)
        renderer = Figure("a killed renderer is noticed", "ms", [], goal="times", limit=1.3)
        for number in range(-1, self.rounds):
            floor = [await self._bare(dies) for dies in ("renderer", "browser")]
            ours = [await self._driven(dies) for dies in ("renderer", "browser")]
            if number >= 0:
                renderer.floor.append(floor[0] * 1000)
                browser.floor.append(floor[1] * 1000)
                renderer.waguard.append(ours[0] * 1000)
                browser.waguard.append(ours[1] * 1000)
        return [browser, renderer]

    async def _bare(self, dies: str) -> float:
        async with self._thin(self.folder / "detect-thin", "d") as start:
            browser = await start()
            await browser.watch()
            await asyncio.sleep(CALM)
            victim = browser.pid if dies == "browser" else _renderer(browser.pid)
            fact = browser.closed if dies == "browser" else browser.crashed
            return await _until(fact, victim, signal.SIGKILL)

    @contextlib.asynccontextmanager
    async def _thin(
        self, profile: Path, name: str
    ) -> AsyncIterator[Callable[[], "asyncio.Future[Browser]"]]:
        temporary = self.folder / "thin" / name
        argv = await self.standin.argv("chromium", profile, temporary)
        started: list[Browser] = []

        async def start() -> Browser:
            started.append(await Browser.start(argv, temporary))
            return started[-1]

        try:
            yield lambda: asyncio.ensure_future(start())
        finally:
            for browser in started:
                await browser.close()

    async def _driven(self, dies: str) -> float:
        chromium = await self._launched()
        try:
            page = await chromium.devtools.open_page(LAUNCH)
            await asyncio.sleep(CALM)
            victim = chromium.pid if dies == "browser" else _renderer(chromium.pid)
            fact = chromium.devtools.closed if dies == "browser" else page.crashed
            return await _until(fact, victim, signal.SIGKILL)
        finally:
            await chromium.close()

    async def _launched(self) -> Chromium:
        spec = ChromiumSpec(
            executable=find_executable(None, "chromium"),
            flavour="chromium",
            profile=self.folder / "detect",
            tmpdir=self.folder / "d",
            extra_args=tuple(self.standin.browser_args),
            sandbox=os.getuid() != 0,
        )
        return await launch(spec, timeout=LAUNCH)

    # ---- c: what stands still is noticed ----

    async def stopped(self) -> list[Figure]:
        """From SIGSTOP to the fact; the floor is a parent that does nothing but wait for it."""
        worker = Figure("a stopped worker is noticed", "ms", [], goal="at most", limit=5.0)
        browser = Figure("a stopped Chromium is noticed", "ms", [], goal="at most", limit=5.0)
        plain = Figure("the bare waitid of a stopped child", "ms", [])
        async with self._simulated() as spawn:
            process = await spawn(0)
            for _ in range(MORE * self.rounds):
                fact = process._standstill.begun  # noqa: SLF001
                worker.waguard.append(await _until(fact, process.pid, signal.SIGSTOP) * 1000)
                os.kill(process.pid, signal.SIGCONT)
                await _while(fact)
                plain.waguard.append(_waited() * 1000)
        chromium = await self._launched()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, chromium.check_stopped)
        try:
            fact = chromium._process.standstill.begun  # noqa: SLF001
            for _ in range(MORE * self.rounds):
                browser.waguard.append(await _until(fact, chromium.pid, signal.SIGSTOP) * 1000)
                os.kill(chromium.pid, signal.SIGCONT)
                await _while(fact)
        finally:
            loop.remove_signal_handler(signal.SIGCHLD)
            await chromium.close()
        return [worker, browser, plain]

    # ---- three hundred, without a browser ----

    async def many(self) -> list[Figure]:
        """What the daemon itself costs with many workers, and how soon it notices that one died."""
        idle = Figure(
            f"daemon at rest, {MANY} simulated workers", "% of a core", [], [], "at most", 3.0
        )
        seen = Figure(f"one of {MANY} is killed → reported", "ms", [], [], "at most", 20.0)
        sessions = {f"s{n}": "" for n in range(MANY)}
        program = (sys.executable, str(Path(__file__).with_name("simulated.py")), "daemon")
        async with Daemon(self.folder / "many", self.standin, self.http, program) as daemon:
            await daemon.start(UNLIMITED)
            await daemon.ready()
            for session in sessions:
                body = {"session_id": session, "workspace_id": 1}
                await daemon.call("POST", "/api/sessions", body)
            await daemon.connected(sessions)
            await asyncio.sleep(2 * IDLE)  # what came up has been written and measured
            before = cpu([daemon.pid])
            await asyncio.sleep(IDLE)
            idle.waguard.append(100 * (cpu([daemon.pid]) - before) / IDLE)
            pids, _ = await daemon.pids(sessions)
            for pid in pids[: MORE * self.rounds]:
                seen.waguard.append(await _noticed(daemon, pid) * 1000)
                await asyncio.sleep(CALM)
        return [idle, seen]

    # ---- d: connected again ----

    async def heal(self) -> list[Figure]:
        """From the kill of the browser; the floor is a bare Chromium on such a profile."""
        ours = Figure("kill of the browser → connected again", "s", [], goal="times", limit=1.25)
        theirs, mine = ({name: phone} for name, phone in self.phones(2).items())
        async with self.daemon("heal-thin") as other:
            await other.start()
            await other.ready()
            await other.pair(theirs)
        profile = other.profile(*theirs)
        async with self.daemon("heal") as daemon:
            await daemon.start(UNLIMITED)
            await daemon.ready()
            await daemon.pair(mine)
            for number in range(-1, self.rounds):
                floor = await self._healed_bare(profile)
                _, (pid,) = await daemon.pids(mine)
                taken = await _healed(daemon, pid)
                await asyncio.sleep(CALM)
                if number >= 0:
                    ours.floor.append(floor)
                    ours.waguard.append(taken)
        return [ours]

    async def _healed_bare(self, profile: Path) -> float:
        async with self.browser(profile, "h") as start:
            began = time.perf_counter()
            browser = await start()
            await browser.until(UNTIL_CONNECTED)
            taken = time.perf_counter() - began
            os.killpg(browser.pid, signal.SIGKILL)
            await browser.closed.wait()
        await asyncio.sleep(CALM)
        return taken

    # ---- nothing is noticed that is not so ----

    async def soak(self) -> list[Figure]:
        """Eight sessions while the cores are fully taken, a minute each round: nobody is replaced."""
        figures = {
            words: Figure(f"{name} in {self.rounds} min", "times", [], [], "at most", 0.0)
            for words, name in (
                ("session unhealthy", "sessions replaced"),
                ("its script is terminated", "scripts ended"),
                ("event=page_silent", "silent pages reported"),
            )
        }
        phones = self.phones(SESSIONS)
        async with self.daemon("soak") as daemon, contextlib.AsyncExitStack() as load:
            await daemon.start()
            await daemon.ready()
            await daemon.pair(phones)
            before = await daemon.pids(phones)
            log = daemon.folder / "waguard.log"
            reported = log.stat().st_size
            for _ in range(2 * (os.cpu_count() or 1)):
                busy = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", "while True: pass"
                )
                load.callback(busy.kill)
            await asyncio.sleep(60 * self.rounds)
            if before != await daemon.pids(phones):
                raise RuntimeError("false alarm: other processes than before")
            since = log.read_bytes()[reported:].decode(errors="replace")
            for words, figure in figures.items():
                figure.waguard.append(since.count(words))
        return list(figures.values())

    # ---- e, f, g: the daemon and eight sessions ----

    async def eight(self) -> list[Figure]:
        """Killed and started again, at rest, and stopped in order."""
        adopted = Figure(f"start after kill -9 → {SESSIONS} adopted", "s", [], [], "at most", 1.0)
        stopped = Figure(f"orderly stop of {SESSIONS} sessions", "s", [], [], "at most", 2.0)
        idle = Figure(f"daemon at rest, {SESSIONS} sessions", "% of a core", [], [], "at most", 0.5)
        phones = self.phones(SESSIONS)
        async with self.daemon("eight") as daemon:
            await daemon.start()
            await daemon.ready()
            await daemon.pair(phones)
            await asyncio.sleep(IDLE / 4)
            before = cpu([daemon.pid])
            await asyncio.sleep(IDLE)
            idle.waguard.append(100 * (cpu([daemon.pid]) - before) / IDLE)
            for _ in range(min(self.rounds, 5)):
                known = await daemon.pids(phones)
                await daemon.kill()
                began = time.perf_counter()
                await daemon.start()
                await daemon.adopted(phones)
                adopted.waguard.append(time.perf_counter() - began)
                if known != await daemon.pids(phones):
                    raise RuntimeError("they were not adopted")
            for _ in range(min(self.rounds, 3)):
                began = time.perf_counter()
                await daemon.stop()
                stopped.waguard.append(time.perf_counter() - began)
                await daemon.start()
                await daemon.connected(phones)
                await asyncio.sleep(1.0)
        return [adopted, stopped, idle]


async def _until(fact: asyncio.Event, pid: int, number: signal.Signals) -> float:
    began = time.perf_counter()
    os.kill(pid, number)
    await fact.wait()
    return time.perf_counter() - began


async def _while(fact: asyncio.Event) -> None:
    while fact.is_set():
        await asyncio.sleep(0.001)


def _waited() -> float:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        began = time.perf_counter()
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        taken = time.perf_counter() - began
        child.kill()
    return taken


def _renderer(browser: int) -> int:
    below = [browser]
    for pid in below:
        below += children(pid)
    return next(pid for pid in below if "--type=renderer" in " ".join(command_line(pid)))


async def _noticed(daemon: Daemon, worker: int) -> float:
    """From the kill until the event stream says that the session is not connected."""
    async with daemon.request("GET", "/api/events") as stream:
        await stream.content.readline()  # it is open
        began = time.perf_counter()
        os.kill(worker, signal.SIGKILL)
        while line := (await stream.content.readline()).decode():
            if line.startswith("data: ") and json.loads(line[6:])["event"] == "link":
                return time.perf_counter() - began
    raise RuntimeError("the event stream ended")


async def _healed(daemon: Daemon, browser: int) -> float:
    async with daemon.request("GET", "/api/events") as stream:
        await stream.content.readline()  # it is open
        began = time.perf_counter()
        os.kill(browser, signal.SIGKILL)
        lost = False
        while line := (await stream.content.readline()).decode():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if event["event"] == "link":
                    lost = lost or event["data"]["to"] != "connected"
                    if lost and event["data"]["to"] == "connected":
                        return time.perf_counter() - began
    raise RuntimeError("the event stream ended")


PARTS = ("fork", "stopped", "detect", "many", "heal", "eight")

if __name__ == "__main__":
    kept = environment()
    os.environ.clear()
    os.environ.update(kept)
    sys.exit(main(Heal, PARTS, ("soak",), __doc__.partition("\n")[0]))
