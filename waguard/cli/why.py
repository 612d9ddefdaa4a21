"""``waguard why``: what went wrong, and what waguard did."""

import argparse

from waguard.cli.client import connect
from waguard.cli.parsing import with_config, with_json
from waguard.cli.render import print_json, undecryptable
from waguard.errors import printable


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("session", nargs="?", help="without one: what concerned all of them")
    which.add_argument("--fleet", action="store_true", help="the same, said aloud")
    with_json(parser)
    with_config(parser)
    parser.set_defaults(command=_why)


def _why(arguments: argparse.Namespace) -> int:
    client, session = connect(arguments), arguments.session
    told = client.call(
        "GET", client.session(session, "/incidents") if session else "/api/incidents"
    )
    if arguments.json:
        print_json(told)
        return 0
    if session:
        print(f"{told['session_id']} is {told['status']}")
        status = client.call("GET", client.session(session, "/status"))
        if line := undecryptable(status):
            print(line)
    for condition in told.get("conditions", []):
        whose = f"{condition['session_id']}: " if condition["session_id"] and not session else ""
        print(printable(f"{whose}{condition['message']}. {condition['remedy']}"))
    if told["incidents"] is None:
        print("incidents are not known while the database is away")
    elif not told["incidents"]:
        print(f"nothing has gone wrong with {'it' if session else 'all sessions at once'}")
    for incident in told["incidents"] or ():
        print(f"\n{incident['began']}")
        for sentence in incident["sentences"]:
            print(f"  {printable(sentence)}")
    return 0
