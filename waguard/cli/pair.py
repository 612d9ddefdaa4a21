"""``waguard sessions pair``: a code to type on the phone, in place of a scan."""

import argparse
import time
from typing import Any, Final

from waguard.cli.client import ApiCallError, connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.polling import polled
from waguard.cli.render import print_json
from waguard.cli.waiting import Waiting

ABOUT: Final = "show a code to type on the phone in place of a scan, until it is typed"
_ON_ITS_WAY: Final = frozenset({"qr_scanning", "authenticated"})


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("session")
    parser.add_argument("phone", help="its number in international form, e.g. +6281234567890")
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="show the code and end")
    with_json(once)
    with_daemon(parser)
    parser.set_defaults(command=_pair)


def _pair(arguments: argparse.Namespace) -> int:
    session = connect(arguments).one(arguments.session)
    answer = session.call("POST", "/pairing-code", {"phone_number": arguments.phone})
    if arguments.json:
        print_json(answer)
        return 0
    print(
        f"{session.name}: the code is {answer['code']}\nWhatsApp on the phone: Linked devices → Link a"
        " device → Link with phone number instead.",
        flush=True,
    )
    if arguments.once:
        return 0
    poll: float = arguments.context.link_poll

    def status() -> Any:
        return polled(session.client, lambda: session.call("GET", "/status"), poll)

    with Waiting(f"the phone of {session.name}", lambda: "the code is not typed yet"):
        while (now := status())["status"] in _ON_ITS_WAY:
            time.sleep(poll)
    if now["status"] != "connected":
        why = (
            now.get("disconnect_details")
            or now.get("disconnect_reason")
            or "the code expired before it was typed"
        )
        raise ApiCallError(
            f"the session is {now['status']}: {why}",
            answered=200,
            remedy=f"waguard sessions start {session.name}, then ask for a new code",
        )
    print(f"{session.name}: linked")
    return 0
