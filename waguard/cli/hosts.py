"""``waguard hosts``: the hosts of the cluster."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from waguard.cli.client import connect
from waguard.cli.parsing import verb, with_daemon, with_json
from waguard.cli.render import age, print_either, print_json, table, wrapped
from waguard.errors import printable

PATH: Final = "/api/hosts"
_NAMED: Final = 5  # sessions that one reason names
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
    for line in _without_owner(answer):
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


def _without_owner(answer: Mapping[str, Any]) -> Iterator[str]:
    count = answer["without_owner"]
    if count is None:
        yield from wrapped(
            "! how many sessions no host has is unknown: the database does not answer",
            first="  ",
            then="    ",
        )
    elif count:
        yield f"  ! {sessions(count)} without a host"
    names: dict[str, list[str]] = {}
    for it in answer.get("waiting") or ():
        names.setdefault(it["why"], []).append(it["session_id"])
    for why, some in sorted(names.items(), key=lambda it: -len(it[1])):
        more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
        words = f"{printable(', '.join(some[:_NAMED]))}{more}: {printable(why)}"
        yield from wrapped(words, first="    ", then="      ")


def sessions(count: int) -> str:
    """So many sessions, in words."""
    return f"{count} session{'' if count == 1 else 's'}"
