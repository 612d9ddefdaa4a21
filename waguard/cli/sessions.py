"""``waguard sessions``: create, list, start, stop, log out and delete sessions."""

import argparse

from waguard.cli.client import connect
from waguard.cli.parsing import verb, verbs_of, with_all, with_config, with_json
from waguard.cli.render import print_json, print_table


def add(parser: argparse.ArgumentParser) -> None:
    """Its verbs."""
    verbs = verbs_of(parser)
    create = verb(verbs, "create", _create, "create a session; then show its QR code")
    create.add_argument("session", help="letters, digits, _ and -; at most 128")
    create.add_argument("--workspace", type=int, default=1, help="(%(default)s)")
    with_config(create)
    listing = verb(verbs, "list", _list, "all sessions")
    with_json(listing)
    with_all(listing)
    with_config(listing)
    delete = verb(
        verbs, "delete", _delete, "unlink it and list it no more; its profile is put aside"
    )
    delete.add_argument("session")
    delete.add_argument("--purge", action="store_true", help="also mark its row deleted")
    with_config(delete)
    for name, work, about in (
        ("logout", _logout, "unlink it; it stays in the list"),
        ("stop", _stop, "take it down; its pairing stays"),
        ("start", _start, "bring it up again, also one that was deleted"),
    ):
        one = verb(verbs, name, work, about)
        one.add_argument("session")
        with_config(one)


def _list(arguments: argparse.Namespace) -> int:
    listed = connect(arguments).call("GET", listing_path(arguments))
    if arguments.json:
        print_json(listed)
    elif listed["sessions"]:
        print_table(
            listed["sessions"],
            (
                *("session_id", "workspace_id", "status", "phone_number", "connected_at"),
                *removed_column(arguments),
            ),
        )
    else:
        print("no sessions: create one with `waguard sessions create NAME`")
    return 0


def listing_path(arguments: argparse.Namespace) -> str:
    """Of all sessions, as ``--all`` has it."""
    return "/api/sessions?removed=1" if arguments.all else "/api/sessions"


def removed_column(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The column that ``--all`` adds."""
    return ("removed_at",) if arguments.all else ()


def _create(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    body = {"session_id": arguments.session, "workspace_id": arguments.workspace}
    answer = client.call("POST", "/api/sessions", body)
    print(f"{answer['session_id']}: {answer['status']}; next: waguard qr {answer['session_id']}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    client.call("DELETE", client.session(arguments.session, "?purge=1" if arguments.purge else ""))
    print(f"{arguments.session}: deleted; its profile lies in the quarantine folder")
    return 0


def _logout(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    client.call("POST", client.session(arguments.session, "/logout"), {})
    print(f"{arguments.session}: logged out")
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    client.call("POST", client.session(arguments.session, "/stop"), {})
    print(f"{arguments.session}: stopped; its pairing stays")
    return 0


def _start(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    told = client.call("POST", client.session(arguments.session, "/start"), {})
    print(f"{arguments.session}: {told['status']}")
    return 0
