"""``waguard why``: what went wrong, and what waguard did."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final

from waguard.cli.client import connect
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import condition, print_json, undecryptable
from waguard.errors import printable

PURGED: Final = "purged"
"""The status of a session of which only the history is left."""


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("session", nargs="?", help="without one: what concerned all of them")
    which.add_argument("--fleet", action="store_true", help="the same, said aloud")
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_why)


def _why(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    session = client.one(arguments.session) if arguments.session else None
    told = session.call("GET", "/incidents") if session else client.call("GET", "/api/incidents")
    if arguments.json:
        print_json(told)
        return 0
    if session:
        print(f"{told['session_id']} is {told['status']}")
        if told["status"] != PURGED:
            for line in _now(session.call("GET", "/status")):
                print(line)
    if not told["incidents"]:
        print("no incidents recorded")
    for incident in told["incidents"]:
        print(f"\n{incident['began']}")
        for sentence in incident["sentences"]:
            print(f"  {printable(sentence)}")
    return 0


def _now(status: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong at this moment, and what to do."""
    if line := undecryptable(status):
        yield f"  {printable(line)}"
    for it in status.get("conditions", []):
        yield from condition(it)
