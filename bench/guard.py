"""Whether a commit is as fast as another where a supervisor is judged: their figures in turns, as ratios.

    .venv/bin/python -P -m bench.guard BASE [OTHER] [--rounds N] [--short] [--real] [--json FILE]

BASE and OTHER (default: this checkout) are commits, each of which gets a clone with its own ``.venv`` below
``--clones``, or folders that ``make setup`` was run in. The base is measured twice in each round: how far
those two differ is the noise, and only what is beyond it counts as faster or slower.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bench.rig import Daemon, StandIn, in_a_folder, pss, tree
from bench.supervisors.fleet import ROWS, SHORT, Figure, Plan, Turn
from bench.supervisors.ours import Waguard
from waguard.host.process.executable import Flavour

CHECKOUT = Path(__file__).parents[1]
FLAVOURS: tuple[Flavour, ...] = ("chromium", "headless-shell")
REAL = {f"session_{one}": f"one more real session in all, {one}, MB PSS" for one in FLAVOURS}
REAL |= {f"worker_{one}": f"its worker, {one}, MB PSS" for one in FLAVOURS}
SESSIONS = 5
CALM = 10.0  # s until new sessions are at rest
ENOUGH = 3  # rounds; nothing is said after fewer
ALIKE = 1.02  # times; less is no difference, however still the machine is
Found = dict[str, Figure]


def merged(turns: Sequence[Found], key: str) -> Figure:
    """All values of a row, or the first reason why one turn has none."""
    values: list[float] = []
    for figure in [turn.get(key) or "not measured" for turn in turns]:
        if isinstance(figure, str):
            return figure
        values += figure
    return values


def ratios(ours: Sequence[Found], base: Sequence[Found], key: str) -> list[float]:
    """Medians, ours by the base's, turn by turn; none where one of the two has no value."""
    found = []
    for one, other in zip(ours, base, strict=True):
        mine, theirs = merged([one], key), merged([other], key)
        if not isinstance(mine, str) and not isinstance(theirs, str) and min(mine + theirs) > 0:
            found.append(statistics.median(mine) / statistics.median(theirs))
    return found


def difference(changed: Sequence[float], equal: Sequence[float]) -> str:
    """Less is better; what equal commits differ by is no difference."""
    if min(len(changed), len(equal)) < ENOUGH:
        return ""
    noise = max(ALIKE, *(max(one, 1 / one) for one in equal))
    median = statistics.median(changed)
    return "**slower**" if median > noise else "faster" if median < 1 / noise else "same"


def spread(figure: Figure) -> str:
    """Median (95th percentile)."""
    if isinstance(figure, str):
        return "-"
    median, last = statistics.median(figure), sorted(figure)[max(0, round(0.95 * len(figure)) - 1)]
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    return f"{median:,.{digits}f} ({last:,.{digits}f})"


def between(values: Sequence[float]) -> str:
    """Median (least to most)."""
    if not values:
        return "-"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(
    rows: Mapping[str, str], columns: Mapping[str, list[Found]], more: Mapping[str, list[str]]
) -> str:
    """Markdown, with a row's further cells; below it why something is absent."""
    lines = [f"| median (p95) | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines = [line + rest for line, rest in zip(lines, more.get("", ["", ""]), strict=True)]
    reasons: dict[str, list[str]] = {}
    for key, title in rows.items():
        figures = {name: merged(turns, key) for name, turns in columns.items()}
        cells = [title, *map(spread, figures.values()), *more.get(key, [])]
        lines.append(f"| {' | '.join(cells)} |")
        for name, figure in figures.items():
            if isinstance(figure, str):
                reasons.setdefault(f"- {name}: {figure}", []).append(title)
    why = [
        one if len(titles) == len(rows) else f"{one} ({'; '.join(titles)})"
        for one, titles in reasons.items()
    ]
    return "\n".join([*lines, "", *why]).rstrip()


def compared(base: list[Found], again: list[Found], ours: list[Found]) -> str:
    """The table of two commits."""
    more = {"": [" ratio | equal commits | |", "---|---|---|"]}
    for key in ROWS | REAL:
        changed, equal = ratios(ours, base, key), ratios(again, base, key)
        more[key] = [between(changed), between(equal), difference(changed, equal)]
    return table(ROWS | REAL, {"base": [*base, *again], "other": ours}, more)


def order(count: int, number: int) -> list[int]:
    """Who comes when in this round: each is the first in turn."""
    return [(place + number) % count for place in range(count)]


def checkout(what: str, clones: Path, source: Path = CHECKOUT) -> Path:
    """The folder of a commit, made where it is not there yet; a folder is itself."""
    if (Path(what) / ".venv/bin/python").exists():
        return Path(what).resolve()
    commit = _git(source, "rev-parse", "--verify", f"{what}^{{commit}}")
    folder = clones / commit[:12]
    if not (folder / ".venv/.installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _git(folder, "init", "--quiet")
        _git(folder, "fetch", "--quiet", str(source), commit)
        _git(folder, "checkout", "--quiet", "--force", "--detach", commit)
        subprocess.run(["make", "--silent", "-C", folder, "setup"], check=True)
    return folder


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=folder, check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout.strip()


async def real(folder: Path, python: Path, flavour: Flavour, http: aiohttp.ClientSession) -> Found:
    """Memory of real sessions on the stand-in."""
    command = (str(python), "-P", "-m", "waguard", "run")
    phones = {f"s{number}": f"62811700{number:04}" for number in range(SESSIONS)}
    taken = []
    async with StandIn.run() as standin, Daemon(folder, standin, http, command) as daemon:
        daemon.settings["WAGUARD_BROWSER__FLAVOUR"] = flavour
        await daemon.start()
        await daemon.ready()
        for some in [*phones][:1], [*phones][1:]:
            await daemon.pair({session: phones[session] for session in some})
            await asyncio.sleep(CALM)
            taken.append(pss(tree(daemon.pid)))
        workers, _ = await daemon.pids(phones)
        each = [pss([worker]) for worker in workers]
    more = (taken[1] - taken[0]) / (SESSIONS - 1)
    return {f"session_{flavour}": [more], f"worker_{flavour}": each}


async def run(folder: Path, given: argparse.Namespace) -> None:
    """All rounds, and the table."""
    plan = SHORT if given.short else Plan()
    names = {"base": given.base, "base again": given.base, "other": given.other}
    checkouts = [checkout(what, given.clones) for what in names.values()]
    turns: dict[str, list[Found]] = {name: [] for name in names}
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        fleets = [
            [
                await stack.enter_async_context(
                    Waguard(folder / f"{side}-{count}", count, where, http)
                )
                for count in (plan.count, plan.few)
            ]
            for side, where in enumerate(checkouts)
        ]
        for number in range(given.rounds):
            for side in order(len(names), number):
                name = [*names][side]
                print(f"round {number + 1}, {name} …", file=sys.stderr)
                found: Found = dict.fromkeys(REAL, "not asked for: --real")
                found |= await Turn(fleets[side][0], plan).whole()
                found |= await Turn(fleets[side][1], plan).few()
                for flavour in FLAVOURS if given.real else ():
                    python = checkouts[side] / ".venv/bin/python"
                    with tempfile.TemporaryDirectory(dir=folder, prefix="r") as room:
                        found |= await real(Path(room), python, flavour, http)
                turns[name].append(found)
    print(f"{plan.count} workers, {given.rounds} rounds; base {given.base}, other {given.other}\n")
    print(compared(*turns.values()))
    if given.json:
        given.json.write_text(json.dumps(turns, indent=1))


def main() -> int:
    """The exit code: 1 where processes were left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base", help="a commit, or a checkout's folder")
    parser.add_argument("other", nargs="?", default=str(CHECKOUT), help="the same (this checkout)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--short", action="store_true", help="5 workers, a minute for each turn")
    parser.add_argument("--real", action="store_true", help="real sessions too")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--clones", type=Path, default="/tmp/waguard-guard", help="(%(default)s)")
    given = parser.parse_args()
    return asyncio.run(in_a_folder("wg-g-", lambda folder: run(folder, given)))


if __name__ == "__main__":
    sys.exit(main())
