"""argv → exit code.

0 ok · 1 unexpected, or the API said no · 2 configuration or usage · 3 another instance holds the
lock or the database's lease · 4 port in use · 5 `status`: degraded, `doctor`: something failed · 6 `run`: another
host took the lease, whose standby a next start is. Only the command that is named is imported: a refused second
instance must cost a tenth of a second.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from waguard import __version__
from waguard.cli import output
from waguard.cli.context import Context
from waguard.cli.parsing import Command, Parser, described, require_text, with_config
from waguard.command import command_of
from waguard.errors import WaguardError, printable
from waguard.host.system.systemd import is_journal

COMMANDS: Final = {
    "run": "run the daemon in the foreground",
    "sweep": "end workers and Chromiums that a dead daemon left",
    "demo": "watch a session live, on a stand-in of WhatsApp Web",
    "lab": "several hosts on this machine to play with: cluster",
    "chaos": "break a waguard of its own in every known way, see it heal",
    "standin": "run the stand-in of WhatsApp Web alone",
    "phone": "play the phone of the stand-in",
    "status": "the daemon and its sessions: status, conditions, next steps",
    "top": "status and resource use of every session, refreshed",
    "page": "the address of the status page, which needs no key for one use",
    "why": "what went wrong, with a session or all, and what waguard did",
    "incidents": "what went wrong lately, of every session and of all at once",
    "audit": "who changed what by the API, and what came of it",
    "logs": "read the log of the daemon and its workers",
    "events": "follow what happens, as it happens",
    "doctor": "what is wrong on this host, and what repairs it",
    "hosts": "the hosts of the cluster, and what each has",
    "drain": "empty a host of the cluster, so that it can be switched off",
    "reconcile": "compare database, memory and host, and correct them",
    "database": "the database that is found: accept it",
    "config": "the configuration that is found: check, show",
    "keys": "the keys of the API: list, create, revoke; show, add, remove those of the key file",
    "sessions": "create, list, show, start, stop, move, link and unlink sessions",
    "profile": "check profiles, copy and restore their credentials",
    "import": "copy the profiles of whatsapp-web.js to where waguard has its own",
    "webhooks": "dead letters and chats that wait: list, show, deliver again, delete",
    "messages": "show and cancel messages of the outbox",
    "alerts": "destinations of alerts: test them, report a daemon that failed",
    "versions": "which version of WhatsApp Web sessions get: list, pin, unpin, try",
    "wajs": "which wa-js is injected into it: list, add, try, use",
    "backup": "save database, credentials, keys and configuration in one archive",
    "restore": "put a backup in place on a host without sessions",
    "release": "end what waits since a restore: messages to groups, webhooks",
    "qr": "show a session's QR code in the terminal, until it is scanned",
    "passkey": "sign with a passkey, in a Chrome on this desk, what WhatsApp asks for a linking",
    "send": "send a text message",
    "help": "explain waguard, a command or its verb",
    "completion": "print what makes a shell complete waguard's commands",
}
"""Each is the module of its name in this package, whose ``add`` gives it its arguments."""
_MODULES: Final = {"import": "import_profiles"}  # a name that Python keeps for itself
_CONTEXT: Final = Context()


def main(argv: Sequence[str] | None = None, context: Context = _CONTEXT) -> int:
    """Run one command; errors are one line, never a traceback."""
    warnings.formatwarning = _warning
    given, code = sys.argv[1:] if argv is None else list(argv), 0
    try:
        with output.stdout():
            start = argparse.Namespace(context=context, config=None)
            arguments = parser(command_of(given)).parse_args(given, start)
            require_text(arguments)
            command: Command = arguments.command
            code = command(arguments)
    except WaguardError as error:
        _complain(error.line())
        return error.code
    except KeyboardInterrupt:
        return 130
    except output.OutputLostError as lost:
        if not lost.read:
            _complain(f"the output is not complete: {lost}")
            return 1
    return code


def _complain(line: str) -> None:
    priority = "<3>" if is_journal(sys.stderr) else ""  # sd-daemon(3): an error
    output.say(f"{priority}waguard: {line}\n")


def _warning(message: Warning | str, *_: object, **__: object) -> str:
    """A warning of Python's for a person: libraries warn with what came from outside."""
    return f"waguard: {printable(str(message))}\n"


def parser(*named: str) -> argparse.ArgumentParser:
    """Every command, and the arguments of those that are named."""
    whole = Parser(
        prog="waguard",
        description="Keeps WhatsApp Web sessions alive: one daemon per host, one worker per session.",
        epilog="`waguard help COMMAND` explains each command. Exit codes: 0 ok, 1 failed, 2 configuration or usage, 3 another instance, 4 port in use,"
        " 5 status: degraded, doctor: something failed, 6 run: another host took the lease.",
    )
    whole.add_argument("--version", action="version", version=f"waguard {__version__}")
    with_config(whole)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        # all that follows `phone` is the phone's own: no prefix makes any of it an option here
        bare: dict[str, Any] = {"add_help": False, "prefix_chars": "\0"} if name == "phone" else {}
        one = described(commands, name, about, **bare)
        if name in named:
            import_module(f"waguard.cli.{_MODULES.get(name, name)}").add(one)
    return whole
