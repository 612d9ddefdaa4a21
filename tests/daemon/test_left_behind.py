"""What a host has of sessions of other hosts is reported as long as it is there."""

from pathlib import Path
from typing import Any

from waguard.core.cluster.left_events import left_behind_words
from waguard.daemon.left_behind import LeftBehind
from waguard.profile import layout


class Outages:
    def __init__(self) -> None:
        self.why: str | None = None

    def update(self, kind: str, why: str | None) -> None:
        assert kind == "events_left_behind"
        self.why = why


def test_it_is_reported_until_the_session_is_back(tmp_path: Path) -> None:
    outages: Any = Outages()
    counts: dict[str, int] = {}
    owned = {"a", "b"}
    left = LeftBehind(tmp_path, lambda: counts, lambda: owned, outages)
    left.tick()
    assert outages.why is None
    file = tmp_path / f"{layout.key('a')}.3.unstored"
    file.write_bytes(b"")
    counts["b"] = 2
    left.tick()
    assert outages.why is None, "the session is here: it is on its way"
    owned.clear()
    left.tick()
    assert file.name in str(outages.why)
    assert "2 of b" in str(outages.why)
    owned.add("b")
    file.unlink()
    left.tick()
    assert outages.why is None


def test_many_are_counted() -> None:
    words = left_behind_words({f"s{number}": 2 for number in range(9)}, ())
    assert words
    assert "2 of s0" in words
    assert "8 of 4 more sessions" in words
    assert left_behind_words({}, ()) is None
