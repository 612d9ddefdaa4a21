"""Retry-After, as a receiver sends it (RFC 9110, 10.2.3). Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DIGITS = 9  # of its seconds that count: 30 years, far beyond what is followed


def seconds(header: str | None, *, now: float) -> float | None:
    """Seconds to wait from ``now`` (unix time), 0 or more; None: it names no time that can be read."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float("9" * DIGITS if len(header.lstrip("0")) > DIGITS else header)
    moment = _date(header)
    return None if moment is None else max(0.0, moment.timestamp() - now)


def _date(header: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # the latter: a zone that no clock has
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
