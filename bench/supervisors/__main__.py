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

from bench.guard import CHECKOUT, Found, order, table
from bench.rig import in_a_folder
from bench.supervisors.fleet import ROWS, SHORT, Fleet, Plan, Turn
from bench.supervisors.ours import Waguard
from bench.supervisors.peers import PEERS


async def run(folder: Path, given: argparse.Namespace) -> None:
    """All rounds, and the table."""
    plan = SHORT if given.short else Plan()
    names = given.only.split(",")
    turns: dict[str, list[Found]] = {name: [] for name in names}
    async with aiohttp.ClientSession() as http:

        def fleet(name: str, count: int) -> Fleet:
            place = folder / f"{name}-{count}"
            if kind := PEERS.get(name):
                return kind(place, count, given.tools)
            return Waguard(place, count, CHECKOUT, http)

        for number in range(given.rounds):
            for name in (names[place] for place in order(len(names), number)):
                print(f"round {number + 1}, {name} …", file=sys.stderr)
                try:
                    async with fleet(name, plan.count) as many:
                        found = await Turn(many, plan).whole()
                    async with fleet(name, plan.few) as few:
                        found |= await Turn(few, plan).few()
                except Exception as error:  # noqa: BLE001 - one that cannot run here hides no other
                    found = dict.fromkeys(ROWS, f"{type(error).__name__}: {error}")
                turns[name].append(found)
    print(table(ROWS, turns, {}))


def main() -> int:
    """The exit code: 1 where processes were left behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = ("waguard", *PEERS)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--short", action="store_true", help="few workers, few of everything")
    parser.add_argument("--only", default=",".join(known), help="(%(default)s)")
    parser.add_argument("--tools", type=Path, default="/tmp/waguard-peers", help="(%(default)s)")
    given = parser.parse_args()
    if unknown := {*given.only.split(",")} - {*known}:
        parser.error(f"no such supervisor: {', '.join(unknown)}")
    return asyncio.run(in_a_folder("wg-p-", lambda folder: run(folder, given)))


if __name__ == "__main__":
    sys.exit(main())
