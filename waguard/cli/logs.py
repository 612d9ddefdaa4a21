"""``waguard logs``: the log of the daemon and its workers."""

import argparse
import json
from typing import Final

from waguard.cli import log_reading
from waguard.cli.context import config_of
from waguard.cli.log_reading import Wanted
from waguard.cli.parsing import with_config
from waguard.cli.render import paint

LINES: Final = 100
MOST: Final = 1_000_000
_STYLES: Final = {2: "bad", 3: "bad", 4: "wait", 7: "soft"}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="follow new lines")
    parser.add_argument("--session", help="lines about this session alone")
    parser.add_argument(
        "--level",
        type=str.upper,
        choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        help="lines of this level and above",
    )
    parser.add_argument(
        "-n", "--lines", type=_count, default=LINES, help="number of newest lines (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one object a line, for a machine")
    with_config(parser)
    parser.set_defaults(command=_logs)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= (count := int(text)) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST}")
    return count


def _logs(arguments: argparse.Namespace) -> int:
    source = log_reading.find(config_of(arguments).paths.runtime, arguments.context.root)
    wanted = Wanted(lines=arguments.lines, session=arguments.session, level=arguments.level)
    for entry in log_reading.read(source, wanted, follow=arguments.follow):
        if arguments.json:
            print(json.dumps(entry.fields), flush=True)
        else:
            style = None if entry.level is None else _STYLES.get(entry.level)
            print(paint(log_reading.sentence(entry), style), flush=True)
    return 0
