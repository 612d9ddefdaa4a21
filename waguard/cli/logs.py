"""``waguard logs``: the log of the daemon and its workers."""

import argparse
import json
import os
import sys
from typing import Final

from waguard.cli import log_reading
from waguard.cli.context import config_of
from waguard.cli.log_reading import Entry, Wanted
from waguard.cli.parsing import with_config

LINES: Final = 100
MOST: Final = 1_000_000
_COLOURS: Final = {3: "\x1b[31m", 2: "\x1b[31m", 4: "\x1b[33m"}
_PLAIN: Final = "\x1b[0m"


def add(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--session", help="lines about this session alone")
    parser.add_argument(
        "--level",
        type=str.upper,
        choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        help="lines of this level, and graver ones",
    )
    parser.add_argument(
        "-n", "--lines", type=_count, default=LINES, help="the newest so many (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one object a line, for a machine")
    with_config(parser)
    parser.set_defaults(command=_logs)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= (count := int(text)) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST}")
    return count


def _logs(arguments: argparse.Namespace) -> int:
    source = log_reading.find(config_of(arguments).paths.runtime)
    wanted = Wanted(lines=arguments.lines, session=arguments.session, level=arguments.level)
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for entry in log_reading.read(source, wanted, follow=arguments.follow):
        line = json.dumps(entry.fields) if arguments.json else log_reading.sentence(entry)
        print(_coloured(line, entry) if colours and not arguments.json else line, flush=True)
    return 0


def _coloured(line: str, entry: Entry) -> str:
    colour = _COLOURS.get(entry.level if entry.level is not None else -1)
    return f"{colour}{line}{_PLAIN}" if colour else line
