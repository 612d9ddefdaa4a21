"""Writes the table of docs/clients.md from docs/clients.toml.

``python -m tests.clients_docs`` writes it; a test compares.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
TARGET: Final = ROOT / "docs/clients.md"
SOURCE: Final = ROOT / "docs/clients.toml"
PEERS: Final = {"pm2": "PM2", "waha": "WAHA", "evolution": "Evolution API", "wwebjs": "wwebjs-api"}
PLACE: Final = re.compile(r"(?s)(<!-- written by [^\n]*\n).*?(<!-- end -->)")


def calls() -> list[dict[str, Any]]:
    """Each call, with what it is called elsewhere."""
    found: list[dict[str, Any]] = tomllib.loads(SOURCE.read_text())["call"]
    return found


def text() -> str:
    """The whole document."""
    heads = ["", *PEERS.values(), "waguard"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows += [f"| {' | '.join(_row(it))} |" for it in calls()]
    table = "\n".join(rows)
    return PLACE.sub(rf"\1{table}\n\2", TARGET.read_text())


def _row(it: dict[str, Any]) -> list[str]:
    peers = [f"`{it[name]}`" if it[name] else "" for name in PEERS]
    commands = [f"waguard {it['command']}"] if "command" in it else []
    return [it["what"], *peers, ", ".join(f"`{one}`" for one in [*it["waguard"], *commands])]


if __name__ == "__main__":
    TARGET.write_text(text())
