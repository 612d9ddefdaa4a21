"""``waguard help``: the same as ``--help`` behind the words that follow."""

import argparse

from waguard.cli import program


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="and its verb")
    parser.set_defaults(command=_help)


def _help(arguments: argparse.Namespace) -> int:
    return program.main([*arguments.words, "--help"], arguments.context)
