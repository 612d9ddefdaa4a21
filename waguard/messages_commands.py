"""What ``waguard messages`` asks the API, and how it reads."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

Call = Callable[[str, str], Any]
"""Method and path; the decoded answer."""

COLUMNS: Final = ("id", "session_id", "to", "type", "status", "attempts", "created_at", "error")
_MESSAGES: Final = "/api/messages"


def listing(call: Call, *, session: str | None, state: str | None) -> Any:
    """The newest, as the API tells them."""
    asked = {"session_id": session, "state": state}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return call("GET", f"{_MESSAGES}?{query}" if query else _MESSAGES)


def show(call: Call, number: str) -> Any:
    """One of them."""
    return call("GET", f"{_MESSAGES}/{quote(number, safe='')}")


def cancel(call: Call, number: str) -> str:
    """What was done, in words."""
    told = call("POST", f"{_MESSAGES}/{quote(number, safe='')}/cancel")
    return f"message {told['id']} is cancelled"
