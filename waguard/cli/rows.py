"""How sessions and the whole fleet read: since when, why, and what to do next. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

_STYLES: Final = {
    "connected": "good",
    "qr_scanning": "wait",
    "authenticated": "wait",
    "disconnected": "bad",
    "failed": "bad",
}
# type and reason of conditions that say no more than that a person has to scan a code
_SCANS: Final = frozenset(
    {
        *(("link", "qr_pending"), ("link", "logged_out"), ("parked", "qr_expired")),
        ("unlinked", "unlinked"),
    }
)
_KEPT: Final = (
    "disconnect_reason",
    *("lifecycle", "link", "restarts", "cpu_percent", "memory_mb", "worker_pid", "browser_pid"),
    "removed_at",
)

_DIGITS: Final = 12  # of a SHA-256

Session = Mapping[str, Any]
Condition = Mapping[str, Any]
"""Both as the API has them."""


def of_workspace(sessions: Iterable[Session], workspace: int | None) -> list[Session]:
    """Those of one workspace; None: all."""
    return [it for it in sessions if workspace in {None, it["workspace_id"]}]


def status_style(session: Session) -> str | None:
    """The colour of its status."""
    return "soft" if is_down_on_purpose(session) else _STYLES.get(session["status"])


def column_style(session: Session, column: str) -> str | None:
    """The colour of one of the columns of ``row``."""
    return status_style(session) if column == "status" else None


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
        **version(session),
    }


def version(session: Session) -> dict[str, str | None]:
    """What its page is loaded with, as columns."""
    it = session.get("version")
    if not it:
        return {"version": None, "wajs": None}
    page, document = it["page"], it["document"]
    other = f", document {document}" if document not in {None, page} else ""
    digest = (it["wajs"] or "")[:_DIGITS]
    return {
        "version": f"{page or 'unknown'} ({it['served_by']}{other})",
        "wajs": " ".join(one for one in (it["wajs_version"], digest) if one) or None,
    }


def _since(session: Session, first: Condition | None) -> str | None:
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
        return str(session.get("disconnect_details") or "stopped on purpose")
    found = (session.get(key) for key in ("degraded", "waiting", "disconnect_details"))
    return next((str(one) for one in found if one), None)


def _next(session: Session) -> str | None:
    return (
        f"`waguard sessions start {session['session_id']}`" if is_down_on_purpose(session) else None
    )


def needs_scan(session: Session) -> bool:
    """Whether all that it needs is that a person scans its code."""
    found = session.get("conditions") or ()
    return bool(found) and all((it["type"], it["reason"]) in _SCANS for it in found)


def others(conditions: Iterable[Condition], sessions: Iterable[Session]) -> list[Condition]:
    """Those that no row of these sessions shows: of all sessions at once, or of one without a row."""
    shown = {it["session_id"] for it in sessions}
    return [it for it in conditions if it["session_id"] not in shown]
