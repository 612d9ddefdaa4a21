"""``waguard top``: status and resource use of every session, refreshed until Ctrl-C."""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from waguard.cli import history
from waguard.cli.client import ApiCallError, ApiClient, connect
from waguard.cli.parsing import seconds, since, with_config, with_workspace
from waguard.cli.render import age, cut, moment, paint, table
from waguard.cli.rows import Session, column_style, of_workspace, row
from waguard.cli.status import fleet

COLUMNS: Final = ("session", "status", "since", "cpu_percent", "memory_mb", "restarts", "reason")
_FEWEST: Final = 0.5  # s between two requests
# an alternate screen without a cursor, and back
_OPEN: Final = "\x1b[?1049h\x1b[?25l"
_CLOSE: Final = "\x1b[?25h\x1b[?1049l"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--interval", type=seconds, default=2.0, metavar="S", help="(%(default)s)")
    parser.add_argument("--once", action="store_true", help="print it once and end")
    parser.add_argument(
        "--history", action="store_true", help="what the fleet was like, once, instead"
    )
    parser.add_argument(
        "--since", type=since, metavar="WHEN", help="of --history: 7d, or an ISO time (24h)"
    )
    with_workspace(parser)
    with_config(parser)
    parser.set_defaults(command=_top)


def _top(arguments: argparse.Namespace) -> int:
    client = connect(arguments)
    if arguments.history:
        for line in history.lines(history.read(client, arguments.since)):
            print(line)
        return 0
    if arguments.once or not is_terminal():
        for line in _lines(client, arguments.workspace):
            print(line)
        return 0
    print(_OPEN, end="")
    try:
        while True:
            size = shutil.get_terminal_size()
            print(frame(_shown(client, arguments.workspace), size.lines), end="", flush=True)
            time.sleep(max(_FEWEST, arguments.interval))
    except KeyboardInterrupt:
        return 0
    finally:
        print(_CLOSE, end="", flush=True)


def is_terminal() -> bool:
    """Whether one frame can take the place of another."""
    return sys.stdout.isatty()


def frame(lines: Iterator[str], rows: int) -> str:
    """The lines in place of those before, as many as there is room for."""
    return "\x1b[H" + "\x1b[K\n".join(islice(lines, rows)) + "\x1b[J"


def _shown(client: ApiClient, workspace: int | None) -> Iterator[str]:
    try:
        yield from _lines(client, workspace)
    except ApiCallError as error:  # it may be starting again at this moment
        yield paint(error.line(), "bad")


def _lines(client: ApiClient, workspace: int | None) -> Iterator[str]:
    health = client.call("GET", "/health/detailed")
    every = health.pop("details")
    yield from fleet(client.base, health, every)
    yield from busiest(of_workspace(every or (), workspace))


def busiest(sessions: Sequence[Session]) -> Iterator[str]:
    """A line for each; what uses most comes first."""
    now = time.time()
    rows = sorted(map(row, sessions), key=lambda it: (-(it["cpu_percent"] or 0.0), it["session"]))
    if rows:
        size = shutil.get_terminal_size((100, 24)).columns
        yield from table([_short(it, now) for it in rows], COLUMNS, fit=size, style=column_style)


def _short(it: Mapping[str, Any], now: float) -> dict[str, Any]:
    since = it["since"] and age(now - moment(it["since"]))
    return {**it, "session": cut(it["session"], 40), "since": since}
