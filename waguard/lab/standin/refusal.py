"""A request that the stand-in does not carry out, and what to do about it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """`status` is the HTTP status; `field` and `value` name what was wrong in the request, if anything was."""

    def __init__(
        self, status: int, error: str, remedy: str, field: str = "", value: object = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.remedy, self.field, self.value = (
            status,
            error,
            remedy,
            field,
            value,
        )

    def to_json(self) -> dict[str, Any]:
        named = {"field": self.field, "value": self.value} if self.field else {}
        return {"error": self.error, "remedy": self.remedy} | named


def refusal_of(error: msgspec.ValidationError, request: Mapping[str, Any]) -> Refusal:
    """msgspec's complaint as a refusal (400) that names the field and its value."""
    text = str(error)
    complaint, _, path = text.partition(" - at `$")
    named = re.search(r"field `([^`]+)`", complaint)
    field = path.strip("`.[]").split(".")[0].split("[")[0] or (named[1] if named else "")
    if complaint.startswith("Object missing required"):
        remedy = f"add {field!r} to the JSON body"
    elif complaint.startswith("Object contains unknown"):
        remedy = f"leave {field!r} out"
    else:
        remedy = complaint
    return Refusal(400, complaint, remedy, field, request.get(field))
