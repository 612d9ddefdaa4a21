"""``waguard top --history``: a line for each series of the fleet, as a plot of blocks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from waguard.cli.client import ApiClient
from waguard.cli.render import table

COLUMNS: Final = ("series", "history", "now", "least", "most")
_WIDTH: Final = 48
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_UNKNOWN: Final = " "
_STEPS: Final = ((1 << 30, "G"), (1 << 20, "M"), (10_000, "k"))


def read(client: ApiClient, since: float | None) -> dict[str, list[float | None]]:
    """Each series of the fleet; ``since``: unix time."""
    query = f"?since={quote(datetime.fromtimestamp(since, UTC).isoformat())}" if since else ""
    found: dict[str, list[float | None]] = client.call("GET", f"/api/history{query}")["series"]
    return found


def lines(series: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    """A table of plots."""
    yield from table([_row(name, values) for name, values in series.items()], COLUMNS)


def _row(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    known = [it for it in values if it is not None]
    least, most = (min(known), max(known)) if known else (None, None)
    return {
        "series": name,
        "history": plot(values),
        "now": _number(known[-1] if known else None),
        "least": _number(least),
        "most": _number(most),
    }


def plot(values: Sequence[float | None], width: int = _WIDTH) -> str:
    """Blocks of the highest value of each part; a gap where nothing is known."""
    size = max(1, math.ceil(len(values) / width))
    parts = [values[at : at + size] for at in range(0, len(values), size)]
    tops = [max((it for it in part if it is not None), default=None) for part in parts]
    most = max((it for it in tops if it is not None), default=0.0)
    return "".join(_UNKNOWN if it is None else _block(it, most) for it in tops)


def _block(value: float, most: float) -> str:
    share = value / most if most > 0 else 0.0
    return _BLOCKS[min(len(_BLOCKS) - 1, int(max(0.0, share) * len(_BLOCKS)))]


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    for size, unit in _STEPS:
        if value >= size:
            return f"{value / (1000 if unit == 'k' else size):.0f}{unit}"
    return f"{value:.1f}".removesuffix(".0")
