"""What the parsers of several commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waguard.host import configuration

Command = Callable[[argparse.Namespace], int]
"""What a command does; its exit code."""


def verbs_of(parser: argparse.ArgumentParser) -> Any:
    """Where ``verb`` adds the verbs of a noun."""
    return parser.add_subparsers(required=True, metavar="VERB")


def verb(verbs: Any, name: str, command: Command, about: str) -> argparse.ArgumentParser:
    """One verb and what it does."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}."
    )
    parser.set_defaults(command=command)
    return parser


def with_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="for a machine")


def with_all(parser: argparse.ArgumentParser) -> None:
    """``--all``."""
    parser.add_argument("--all", action="store_true", help="also sessions that were deleted")


def with_config(parser: argparse.ArgumentParser) -> None:
    """``--config``."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"TOML; else ${configuration.VARIABLE}, else {configuration.SYSTEM_FILE}, else"
        f" ./{configuration.LOCAL_FILE}, else the defaults",
    )
