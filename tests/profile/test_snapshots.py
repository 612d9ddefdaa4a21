"""Snapshots: what is in one, what is none, and damage made on purpose."""

import errno
import fcntl
import json
import os
import shutil
import stat
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.profile.copies import NOW, Break, files, just_made, snapshot_of
from tests.profile.leveldb_files import BLOBS, INDEXED, LOCAL, database, word_of
from tests.waiting import DEADLINE
from waguard.core.profile import before_start
from waguard.core.profile.before_start import Damaged, Found, Healthy, RestoreSnapshot
from waguard.profile import credentials, leveldb, snapshot_archive, snapshots
from waguard.profile.credentials import SnapshotRefusedError
from waguard.profile.inspection import inspect
from waguard.profile.layout import Places
from waguard.profile.snapshot_archive import SnapshotDamagedError

pytestmark = pytest.mark.usefixtures("used")


def test_a_snapshot_holds_the_two_folders_and_nothing_else(at: Places) -> None:
    taken = snapshot_of(at, "me")
    assert taken.pairing == "me"
    assert taken.taken_at == NOW
    assert not taken.running
    wanted = {"CURRENT", "MANIFEST-000001", "000005.ldb", "000006.log"}
    assert set(taken.files) == {
        *(f"{INDEXED}/{name}" for name in wanted),
        *(f"{LOCAL}/{name}" for name in wanted),
        f"{BLOBS}/1/00/7",
    }
    assert taken.size == sum((at.profile / name).stat().st_size for name in taken.files)
    assert snapshots.verify(at.snapshots / taken.id) == taken
    assert taken.archive_size < taken.size


@pytest.mark.parametrize("running", [False, True])
def test_what_comes_out_is_what_went_in(at: Places, tmp_path: Path, running: bool) -> None:  # noqa: FBT001 - both ways
    taken = snapshot_of(at, "me", running=running)
    snapshots.unpack(at.snapshots / taken.id, tmp_path / "out")
    out = files(tmp_path / "out")
    assert out == {name: (at.profile / name).read_bytes() for name in taken.files}
    assert inspect(tmp_path / "out") == Healthy()


def test_nobody_else_may_read_it(at: Places, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        taken = snapshot_of(at, "me")
        snapshots.unpack(at.snapshots / taken.id, tmp_path / "out")
    finally:
        os.umask(before)
    for folder in (at.snapshots.parents[1], tmp_path / "out"):
        for path in (folder, *folder.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path


def test_two_generations_are_kept_and_those_of_a_former_pairing_go(at: Places) -> None:
    first = [snapshot_of(at, "before", now=NOW + n).id for n in range(3)]
    assert [s.id for s in snapshots.known(at.snapshots)] == first[1:]
    now = [snapshot_of(at, "me", now=NOW + 10 + n).id for n in range(3)]
    assert [s.id for s in snapshots.known(at.snapshots)] == now[1:]
    assert sorted(path.name for path in at.snapshots.iterdir()) == sorted(now[1:])


def test_one_whose_disk_fails_for_a_moment_is_kept(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, real = snapshot_of(at, "me").id, Path.stat

    def failing(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == at.snapshots / kept / snapshot_archive.ARCHIVE:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, follow_symlinks=follow_symlinks)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", failing)
        new = [snapshot_of(at, "me", now=NOW + 1 + n).id for n in range(2)]
    assert {snapshot.id for snapshot in snapshots.known(at.snapshots)} == {kept, *new}


def test_a_pipe_among_the_credentials_is_not_waited_for(at: Places) -> None:
    os.mkfifo(at.profile / "Default" / "IndexedDB" / "pipe")
    assert snapshot_of(at, "me", running=True).running


def test_the_last_one_is_the_newest_also_after_a_clock_that_was_ahead(at: Places) -> None:
    day = 86_400.0
    for hour in range(3):
        snapshot_of(at, "me", now=NOW + day + hour * 3_600)
    right = [snapshot_of(at, "me", now=NOW + hour * 3_600) for hour in range(3, 7)]
    assert [s.id for s in snapshots.known(at.snapshots)] == [taken.id for taken in right[-2:]]
    known = snapshots.verified(at.snapshots)
    assert [s.taken_at for s in known] == [taken.taken_at for taken in right[-2:]]
    decided = before_start.decide(Found(finding=Damaged("x"), pairing="me", snapshots=known))
    assert RestoreSnapshot(right[-1].id) in decided


def test_of_snapshots_without_an_order_the_time_decides(at: Places) -> None:
    """As an earlier release wrote them."""
    new = snapshot_of(at, "me", now=NOW + 1)
    old = snapshot_of(at, "me", now=NOW)
    for taken in (new, old):
        mark = json.loads((at.snapshots / taken.id / snapshot_archive.MANIFEST).read_text())
        mark.pop("order", None)
        (at.snapshots / taken.id / snapshot_archive.MANIFEST).write_text(json.dumps(mark))
    assert [s.id for s in snapshots.known(at.snapshots)] == [old.id, new.id]


REFUSALS: dict[str, tuple[Break, str]] = {
    "IndexedDB missing": (lambda p: shutil.rmtree(p / "Default/IndexedDB"), "it is missing"),
    "Local Storage missing": (lambda p: shutil.rmtree(p / "Default/Local Storage"), "is missing"),
    "no database": (lambda p: shutil.rmtree(p / LOCAL), "it holds no database"),
    "empty": (
        lambda p: just_made(p / LOCAL),
        "its database is empty",
    ),
    "damaged": (lambda p: (p / INDEXED / "MANIFEST-000001").unlink(), "MANIFEST-000001 is missing"),
    "log spoiled": (lambda p: (p / LOCAL / "000006.log").write_bytes(b"x" * 40_000), "000006.log"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("running", [False, True])
def test_what_is_damaged_or_empty_is_no_snapshot(at: Places, name: str, running: bool) -> None:  # noqa: FBT001 - both ways
    good = snapshot_of(at, "me")
    spoil, why = REFUSALS[name]
    spoil(at.profile)
    with pytest.raises(SnapshotRefusedError) as raised:
        snapshot_of(at, "me", now=NOW + 1, running=running)
    assert why in raised.value.message
    assert [path.name for path in at.snapshots.iterdir()] == [good.id]


def test_a_database_of_another_kind_is_copied_only_when_nobody_writes(at: Places) -> None:
    (at.profile / "Default/IndexedDB/new.db").write_bytes(b"SQLite format 3\0 and more")
    with pytest.raises(SnapshotRefusedError, match="of this kind"):
        snapshot_of(at, "me", running=True)
    assert "Default/IndexedDB/new.db" in snapshot_of(at, "me").files


def test_a_full_disk_leaves_nothing_behind(at: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    good = snapshot_of(at, "me")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        snapshot_of(at, "me", now=NOW + 1)
    assert [path.name for path in at.snapshots.iterdir()] == [good.id]


def test_what_a_crash_left_is_no_snapshot_and_goes(at: Places) -> None:
    left = at.snapshots / ".new-20240101T000000Z-abcdef"
    (left / "Default").mkdir(parents=True)
    assert snapshots.known(at.snapshots) == []
    taken = snapshot_of(at, "me")
    assert [path.name for path in at.snapshots.iterdir()] == [taken.id]


def copying(
    at: Places, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> list[Exception]:
    """Take one; ``meanwhile`` happens when its databases are copied and its blob is not. How it failed, if it did."""
    copy, begun, go_on = shutil.copyfileobj, threading.Event(), threading.Event()
    errors: list[Exception] = []

    def held(source: BinaryIO, target: BinaryIO) -> None:
        if threading.current_thread() is first and str(at.profile / BLOBS) in source.name:
            begun.set()
            assert go_on.wait(DEADLINE)
        copy(source, target)

    def run() -> None:
        try:
            snapshot_of(at, "me", running=True)
        except (OSError, SnapshotRefusedError) as error:
            errors.append(error)

    def end_first(_: float = 0.0) -> None:
        go_on.set()
        first.join(DEADLINE)

    monkeypatch.setattr(shutil, "copyfileobj", held)
    monkeypatch.setattr(time, "sleep", end_first)  # who waits for it lets it go on
    first = threading.Thread(target=run)
    first.start()
    assert begun.wait(DEADLINE)
    try:
        meanwhile()
    finally:
        end_first()
    return errors


def test_of_two_copies_at_once_each_is_whole(at: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hourly one of a worker, and one for a backup, or after the worker's end."""
    whole = snapshot_of(at, "me", now=NOW - 1).files
    assert copying(at, monkeypatch, lambda: snapshot_of(at, "me", now=NOW + 1)) == []
    found = [snapshots.verify(at.snapshots / s.id) for s in snapshots.known(at.snapshots)]
    assert [(s.taken_at, s.files) for s in found] == [(NOW, whole), (NOW + 1, whole)]


def test_a_copy_beside_one_that_never_ends_is_refused(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another() -> None:
        with pytest.raises(SnapshotRefusedError, match="another copy"):
            snapshots.create(
                at.profile, at.snapshots, pairing="me", running=True, now=NOW + 1, patience=0.0
            )

    assert copying(at, monkeypatch, another) == []
    assert [s.taken_at for s in snapshots.verified(at.snapshots)] == [NOW]


def test_a_copy_that_loses_what_it_has_copied_is_no_snapshot(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its file system has no locks, and another copy begins."""

    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    errors = copying(at, monkeypatch, lambda: snapshot_of(at, "me", now=NOW + 1))
    assert [type(error) for error in errors] == [FileNotFoundError]
    [left] = snapshots.verified(at.snapshots)
    assert (left.taken_at, left.intact) == (NOW + 1, True)
    assert [path.name for path in at.snapshots.iterdir()] == [left.id]


def test_a_database_that_changes_under_the_copy_is_copied_again(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chromium compacts it just when its MANIFEST has been read, once for each database."""
    parse = leveldb.parse
    compacted: list[Path] = []

    def slow(folder: Path, name: str, content: bytes) -> leveldb.Contents:
        found = parse(folder, name, content)
        if at.profile in folder.parents and folder not in compacted:
            compacted.append(folder)
            shutil.rmtree(folder)
            database(folder, "compacted credentials")
            (folder / name).write_bytes((folder / name).read_bytes() + b"torn")
        return found

    monkeypatch.setattr(leveldb, "parse", slow)
    taken = snapshot_of(at, "me", running=True)
    assert len(compacted) == 2
    out = at.profile.with_name("out")
    snapshots.unpack(at.snapshots / taken.id, out)
    assert word_of(out) == "compacted credentials"
    assert inspect(out) == Healthy(), "and half an edit, which it was just writing, is not in it"


def test_a_file_that_chromium_deletes_once_it_is_open_is_copied_whole(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copyfileobj

    def late(source: object, target: object) -> None:
        shutil.rmtree(at.profile / LOCAL, ignore_errors=True)
        copy(source, target)  # type: ignore[arg-type]  # as it came

    found = leveldb.contents(at.profile / LOCAL)
    monkeypatch.setattr(shutil, "copyfileobj", late)
    target = at.profile.with_name("out")
    assert credentials._copy_moment(at.profile / LOCAL, target)
    leveldb.check(target)
    assert leveldb.contents(target) == found


def test_one_that_never_stands_still_is_refused(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_copy_moment", lambda source, target: False)
    with pytest.raises(SnapshotRefusedError, match="never stopped changing"):
        snapshot_of(at, "me", running=True)


DAMAGES: dict[str, tuple[Break, str]] = {
    "no archive": (lambda s: (s / snapshot_archive.ARCHIVE).unlink(), "cannot be read"),
    "archive cut off": (
        lambda s: os.truncate(s / snapshot_archive.ARCHIVE, 300),
        "the archive's checksum is wrong",
    ),
    "no manifest": (
        lambda s: (s / snapshot_archive.MANIFEST).unlink(),
        "its manifest cannot be read",
    ),
    "manifest garbage": (
        lambda s: (s / snapshot_archive.MANIFEST).write_text("{]"),
        "cannot be read",
    ),
    "manifest is a list": (
        lambda s: (s / snapshot_archive.MANIFEST).write_text("[]"),
        "cannot be read",
    ),
    "a later format": (lambda s: edit_manifest(s, format=2), "its format is 2"),
    "a file too many": (
        lambda s: edit_manifest(s, files={}),
        "does not belong in it",
    ),
    "a leading path": (lambda s: repack(s, "../../evil"), "does not belong in it"),
    "an absolute path": (lambda s: repack(s, "/tmp/evil"), "does not belong in it"),
    "another folder": (lambda s: repack(s, "Default/Extensions/evil"), "does not belong in it"),
    "a file too few": (lambda s: repack(s, None), "is missing"),
}


def edit_manifest(snapshot: Path, **changes: object) -> None:
    mark = json.loads((snapshot / snapshot_archive.MANIFEST).read_text()) | changes
    (snapshot / snapshot_archive.MANIFEST).write_text(json.dumps(mark))


def repack(snapshot: Path, name: str | None) -> None:
    """An archive with one file of this name, and a manifest that vouches for it."""
    (snapshot / "file").write_bytes(b"evil")
    with tarfile.open(snapshot / snapshot_archive.ARCHIVE, "w:gz") as tar:
        if name:
            tar.add(snapshot / "file", arcname=name)
    archive = snapshot / snapshot_archive.ARCHIVE
    digest = snapshot_archive._sha256
    described = {"size": 4, "sha256": digest(snapshot / "file")}
    edit_manifest(
        snapshot,
        archive={"size": archive.stat().st_size, "sha256": digest(archive)},
        files={name or f"{LOCAL}/CURRENT": described},
    )


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_snapshot_is_recognised(at: Places, tmp_path: Path, name: str) -> None:
    taken = snapshot_of(at, "me")
    spoil, why = DAMAGES[name]
    spoil(at.snapshots / taken.id)
    with pytest.raises(SnapshotDamagedError) as raised:
        snapshots.verify(at.snapshots / taken.id)
    assert why in raised.value.message
    assert [s.intact for s in snapshots.verified(at.snapshots)] == [False]
    with pytest.raises(SnapshotDamagedError):
        snapshots.unpack(at.snapshots / taken.id, tmp_path / "out")


def test_one_wrong_byte_is_seen(at: Places) -> None:
    taken = snapshot_of(at, "me")
    archive = at.snapshots / taken.id / snapshot_archive.ARCHIVE
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert snapshots.known(at.snapshots)[0].intact, "its size alone does not tell"
    assert not snapshots.verified(at.snapshots)[0].intact
