"""WhatsApp's own builds: docs/versions.md says where they are from."""

import csv
from pathlib import Path
from typing import NamedTuple


class Release(NamedTuple):
    """A build of WhatsApp."""

    revision: int
    at: float


def releases() -> list[Release]:
    """Real ones, in the order of their release."""
    with (Path(__file__).parent / "releases.csv").open() as file:
        rows = [Release(int(it["revision"]), float(it["seen"])) for it in csv.DictReader(file)]
    newest, found = 0, []
    for it in sorted(rows, key=lambda one: one.at):
        if it.revision > newest:  # five were seen after a later one
            newest = it.revision
            found.append(it)
    return found
