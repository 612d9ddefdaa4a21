"""Pictures of pages that needed a person."""

import stat
from pathlib import Path

import pytest

from waguard.profile import layout
from waguard.supervision import evidence


def test_the_newest_of_a_session_are_kept_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state/evidence"
    other = evidence.keep(folder, "other", b"png", now=0.0)
    kept = [
        evidence.keep(folder, "s", bytes([number]), now=1_790_000_000.0 + number)
        for number in range(evidence.KEPT + 2)
    ]
    assert sorted(folder.iterdir()) == sorted([other, *kept[2:]])
    assert [path.read_bytes()[0] for path in kept[2:]] == list(range(2, evidence.KEPT + 2))
    assert kept[0].name == f"{layout.key('s')}-20260921T141320Z.png"
    assert stat.S_IMODE(kept[-1].stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="state"):
        evidence.keep(tmp_path / "state/evidence", "s", b"png", now=0.0)
