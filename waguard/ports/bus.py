"""What happened, as everybody outside sees it."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class BusEvent(Struct, frozen=True, kw_only=True):
    """Something that happened, as everybody outside sees it. ``at`` is unix time."""

    id: int
    event: str
    session_id: str | None
    workspace_id: int | None
    at: float
    data: Mapping[str, Any]
    stored: bool = False
    """The event is in the inbox already, with its webhooks."""
