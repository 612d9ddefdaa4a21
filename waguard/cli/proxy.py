"""``waguard sessions proxy``: a session's own proxy."""

import argparse
import getpass
import sys
from typing import Any, Final

from waguard.cli.client import connect
from waguard.cli.parsing import with_daemon, with_json
from waguard.cli.render import print_json
from waguard.errors import ConfigError, printable

ABOUT: Final = "show a session's own proxy, or set or remove it; then its worker is replaced"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("session")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--set", metavar="SERVER", help="socks5://, http:// or https://HOST:PORT")
    change.add_argument("--remove", action="store_true", help="go the host's own way")
    parser.add_argument(
        "--user", metavar="NAME", help="with --set; the password is asked for, or read from stdin"
    )
    with_json(parser)
    with_daemon(parser)
    parser.set_defaults(command=_proxy)


def _proxy(arguments: argparse.Namespace) -> int:
    if arguments.user is not None and arguments.set is None:
        raise ConfigError("it goes with --set", field="--user")
    session = connect(arguments).one(arguments.session)
    if arguments.set is not None:
        body: dict[str, Any] = {"server": arguments.set}
        if arguments.user is not None:
            body |= {"username": arguments.user, "password": _password()}
        answer = session.call("PUT", "/proxy", body)
    else:
        answer = session.call("DELETE" if arguments.remove else "GET", "/proxy")
    if arguments.json:
        print_json(answer)
    elif found := answer["proxy"]:
        user = f", as {found['username']}" if found["username"] else ""
        print(printable(f"{session.name}: {found['server']}{user}"))
    else:
        print(f"{session.name}: no proxy of its own")
    return 0


def _password() -> str:
    """Never an argument: others could read it in the list of processes."""
    if sys.stdin and sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
