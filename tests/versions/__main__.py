"""``python -m tests.versions``: what the simulation of docs/versions.md shows, as its table."""

import argparse
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Final

from tests.versions.scenarios import BREAKAGES, LARGE, NO_BREAKAGES, PINNED, SMALL, simulate
from waguard.core.versions.version_rules import Mode

HEAD: Final = """\
| what happens | rollbacks | rolled back after | nobody unhealthy after | released after the repair | unhealthy session-hours | with `off` |
|---|---|---|---|---|---|---|"""


class Figures:
    """Of one kind, over all seeds."""

    def __init__(self, runs: Iterable[tuple[float | None, ...]]) -> None:
        self.rollbacks, self.rolled, self.healed, self.released, self.unhealthy, self.off = (
            [it for it in column if it is not None] for column in zip(*runs, strict=True)
        )

    def row(self, name: str) -> str:
        least, most = min(self.rollbacks), max(self.rollbacks)
        rollbacks = f"{least:.0f}" if least == most else f"{least:.0f} to {most:.0f}"
        cells = [
            rollbacks,
            _minutes(self.rolled),
            _minutes(self.healed),
            f"{median(self.released) / 3600:.0f} h" if self.released else "",
            f"{median(self.unhealthy):,.1f}",
            f"{median(self.off):,.0f}",
        ]
        return f"| {name} | {' | '.join(cells)} |"


def _minutes(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return f"{median(seconds) / 60:.0f} min (≤ {max(seconds) / 60:.0f})"


def run(job: tuple[str, int, str]) -> tuple[float | None, ...]:
    """One seed with the decision, and without."""
    name, seed, size = job
    sizes = {"large": LARGE, "small": SMALL}
    modes: tuple[Mode, Mode] = ("react", "off")
    with_it, off = (simulate(name, seed, sizes[size], mode) for mode in modes)
    return (
        with_it.rollbacks,
        with_it.rolled_back,
        with_it.healed,
        with_it.released,
        with_it.unhealthy_hours,
        off.unhealthy_hours,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--size", choices=("large", "small"), default="large")
    options = parser.parse_args()
    print(HEAD)
    with ProcessPoolExecutor(2) as pool:
        for kinds in (BREAKAGES, PINNED, NO_BREAKAGES):
            for name in kinds:
                jobs = [(name, seed, options.size) for seed in range(options.seeds)]
                print(Figures(pool.map(run, jobs)).row(name), flush=True)


if __name__ == "__main__":
    main()
