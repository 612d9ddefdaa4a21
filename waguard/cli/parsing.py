"""What the parsers of several commands share."""

import argparse
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from waguard.cli import output
from waguard.core.exits import EXIT_USAGE
from waguard.errors import ConfigError
from waguard.host import configuration_file

Command = Callable[[argparse.Namespace], int]
"""What a command does; its exit code."""


_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_YEAR: Final = 365 * 86_400.0  # s


class Parser(argparse.ArgumentParser):
    """Knows no option by the beginning of its name, and names the nearest word for an unknown one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See ``ArgumentParser``; here, where its options are known, nothing may be left."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            options = [name for action in self._actions for name in action.option_strings]
            close = get_close_matches(rest[0], options, cutoff=0.75)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            self.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        raise argparse.ArgumentError(action, f"{value!r} is unknown; {_nearest(value, action)}")


def _nearest(value: Any, action: argparse.Action) -> str:
    known = [str(one) for one in action.choices or ()]
    close = get_close_matches(str(value), known)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def require_text(arguments: argparse.Namespace) -> None:
    """Raises ``ConfigError`` for what is not UTF-8: no id, number or text is; a path may be."""
    for name, given in vars(arguments).items():
        for text in given if isinstance(given, list) else (given,):
            if isinstance(text, str) and not _is_text(text):
                raise ConfigError(
                    f"{text!a} is not UTF-8", field=name, value=text, remedy="give it as UTF-8"
                )


def _is_text(given: str) -> bool:
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def verbs_of(parser: argparse.ArgumentParser) -> Any:
    """Where ``verb`` adds the verbs of a noun."""
    with_config(parser)
    parser.set_defaults(command=lambda _: _lists(parser))
    return parser.add_subparsers(metavar="VERB")


def _lists(parser: argparse.ArgumentParser) -> int:
    """No verb was named: nothing is done."""
    output.say(parser.format_help())
    return EXIT_USAGE


def verb(
    verbs: Any, name: str, command: Command, about: str, *, aliases: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """One verb and what it does."""
    parser = described(verbs, name, about, aliases=aliases)
    parser.set_defaults(command=command)
    return parser


def described(parsers: Any, name: str, about: str, **options: Any) -> argparse.ArgumentParser:
    """A parser whose help says what it is about."""
    parser: argparse.ArgumentParser = parsers.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", **options
    )
    return parser


def with_json(parser: argparse._ActionsContainer) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="for a machine")


def with_all(parser: argparse.ArgumentParser) -> None:
    """``--all``."""
    parser.add_argument("--all", action="store_true", help="also sessions that were deleted")


def with_workspace(parser: argparse.ArgumentParser) -> None:
    """``--workspace``."""
    parser.add_argument(
        "--workspace", type=int, metavar="N", help="only sessions of this workspace"
    )


def with_daemon(parser: argparse.ArgumentParser, *, timeout: float | None = None) -> None:
    """``--config`` and ``--timeout``, of whoever asks the daemon; ``timeout``: the default."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=timeout,
        metavar="SECONDS",
        help="give up after so long"
        + (f" ({timeout:g})" if timeout else "; else as long as it takes"),
    )
    with_config(parser)


def seconds(text: str) -> float:
    """A wait: above 0, a year at most, which every clock takes."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= _YEAR:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0, a year's at most"
        )
    return found


def with_config(parser: argparse.ArgumentParser) -> None:
    """``--config``."""
    parser.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,  # it may stand before the command or its verb
        metavar="FILE",
        help=f"TOML; else ${configuration_file.VARIABLE}, else {configuration_file.SYSTEM_FILE}, else"
        f" ./{configuration_file.LOCAL_FILE}, else the defaults",
    )


def duration(text: str) -> int:
    """Seconds, one at least."""
    if found := _units(text):
        return found
    raise argparse.ArgumentTypeError(f"{text!r} is not a duration: 30m, 12h, 90d")


def since(text: str) -> float:
    """Unix time of so long ago, or of an ISO time, which is UTC where it names no zone."""
    ago = _units(text)
    try:
        if ago is not None:
            at = datetime.fromtimestamp(time.time() - ago, UTC)
        else:
            at = datetime.fromisoformat(text)
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # also one of no year that there is
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: 30m, 24h, 7d or 2026-11-25T09:00"
        ) from None
    return at.timestamp()


def _units(text: str) -> int | None:
    found = _DURATION.fullmatch(text)
    return found and int(found[1]) * _SECONDS[found[2]]
