"""Profiles, snapshots and quarantine on different disks: what is moved is whole, or where it was."""

import contextlib
import errno
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.profile.leveldb_files import INDEXED, profile, word_of
from tests.small_disk import small_disk
from waguard.core.profile.before_start import Quarantine, RestoreSnapshot, ShowQr, Use
from waguard.host.files import moving
from waguard.host.files.moving import NotMovableError
from waguard.profile import (
    inspection,
    layout,
    old_profiles,
    owner_mark,
    quarantine,
    repair,
    snapshots,
)
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock, prove_held
from waguard.profile.quarantine import NOTE

MB = 1 << 20
Linked = Callable[[Path, Path], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 48 * MB) as mounted:
        yield mounted


@dataclass
class Layout:
    """A profile that Chromium has used, with a snapshot; ``link``: what links to the other disk."""

    at: Places
    link: Path

    @property
    def sessions(self) -> Path:
        return self.at.quarantine.parent


@pytest.fixture(params=["profile", "workspace", "quarantine", "snapshots"])
def stored(tmp_path: Path, disk: Path, request: pytest.FixtureRequest) -> Layout:
    at = layout.places(tmp_path / "sessions", 7, "abc")
    link = {
        "profile": at.profile,
        "workspace": at.profile.parent,
        "quarantine": at.quarantine,
        "snapshots": at.snapshots,
    }[request.param]
    target = disk / "of another disk"
    target.mkdir()
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    profile(at.profile)
    return Layout(at, link)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_damaged_profile_is_quarantined_and_its_snapshot_restored(stored: Layout) -> None:
    at = stored.at
    with ProfileLock(at.profile) as lock:
        token = owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=1.0)
        (at.profile / INDEXED / "CURRENT").unlink()
        before = files(at.profile / "Default")
        prepared = repair.prepare(at, lock.descriptor)
        assert isinstance(prepared.end, Use)
        assert word_of(at.profile) == "credentials"
        prove_held(at.profile, lock.descriptor)
        assert owner_mark.pairing(at.profile) == token
    assert prepared.quarantined is not None
    assert files(prepared.quarantined / "Default") == before
    assert [copy.name for copy in quarantine.quarantined(stored.sessions)] == [
        prepared.quarantined.name
    ]
    assert stored.link.is_symlink(), "where it lies is the operator's choice"
    nothing_is_left_behind(stored)


def nothing_is_left_behind(stored: Layout) -> None:
    for folder in {stored.at.profile.resolve().parent, stored.at.quarantine}:
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_what_is_retired_goes_whole_and_a_new_profile_can_be_made(stored: Layout) -> None:
    at = stored.at
    with ProfileLock(at.profile) as lock:
        token = owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=1.0)
        before = files(at.profile / "Default")
        retired = quarantine.retire(at, lock.descriptor, token=token, why="deleted by the API")
    assert retired is not None
    assert files(retired / "Default") == before
    assert len(snapshots.known(retired / "waguard-snapshots")) == 1
    assert not inspection.something_left(at)
    with ProfileLock(at.profile) as lock:
        assert isinstance(repair.prepare(at, lock.descriptor).end, ShowQr)
    nothing_is_left_behind(stored)


class KilledError(BaseException):
    pass


@pytest.fixture
def killed(stored: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """In the seconds in which the source of a copy is deleted, to which a link leads."""
    doomed = f"{moving.DONE}{stored.link.resolve().name}"
    rmtree = shutil.rmtree

    def kill(path: Path, *, ignore_errors: bool = False) -> None:
        if path.name == doomed and path.exists():
            raise KilledError
        rmtree(path, ignore_errors=ignore_errors)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        yield patch


@pytest.mark.parametrize("leaves", [False, True])
def test_killed_while_the_source_is_deleted_a_linked_profile_is_not_a_disk_that_is_away(
    stored: Layout,
    killed: pytest.MonkeyPatch,
    leaves: bool,  # noqa: FBT001 - both ways
) -> None:
    at = stored.at
    with ProfileLock(at.profile) as lock:
        token = owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        taken = snapshots.create(
            at.profile, at.snapshots, pairing=token, running=False, now=1_700_000_000.0
        )
        with contextlib.suppress(KilledError):  # what is renamed is not deleted
            if leaves:
                quarantine.retire(at, lock.descriptor, token=token, why="deleted by the API")
            else:
                actions = (Quarantine("a test"), RestoreSnapshot(taken.id), Use())
                repair.carry_out(at, lock.descriptor, actions)
    killed.undo()
    assert layout.away(at) is None
    if leaves:
        old_profiles.retire_unused(at, token=quarantine.WHICHEVER, why="deleted by the API")
        assert not inspection.something_left(at)
    with ProfileLock(at.profile) as lock:
        prepared = repair.prepare(at, lock.descriptor)
        assert isinstance(prepared.end, ShowQr if leaves else Use)
    assert leaves or word_of(at.profile) == "credentials"
    nothing_is_left_behind(stored)


@pytest.fixture
def across(tmp_path: Path, disk: Path) -> Places:
    """A profile here, the quarantine on the other disk."""
    at = layout.places(tmp_path / "sessions", 7, "abc")
    profile(at.profile)
    at.quarantine.symlink_to(disk)
    return at


def test_a_disk_without_room_moves_nothing(across: Places, disk: Path) -> None:
    (across.profile / "Default/big").write_bytes(os.urandom(49 * MB))
    with ProfileLock(across.profile) as lock:
        (across.profile / INDEXED / "CURRENT").write_bytes(b"garbage")
        before = files(across.profile / "Default")
        with pytest.raises(OSError, match="No space left"):
            repair.replace_profile(across, lock.descriptor, why="a test")
        prove_held(across.profile, lock.descriptor)
    assert files(across.profile / "Default") == before
    assert list(disk.iterdir()) == []


def test_a_copy_that_differs_moves_nothing(
    across: Places, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: str, target: str) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:10])

    before = files(across.profile / "Default")
    monkeypatch.setattr(moving, "_copy_file", half)
    with ProfileLock(across.profile) as lock, pytest.raises(OSError, match="differs"):
        repair.replace_profile(across, lock.descriptor, why="a test")
    assert files(across.profile / "Default") == before
    assert list(disk.iterdir()) == []


def test_what_cannot_be_renamed_in_its_place_leaves_no_copy(
    across: Places, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try would leave one more, as large as the profile."""
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if target.name.startswith(moving.DONE):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return rename(path, target)

    before = files(across.profile / "Default")
    monkeypatch.setattr(Path, "rename", refused)
    with ProfileLock(across.profile) as lock, pytest.raises(PermissionError):
        quarantine.retire(across, lock.descriptor, token=None, why="deleted by the API")
    assert files(across.profile / "Default") == before
    assert list(disk.iterdir()) == []


def test_what_cannot_be_removed_from_its_folder_is_not_copied(
    across: Places, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = across.profile.parent
    monkeypatch.setattr(os, "access", lambda path, _: path != folder)  # root may do all
    monkeypatch.setattr(moving, "_copy", lambda *_: pytest.fail("it is copied"))
    with ProfileLock(across.profile) as lock, pytest.raises(NotMovableError, match=str(folder)):
        quarantine.retire(across, lock.descriptor, token=None, why="deleted by the API")
    assert list(disk.iterdir()) == []


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("moment", range(4))
def test_a_crash_at_any_rename_leaves_a_whole_profile(
    across: Places, disk: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renames: over the disks in vain, of the whole copy, of its source, of the new profile."""
    before = files(across.profile / "Default")
    rename, count = Path.rename, 0

    def cut(path: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > moment:
            raise PowerCutError
        return rename(path, target)

    with ProfileLock(across.profile) as lock, monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut)
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(PowerCutError):
            repair.replace_profile(across, lock.descriptor, why="a test")
    whole = [
        path
        for path in (across.profile, *disk.iterdir())
        if not path.name.startswith(".") and files(path / "Default") == before
    ]
    assert whole, "one of them is whole"
    with ProfileLock(across.profile) as lock:
        repair.prepare(across, lock.descriptor)
    left = list(across.profile.parent.iterdir())
    assert left == [across.profile], "what the crash left is cleared"


def test_what_holds_nothing_is_left_out_and_links_stay_links(
    across: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (across.profile / "SingletonCookie").symlink_to("1234567")
    monkeypatch.chdir(across.profile)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    target = across.quarantine / "moved"
    moving.move(across.profile, target, key="k")
    assert str((target / "SingletonCookie").readlink()) == "1234567"
    assert not (target / "socket").exists()
    assert not across.profile.exists()


def test_a_mount_point_is_refused_with_a_remedy(tmp_path: Path) -> None:
    at = layout.places(tmp_path / "sessions", 7, "abc")
    at.profile.parent.mkdir(parents=True)
    with small_disk(at.profile, 8 * MB):
        profile(at.profile)
        with ProfileLock(at.profile) as lock:
            with pytest.raises(NotMovableError, match="mount point"):
                repair.replace_profile(at, lock.descriptor, why="a test")
            with pytest.raises(NotMovableError, match="mount point"):
                quarantine.retire(at, lock.descriptor, token=None, why="a test")
        assert word_of(at.profile) == "credentials"


def test_an_unfinished_copy_is_in_no_list_and_goes_in_the_end(across: Places) -> None:
    left = across.quarantine / f"{moving.UNFINISHED}k"
    (left / "Default").mkdir(parents=True)
    (left / NOTE).write_text(
        '{"session_id": "abc", "workspace_id": 7, "at": "2024-11-22T00:00:00+00:00"}'
    )
    sessions = across.quarantine.parent
    assert quarantine.quarantined(sessions) == []
    quarantine.purge(sessions, now=time.time(), keep_for=0.0, size_limit=0)
    assert left.exists(), "somebody may be making it now"
    moving.clear_unfinished(across.quarantine, before=left.stat().st_ctime + 1.0)
    assert not left.exists()


@pytest.mark.parametrize("linked", ["the old profile", "the new workspace"])
def test_a_profile_in_the_old_layout_is_found_over_disks(
    tmp_path: Path, disk: Path, linked: str
) -> None:
    sessions = tmp_path / "sessions"
    legacy, wanted = sessions / "7" / "abc", layout.path(sessions, 7, "abc")
    legacy.parent.mkdir(parents=True)
    if linked == "the old profile":
        (disk / "p").mkdir()
        legacy.symlink_to(Path(os.path.relpath(disk / "p", legacy.parent)))
    else:
        wanted.parent.symlink_to(disk)
    profile(legacy)
    at = layout.places(sessions, 7, "abc")
    assert old_profiles.migrate(at, known=True) == legacy
    assert word_of(wanted) == "credentials"
    assert old_profiles.migrate(at, known=True) is None, "again"
    with ProfileLock(at.profile) as lock:
        assert old_profiles.retire(at, lock.descriptor, token=None, why="a test", known=False)
    assert old_profiles.migrate(at, known=True) is None
    assert not inspection.something_left(at)
