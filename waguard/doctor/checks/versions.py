"""WhatsApp's versions: is there one to go back to, and can what is kept of them be read. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from waguard.doctor.report import Check, Cli, ok, skipped, warning

NAME: Final = "versions"
DAY: Final = 86_400.0  # s
# s; WhatsApp refuses builds of about three months
OLD: Final = 60 * DAY


class Kept(Struct, frozen=True, kw_only=True):
    """What lies on the disk."""

    path: str
    """The folder of documents, or the file that cannot be read."""
    problem: str | None = None
    """Why it cannot be read; None: it can, or it is not there yet."""


def versions(
    kept: Kept, answer: Mapping[str, Any] | None, *, mode: str, now: float, cli: Cli
) -> Check:
    """``answer``: GET /api/versions; None: no daemon answers. ``now``: unix time."""
    if mode == "off":
        return ok(NAME, "versions.mode is off: every session gets what WhatsApp serves")
    if kept.problem:
        return warning(
            NAME,
            f"{kept.path} {kept.problem}",
            "Give it to the daemon's user alone; the daemon quarantines what it cannot use",
            f"ls -la {kept.path}",
        )
    if answer is None:
        return skipped(NAME, "no daemon answers that could say")
    rows: Sequence[Mapping[str, Any]] = answer.get("versions") or []
    good = [it for it in rows if it.get("status") in {"good", "pinned"} and it.get("stored")]
    stored = sum(bool(it.get("stored")) for it in rows)
    if not good:
        return ok(NAME, f"{stored} stored, none proven yet: that takes acks in some sessions")
    newest = max(good, key=lambda it: it["revision"])
    since = newest.get("since")
    days = 0.0 if since is None else (now - datetime.fromisoformat(since).timestamp()) / DAY
    seen = f"{stored} stored; the newest good one, {newest['revision']}, is {days:.0f} days old"
    if days * DAY < OLD:
        return ok(NAME, seen)
    return warning(
        NAME,
        f"{seen}: WhatsApp refuses versions of about three months",
        "Find out why no newer one works",
        cli("versions list"),
    )
