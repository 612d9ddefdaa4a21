"""How sessions and the whole fleet read: since when, why, and what to do next. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

STATUS_STYLES: Final = {
    "connected": "good",
    "qr_scanning": "wait",
    "authenticated": "wait",
    "disconnected": "bad",
    "failed": "bad",
}
ANSWERS: Final = "answers"
"""What /health/detailed says of a database that does."""
# conditions that say no more than that somebody has to scan a code
_SCANS: Final = frozenset(
    {("link", "qr_pending"), ("link", "logged_out"), ("parked", "qr_expired")}
)
_STARTS: Final = ("start", "starting")
_KEPT: Final = (
    *("lifecycle", "link", "restarts", "cpu_percent", "memory_mb", "worker_pid", "browser_pid"),
    "removed_at",
)

Session = Mapping[str, Any]
"""As the API has it."""


def of_workspace(sessions: Iterable[Session], workspace: int | None) -> list[Session]:
    """Those of one workspace; None: all."""
    return [it for it in sessions if workspace in {None, it["workspace_id"]}]


def row(session: Session) -> dict[str, Any]:
    """A session as columns."""
    first = next(iter(session.get("conditions") or ()), None)
    return {
        "session": session["session_id"],
        "workspace": session["workspace_id"],
        "status": session["status"],
        "since": _since(session, first),
        "phone": session["phone_number"],
        "reason": first["message"] if first else _reason(session),
        "next": first["remedy"] if first else _next(session),
        **{key: session.get(key) for key in _KEPT},
    }


def _since(session: Session, first: Mapping[str, Any] | None) -> str | None:
    if session.get("removed_at"):
        found = session["removed_at"]
    elif session["status"] == "connected":
        found = session.get("connected_at")
    else:
        found = first["since"] if first else None
    return None if found is None else str(found)


def is_down_on_purpose(session: Session) -> bool:
    """Whether a person had it stopped, logged out or deleted."""
    return session.get("disconnect_reason") == "user_initiated"


def _reason(session: Session) -> str | None:
    if session.get("removed_at"):
        return "deleted"
    if is_down_on_purpose(session):
        return "stopped on purpose"
    found = (session.get(key) for key in ("degraded", "waiting", "disconnect_details"))
    return next((str(one) for one in found if one), None)


def _next(session: Session) -> str | None:
    return (
        f"`waguard sessions start {session['session_id']}`" if is_down_on_purpose(session) else None
    )


def waits_for_scan(session: Session) -> bool:
    """Whether all that it needs is that somebody scans its code."""
    if session["status"] == "connected":
        return False
    found = {(it["type"], it["reason"]) for it in session.get("conditions") or ()}
    if session["status"] == "qr_scanning":  # its first start is the way to a code
        found.discard(_STARTS)
        return found <= _SCANS
    return bool(found) and found <= _SCANS


def is_degraded(health: Mapping[str, Any], sessions: Iterable[Session]) -> bool:
    """Whether anything is wrong; a session that waits for a scan is not."""
    waiting = tuple(f"{it['session_id']} is " for it in sessions if waits_for_scan(it))
    return any(not problem.startswith(waiting) for problem in health["problems"])


def others(health: Mapping[str, Any], sessions: Sequence[Session]) -> list[str]:
    """Problems that neither the fleet's conditions nor the sessions' rows show."""
    said = {it["message"] for it in health["conditions"] if it["session_id"] is None}
    names = [it["session_id"] for it in sessions]
    own = tuple(f"{name}{then}" for name in names for then in (" is ", ": "))
    return [it for it in health["problems"] if it not in said and not it.startswith(own)]
