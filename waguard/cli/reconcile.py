"""``waguard reconcile``: compare database, memory and host, and correct them."""

import argparse

from waguard.cli.client import connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.render import condition, print_json, print_table


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_reconcile)


def _reconcile(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("GET" if arguments.dry_run else "POST", "/api/reconcile")
    if arguments.json:
        print_json(answer)
        return 0
    if answer["corrections"]:
        print_table(answer["corrections"], ("session", "action", "before", "after", "reason"))
    elif not answer.get("findings"):
        print("database, memory and host agree")
    for finding in answer.get("findings", []):
        said = {**finding, "message": f"{finding['session']}: {finding['about']}"}
        for line in condition(said):
            print(line)
    return 0
