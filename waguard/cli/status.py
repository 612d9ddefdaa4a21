"""``waguard status``: what runs, and how it is."""

import argparse

from waguard.cli.client import connect
from waguard.cli.parsing import with_all, with_config, with_json
from waguard.cli.render import print_json, print_table, undecryptable
from waguard.cli.sessions import listing_path, removed_column
from waguard.errors import printable


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    with_json(parser)
    with_all(parser)
    with_config(parser)
    parser.set_defaults(command=_status)


def _status(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    health = client.call("GET", "/health/detailed")
    listed = client.call("GET", listing_path(arguments))["sessions"]
    sessions = [client.call("GET", client.session(row["session_id"], "/status")) for row in listed]
    if arguments.json:
        print_json({"health": health, "sessions": sessions})
        return 0
    counts = health["sessions"]
    print(
        f"waguard at {client.base}: {health['status']}, {counts['connected']} of {counts['total']} connected"
    )
    for problem in health.get("problems", []):
        print(f"  ! {printable(problem)}")
    for line in filter(None, map(undecryptable, sessions)):
        print(f"  {line}")
    if sessions:
        print_table(
            sessions,
            (
                "session_id",
                "status",
                "phone_number",
                "lifecycle",
                "link",
                "restarts",
                "cpu_percent",
                "memory_mb",
                "worker_pid",
                "disconnect_reason",
                "waiting",
                *removed_column(arguments),
            ),
        )
    return 0
