"""Whether a commit is as fast as another where a supervisor is judged: their figures in turns, as ratios.

    .venv/bin/python -P -m bench.guard BASE [OTHER] [--rounds N] [--short] [--real] [--json FILE]

BASE and OTHER (default: ``.``) are commits, each of which gets a clone with its own ``.venv`` below
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from bench.rig import Daemon, StandIn, in_a_folder, pss, tree
from bench.supervisors.fleet import ROWS, SHORT, Figure, Plan, Turn, opened
from bench.supervisors.ours import Waguard
from waguard.host.process.executable import Flavour

CHECKOUT = Path(__file__).parents[1]
FLAVOURS: tuple[Flavour, ...] = ("chromium", "headless-shell")
REAL = {
    **{
        f"session_{flavour}": f"one more real session in all, {flavour}, MB PSS"
        for flavour in FLAVOURS
    },
    **{f"worker_{flavour}": f"its worker, {flavour}, MB PSS" for flavour in FLAVOURS},
}
SESSIONS = 5
ENOUGH = 3  # turns
ALIKE = 1.02  # times; less is no difference, however still the machine is
CALM = 10.0  # s until new sessions are at rest
Found = dict[str, Figure]


# ---- pure ----


def merged(turns: Sequence[Mapping[str, Figure]], key: str) -> Figure:
    """All values of a row, or the first reason why one turn has none."""
    figures = [turn.get(key) or "not measured" for turn in turns]
    values: list[float] = []
    for figure in figures:
        if isinstance(figure, str):
            return figure
        values += figure
    return values or "not measured"


def ratios(
    ours: Sequence[Mapping[str, Figure]], base: Sequence[Mapping[str, Figure]], key: str
) -> list[float]:
    """Medians, ours by the base's, turn by turn; none where one of the two has no value."""
    found = []
    for one, other in zip(ours, base, strict=True):
        mine, theirs = merged([one], key), merged([other], key)
        if not isinstance(mine, str) and not isinstance(theirs, str) and min(mine + theirs) > 0:
            found.append(statistics.median(mine) / statistics.median(theirs))
    return found


def verdict(changed: Sequence[float], equal: Sequence[float]) -> str:
    """Less is better; what equal commits differ by is no difference. Of few turns nothing is said."""
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


def table(
    rows: Mapping[str, str], base: Sequence[Found], again: Sequence[Found], ours: Sequence[Found]
) -> str:
    """Markdown, with the reasons of what is absent below it."""
    lines = [
        "| median (p95) | base | other | ratio | equal commits | |",
        "|---|---|---|---|---|---|",
    ]
    reasons = []
    for key, title in rows.items():
        figures = merged([*base, *again], key), merged(ours, key)
        changed, equal = ratios(ours, base, key), ratios(again, base, key)
        cells = [title, *map(spread, figures), _between(changed), _between(equal)]
        lines.append(f"| {' | '.join(cells)} | {verdict(changed, equal)} |")
        why = dict.fromkeys(one for one in figures if isinstance(one, str))
        reasons += [f"- {title}: {one}" for one in why]
    return "\n".join([*lines, "", *reasons]).rstrip()


def _between(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


# ---- the commits ----


def checkout(what: str, clones: Path) -> Path:
    """The folder of a commit, made where it is not there yet; a folder is itself."""
    if (Path(what) / ".venv/bin/python").exists():
        return Path(what).resolve()
    git = ["git", "-C", str(CHECKOUT)]
    commit = _said(*git, "rev-parse", "--verify", f"{what}^{{commit}}")
    folder = clones / commit[:12]
    if not (folder / ".venv/.installed").exists():
        if not folder.exists():
            _said("git", "clone", "--quiet", "--no-checkout", str(CHECKOUT), str(folder))
        _said("git", "-C", str(folder), "checkout", "--quiet", "--detach", commit)
        _said("make", "--silent", "-C", str(folder), "setup")
    return folder


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


# ---- the turns ----


async def real(folder: Path, python: Path, flavour: Flavour, http: aiohttp.ClientSession) -> Found:
    """Memory of real sessions on the stand-in."""
    async with StandIn.run() as standin:
        command = (str(python), "-P", "-m", "waguard", "run")
        async with Daemon(folder, standin, http, command) as daemon:
            daemon.settings["WAGUARD_BROWSER__FLAVOUR"] = flavour
            await daemon.start()
            await daemon.ready()
            phones = {f"s{number}": f"62811700{number:04}" for number in range(SESSIONS)}
            taken = []
            for some in (dict([*phones.items()][:1]), dict([*phones.items()][1:])):
                await daemon.pair(some)
                await asyncio.sleep(CALM)
                taken.append(pss(tree(daemon.pid)))
            workers, _ = await daemon.pids(phones)
            each = [pss([worker]) for worker in workers]
    more = (taken[1] - taken[0]) / (SESSIONS - 1)
    return {f"session_{flavour}": [more], f"worker_{flavour}": each}


def order(count: int, number: int) -> Iterator[int]:
    """Who comes when in this round: each is the first, the second … in turn."""
    return ((place + number) % count for place in range(count))


async def run(folder: Path, given: argparse.Namespace) -> None:
    """All rounds, and the table."""
    plan = SHORT if given.short else Plan()
    names = given.base, given.base, given.other
    checkouts = [checkout(name, given.clones) for name in names]
    turns: list[list[Found]] = [[], [], []]
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        fleets = [
            [
                await stack.enter_async_context(
                    opened(Waguard(folder / f"{side}-{count}", count, where, http))
                )
                for count in (plan.count, plan.few)
            ]
            for side, where in enumerate(checkouts)
        ]
        for number in range(given.rounds):
            for side in order(len(fleets), number):
                print(
                    f"round {number + 1}, {('base', 'base again', 'other')[side]} …",
                    file=sys.stderr,
                )
                found: Found = dict.fromkeys(REAL, "not asked for: --real")
                found |= await Turn(fleets[side][0], plan).whole()
                found |= await Turn(fleets[side][1], plan).few()
                for flavour in FLAVOURS if given.real else ():
                    python = checkouts[side] / ".venv/bin/python"
                    with tempfile.TemporaryDirectory(dir=folder, prefix="r") as room:
                        found |= await real(Path(room), python, flavour, http)
                turns[side].append(found)
    base, again, ours = turns
    print(f"{plan.count} workers, {given.rounds} rounds; base {given.base}, other {given.other}\n")
    print(table(ROWS | REAL, base, again, ours))
    if given.json:
        given.json.write_text(json.dumps({"base": base, "again": again, "other": ours}, indent=1))


def main() -> int:
    """The exit code: 1 where processes were left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("base", help="a commit, or a checkout's folder")
    parser.add_argument("other", nargs="?", default=str(CHECKOUT), help="the same (this checkout)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--short", action="store_true", help="5 workers, a minute for each turn")
    parser.add_argument("--real", action="store_true", help="real sessions too")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument(
        "--clones", type=Path, default=Path("/tmp/waguard-guard"), help="(%(default)s)"
    )
    given = parser.parse_args()
    return asyncio.run(in_a_folder("wg-g-", lambda folder: run(folder, given)))


if __name__ == "__main__":
    sys.exit(main())
