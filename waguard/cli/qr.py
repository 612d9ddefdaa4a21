"""``waguard qr``: a session's QR code in the terminal, until it is scanned."""

import argparse
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from waguard.cli.client import ApiCallError, SessionClient, connect
from waguard.cli.files import save
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.polling import polled
from waguard.cli.render import print_json, stage
from waguard.wire import qr

ABOUT: Final = "show a session's QR code in the terminal, until it is scanned"
TOO_EARLY: Final = 425
LONGEST_WAIT: Final = 20.0  # s for one answer
UNAVAILABLE: Final = 503


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("session")
    parser.add_argument("--new", action="store_true", help="have WhatsApp make a new code first")
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="show the current code and end")
    once.add_argument("--raw", action="store_true", help="print its text, for a QR code elsewhere")
    once.add_argument("--png", type=Path, metavar="FILE", help="write a picture of it; - is stdout")
    with_json(once)
    with_daemon(parser)
    parser.set_defaults(command=_qr)


def _qr(arguments: argparse.Namespace) -> int:
    session = connect(arguments).one(arguments.session)
    if arguments.new:
        _renew(session)
    if arguments.json:
        print_json(_code(session))
    elif arguments.raw:
        print(_code(session)["raw"])
    elif arguments.png:
        save(qr.png(_code(session)["raw"]), arguments.png)
    elif arguments.once:
        print(_picture(_code(session)))
    else:
        _show_until_scanned(session, arguments.context.link_poll)
    return 0


def _renew(session: SessionClient) -> None:
    try:
        session.call("POST", "/regenerate-qr", {})
    except ApiCallError as error:
        if error.answered != UNAVAILABLE:  # it is on its way
            raise


def _code(session: SessionClient) -> dict[str, Any]:
    """The code, as soon as there is one."""
    with session.waiting(f"the QR code of {session.name}") as waiting:
        while True:
            wait = max(1.0, min(LONGEST_WAIT, session.client.left))
            try:
                code: dict[str, Any] = session.call("GET", f"/qr?wait={wait:.0f}")
            except ApiCallError as error:
                if error.answered != TOO_EARLY:
                    raise
            else:
                return code
            waiting.goes_on()


def _show_until_scanned(session: SessionClient, poll: float) -> None:
    """``poll``: s between two checks, at most."""
    screen, shown, said = Screen(), False, ""
    while True:
        try:
            code = polled(session.client, lambda: _code(session), poll) if shown else _code(session)
        except ApiCallError as error:
            if not (shown or "passkey_required" in str(error)):
                raise
            answer = polled(session.client, lambda: session.call("GET", "/status"), poll)
            if shown and answer["status"] == "connected":
                screen.leave()
                print(f"{session.name}: scanned")
                return
            if not (waits := _waits_for(answer)):
                raise
            kind = waits.split(" (")[0]  # the seconds that are left are no news
            if kind != said:
                screen.leave()
                print(f"{session.name}: {waits}", flush=True)
            said = kind
            time.sleep(poll)
            continue
        shown = True
        screen.show(_picture(code), of=code["raw"])
        # the next check is due when this code is about to change, or was scanned
        time.sleep(min(poll, max(0.5, code["expires_in"])))


def _picture(code: Mapping[str, Any]) -> str:
    return (
        f"{qr.terminal(code['raw'])}\nWhatsApp on the phone: Linked devices → Link a device."
        f" Valid for {code['expires_in']} s."
    )


class Screen:
    """Shows the newest of several texts: in the place of the last one on a terminal, else one after
    the other, each ``of`` once."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._lines = 0
        self._of = ""

    def show(self, text: str, *, of: str) -> None:
        """A newer text; ``of``: what it is a picture of."""
        if self._of == of and not (self._live and self._lines):
            return
        above = f"\x1b[{self._lines}F\x1b[J" if self._lines else ""
        print(f"{above}{text}", flush=True)
        lines = text.splitlines()
        size = shutil.get_terminal_size()
        fits = len(lines) < size.lines and max(map(len, lines)) <= size.columns
        self._lines = len(lines) if self._live and fits else 0
        self._of = of

    def leave(self) -> None:
        """What is printed from now on stays below; the code, which is void, goes."""
        if self._lines:
            print(f"\x1b[{self._lines}F\x1b[J", end="")
        self._lines = 0


def _waits_for(status: Mapping[str, Any]) -> str | None:
    """Why there is no code and will be none for now; None: nobody came in time."""
    for condition in status.get("conditions", []):
        if condition["type"] == "passkey_required":
            return f"{condition['message']} ({stage(condition)}). {condition['remedy']}"
    return "scanned; it is being linked" if status["status"] == "authenticated" else None
