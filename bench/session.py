"""What a session costs, against the thinnest script that does the same: ``thin.py`` is the floor.

    python bench/session.py [--rounds N] [--only qr,restart,keep,send,sends,memory,second] [--json FILE]

Floor and waguard take turns in the same run, on the same stand-in of WhatsApp Web, Chromium and flags.
A goal that is missed is said and is no failure; anything else that goes wrong is.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp

from bench.keep import Bare, journal, message
from bench.rig import Daemon, StandIn, children, cpu, environment, gone, left_behind, pss, tree
from bench.thin import UNTIL_CODE, UNTIL_CONNECTED, Browser
from waguard.host.process.executable import Flavour

SESSIONS = 4
SENDS = 100  # at least
CHATS = 8
SENDS_OF_A_CHAT = 10
IDLE = 20.0  # s
CALM = 0.3  # s between two measurements: the end of one is no part of the next
BETWEEN = 0.003  # s from one message to the next that is only kept
PHONE = "62811900"
FRIEND = "6281180002"


@dataclass
class Figure:
    """One line of the table; ``limit`` is in its unit, for a ratio or for a difference."""

    name: str
    unit: str
    waguard: list[float]
    floor: list[float] = field(default_factory=list)
    goal: Literal["at most", "times", "more", "none"] = "none"
    limit: float = 0.0

    @property
    def value(self) -> float:
        """What the goal is about."""
        median = statistics.median(self.waguard)
        if not self.floor:
            return median
        floor = statistics.median(self.floor)
        return median - floor if self.goal == "more" else median / floor

    def cells(self) -> list[str]:
        """As the table shows it."""
        goals = {
            "at most": f"≤ {self.limit:g} {self.unit}",
            "times": f"≤ {self.limit:g} times",
            "more": f"≤ +{self.limit:g} {self.unit}",
            "none": "",
        }
        compared = ""
        if self.floor:
            compared = f"+{self.value:.2f} {self.unit}" if self.goal == "more" else ""
            compared = compared or f"{self.value:.2f} times"
        result = "" if self.goal == "none" else "yes" if self.value <= self.limit else "no"
        name = f"{self.name}, {self.unit}"
        return [
            name,
            goals[self.goal],
            _spread(self.floor),
            _spread(self.waguard),
            compared,
            result,
        ]


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    last = sorted(values)[max(0, round(0.95 * len(values)) - 1)]
    digits = 0 if statistics.median(values) >= 100 else 2
    return f"{statistics.median(values):.{digits}f} ({last:.{digits}f})"


class Bench:
    """Where everything happens: one stand-in, one folder."""

    def __init__(
        self, folder: Path, standin: StandIn, http: aiohttp.ClientSession, rounds: int
    ) -> None:
        self.folder, self.standin, self.http, self.rounds = folder, standin, http, rounds
        self._phones = 0

    def phones(self, count: int = SESSIONS) -> dict[str, str]:
        """New session ids, each with a phone of its own."""
        first = self._phones
        self._phones += count
        return {f"s{n}": f"{PHONE}{n:04}" for n in range(first, first + count)}

    def daemon(self, name: str) -> Daemon:
        """One in a folder of its own; not started."""
        return Daemon(self.folder / name, self.standin, self.http)

    @contextlib.asynccontextmanager
    async def browser(
        self,
        profile: Path,
        name: str = "t",
        flavour: Flavour = "chromium",
        *,
        hasty: bool = False,
    ) -> AsyncIterator[Callable[[], Awaitable[Browser]]]:
        """How to start the floor's browser; it is ended at the end."""
        temporary = self.folder / "thin" / name
        argv = await self.standin.argv(flavour, profile, temporary)
        started: list[Browser] = []

        async def start() -> Browser:
            browser = await Browser.start(argv, temporary)
            started.append(browser)
            await browser.load(self.standin.url, self.standin.wajs, hasty=hasty)
            return browser

        try:
            yield start
        finally:
            for browser in started:
                await browser.close()
            shutil.rmtree(temporary, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def browsers(
        self, profiles: list[Path], flavour: Flavour = "chromium"
    ) -> AsyncIterator[Callable[[], Awaitable[list[Browser]]]]:
        """How to start several at once and have all of them connected."""
        async with contextlib.AsyncExitStack() as stack:
            starts = [
                await stack.enter_async_context(self.browser(profile, f"t{n}", flavour))
                for n, profile in enumerate(profiles)
            ]

            async def one(start: Callable[[], Awaitable[Browser]]) -> Browser:
                browser = await start()
                await browser.until(UNTIL_CONNECTED)
                return browser

            async def start() -> list[Browser]:
                return list(await asyncio.gather(*map(one, starts)))

            yield start

    # ---- 1: create → QR ----

    async def qr(self) -> list[Figure]:
        """A new session's code: from the decision to have a session to the code in hand."""
        ours = Figure("create → QR", "s", [], goal="times", limit=1.25)
        hasty = Figure("the same, floor asks before wa-js is ready", "s", ours.waguard)
        async with self.daemon("qr") as daemon:
            await daemon.start()
            await daemon.ready()
            for number in range(-1, self.rounds):
                floor = await self._qr_bare(f"q{number}", hasty=False)
                early = await self._qr_bare(f"e{number}", hasty=True)
                began = time.perf_counter()
                await daemon.qr(f"q{number}")
                waguard = time.perf_counter() - began
                await daemon.call("DELETE", f"/api/sessions/q{number}")
                await asyncio.sleep(CALM)
                if number >= 0:  # the first one warms the disk's cache
                    ours.floor.append(floor)
                    hasty.floor.append(early)
                    ours.waguard.append(waguard)
        return [ours, hasty]

    async def _qr_bare(self, name: str, *, hasty: bool) -> float:
        async with self.browser(self.folder / name, hasty=hasty) as start:
            began = time.perf_counter()
            await (await start()).until(UNTIL_CODE)
            taken = time.perf_counter() - began
        await asyncio.sleep(CALM)
        return taken

    # ---- 2: restart ----

    async def restart(self) -> list[Figure]:
        """All sessions up after a start of the daemon, from the first instruction of its Python."""
        name = f"restart → {SESSIONS} connected"
        floor: list[float] = []
        figures = {
            concurrency: Figure(
                f"{name}, restore.concurrency {concurrency}", "s", [], floor, "times", 1.3
            )
            for concurrency in (2, SESSIONS)
        }
        phones = self.phones()
        async with self.daemon("restart") as daemon:
            await daemon.start()
            await daemon.ready()
            await daemon.pair(phones)
            await daemon.stop()
            profiles = [daemon.profile(session) for session in phones]
            for number in range(-1, self.rounds):
                taken = await self._restart_bare(profiles)
                if number >= 0:
                    floor.append(taken)
                for concurrency, figure in figures.items():
                    began = time.perf_counter()
                    await daemon.start({"WAGUARD_RESTORE__CONCURRENCY": str(concurrency)})
                    await daemon.connected(phones)
                    taken = time.perf_counter() - began
                    await daemon.stop()
                    await asyncio.sleep(CALM)
                    if number >= 0:
                        figure.waguard.append(taken)
        return list(figures.values())

    async def _restart_bare(self, profiles: list[Path]) -> float:
        async with self.browsers(profiles) as start:
            began = time.perf_counter()
            await start()
            taken = time.perf_counter() - began
        await asyncio.sleep(CALM)
        return taken

    # ---- 3: send ----

    async def keep(self) -> list[Figure]:
        """A message of the API is kept, as the daemon does it; the floor is one INSERT and COMMIT."""
        ours = Figure("keep a message", "ms", [], goal="times", limit=2.0)
        folder = self.folder / "keep"
        folder.mkdir()
        async with Bare.opened(folder / "bare.db") as bare, journal(folder) as daemons:
            for number in range(-10, max(SENDS, 10 * self.rounds)):
                await asyncio.sleep(BETWEEN)
                floor = bare.commit()
                draft = message()
                began = time.perf_counter()
                await daemons.keep(draft)
                taken = (time.perf_counter() - began) * 1000
                if number >= 0:
                    ours.floor.append(floor)
                    ours.waguard.append(taken)
        return [ours]

    async def send(self) -> list[Figure]:
        """One text, kept on the disk, until the server has acknowledged it; the stand-in answers at once."""
        ours = Figure("send", "ms", [], goal="more", limit=8.0)
        above = Figure("send above the wa-js call, floor: a bare commit", "ms", [])
        above.goal, above.limit = "times", 2.0
        (name, phone), (_, other), *_ = self.phones().items()
        async with (
            self.daemon("send") as daemon,
            self.browser(self.folder / "send-thin") as start,
            Bare.opened(self.folder / "bare.db") as bare,
        ):
            await daemon.start()
            await daemon.ready()
            await daemon.pair({name: phone})
            browser = await start()
            await self.standin.scan(self.http, await browser.until(UNTIL_CODE), other)
            await browser.until(UNTIL_CONNECTED)
            await asyncio.sleep(2.0)  # what follows a pairing
            for number in range(-10, max(SENDS, 10 * self.rounds)):
                message = f"true_{FRIEND}@c.us_3EB0{os.urandom(9).hex().upper()}"
                began = time.perf_counter()
                await browser.send(f"{FRIEND}@c.us", f"message {number}", message)
                between = time.perf_counter()
                await daemon.send(name, FRIEND, f"message {number}")
                ended = time.perf_counter()
                commit = bare.commit()
                if number >= 0:
                    ours.floor.append((between - began) * 1000)
                    ours.waguard.append((ended - between) * 1000)
                    above.floor.append(commit)
                    above.waguard.append((ended - between - (between - began)) * 1000)
        return [ours, above]

    async def sends(self) -> list[Figure]:
        """As many as go through, each kept on the disk and acknowledged: eight chats at a time."""
        return [await self._sends(1), await self._sends(SESSIONS)]

    async def _sends(self, count: int) -> Figure:
        ours = Figure(f"a send of {count} session(s), {CHATS} chats at a time each", "ms", [])
        mine, theirs = self.phones(count), self.phones(count)
        async with (
            self.daemon(f"sends-{count}") as daemon,
            contextlib.AsyncExitStack() as stack,
        ):
            await daemon.start()
            await daemon.ready()
            await daemon.pair(mine)
            browsers = []
            for name, phone in theirs.items():
                profile = self.folder / f"sends-thin-{count}-{name}"
                start = await stack.enter_async_context(self.browser(profile, f"x{name}"))
                browsers.append(await start())
                code = await browsers[-1].until(UNTIL_CODE)
                await self.standin.scan(self.http, code, phone)
                await browsers[-1].until(UNTIL_CONNECTED)
            await asyncio.sleep(2.0)  # what follows a pairing

            async def bare(place: int, chat: str, text: str) -> None:
                message = f"true_{chat}@c.us_3EB0{os.urandom(9).hex().upper()}"
                await browsers[place].send(f"{chat}@c.us", text, message)

            async def kept(place: int, chat: str, text: str) -> None:
                await daemon.send([*mine][place], chat, text)

            for number in range(-1, self.rounds):
                floor = await _per_send(bare, count)
                taken = await _per_send(kept, count)
                if number >= 0:
                    ours.floor.append(floor)
                    ours.waguard.append(taken)
        return ours

    # ---- 4: memory, and CPU at rest ----

    async def memory(self) -> list[Figure]:
        """With sessions at rest, after a restart: what a daemon that runs for weeks looks like."""
        return [*await self._memory("chromium"), *await self._memory("headless-shell")]

    async def _memory(self, flavour: Flavour) -> list[Figure]:
        phones = self.phones()
        ours = {
            "daemon": Figure(f"daemon, {flavour}", "MB PSS", [], goal="at most", limit=60.0),
            "worker": Figure(f"each worker, {flavour}", "MB PSS", [], goal="at most", limit=25.0),
            "browser": Figure(f"each browser, {flavour}", "MB PSS", []),
            "other": Figure(f"fork server, {flavour}", "MB PSS", []),
        }
        python_cpu = Figure(f"daemon and all its Python at rest, {flavour}", "% of a core", [])
        browser_cpu = Figure(f"{SESSIONS} browsers at rest, {flavour}", "% of a core", [])
        async with self.daemon(f"memory-{flavour}") as daemon:
            daemon.settings["WAGUARD_BROWSER__FLAVOUR"] = flavour
            await daemon.start()
            await daemon.ready()
            await daemon.pair(phones)
            await daemon.stop()
            await daemon.start()
            await daemon.connected(phones)
            await daemon.ready()
            workers, browsers = await daemon.pids(phones)
            chromium = [pid for browser in browsers for pid in tree(browser)]
            other = sorted({*children(daemon.pid)} - {*workers, *chromium})
            python_cpu.waguard, browser_cpu.waguard = await self._at_rest(
                {
                    (ours["daemon"].waguard.append, 1): [daemon.pid],
                    (ours["worker"].waguard.append, SESSIONS): workers,
                    (ours["browser"].waguard.append, SESSIONS): chromium,
                    (ours["other"].waguard.append, 1): other,
                },
                [daemon.pid, *workers, *other],
                chromium,
            )
        async with self.browsers([daemon.profile(session) for session in phones], flavour) as start:
            chromium = [pid for browser in await start() for pid in tree(browser.pid)]
            (browser_cpu.floor,) = await self._at_rest(
                {(ours["browser"].floor.append, SESSIONS): chromium}, chromium
            )
        return [*ours.values(), python_cpu, browser_cpu]

    async def _at_rest(
        self, memory: Mapping[tuple[Callable[[float], None], int], list[int]], *busy: list[int]
    ) -> list[list[float]]:
        """Note the memory of groups of processes several times, each by so many; the CPU of others."""
        await asyncio.sleep(IDLE / 4)
        began = [cpu(pids) for pids in busy]
        for _ in range(self.rounds):
            await asyncio.sleep(IDLE / self.rounds)
            for (note, count), pids in memory.items():
                note(pss(pids) / count)
        used = [cpu(pids) - before for pids, before in zip(busy, began, strict=True)]
        return [[100 * seconds / IDLE] for seconds in used]

    # ---- 5: a second instance ----

    async def second(self) -> list[Figure]:
        """How long it takes to be refused; the floor is a Python that does nothing."""
        refused = Figure("a second instance is refused (exit 3)", "ms", [])
        async with self.daemon("second") as daemon:
            await daemon.start()
            await daemon.ready()
            for number in range(-1, max(10, self.rounds)):
                began = time.perf_counter()
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", "pass"), env=environment()
                )
                await process.wait()
                between = time.perf_counter()
                process = await daemon.spawn()
                code = await process.wait()
                ended = time.perf_counter()
                if code != 3:
                    raise RuntimeError(f"a second instance ended with {code}")
                if number >= 0:
                    refused.floor.append((between - began) * 1000)
                    refused.waguard.append((ended - between) * 1000)
        return [refused]


ABOUT = __doc__.partition("\n")[0]
PARTS = ("qr", "restart", "keep", "send", "sends", "memory", "second")


def _print(figures: list[Figure]) -> None:
    head = ["median (p95)", "goal", "floor", "waguard", "compared", "met"]
    rows = [head, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("| " + " | ".join(cells) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


async def _measure(make: type[Bench], parts: list[str], rounds: int, folder: Path) -> list[Figure]:
    figures: list[Figure] = []
    async with StandIn.run() as standin, aiohttp.ClientSession() as http:
        bench = make(folder, standin, http, rounds)
        for part in parts:
            sys.stderr.write(f"{part} … (load {os.getloadavg()[0]:.1f})\n")
            figures += await getattr(bench, part)()
    return figures


async def _main(make: type[Bench], parts: list[str], rounds: int, out: Path | None) -> int:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    folder = Path(tempfile.mkdtemp(prefix="wg-b-", dir="/tmp"))
    began = os.getloadavg()[0]
    try:
        figures = await _measure(make, parts, rounds, folder)
    finally:
        left = await gone(folder, within=5.0)
        for pid in left_behind(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    _print(figures)
    loads = f"load average {began:.1f} at the start, {os.getloadavg()[0]:.1f} at the end"
    print(f"\n{rounds} rounds, {os.cpu_count()} cores, {loads}")
    if out:
        out.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    if left:
        sys.stderr.write(f"processes left behind, now killed: {left}\n")
        return 1
    return 0


async def _per_send(send: Callable[[int, str, str], Awaitable[None]], sessions: int) -> float:
    """Milliseconds from one acknowledged send to the next, of all sessions together."""

    async def to_chat(place: int, chat: int) -> None:
        for number in range(SENDS_OF_A_CHAT):
            await send(place, str(int(FRIEND) + chat), f"message {number} at {time.monotonic_ns()}")

    began = time.perf_counter()
    await asyncio.gather(
        *(to_chat(place, chat) for place in range(sessions) for chat in range(CHATS))
    )
    return (time.perf_counter() - began) * 1000 / (sessions * CHATS * SENDS_OF_A_CHAT)


def main(
    make: type[Bench] = Bench,
    usual: Sequence[str] = PARTS,
    on_demand: Sequence[str] = (),
    about: str = ABOUT,
) -> int:
    """The exit code. ``usual`` and ``on_demand``: methods of ``make``, each a part of the table."""
    available = (*usual, *on_demand)
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=10, help="(%(default)s)")
    parser.add_argument(
        "--only", default=",".join(usual), help=f"some of {','.join(available)} (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write all figures here")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := [part for part in parts if part not in available]:
        parser.error(f"no such part: {', '.join(unknown)}")
    if arguments.rounds < 1:
        parser.error("at least one round")
    try:
        return asyncio.run(_main(make, parts, arguments.rounds, arguments.json))
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(main())
