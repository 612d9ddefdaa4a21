"""``waguard sessions screenshot``: a picture of a session's page."""

import argparse
from pathlib import Path
from typing import Final

from waguard.cli.client import connect
from waguard.cli.files import save
from waguard.cli.parsing import with_daemon

ABOUT: Final = "save a picture of a session's page, with the chats that it shows"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("session")
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="SESSION.png by default; - is stdout"
    )
    with_daemon(parser)
    parser.set_defaults(command=_screenshot)


def _screenshot(arguments: argparse.Namespace) -> int:
    session = connect(arguments).one(arguments.session)
    content = session.call("GET", "/screenshot")
    save(content, arguments.file or Path(f"{session.name}.png"))
    return 0
