"""``waguard send``: send a text message."""

import argparse
import sys
from typing import Final

from waguard.cli.client import ApiCallError, connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.render import print_json
from waguard.errors import ConfigError

STDIN: Final = "-"
DEADLINE: Final = 90.0  # s; longer than a send waits for the session and for the ack


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("session")
    parser.add_argument("recipient", help="phone number in international form, or a chat id")
    parser.add_argument("text", help="- reads it from stdin")
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_send)


def _send(arguments: argparse.Namespace) -> int:
    text = _from_stdin() if arguments.text == STDIN else arguments.text
    client = connect(arguments)
    body = {
        "session_id": arguments.session,
        "recipient_phone": arguments.recipient,
        "message": text,
        "type": "text",
    }
    try:
        answer = client.call("POST", "/api/messages/send", body, timeout=DEADLINE)
    except ApiCallError as error:
        raise client.named(error, arguments.session) from None
    sent = bool(answer.get("success"))
    if arguments.json:
        print_json(answer)
    elif sent:
        print(f"sent: {answer['message_id']}")
    else:
        print(
            f"uncertain: WhatsApp did not answer; check the chat before sending it again ({answer.get('message_id') or answer['error']})"
        )
    return 0 if sent else 1


def _from_stdin() -> str:
    """All of it; the line end that `echo` adds is none of the message."""
    if sys.stdin is None:
        raise ConfigError("stdin is closed", field="text", remedy="pipe the text in, or name it")
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ConfigError("stdin is not UTF-8", field="text") from None
    text = text.removesuffix("\n")
    if not text.strip():
        raise ConfigError("stdin is empty", field="text", remedy="pipe the text in")
    return text
