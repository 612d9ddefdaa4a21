"""What commands print."""

import json
from collections.abc import Sequence
from typing import Any

from waguard.errors import printable


def print_json(value: Any) -> None:
    """For a machine."""
    print(json.dumps(value, indent=2))


def print_table(rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """These columns of the rows, under their names."""
    texts = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for line in [[column.upper() for column in columns], *texts]:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


def _cell(value: Any) -> str:
    return "-" if value is None else printable(str(value))


def undecryptable(session: dict[str, Any]) -> str | None:
    """How many messages its WhatsApp Web cannot decrypt yet; None: no message, or an older daemon."""
    told = session.get("undecryptable") or {"count": 0}
    if not (count := told["count"]):
        return None
    what = f"{count} message{'' if count == 1 else 's'}"
    text = (
        f"{session['session_id']}: {what} cannot be decrypted yet, the oldest since {told['since']}"
    )
    return printable(text)
