import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.profile import layout
from waguard.profile.lock import ProfileLock


def stored(profile: Path, word: str = "credentials") -> Path:
    """A profile that Chromium has written to."""
    (profile / "Default").mkdir(parents=True)
    (profile / "Default" / "Local State").write_text(word)
    return profile


def word_in(profile: Path) -> str:
    return (profile / "Default" / "Local State").read_text()


def test_the_layout_is_the_old_services() -> None:
    wanted = Path("/s/workspace_7/session-webjs_7_1732233600_ab12cd34")
    assert layout.path(Path("/s"), 7, "webjs_7_1732233600_ab12cd34") == wanted


@given(st.lists(st.text(min_size=1), min_size=2, max_size=50, unique=True))
def test_keys_are_short_safe_and_different(sessions: list[str]) -> None:
    keys = [layout.key(session) for session in sessions]
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in keys)
    assert len(set(keys)) == len(keys)
    assert keys == [layout.key(session) for session in sessions]


def test_a_profile_exists_when_chromium_stored_something(tmp_path: Path) -> None:
    assert not layout.exists(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "waguard.lock").touch()
    assert not layout.exists(tmp_path / "empty")
    assert layout.exists(stored(tmp_path / "full"))


def test_a_profile_follows_from_the_workspace_before_with_its_copies(tmp_path: Path) -> None:
    stored(layout.path(tmp_path, 6, "abc"))
    layout.path(tmp_path / "snapshots", 6, "abc").mkdir(parents=True)
    assert layout.migrate(tmp_path, 7, "abc", before=6)
    assert word_in(layout.path(tmp_path, 7, "abc")) == "credentials"
    assert not layout.path(tmp_path, 6, "abc").exists()
    assert layout.path(tmp_path / "snapshots", 7, "abc").is_dir()
    assert stat.S_IMODE((tmp_path / "workspace_7").stat().st_mode) == 0o700
    assert not layout.migrate(tmp_path, 7, "abc", before=6)


def test_a_profile_in_its_place_is_never_replaced(tmp_path: Path) -> None:
    stored(layout.path(tmp_path, 6, "abc"), "old")
    stored(layout.path(tmp_path, 7, "abc"), "new")
    assert not layout.migrate(tmp_path, 7, "abc", before=6)
    assert word_in(layout.path(tmp_path, 7, "abc")) == "new"
    assert word_in(layout.path(tmp_path, 6, "abc")) == "old"


def test_a_lock_keeps_no_profile_out_of_its_place(tmp_path: Path) -> None:
    """Nor one on another disk, whose files cannot be renamed into it."""
    disk = stored(tmp_path / "disk")
    old, new = (layout.path(tmp_path, it, "abc") for it in (6, 7))
    old.parent.mkdir()
    old.symlink_to(disk)
    with ProfileLock(new):
        pass
    assert layout.migrate(tmp_path, 7, "abc", before=6)
    assert new.samefile(disk)
    assert word_in(new) == "credentials"
    assert not os.path.lexists(old)


def test_a_move_that_was_cut_off_is_ended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something lies in its place, its files move one by one: the one by which it is known is the last."""
    old, new = (layout.path(tmp_path, it, "abc") for it in (6, 7))
    stored(old)
    for name in ("A mark", "a mark"):
        (old / name).touch()
    new.mkdir(parents=True)
    (new / "odd").touch()
    real, moved = Path.rename, list[str]()

    def rename(self: Path, target: Path) -> Path:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(self.name)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            layout.migrate(tmp_path, 7, "abc", before=6)
    assert layout.exists(old)
    assert layout.migrate(tmp_path, 7, "abc", before=6)
    assert {it.name for it in new.iterdir()} == {"odd", "A mark", "a mark", "Default"}


def test_copies_are_moved_to_those_that_are_there(tmp_path: Path) -> None:
    stored(layout.path(tmp_path, 6, "abc"))
    copies = [layout.path(tmp_path / "snapshots", it, "abc") for it in (6, 7)]
    for folder, names in zip(copies, (("1", "both"), ("2", "both")), strict=True):
        for name in names:
            (folder / name).mkdir(parents=True)
    assert layout.migrate(tmp_path, 7, "abc", before=6)
    assert word_in(layout.path(tmp_path, 7, "abc")) == "credentials"
    assert {it.name for it in copies[1].iterdir()} == {"1", "2", "both"}
    assert [it.name for it in copies[0].iterdir()] == ["both"]


@pytest.fixture
def over_disks(tmp_path: Path) -> Path:
    """Workspace 7 lies on another disk; its session was moved into workspace 8."""
    stored(layout.path(tmp_path, 7, "abc"))
    layout.path(tmp_path / "snapshots", 7, "abc").mkdir(parents=True)
    for root in (tmp_path, tmp_path / "snapshots"):  # what a move makes where a rename is refused
        new = layout.path(root, 8, "abc")
        new.parent.mkdir()
        new.symlink_to(layout.path(root, 7, "abc"))
    return tmp_path


def test_a_profile_that_is_moved_back_over_disks_leaves_no_link(over_disks: Path) -> None:
    assert layout.migrate(over_disks, 7, "abc", before=8)
    assert word_in(layout.path(over_disks, 7, "abc")) == "credentials"
    assert layout.path(over_disks / "snapshots", 7, "abc").is_dir()
    for root in (over_disks, over_disks / "snapshots"):
        assert list((root / "workspace_8").iterdir()) == []


def test_a_profile_that_was_moved_over_disks_lies_elsewhere_once(over_disks: Path) -> None:
    assert layout.elsewhere(over_disks, 9, "abc") == 8


def test_of_two_links_the_newest_is_the_sessions(over_disks: Path) -> None:
    """A daemon was killed after it made the one, and before it removed the other."""
    newest = layout.path(over_disks, 9, "abc")
    newest.parent.mkdir()
    newest.symlink_to(layout.path(over_disks, 7, "abc"))
    now = newest.lstat().st_mtime_ns + 1
    os.utime(newest, ns=(now, now), follow_symlinks=False)
    assert layout.left_behind(over_disks, "abc", [7, 8, 9]) == {7, 8}


def test_where_nothing_is_nothing_is_made(tmp_path: Path) -> None:
    assert not layout.migrate(tmp_path, 7, "abc", before=6)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [1, 40, 48, 49, 50, 81])
def test_chromiums_temporary_folder_has_a_short_name(length: int) -> None:
    runtime = Path("/" + "r" * (length - 1))
    folder = layout.temporary(runtime, layout.key("abc"))
    assert len(str(folder)) < 64
    assert folder.is_absolute()
    assert folder.name == layout.key("abc")
    if length <= 48:
        assert folder.is_relative_to(runtime)


def test_two_instances_and_two_sessions_have_folders_of_their_own() -> None:
    long = "/" + "r" * 60
    folders = {
        layout.temporary(Path(runtime), layout.key(session))
        for runtime in (long, long + "2", "/run/waguard")
        for session in ("a", "b")
    }
    assert len(folders) == 6


def test_a_long_tmpdir_and_a_name_that_is_no_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * 60)
    runtime = Path("/" + "r" * 60 + os.fsdecode(b"\xff"))
    assert len(str(layout.temporary(runtime, layout.key("abc")))) < 64
