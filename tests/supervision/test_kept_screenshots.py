"""Pictures of pages that needed a person."""

import stat
from pathlib import Path
from typing import Any, cast

import pytest

from tests.supervision.fake_host import FakeClock
from waguard.config.sections import Config, Paths, Retention
from waguard.daemon.housekeeping import Housekeeping
from waguard.host.memory.lived import LivedTime
from waguard.profile import layout
from waguard.supervision.session import kept_screenshots


def test_the_newest_of_a_session_are_kept_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state/evidence"
    other = kept_screenshots.keep(folder, "other", b"png", now=0.0)
    kept = [
        kept_screenshots.keep(folder, "s", bytes([number]), now=1_790_000_000.0 + number)
        for number in range(kept_screenshots.KEPT + 2)
    ]
    assert sorted(folder.iterdir()) == sorted([other, *kept[2:]])
    assert [path.read_bytes()[0] for path in kept[2:]] == list(range(2, kept_screenshots.KEPT + 2))
    assert kept[0].name == f"{layout.key('s')}-20260921T141320Z.png"
    assert stat.S_IMODE(kept[-1].stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_of_all_sessions_so_many_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    kept = [
        kept_screenshots.keep(folder, f"s{day}", b"png", now=day * 86_400.0, most=3)
        for day in (2, 1, 3, 4)
    ]
    assert sorted(folder.iterdir()) == sorted([kept[0], *kept[2:]])


def test_a_new_one_is_kept_after_a_clock_that_was_ahead(tmp_path: Path) -> None:
    """Those of that time go first."""
    folder, now, ahead = tmp_path / "evidence", 1_790_000_000.0, 365 * 86_400.0
    for number in range(kept_screenshots.KEPT):
        kept_screenshots.keep(folder, "s", b"png", now=now + ahead + number)
    new = [kept_screenshots.keep(folder, "s", b"png", now=now + number) for number in range(2)]
    assert [path.exists() for path in new] == [True, True]
    assert len(list(folder.iterdir())) == kept_screenshots.KEPT
    other = kept_screenshots.keep(folder, "other", b"png", now=now + 2, most=1)
    assert list(folder.iterdir()) == [other]


def test_they_are_deleted_when_they_are_old(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    assert kept_screenshots.purge(folder, before=1e9) == 0
    old, new = (kept_screenshots.keep(folder, "s", b"png", now=now) for now in (100.0, 300.0))
    (folder / "notes.txt").touch()
    assert kept_screenshots.purge(folder, before=200.0) == 1
    assert sorted(folder.iterdir()) == sorted([new, folder / "notes.txt"])
    assert not old.exists()


async def test_housekeeping_keeps_them_as_long_as_the_trail_that_names_them(tmp_path: Path) -> None:
    clock, state, nobody = FakeClock(), tmp_path / "state", cast("Any", None)
    config = Config(paths=Paths(state=state), retention=Retention(audit_days=2))
    it = Housekeeping(lambda: config, nobody, nobody, LivedTime(state, clock), nobody)
    await it.tidy_evidence()  # there is none yet
    kept = [
        kept_screenshots.keep(
            state / kept_screenshots.FOLDER, "s", b"png", now=clock.wall() - days * 86_400.0
        )
        for days in (1, 3)
    ]
    await it.tidy_evidence()
    assert [path.exists() for path in kept] == [True, False]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="state"):
        kept_screenshots.keep(tmp_path / "state/evidence", "s", b"png", now=0.0)
