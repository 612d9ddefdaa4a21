"""What is understood of a worker of any protocol: its state, and that it lives.

Each version of the protocol keeps these: a frame, a hello, ``report`` with ``phase``, ``link`` and
``phone``, ``heartbeat`` with ``page``. All else that such a worker says is ignored.
"""

from typing import Any

import msgspec
from msgspec import Struct

from waguard.core.link import Link
from waguard.wire.bounds import Digits, Word


class StableReport(Struct, frozen=True, kw_only=True):
    """A worker's state, as far as every version says it."""

    phase: Word
    link: Link
    phone: Digits | None = None


class StableHeartbeat(Struct, frozen=True, kw_only=True):
    """A worker lives. ``page``: seconds that its page took to answer, None: it did not."""

    page: float | None = None


def understood(message: Any) -> StableReport | StableHeartbeat | None:
    """None: something else, or words of another time. ``message``: a frame, decoded without a type."""
    kinds = {"report": StableReport, "heartbeat": StableHeartbeat}
    kind = kinds.get(str(message.get("type"))) if isinstance(message, dict) else None
    if kind is None:
        return None
    try:
        found: StableReport | StableHeartbeat = msgspec.convert(message, kind)
    except msgspec.ValidationError:
        return None
    return found
