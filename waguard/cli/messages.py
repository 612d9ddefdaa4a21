"""``waguard messages``: show and cancel messages of the outbox."""

import argparse
from typing import Final
from urllib.parse import quote, urlencode

from waguard.cli.client import connect
from waguard.cli.parsing import verb, verbs_of, with_daemon, with_json
from waguard.cli.render import print_either, print_json, print_table

COLUMNS: Final = ("id", "session_id", "to", "type", "status", "attempts", "created_at", "error")
_MESSAGES: Final = "/api/messages"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    listing = verb(verbs, "list", _messages_list, "the newest messages, without their texts")
    listing.add_argument("--session")
    listing.add_argument("--state", help="such as uncertain or accepted")
    with_json(listing)
    with_daemon(listing)
    for name, work, about in (
        ("show", _messages_show, "one message, without its text"),
        ("cancel", _messages_cancel, "do not send a message that has not begun"),
    ):
        one = verb(verbs, name, work, about)
        one.add_argument("id", type=_id, help="waguard's number, or WhatsApp's id")
        with_json(one)
        with_daemon(one)


def _id(text: str) -> str:
    if not any(one in "0123456789" for one in text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither waguard's number nor WhatsApp's id")
    return text


def _messages_list(arguments: argparse.Namespace) -> int:
    asked = {"session_id": arguments.session, "state": arguments.state}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = connect(arguments).call("GET", f"{_MESSAGES}?{query}" if query else _MESSAGES)
    if arguments.json:
        print_json(answer)
    elif answer["messages"]:
        print_table(answer["messages"], COLUMNS)
    else:
        print("no messages")
    return 0


def _messages_show(arguments: argparse.Namespace) -> int:
    print_json(connect(arguments).call("GET", _message(arguments)))
    return 0


def _messages_cancel(arguments: argparse.Namespace) -> int:
    answer = connect(arguments).call("POST", f"{_message(arguments)}/cancel")
    print_either(arguments, answer, f"message {answer['id']} is cancelled")
    return 0


def _message(arguments: argparse.Namespace) -> str:
    return f"{_MESSAGES}/{quote(arguments.id, safe='')}"
