"""The text of an entry of the audit log."""

from typing import Any

import pytest

from waguard.core.incidents import timeline
from waguard.core.incidents.changes import CHANGE
from waguard.ports.store import AuditEntry

STOP = "POST /api/sessions/{session_id}/stop"


@pytest.mark.parametrize(
    ("kind", "rest", "expected"),
    [
        ("status", {"before": "connected", "after": "failed"}, "it was connected, and is failed"),
        (
            "status",
            {"before": "connected", "after": "failed", "reason": "x"},
            "it was connected, and is failed: x",
        ),
        ("restart", {"reason": "it hung"}, "its worker was started again: it hung"),
        ("parked", {"reason": "conflict"}, "it was parked (conflict)"),
        ("acks_back", {}, "WhatsApp acknowledges again"),
        ("network_down", {"reason": "no default route"}, "no default route"),
        ("network_up", {}, "the network was back, and the sessions reconnected by themselves"),
        ("something_new", {}, "something new"),
        (CHANGE, {"before": STOP, "after": "done", "reason": "ani"}, "it was stopped by ani"),
        (CHANGE, {"before": STOP, "after": "failed", "reason": "ani"}, f"{STOP}: failed"),
        (CHANGE, {"before": "PUT /api/log-level", "after": "done"}, "PUT /api/log-level: done"),
    ],
)
def test_the_text_of_an_entry(kind: str, rest: dict[str, Any], expected: str) -> None:
    assert timeline.text(AuditEntry(session_id="a", kind=kind, **rest)) == expected
