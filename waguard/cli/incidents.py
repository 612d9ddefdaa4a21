"""``waguard incidents``: what went wrong, of all sessions and of the fleet, newest last."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from waguard.cli.client import connect
from waguard.cli.parsing import since, with_daemon, with_json
from waguard.cli.render import age, moment, print_json, second, table, width
from waguard.core.incidents.sentences import NO_INCIDENTS

COLUMNS: Final = ("began", "took", "session", "cause")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--since",
        type=since,
        default="1d",
        metavar="TIME",
        help="incidents that were open then or later: 30m, 24h, 7d ago, or an ISO time in UTC (1d)",
    )
    parser.add_argument("--open", action="store_true", help="only open incidents")
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_incidents)


def _incidents(arguments: argparse.Namespace) -> int:
    asked = quote(datetime.fromtimestamp(arguments.since, UTC).isoformat())
    answer = connect(arguments).call("GET", f"/api/incidents/all?since={asked}")
    found = [it for it in answer["incidents"] if not arguments.open or it["ended"] is None]
    if arguments.json:
        print_json({**answer, "incidents": found})
    elif found:
        for line in table([_row(it) for it in found], COLUMNS, fit=width()):
            print(line)
        print("`waguard why SESSION` shows what was done; without SESSION, of all sessions at once")
    else:
        print(NO_INCIDENTS)
    return 0


def _row(it: Mapping[str, Any]) -> dict[str, Any]:
    began, ended = moment(it["began"]), it["ended"]
    return {
        "began": second(began),
        "took": "goes on" if ended is None else age(moment(ended) - began),
        "session": it["session_id"] or "(all)",
        "cause": it["cause"],
    }
