"""``waguard why``: what went wrong, and what waguard did."""

import argparse
from collections.abc import Iterator
from typing import Final

from waguard.cli.client import SessionClient, connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.render import condition, print_json, sentinel, undecryptable
from waguard.cli.rows import version
from waguard.core.incidents.sentences import NO_INCIDENTS
from waguard.errors import printable

PURGED: Final = "purged"
"""The status of a session of which only the history is left."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("session", nargs="?", help="without one: incidents of the fleet")
    which.add_argument("--fleet", action="store_true", help="the same as without a session")
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_why)


def _why(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    session = client.one(arguments.session) if arguments.session else None
    answer = session.call("GET", "/incidents") if session else client.call("GET", "/api/incidents")
    if arguments.json:
        print_json(answer)
        return 0
    if session:
        print(f"{answer['session_id']} is {answer['status']}")
        for line in _of_session(session) if answer["status"] != PURGED else ():
            print(f"  {printable(line)}")
    for it in answer.get("conditions", ()):
        whose = f"{it['session_id']}: " if it["session_id"] and not session else ""
        for line in condition({**it, "message": f"{whose}{it['message']}"}):
            print(line)
    if answer["incidents"] is None:
        other = any(it.get("type") == "standby" for it in answer["conditions"])
        away = "another host supervises" if other else "the database does not answer"
        print(f"incidents are unknown while {away}")
    elif not answer["incidents"]:
        print(NO_INCIDENTS)
    for incident in answer["incidents"] or ():
        print(f"\n{incident['began']}")
        for sentence in incident["sentences"]:
            print(f"  {printable(sentence)}")
    return 0


def _of_session(session: SessionClient) -> Iterator[str]:
    """What its page is loaded with, and how many messages it cannot decrypt."""
    shown = session.call("GET", "/status")
    it = version(shown)
    if it["version"]:
        yield f"WhatsApp Web {it['version']}, wa-js {it['wajs'] or 'unknown'}"
    yield from filter(None, (undecryptable(shown), sentinel(shown)))
