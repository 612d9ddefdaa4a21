"""``waguard audit``: who changed what by the API, and what came of it, newest last."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from waguard.cli.client import connect
from waguard.cli.parsing import since, with_daemon, with_json
from waguard.cli.render import moment, print_json, second, table, width

NO_CHANGES: Final = "no changes recorded"
_PLAIN: Final = frozenset({"done", "unknown"})  # without the status of the reply
COLUMNS: Final = ("at", "by", "outcome", "change")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--since",
        type=since,
        default="1d",
        metavar="TIME",
        help="changes from then on: 30m, 24h, 7d ago, or an ISO time in UTC (1d)",
    )
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    asked = quote(datetime.fromtimestamp(arguments.since, UTC).isoformat())
    client, found, page = connect(arguments), [], ""
    while True:
        answer = client.call("GET", f"/api/audit?since={asked}{page}")
        found += answer["changes"]
        if answer["before"] is None:
            break
        page = f"&before={answer['before']}"
    found.reverse()
    if arguments.json:
        print_json({**answer, "changes": found})
    elif found:
        columns = COLUMNS if "host" not in found[0] else ("host", *COLUMNS)
        for line in table([_row(it) for it in found], columns, fit=width()):
            print(line)
    else:
        print(NO_CHANGES)
    return 0


def _row(it: Mapping[str, Any]) -> dict[str, Any]:
    method = it["route"].partition(" ")[0]
    named = it["session_id"] is None or "{session_id}" in it["route"]
    whose = "" if named else f" ({it['session_id']})"
    return {
        "host": it.get("host"),
        "at": second(moment(it["at"])),
        "by": it["by"],
        "outcome": it["outcome"] if it["outcome"] in _PLAIN else f"{it['outcome']}: {it['status']}",
        "change": f"{method} {it['path']}{whose}",
    }
