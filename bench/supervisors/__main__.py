"""waguard beside other supervisors, and the floor, by turns in one run on this machine.

    .venv/bin/python -P -m bench.supervisors [--rounds N] [--short] [--only waguard,floor,s6,…] [--tools FOLDER]

Workers of waguard are simulated, those of the floor Python that waits, those of the others a shell that
becomes ``sleep``. What cannot be had is absent, with the reason below the table.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import aiohttp

from bench.guard import CHECKOUT, Found, merged, order, spread
from bench.rig import in_a_folder
from bench.supervisors.fleet import ROWS, SHORT, Fleet, Plan, Turn, opened
from bench.supervisors.ours import Waguard
from bench.supervisors.peers import PEERS

OURS = "waguard"


async def turn(
    name: str, folder: Path, plan: Plan, tools: Path, http: aiohttp.ClientSession
) -> Found:
    """Everything of one supervisor; where it does not run, the reason in each row."""

    def fleet(count: int) -> Fleet:
        place = folder / f"{name}-{count}"
        if name == OURS:
            return Waguard(place, count, CHECKOUT, http)
        return PEERS[name](place, count, tools)

    found: Found = {}
    try:
        async with opened(fleet(plan.count)) as all_of_them:
            found |= await Turn(all_of_them, plan).whole()
        async with opened(fleet(plan.few)) as some:
            found |= await Turn(some, plan).few()
    except Exception as error:  # noqa: BLE001 - one that cannot be run here hides no other
        found = {key: found.get(key, f"{type(error).__name__}: {error}") for key in ROWS}
    return found


def table(found: dict[str, list[Found]]) -> str:
    """Markdown, a column for each supervisor; below it the reasons."""
    lines = [f"| median (p95) | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    reasons: dict[str, list[str]] = {}
    for key, title in ROWS.items():
        figures = {name: merged(turns, key) for name, turns in found.items()}
        lines.append(f"| {title} | {' | '.join(map(spread, figures.values()))} |")
        for name, figure in figures.items():
            if isinstance(figure, str):
                reasons.setdefault(f"- {name}: {figure}", []).append(title)
    whole = len(ROWS)
    why = [one if len(of) == whole else f"{one} ({'; '.join(of)})" for one, of in reasons.items()]
    return "\n".join([*lines, "", *why]).rstrip()


async def run(folder: Path, given: argparse.Namespace) -> None:
    """All rounds, and the table."""
    names = given.only.split(",")
    found: dict[str, list[Found]] = {name: [] for name in names}
    async with aiohttp.ClientSession() as http:
        for number in range(given.rounds):
            for place in order(len(names), number):
                name = names[place]
                print(f"round {number + 1}, {name} …", file=sys.stderr)
                plan = SHORT if given.short else Plan()
                found[name].append(await turn(name, folder, plan, given.tools, http))
    print(table(found))


def main() -> int:
    """The exit code: 1 where processes were left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = (OURS, *PEERS)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--short", action="store_true", help="few workers, few of everything")
    parser.add_argument("--only", default=",".join(known), help="(%(default)s)")
    parser.add_argument(
        "--tools", type=Path, default=Path("/tmp/waguard-peers"), help="(%(default)s)"
    )
    given = parser.parse_args()
    if unknown := set(given.only.split(",")) - {*known}:
        parser.error(f"no such supervisor: {', '.join(unknown)}")
    return asyncio.run(in_a_folder("wg-p-", lambda folder: run(folder, given)))


if __name__ == "__main__":
    sys.exit(main())
