"""What commands print: tables, JSON, colours, durations."""

import argparse
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from waguard.cli import output
from waguard.errors import printable

WIDTH: Final = 100
"""Characters of a line that is not asked to be wide."""
NARROWEST: Final = 40

Style = Callable[[Mapping[str, Any], str], str | None]
"""The colour of a cell, by its row and its column."""

_COLOURS: Final = {"good": "32", "wait": "33", "bad": "31", "soft": "2", "bold": "1"}
_LEAST: Final = 10  # characters of a column that is cut
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def print_json(value: Any) -> None:
    """For a machine. A reader that has left does not end the command."""
    with output.to_whoever_reads():
        print(json.dumps(value, indent=2))


def print_either(arguments: argparse.Namespace, value: Any, *lines: str) -> None:
    """``value`` where ``--json`` asks for it, else the lines."""
    if arguments.json:
        print_json(value)
        return
    output.print_lines(*map(printable, lines))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """These columns of the rows, under their names."""
    for line in table(rows, columns):
        print(line)


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    fit: int | None = None,
    style: Style = lambda _row, _column: None,
) -> list[str]:
    """The head, then a line for each row. ``fit``: the last column is cut so that a line has at most
    so many characters."""
    texts = [[cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    if fit is not None:
        widths[-1] = max(_LEAST, fit - sum(widths[:-1]) - 2 * (len(columns) - 1))
    head = _line([name.upper() for name in columns], widths, ["soft" for _ in columns])
    styles = ([style(row, column) for column in columns] for row in rows)
    return [head, *(_line(line, widths, its) for line, its in zip(texts, styles, strict=True))]


def _line(texts: Sequence[str], widths: Sequence[int], styles: Sequence[str | None]) -> str:
    last = len(texts) - 1
    cells = [
        paint(cut(text, size).ljust(0 if at == last else size), style)
        for at, (text, size, style) in enumerate(zip(texts, widths, styles, strict=True))
    ]
    return "  ".join(cells).rstrip()


def cell(value: Any) -> str:
    """A value as a table shows it."""
    return "-" if value is None else printable(str(value))


def cut(text: str, size: int) -> str:
    """At most so many characters."""
    return text if len(text) <= size else f"{text[: size - 1]}…"


def wrapped(text: str, *, first: str, then: str) -> list[str]:
    """Lines of at most ``width()`` characters; no word of a command is torn apart."""
    return textwrap.wrap(
        printable(text),
        width(),
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def condition(it: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong, and what to do about it, where there is either."""
    if it.get("message"):
        yield from wrapped(f"! {it['message']}", first="  ", then="    ")
    if it.get("stage"):
        yield f"    {stage(it)}"
    if it.get("remedy"):
        yield from wrapped(f"→ {it['remedy']}", first="    ", then="      ")


def stage(it: Mapping[str, Any]) -> str:
    """How far a condition is that has stages, and for how long."""
    unattended = it.get("unattended_expires_in")
    alone = f", {unattended} s without a code to compare" if unattended else ""
    return f"stage {it['stage']}, {it['expires_in']} s left{alone}"


def width() -> int:
    """Characters of a line: ``WIDTH``, or what a narrower terminal has."""
    return min(WIDTH, max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns))


def undecryptable(session: Mapping[str, Any]) -> str | None:
    """How many messages its WhatsApp Web cannot decrypt yet; None: no message, or an older daemon."""
    waiting = session.get("undecryptable") or {"count": 0}
    if not (count := waiting["count"]):
        return None
    what = f"{count} message{'' if count == 1 else 's'}"
    return f"{what} cannot be decrypted yet, the oldest since {waiting['since']}"


def sentinel(session: Mapping[str, Any]) -> str | None:
    """What came of its newest message to its own number; None: there was none, or an older daemon."""
    if not (it := session.get("sentinel")):
        return None
    outcome = f"failed: {it['error']}" if it["error"] else f"worked, in {it['seconds']:.1f} s"
    return f"the message to its own number of {it['at']} {outcome}"


def paint(text: str, style: str | None) -> str:
    """In the colour of ``style``, where stdout takes colours."""
    return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if style and coloured() else text


def coloured() -> bool:
    """Whether stdout is a terminal, and neither NO_COLOR (no-color.org) nor TERM=dumb forbids it."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def moment(iso: str) -> float:
    """Unix time of a time of the API."""
    return datetime.fromisoformat(iso).timestamp()


def second(at: float) -> str:
    """Unix time as tables have it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def age(seconds: float) -> str:
    """A duration in at most six characters, such as 12s, 5m, 3h12m, 4d2h, 812d."""
    left = max(0, round(seconds))
    if left < _MINUTE:
        return f"{left}s"
    if left < _HOUR:
        return f"{left // _MINUTE}m"
    if left < _DAY:
        return f"{left // _HOUR}h{left % _HOUR // _MINUTE:02}m"
    days, hours = left // _DAY, left % _DAY // _HOUR
    return f"{days}d{hours}h" if days < 100 and hours else f"{days}d"  # noqa: PLR2004
