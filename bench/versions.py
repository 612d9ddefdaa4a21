"""Sends per second of this waguard and of another version, in turn, on one stand-in.

    python -m bench.versions OTHER [--rounds N] [--sessions 1,4]

OTHER is a checkout that ``make setup`` was run in. Both daemons live the whole time, each with its own
browsers; the sends of one round are made by the one and then by the other, the next round begins with
the other. So what else the machine does hits both alike, and the ratio of a round is worth more than
its rates. ``time`` of a core is what daemon, workers and browsers used of it for one send.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
from pathlib import Path

import aiohttp

from bench.rig import WAGUARD, Daemon, StandIn, cpu, in_a_folder, tree
from bench.session import _per_send as per_send

QUIET = 3.0  # s after a pairing
WARM_UP = 2  # rounds that do not count: chats begin, numbers are asked for, code is compiled
_SANDBOX = "sandbox: bool"  # the setting


class Side:
    """One version's daemon with its sessions."""

    def __init__(self, daemon: Daemon, sessions: dict[str, str]) -> None:
        self._daemon, self._sessions = daemon, sessions
        self.rates: list[float] = []
        self.core: list[float] = []

    @classmethod
    async def start(cls, daemon: Daemon, sessions: dict[str, str]) -> "Side":
        """With all sessions connected."""
        await daemon.start()
        await daemon.ready()
        await daemon.pair(sessions)
        return cls(daemon, sessions)

    async def round(self) -> tuple[float, float]:
        """Sends a second, and milliseconds of a core for each."""
        workers, browsers = await self._daemon.pids(self._sessions)
        pids = [self._daemon.pid, *workers, *(pid for browser in browsers for pid in tree(browser))]

        async def send(place: int, chat: str, text: str) -> None:
            await self._daemon.send([*self._sessions][place], chat, text)

        counted = 0

        async def counting(place: int, chat: str, text: str) -> None:
            nonlocal counted
            await send(place, chat, text)
            counted += 1

        before = cpu(pids)
        taken = await per_send(counting, len(self._sessions))
        return 1000 / taken, 1000 * (cpu(pids) - before) / counted


def _knows_sandbox(package: Path) -> bool:
    files = (*package.glob("config.py"), *package.glob("config/*.py"))
    return any(_SANDBOX in file.read_text() for file in files)


async def compare(other: Path, rounds: int, count: int, folder: Path) -> None:
    """One table's line for so many sessions each."""
    python = str(other / ".venv/bin/python")
    phones = {n: {f"s{i}": f"62811{n}{i:05}" for i in range(count)} for n in (3, 4)}
    async with (
        StandIn.run() as standin,
        aiohttp.ClientSession() as http,
        contextlib.AsyncExitStack() as stack,
    ):
        sides = []
        commands = ((*WAGUARD, "run"), (python, *WAGUARD[1:], "run"))
        for number, (name, command) in enumerate(zip(("now", "other"), commands, strict=True)):
            daemon = Daemon(folder / f"{name}-{count}", standin, http, command)
            if command[0] == python and not _knows_sandbox(other / "waguard"):
                del daemon.settings["WAGUARD_BROWSER__SANDBOX"]  # it has no such setting
            await stack.enter_async_context(daemon)
            sides.append(await Side.start(daemon, phones[3 + number]))
        await asyncio.sleep(QUIET)
        for number in range(-WARM_UP, rounds):
            for side in sides if number % 2 else sides[::-1]:
                rate, core = await side.round()
                if number >= 0:
                    side.rates.append(rate)
                    side.core.append(core)
    now, then = sides
    ratios = [a / b for a, b in zip(now.rates, then.rates, strict=True)]
    cores = [a / b for a, b in zip(now.core, then.core, strict=True)]
    print(
        f"{count} session(s), {rounds} pairs: now {_spread(now.rates)} sends/s, other "
        f"{_spread(then.rates)}, ratio {_spread(ratios, 2)}; core {_spread(now.core, 2)} and "
        f"{_spread(then.core, 2)} ms a send, ratio {_spread(cores, 2)}",
        flush=True,
    )


def _spread(values: list[float], digits: int = 0) -> str:
    low, *_, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 2
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


async def _measure(other: Path, rounds: int, counts: list[int], folder: Path) -> None:
    for count in counts:
        await compare(other, rounds, count, folder)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", type=Path, help="the checkout to compare with")
    parser.add_argument("--rounds", type=int, default=12, help="(%(default)s)")
    parser.add_argument("--sessions", default="1,4", help="(%(default)s)")
    given = parser.parse_args()
    counts = [int(one) for one in given.sessions.split(",")]
    other = given.other.resolve()
    return asyncio.run(
        in_a_folder("wg-v-", lambda folder: _measure(other, given.rounds, counts, folder))
    )


if __name__ == "__main__":
    sys.exit(main())
