"""``waguard qr``: a session's QR code in the terminal, until it is scanned."""

import argparse
import time
from typing import Any, Final

from waguard.cli.client import ApiCallError, connect
from waguard.cli.parsing import with_config
from waguard.wire import qr

LINK_POLL: Final = 2.0  # s between two checks of a session that is being linked


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("session")
    parser.add_argument("--once", action="store_true", help="show the code of the moment and end")
    with_config(parser)
    parser.set_defaults(command=_qr)


def _qr(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    shown = said = ""
    while True:
        try:
            code = client.call("GET", client.session(arguments.session, "/qr?wait=20"))
        except ApiCallError as error:
            if error.answered == 425:  # noqa: PLR2004 - Too Early: not yet there
                continue
            if arguments.once or not (shown or "passkey_required" in str(error)):
                raise
            told = client.call("GET", client.session(arguments.session, "/status"))
            if shown and told["status"] == "connected":
                print(f"{arguments.session}: scanned")
                return 0
            if not (waits := _waits_for(told)):
                raise
            kind = waits.split(" (")[0]  # the seconds that are left are no news
            if kind != said:
                print(f"{arguments.session}: {waits}")
            said = kind
            time.sleep(LINK_POLL)
            continue
        if code["raw"] != shown:
            shown = code["raw"]
            print(qr.terminal(shown))
            print(
                f"WhatsApp on the phone: Linked devices → Link a device. Valid for {code['expires_in']} s."
            )
        if arguments.once:
            return 0
        # the next look is due when this code is about to change, or was scanned
        time.sleep(min(2.0, max(0.5, code["expires_in"])))


def _waits_for(status: dict[str, Any]) -> str | None:
    """Why there is no code and will be none for now; None: nobody came in time."""
    for condition in status.get("conditions", []):
        if condition["type"] == "passkey_required":
            left = "" if condition["expires_in"] is None else f" ({condition['expires_in']} s left)"
            return f"{condition['message']}{left}. {condition['remedy']}"
    return "scanned; it is being linked" if status["status"] == "authenticated" else None
