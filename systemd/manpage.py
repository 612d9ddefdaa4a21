"""Prints the manual page waguard(8), from the command line's own parser."""

import argparse
import sys
from collections.abc import Iterator

from waguard import __version__
from waguard.cli.program import COMMANDS, parser

EVERYWHERE = ("help", "config")  # what every command has
FILES = (
    ("/etc/waguard/waguard.toml", "the configuration; docs/configuration.md explains each key"),
    ("/var/lib/waguard", "profiles, state, database: credentials, to be kept private"),
    ("/run/waguard", "lock, pid file and sockets"),
)


def commands(
    of: argparse.ArgumentParser,
) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Every command that does something, with what it is for."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            about = {it.dest: it.help for it in action._choices_actions}
            for name, found in action.choices.items():
                below = list(commands(found))
                yield from below or [(found, about.get(name) or "")]


def page(top: argparse.ArgumentParser) -> str:
    """In man(7)'s language."""
    lines = [
        f'.TH WAGUARD 8 "" "waguard {__version__}"',
        *(".SH NAME", r"waguard \- keep WhatsApp Web sessions alive"),
        *(".SH SYNOPSIS", r".B waguard", r"\fICOMMAND\fR ..."),
        *(".SH DESCRIPTION", roff(top.description or "")),
        ".SH COMMANDS",
    ]
    for command, about in commands(top):
        lines += [".TP", rf"\fB{roff(command.prog)}\fR", roff(f"{about[:1].upper()}{about[1:]}.")]
        for action in command._actions:
            if action.help and action.dest not in EVERYWHERE:
                help_ = command._get_formatter()._expand_help(action)
                lines += [".br", rf"\fI{roff(_name(action))}\fR: {roff(help_)}"]
    lines += [".SH EXIT STATUS", roff(top.epilog or ""), ".SH FILES"]
    for path, about in FILES:
        lines += [".TP", rf"\fI{roff(path)}\fR", roff(about)]
    return "\n".join([*lines, ".SH SEE ALSO", r"\fBsystemctl\fR(1), \fBjournalctl\fR(1)", ""])


def _name(action: argparse.Action) -> str:
    return ", ".join(action.option_strings) or str(action.metavar or action.dest)


def roff(text: str) -> str:
    """``text`` as text: nothing in it is a request or an escape."""
    line = " ".join(text.replace("\\", r"\e").replace("-", r"\-").split())
    return rf"\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    sys.stdout.write(page(parser(*COMMANDS)))
