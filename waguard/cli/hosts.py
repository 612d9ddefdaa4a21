"""``waguard hosts``: the hosts of the cluster."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from waguard.cli.client import connect
from waguard.cli.parsing import verb, with_daemon, with_json
from waguard.cli.render import age, print_either, print_json, table, wrapped

PATH: Final = "/api/hosts"
_COLUMNS: Final = ("host", "state", "owned", "room", "renewed", "version", "address")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    with_json(parser)
    with_daemon(parser)
    verbs = parser.add_subparsers(metavar="VERB")
    forget = verb(verbs, "forget", _forget, "forget one that is gone for good")
    forget.add_argument("host", metavar="HOST", help="one that is dead")
    with_json(forget)
    with_daemon(forget)
    parser.set_defaults(command=_hosts)


def _forget(arguments: argparse.Namespace) -> int:
    host = arguments.host
    answer = connect(arguments).call("DELETE", f"{PATH}/{quote(host, safe='')}")
    print_either(
        arguments,
        answer,
        f"{host} is forgotten: it is a host again when a waguard of this name starts",
    )
    return 0


def _hosts(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("GET", PATH)
    if arguments.json:
        print_json(answer)
        return 0
    for line in table([_row(it, answer["host"]) for it in answer["hosts"]], _COLUMNS, style=_style):
        print(line)
    for line in _without_owner(answer["without_owner"]):
        print(line)
    return 0


def _row(it: Mapping[str, Any], here: str) -> dict[str, Any]:
    alive = "drains" if it["drain"] else "alive"
    return {
        **it,
        "host": f"{it['host']} (here)" if it["host"] == here else it["host"],
        "state": alive if it["alive"] else "dead",
        "renewed": f"{age(it['renewed_ago'])} ago",
    }


def _style(row: Mapping[str, Any], column: str) -> str | None:
    if column != "state":
        return None
    return {"alive": "good", "drains": "wait"}.get(row["state"], "bad")


def _without_owner(count: int | None) -> Iterator[str]:
    if count is None:
        yield from wrapped(
            "! how many sessions no host has is unknown: the database does not answer",
            first="  ",
            then="    ",
        )
    elif count:
        yield f"  ! {count} session{'' if count == 1 else 's'} without a host"
