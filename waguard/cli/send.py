"""``waguard send``: send a text message."""

import argparse
import sys
from typing import Final

from waguard.cli import context
from waguard.cli.client import ApiCallError, NoAnswerError, connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.render import print_json
from waguard.config.sections import Send
from waguard.errors import ConfigError

STDIN: Final = "-"
_MARGIN: Final = 40.0  # s; the daemon has 37 of its own beyond the two waits of a send


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
    settings = context.read(arguments)[1].config.send
    silent = "WhatsApp"
    try:
        answer = client.call("POST", "/api/messages/send", body, timeout=deadline(settings))
    except NoAnswerError as error:
        if not error.requested:
            raise
        silent = "waguard"
        answer = {
            "success": False,
            "outcome": "uncertain",
            "message_id": None,
            "error": error.message,
        }
    except ApiCallError as error:
        raise client.named(error, arguments.session) from None
    sent = bool(answer.get("success"))
    if arguments.json:
        print_json(answer)
    elif sent:
        print(f"sent: {answer['message_id']}")
    else:
        print(
            f"uncertain: {silent} did not answer; check the chat, or `waguard messages list --session {arguments.session}`,"
            f" before sending it again ({answer.get('message_id') or answer['error']})"
        )
    return 0 if sent else 1


def deadline(settings: Send) -> float:
    """Seconds: longer than the daemon waits for the session and for WhatsApp's answer."""
    return settings.wait + settings.timeout + _MARGIN


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
