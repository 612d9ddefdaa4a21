"""``waguard send``: send a text message."""

import argparse

from waguard.cli.client import connect
from waguard.cli.parsing import with_config


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("session")
    parser.add_argument("recipient", help="phone number in international form, or a chat id")
    parser.add_argument("text")
    with_config(parser)
    parser.set_defaults(command=_send)


def _send(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    body = {
        "session_id": arguments.session,
        "recipient_phone": arguments.recipient,
        "message": arguments.text,
        "type": "text",
    }
    answer = client.call("POST", "/api/messages/send", body, timeout=90.0)
    if answer.get("success"):
        print(f"sent: {answer['message_id']}")
        return 0
    print(
        f"uncertain: WhatsApp did not answer; do not send it again blindly ({answer.get('message_id')})"
    )
    return 1
