"""Which webhook events follow from a change of a session's status. Pure."""

from collections.abc import Mapping
from typing import Any

from waguard.core.row_status import DerivedStatus, Status

Announcement = tuple[str, Mapping[str, Any]]


def announce(
    before: DerivedStatus | None, after: DerivedStatus, *, phone: str | None
) -> list[Announcement]:
    """The events, with their data. QR codes are published one by one elsewhere.

    A new reason for the same status is not published.
    """
    if before is not None and before.status == after.status:
        return []
    match after.status:
        case Status.AUTHENTICATED:
            return [("session_authenticated", {"status": "authenticated"})]
        case Status.CONNECTED:
            return [("session_ready", {"phone_number": phone, "status": "connected"})]
        case Status.DISCONNECTED | Status.FAILED:
            return [
                (
                    "session_disconnected",
                    {
                        "reason": str(after.reason),
                        "status": str(after.status),
                        "details": after.details,
                    },
                )
            ]
        case Status.QR_SCANNING:
            return []
