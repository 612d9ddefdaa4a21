"""What it costs to serve WhatsApp's document from the store instead of from the network.

    python -m bench.documents [--rounds N] [--memory N]

Each round loads a page twice in one browser, once so and once so, the next round in the other order. The
stand-in is a process of its own, on loopback; its document is as large as WhatsApp's (575 KB, 80 KB as xz),
so the network's side costs the least that it can. ``core`` is the time of a core of this process and the
browser, which says more than the clock on a busy machine. ``--memory``: fresh processes, in turns, of which each
loads its page five times; PSS of the process as a worker has it, and of its browser.
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Literal

from aiohttp import web

from bench.rig import cpu, environment, pss, tree
from waguard.host.memory.documents import Documents
from waguard.lab import standin
from waguard.lab.standin.versions import REVISION
from waguard.wire.worker import StoredDocument
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, find_executable, launch
from waguard.worker.browser.devtools import PageSession
from waguard.worker.page import wajs
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.page_loader import PageLoader
from waguard.worker.timings import TIMINGS

SIZE = 575_000  # bytes
WARM_UP = 2  # rounds that do not count
LOADS = 5
DEADLINE = 60.0  # s
By = Literal["network", "store"]


def padding() -> str:
    """A comment that xz makes a seventh of, as of WhatsApp's document."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnop", k=9)) for _ in range(20_000)]
    text = " ".join(chance.choices(words, k=12_000))
    return f"<!-- {(text * 6)[:SIZE]} -->"


class Large(standin.StandIn):
    """Its document is as large as the real one."""

    _padding = padding().encode()

    async def _document(self, request: web.Request) -> web.Response:
        response = await super()._document(request)
        assert isinstance(response.body, bytes)
        response.body = response.body.replace(b"<main", self._padding + b"<main", 1)
        return response


async def serve() -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Large() as made:
        print(made.config, flush=True)
        await stop.wait()


class Loads:
    """One browser, and a page in it."""

    def __init__(self, url: str, arguments: tuple[str, ...], folder: Path) -> None:
        self._url, self._folder = url, folder
        self._arguments = arguments
        self._bundle = wajs.bundle(None)
        self._store = Documents(folder / "versions")
        self.chromium: Chromium
        self._last: PageSession | None = None

    async def open(self) -> None:
        self.chromium = await launch(
            ChromiumSpec(
                executable=find_executable(None, "chromium"),
                flavour="chromium",
                profile=self._folder / "profile",
                tmpdir=self._folder / "t",
                extra_args=self._arguments,
                sandbox=os.geteuid() != 0,
            ),
            timeout=DEADLINE,
        )

    async def load(self, by: By, *, times: int = 1) -> float:
        """In a new page: s from the navigation to ready, of the last time."""
        stored = StoredDocument(revision=REVISION, path=str(self._store.path(REVISION)))
        document = PageDocument(
            self._url,
            serve=stored if by == "store" else None,
            folder=str(self._folder / "versions"),
        )
        devtools = self.chromium.devtools
        await devtools.open_blank(timeout=DEADLINE)
        session = await devtools.open_page(DEADLINE)
        page = WhatsAppPage(session, report=lambda *_: None)
        loader = PageLoader(
            session,
            url=self._url,
            bundle=self._bundle,
            report=lambda *_: None,
            document=document,
            timings=TIMINGS.load,
        )
        began = time.perf_counter()
        await page.listen()
        await loader.open()
        for _ in range(times - 1):
            began = time.perf_counter()
            await loader.load()
        taken = time.perf_counter() - began
        while by == "network" and not (document.version and document.version.kept):
            await asyncio.sleep(0.01)
        assert document.version, "it is ready"
        assert document.version.served_by == by, document.version
        loader.close()
        self._last = session
        return taken

    async def drop(self) -> None:
        """Close the last page, and wait until its process has ended: what it used is not counted then."""
        if self._last:
            await self.chromium.devtools.close_page(self._last)
            await asyncio.sleep(0.5)


async def compare(url: str, arguments: tuple[str, ...], folder: Path, rounds: int) -> None:
    loads = Loads(url, arguments, folder)
    await loads.open()
    taken: dict[By, list[float]] = {"network": [], "store": []}
    core: dict[By, float] = {"network": 0.0, "store": 0.0}
    order: list[By] = ["network", "store"]
    for number in range(rounds + WARM_UP):
        for by in order:
            await loads.drop()
            before = cpu([os.getpid(), *tree(loads.chromium.pid)])
            seconds = await loads.load(by)
            used = cpu([os.getpid(), *tree(loads.chromium.pid)]) - before
            if number >= WARM_UP:
                taken[by].append(seconds * 1000)
                core[by] += used * 1000 / rounds
        order.reverse()
    await loads.chromium.close()
    pairs = list(zip(taken["network"], taken["store"], strict=True))
    more = [store - network for network, store in pairs]
    for by, values in taken.items():
        print(f"{by}: {_spread(values)} ms to ready, {core[by]:.0f} ms of a core")
    ratio = statistics.median(store / network for network, store in pairs)
    print(
        f"store against network: {_spread(more)} ms more, {ratio:.3f} x (medians of {len(more)} rounds)"
    )


def _spread(values: list[float]) -> str:
    low, *_, high = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.1f} ({low:.1f} to {high:.1f})"


async def weigh(by: By, url: str, arguments: tuple[str, ...], folder: Path) -> None:
    """One process as a worker is one."""
    loads = Loads(url, arguments, folder)
    await loads.open()
    await loads.load(by, times=LOADS)
    await asyncio.sleep(1.0)  # what is left to be freed
    print(f"{pss([os.getpid()]):.2f} {pss(tree(loads.chromium.pid)):.1f}", flush=True)
    await loads.chromium.close()


async def memory(config: str, folder: Path, rounds: int) -> None:
    found: dict[By, list[tuple[float, float]]] = {"network": [], "store": []}
    for number in range(rounds):
        for by, pairs in found.items():
            own = folder / f"{by}{number}"
            (own / "versions").mkdir(parents=True)
            stored = Documents(folder / "versions").path(REVISION)
            (own / "versions" / stored.name).write_bytes(stored.read_bytes())
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.documents", "--weigh", by, str(own), config),
                stdout=asyncio.subprocess.PIPE,
                env=environment(),
            )
            said, _ = await child.communicate()
            process, browser = map(float, said.split()[-2:])
            pairs.append((process, browser))
    for by, pairs in found.items():
        processes, browsers = zip(*pairs, strict=True)
        median = statistics.median(processes), statistics.median(browsers)
        print(f"{by}: process {median[0]:.2f} MB PSS, browser {median[1]:.1f} MB PSS")


def _addresses(config: str) -> tuple[str, tuple[str, ...]]:
    reported = tomllib.loads(config)
    return reported["whatsapp"]["url"], tuple(reported["browser"]["extra_args"])


async def measure(rounds: int, weighed: int) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.documents", "--serve"),
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        assert child.stdout
        config = b"".join([await child.stdout.readline() for _ in range(2)]).decode()
        with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            await compare(*_addresses(config), folder, rounds)
            stored = Documents(folder / "versions")
            print(
                f"stored: {len(stored.load(REVISION).body) >> 10} KB,"
                f" {stored.path(REVISION).stat().st_size >> 10} KB as xz; load {os.getloadavg()[0]:.1f}"
            )
            if weighed:
                await memory(config, folder, weighed)
    finally:
        child.terminate()
        await child.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--memory", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--weigh", nargs=3, help=argparse.SUPPRESS)
    reported = parser.parse_args()
    if reported.serve:
        asyncio.run(serve())
    elif reported.weigh:
        by, folder, config = reported.weigh
        asyncio.run(weigh(by, *_addresses(config), Path(folder)))
    else:
        asyncio.run(measure(reported.rounds, reported.memory))


if __name__ == "__main__":
    main()
