"""The question before what cannot be taken back."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from waguard.errors import ConfigError, WaguardError, printable

_SHOWN: Final = 5  # names


class DeclinedError(WaguardError):
    """A person said no."""


def with_yes(parser: argparse.ArgumentParser) -> None:
    """``--yes``."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def require_yes(arguments: argparse.Namespace, what: str) -> None:
    """Ask on a terminal whether to do ``what``, a sentence without its full stop; elsewhere ``--yes``
    must be there. Raises ``ConfigError``, ``DeclinedError``."""
    if arguments.yes:
        return
    text = printable(what)
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{text}: without a terminal this needs --yes",
            field="--yes",
            remedy="nothing was done; say --yes to have it done",
        )
    sys.stderr.write(f"{text}.\nType yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise DeclinedError("nothing was done")


def counted(names: Sequence[str]) -> str:
    """The sessions in a sentence."""
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} sessions ({shown}{more})" if len(names) > 1 else f"session {shown}"
