"""Snapshots, damage made on purpose, and how another profile takes a profile's place."""

import errno
import fcntl
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.profile.leveldb_files import BLOBS, INDEXED, LOCAL, database, profile, word_of
from waguard.cli import profile_commands
from waguard.core.profile.profile import (
    CARRIED,
    CredentialsLost,
    CutTornTails,
    Damaged,
    DeadOwner,
    Emptied,
    Free,
    Healthy,
    Hold,
    LivingOwner,
    Missing,
    NoRoom,
    OtherHost,
    Quarantine,
    RemoveStaleLock,
    ShowQr,
    Use,
)
from waguard.errors import ConflictError, NotFoundError
from waguard.profile import (
    caches,
    chromium_lock,
    inspection,
    layout,
    leveldb,
    owner_mark,
    quarantine,
    repair,
    snapshots,
    start_marks,
)
from waguard.profile.chromium_lock import SINGLETONS
from waguard.profile.inspection import inspect
from waguard.profile.layout import Places
from waguard.profile.lock import LOCK_NAME, NotHeldError, ProfileInUseError, ProfileLock, prove_held
from waguard.profile.owner_mark import PAIRING
from waguard.profile.quarantine import NOTE, PairedAgainError
from waguard.profile.snapshots import SnapshotDamagedError, SnapshotRefusedError, Taken
from waguard.profile.start_marks import TRIED

NOW = 1_700_000_000.0


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def at(sessions: Path) -> Places:
    """A profile that Chromium has used."""
    made = layout.places(sessions, 7, "abc")
    profile(made.profile)
    return made


@pytest.fixture
def lock(at: Places) -> Iterator[int]:
    held = ProfileLock(at.profile)
    yield held.descriptor
    held.release()


@pytest.fixture
def paired(at: Places, lock: int) -> str:
    return owner_mark.claim(at.profile, lock, after_pairing=True)


def snapshot_of(at: Places, pairing: str, *, now: float = NOW, running: bool = False) -> Taken:
    return snapshots.create(at.profile, at.snapshots, pairing=pairing, running=running, now=now)


def rewrite(at: Places, word: str) -> None:
    """The same profile with other credentials."""
    shutil.rmtree(at.profile / "Default")
    profile(at.profile.with_name("draft"), word)
    (at.profile.with_name("draft") / "Default").rename(at.profile / "Default")
    shutil.rmtree(at.profile.with_name("draft"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ---- snapshots ----


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


Break = Callable[[Path], object]
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


def just_made(folder: Path) -> None:
    """What Chromium has on disk in the first seconds of a profile."""
    shutil.rmtree(folder)
    database(folder)
    for name in ("000003.log", "000006.log", "000005.ldb"):
        (folder / name).unlink()
    manifest = (folder / "MANIFEST-000001").read_bytes()
    first = next(leveldb.records(manifest, ""))
    (folder / "MANIFEST-000001").write_bytes(manifest[: len(first) + leveldb.HEADER])


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


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
    assert snapshots._copy_moment(at.profile / LOCAL, target)
    leveldb.check(target)
    assert leveldb.contents(target) == found


def test_one_that_never_stands_still_is_refused(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_copy_moment", lambda source, target: False)
    with pytest.raises(SnapshotRefusedError, match="never stopped changing"):
        snapshot_of(at, "me", running=True)


DAMAGES: dict[str, tuple[Break, str]] = {
    "no archive": (lambda s: (s / snapshots.ARCHIVE).unlink(), "cannot be read"),
    "archive cut off": (
        lambda s: os.truncate(s / snapshots.ARCHIVE, 300),
        "the archive's checksum is wrong",
    ),
    "no manifest": (lambda s: (s / snapshots.MANIFEST).unlink(), "its manifest cannot be read"),
    "manifest garbage": (lambda s: (s / snapshots.MANIFEST).write_text("{]"), "cannot be read"),
    "manifest is a list": (lambda s: (s / snapshots.MANIFEST).write_text("[]"), "cannot be read"),
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
    mark = json.loads((snapshot / snapshots.MANIFEST).read_text()) | changes
    (snapshot / snapshots.MANIFEST).write_text(json.dumps(mark))


def repack(snapshot: Path, name: str | None) -> None:
    """An archive with one file of this name, and a manifest that vouches for it."""
    (snapshot / "file").write_bytes(b"evil")
    with tarfile.open(snapshot / snapshots.ARCHIVE, "w:gz") as tar:
        if name:
            tar.add(snapshot / "file", arcname=name)
    archive = snapshot / snapshots.ARCHIVE
    digest = snapshots._sha256
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
    archive = at.snapshots / taken.id / snapshots.ARCHIVE
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert snapshots.known(at.snapshots)[0].intact, "its size alone does not tell"
    assert not snapshots.verified(at.snapshots)[0].intact


# ---- inspection ----


def test_a_profile_that_is_well(at: Places, paired: str) -> None:
    assert inspect(at.profile) == Healthy()
    (at.profile / "Local State").write_text('{"cut')
    (at.profile / "Default/Preferences").write_bytes(b"")
    assert inspect(at.profile) == Healthy()


def test_no_profile(tmp_path: Path) -> None:
    assert inspect(tmp_path / "none") == Missing()
    assert inspect(tmp_path / "no" / "ne") == Missing()
    (tmp_path / "new").mkdir()
    (tmp_path / "new/waguard.lock").touch()
    assert inspect(tmp_path / "new") == Missing()


def test_what_a_browser_makes_again_when_its_folder_was_removed(at: Places, paired: str) -> None:
    shutil.rmtree(at.profile)
    (at.profile / "Default/Cache").mkdir(parents=True)
    (at.profile / "Default/Preferences").write_text("{}")
    assert inspect(at.profile) == Emptied()
    (at.profile / "Default/Local Storage").mkdir()  # each start of a browser makes it
    assert inspect(at.profile) == Healthy()


FINDINGS: dict[str, tuple[Break, type, str]] = {
    "IndexedDB removed": (
        lambda p: shutil.rmtree(p / "Default/IndexedDB"),
        CredentialsLost,
        "IndexedDB: the folder is missing",
    ),
    "Local Storage emptied": (
        lambda p: shutil.rmtree(p / LOCAL),
        CredentialsLost,
        "Local Storage: it holds no database",
    ),
    "wiped and made anew": (
        lambda p: just_made(p / LOCAL),
        CredentialsLost,
        "Local Storage: its database is empty",
    ),
    "MANIFEST deleted": (
        lambda p: (p / INDEXED / "MANIFEST-000001").unlink(),
        Damaged,
        "MANIFEST-000001 is missing",
    ),
    "garbage in a log": (
        lambda p: (p / INDEXED / "000006.log").write_bytes(os.urandom(50_000)),
        Damaged,
        "000006.log: ",
    ),
    "garbage in localStorage": (
        lambda p: (p / LOCAL / "CURRENT").write_bytes(b"garbage"),
        Damaged,
        "Local Storage/leveldb: CURRENT holds no name",
    ),
    "a file for a folder": (
        lambda p: replaced(p / LOCAL),
        CredentialsLost,
        "it holds no database",
    ),
    "a link in a circle": (
        lambda p: circle(p / LOCAL / "000006.log"),
        Damaged,
        "cannot be read",
    ),
    "Default is a file": (
        lambda p: replaced(p / "Default"),
        Damaged,
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_what_is_wrong_is_found(at: Places, paired: str, name: str) -> None:
    spoil, kind, why = FINDINGS[name]
    spoil(at.profile)
    found = inspect(at.profile)
    assert type(found) is kind
    assert isinstance(found, CredentialsLost | Damaged)
    assert why in found.why
    assert not inspection.whole(at.profile)


def test_what_was_never_paired_has_nothing_to_lose(at: Places, lock: int) -> None:
    shutil.rmtree(at.profile / "Default/IndexedDB")
    assert inspect(at.profile) == Healthy()


def test_a_database_of_another_kind_is_not_checked(at: Places, paired: str) -> None:
    """A later Chromium may move to one: that must not cost every session its profile."""
    shutil.rmtree(at.profile / LOCAL)
    (at.profile / "Default/Local Storage/new").write_bytes(b"SQLite format 3\0")
    assert inspect(at.profile) == Healthy()


def test_a_folder_that_may_not_be_read(at: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> list[str]:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    found = inspect(at.profile)
    assert isinstance(found, Damaged)
    assert "IndexedDB cannot be read: Input/output error" in found.why


def test_what_says_nothing_about_the_profile_is_no_damage(
    at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(OSError, match="Too many"):
        inspect(at.profile)


def test_a_full_disk_comes_before_all_else(at: Places, paired: str) -> None:
    (at.profile / INDEXED / "MANIFEST-000001").unlink()
    assert isinstance(inspect(at.profile, room=1 << 60), NoRoom)


# ---- marks ----


def test_a_pairing_has_a_token_of_its_own(at: Places, lock: int) -> None:
    assert owner_mark.pairing(at.profile) is None
    first = owner_mark.claim(at.profile, lock, after_pairing=False)
    assert owner_mark.claim(at.profile, lock, after_pairing=False) == first
    assert abs((owner_mark.paired_at(at.profile) or 0) - time.time()) < 60
    second = owner_mark.claim(at.profile, lock, after_pairing=True)
    assert second != first
    assert owner_mark.pairing(at.profile) == second
    owner_mark.disown(at.profile, lock)
    assert owner_mark.pairing(at.profile) is None
    owner_mark.disown(at.profile, lock)


def test_a_late_clean_up_cannot_touch_a_profile_that_was_paired_again(
    at: Places, lock: int
) -> None:
    token = owner_mark.claim(at.profile, lock, after_pairing=True)
    owner_mark.claim(at.profile, lock, after_pairing=True)
    before = files(at.profile)
    for meant in (token, None):
        with pytest.raises(PairedAgainError):
            quarantine.retire(at, lock, token=meant, why="a late one")
    assert files(at.profile) == before


def test_what_was_logged_out_is_quarantined_with_its_snapshots(at: Places, lock: int) -> None:
    token = owner_mark.claim(at.profile, lock, after_pairing=True)
    snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=1.0)
    owner_mark.disown(at.profile, lock)
    moved = quarantine.retire(at, lock, token=token, why="logged out by the API")
    assert moved is not None
    assert not at.profile.exists()
    assert not inspection.something_left(at)
    assert len(snapshots.known(moved / "waguard-snapshots")) == 1
    [copy] = quarantine.quarantined(at.quarantine.parent)
    assert copy.name == moved.name


def test_two_at_the_same_instant_do_not_meet(
    at: Places, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set back may show a time twice: better no move than a lost profile."""

    class OneMoment(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "OneMoment":
            return cls(2024, 11, 22, tzinfo=UTC)

    monkeypatch.setattr(quarantine, "datetime", OneMoment)
    first = quarantine.retire(at, lock, token=None, why="first")
    assert first is not None
    (at.profile / "Default").mkdir(parents=True)
    with ProfileLock(at.profile) as second, pytest.raises(OSError, match="not empty"):
        quarantine.retire(at, second.descriptor, token=None, why="second")
    assert (first / "Default").is_dir()
    assert (at.profile / "Default").is_dir()


def test_snapshots_without_a_profile_are_quarantined_too(at: Places, lock: int) -> None:
    snapshots.create(at.profile, at.snapshots, pairing="me", running=False, now=1.0)
    shutil.rmtree(at.profile / "Default")
    assert inspection.something_left(at)
    assert quarantine.retire(at, lock, token=None, why="deleted by the API") is not None
    assert not inspection.something_left(at)


def test_where_nothing_is_there_nothing_is_moved(at: Places, lock: int) -> None:
    shutil.rmtree(at.profile / "Default")
    assert quarantine.retire(at, lock, token=None, why="deleted by the API") is None
    assert not at.quarantine.exists()


def test_a_suspicion_is_acted_upon_once_the_files_show_nothing(at: Places, lock: int) -> None:
    owner_mark.claim(at.profile, lock, after_pairing=True)
    start_marks.mark_suspect(at.profile, lock, CredentialsLost("a QR code"))
    assert inspection.examine(at, lock).finding == CredentialsLost("a QR code")
    start_marks.mark_suspect(at.profile, lock, Damaged("exit code 1"))
    assert inspection.examine(at, lock).finding == Damaged("exit code 1", whole=True)
    start_marks.proved(at.profile, lock)
    assert inspection.examine(at, lock).finding == Healthy()
    start_marks.mark_suspect(at.profile, lock, CredentialsLost("a QR code"))
    owner_mark.disown(at.profile, lock)
    assert inspection.examine(at, lock).finding == Healthy()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"token": ""}', "\udcff"])
def test_a_spoiled_mark_is_none(at: Places, content: str) -> None:
    path = at.profile / PAIRING
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert owner_mark.pairing(at.profile) is None
    path.rename(at.profile / TRIED)
    assert start_marks.tried(at.profile) == frozenset()


def test_a_clean_exit_counts_once(at: Places, lock: int) -> None:
    assert not start_marks.clear_clean_exit(at.profile, lock)
    start_marks.mark_clean_exit(at.profile, lock)
    assert start_marks.clear_clean_exit(at.profile, lock)
    assert not start_marks.clear_clean_exit(at.profile, lock)


def test_without_the_lock_nothing_is_changed(at: Places, tmp_path: Path) -> None:
    other = ProfileLock(tmp_path / "other")
    unlocked = os.open(at.profile, os.O_RDONLY)
    before = files(at.profile)
    changes: list[Callable[[int], object]] = [
        lambda it: owner_mark.claim(at.profile, it, after_pairing=True),
        lambda it: owner_mark.disown(at.profile, it),
        lambda it: quarantine.retire(at, it, token=None, why="x"),
        lambda it: start_marks.mark_suspect(at.profile, it, Damaged("x")),
        lambda it: start_marks.mark_clean_exit(at.profile, it),
        lambda it: start_marks.clear_clean_exit(at.profile, it),
        lambda it: start_marks.proved(at.profile, it),
        lambda it: chromium_lock.remove_stale(at.profile, it),
        lambda it: repair.replace_profile(at, it, why="x"),
        lambda it: caches.clean(at.profile, it, above=0),
    ]
    for change in changes:
        for descriptor in (other.descriptor, unlocked, -1):
            with pytest.raises(NotHeldError):
                change(descriptor)
    os.close(unlocked)
    other.release()
    assert files(at.profile) == before


def test_a_descriptor_of_a_lock_that_somebody_else_holds_proves_nothing(
    at: Places, lock: int
) -> None:
    mine = os.open(at.profile / LOCK_NAME, os.O_RDWR)
    with pytest.raises(NotHeldError):
        prove_held(at.profile, mine)
    os.close(mine)
    prove_held(at.profile, lock)


# ---- Chromium's lock ----


def chromium_holds(at: Places, target: str) -> None:
    for name in SINGLETONS:
        (at.profile / name).unlink(missing_ok=True)
        (at.profile / name).symlink_to(target)


@pytest.fixture
def dead() -> int:
    """A pid that was somebody's."""
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True
    )
    return int(process.stdout)


def browser(folder: Path) -> subprocess.Popen[bytes]:
    """A process that says it uses a profile."""
    return subprocess.Popen(
        [sys.executable, "-c", "input()", f"--user-data-dir={folder}"], stdin=subprocess.PIPE
    )


def test_whose_lock_it_is(at: Places, dead: int) -> None:
    host = socket.gethostname()
    assert chromium_lock.owner(at.profile) == Free()
    chromium_holds(at, f"{host}-{dead}")
    assert chromium_lock.owner(at.profile) == DeadOwner(dead)
    chromium_holds(at, f"far-away-{dead}")
    assert chromium_lock.owner(at.profile) == OtherHost("far-away", dead)
    chromium_holds(at, f"{host}-{os.getpid()}")  # a pid that went to somebody else
    assert chromium_lock.owner(at.profile) == DeadOwner(os.getpid())
    chromium_holds(at, f"{host}-2")
    if not Path("/proc/2/cmdline").read_bytes():  # a thread of the kernel
        assert chromium_lock.owner(at.profile) == DeadOwner(2)
    chromium_holds(at, "no pid at all")
    assert chromium_lock.owner(at.profile) == LivingOwner(0)
    (at.profile / "SingletonLock").unlink()
    (at.profile / "SingletonLock").touch()
    assert chromium_lock.owner(at.profile) == LivingOwner(0)


def test_a_living_browser_of_this_profile_keeps_its_lock(at: Places, lock: int) -> None:
    for folder, kind in (
        (at.profile, LivingOwner),
        (Path(f"{at.profile}0"), DeadOwner),  # the browser of another session
    ):
        process = browser(folder)
        try:
            chromium_holds(at, f"{socket.gethostname()}-{process.pid}")
            while Path(f"/proc/{process.pid}/cmdline").read_bytes().count(b"\0") < 4:
                assert process.poll() is None
            assert isinstance(chromium_lock.owner(at.profile), kind)
            if kind is LivingOwner:
                with pytest.raises(NotHeldError, match="still uses"):
                    chromium_lock.remove_stale(at.profile, lock)
                with pytest.raises(NotHeldError, match="locked by Chromium"):
                    repair.replace_profile(at, lock, why="x")
                with pytest.raises(NotHeldError, match="locked by Chromium"):
                    caches.clean(at.profile, lock, above=0)
                prepared = repair.prepare(at, lock)
                assert isinstance(prepared.end, Hold)
                assert (at.profile / "SingletonLock").is_symlink()
        finally:
            process.communicate()


@pytest.mark.parametrize("host", ["here", "far-away"])
def test_a_stale_lock_is_removed(at: Places, lock: int, dead: int, host: str) -> None:
    host = socket.gethostname() if host == "here" else host
    chromium_holds(at, f"{host}-{dead}")
    prepared = repair.prepare(at, lock)
    assert [type(action) for action in prepared.actions] == [RemoveStaleLock, Use]
    assert not any(os.path.lexists(at.profile / name) for name in SINGLETONS)
    assert word_of(at.profile) == "credentials"


# ---- another profile in its place ----


def test_what_a_crash_left_half_written_is_cut_off_before_the_start(
    at: Places, lock: int, paired: str
) -> None:
    before = files(at.profile)
    log = at.profile / LOCAL / "000006.log"
    log.write_bytes(log.read_bytes() + b"half")
    prepared = repair.prepare(at, lock)
    assert prepared.actions == (CutTornTails((LOCAL,)), Use())
    assert files(at.profile) == before
    assert repair.prepare(at, lock).actions == (Use(),)


def test_what_is_damaged_is_quarantined_and_the_last_good_snapshot_restored(
    at: Places, lock: int, paired: str
) -> None:
    snapshot_of(at, paired, now=NOW)
    rewrite(at, "newer")
    newest = snapshot_of(at, paired, now=NOW + 1)
    (at.profile / INDEXED / "000006.log").write_bytes(os.urandom(40_000))
    prepared = repair.prepare(at, lock)
    assert isinstance(prepared.end, Use)
    assert word_of(at.profile) == "newer"
    assert inspect(at.profile) == Healthy()
    assert owner_mark.pairing(at.profile) == paired
    assert start_marks.tried(at.profile) == {newest.id}
    assert not (at.profile / "Local State").exists(), "nothing but the credentials comes back"
    assert prepared.quarantined
    assert prepared.quarantined.parent == at.quarantine
    note = json.loads((prepared.quarantined / NOTE).read_text())
    assert note["session_id"] == "abc"
    assert note["workspace_id"] == 7
    assert "000006.log" in note["why"]
    assert stat.S_IMODE(at.profile.stat().st_mode) == 0o700
    assert list(at.profile.parent.iterdir()) == [at.profile]


def paired_since(at: Places, token: str, moment: float) -> None:
    (at.profile / PAIRING).write_text(json.dumps({"token": token, "at": moment}))


def test_a_snapshot_in_its_place_is_no_new_pairing(at: Places, lock: int, paired: str) -> None:
    """What came since the pairing would be taken for older than it, and left out."""
    paired_since(at, paired, NOW - 100)
    snapshot_of(at, paired, now=NOW)
    (at.profile / INDEXED / "CURRENT").unlink()
    repair.prepare(at, lock)
    assert owner_mark.pairing(at.profile) == paired
    assert owner_mark.paired_at(at.profile) == NOW - 100


@pytest.mark.parametrize("lost", [True, False])
def test_of_a_lost_profile_the_snapshot_says_since_when_it_is_paired(
    at: Places, *, lost: bool
) -> None:
    taken = snapshot_of(at, "me", now=NOW)
    if lost:
        shutil.rmtree(at.profile)
    else:
        paired_since(at, "another", NOW - 100)
    profile_commands.restore(at, taken.id)
    assert (owner_mark.pairing(at.profile), owner_mark.paired_at(at.profile)) == ("me", NOW)


def test_the_lock_stays_ours_all_the_way(at: Places, lock: int, paired: str) -> None:
    snapshot_of(at, paired)
    (at.profile / INDEXED / "CURRENT").unlink()
    moved = repair.prepare(at, lock).quarantined
    prove_held(at.profile, lock)
    with pytest.raises(ProfileInUseError):
        ProfileLock(at.profile)
    assert moved
    assert not (moved / LOCK_NAME).exists()


def test_each_snapshot_is_tried_once_then_a_code_is_shown(
    at: Places, lock: int, paired: str
) -> None:
    old = snapshot_of(at, paired, now=NOW)
    new = snapshot_of(at, paired, now=NOW + 1)
    lost = CredentialsLost("a QR code although it was connected")
    for tried in ({new.id}, {new.id, old.id}):
        assert isinstance(repair.prepare(at, lock, finding=lost).end, Use)
        assert start_marks.tried(at.profile) == tried
    last = repair.prepare(at, lock, finding=lost)
    assert last.actions == (ShowQr(lost.why),)
    assert len(list(at.quarantine.iterdir())) == 2
    start_marks.proved(at.profile, lock)
    assert start_marks.tried(at.profile) == frozenset()


def test_damage_without_a_snapshot_begins_empty(at: Places, lock: int, paired: str) -> None:
    (at.profile / INDEXED / "CURRENT").unlink()
    prepared = repair.prepare(at, lock)
    assert isinstance(prepared.end, ShowQr)
    assert owner_mark.pairing(at.profile) is None
    assert owner_mark.was_ours(at.profile)
    assert {path.name for path in at.profile.iterdir()} == {LOCK_NAME, PAIRING}
    assert prepared.quarantined
    assert word_of(prepared.quarantined) == "credentials"


def test_damage_elsewhere_keeps_the_credentials_of_the_moment(
    at: Places, lock: int, paired: str
) -> None:
    snapshot_of(at, paired)
    rewrite(at, "of this moment")
    finding = Damaged("Chromium exits at once", whole=inspection.whole(at.profile))
    prepared = repair.prepare(at, lock, finding=finding)
    assert isinstance(prepared.end, Use)
    assert word_of(at.profile) == "of this moment"
    assert owner_mark.pairing(at.profile) == paired
    assert start_marks.tried(at.profile) == {CARRIED}
    assert not (at.profile / "Local State").exists()
    again = repair.prepare(at, lock, finding=finding)
    assert word_of(at.profile) == "credentials"
    assert isinstance(again.end, Use)


def test_a_profile_that_was_removed_comes_back(at: Places, lock: int, paired: str) -> None:
    taken = snapshot_of(at, paired)
    for path in at.profile.iterdir():
        if path.name != LOCK_NAME:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    prepared = repair.prepare(at, lock)
    assert isinstance(prepared.end, Use)
    assert prepared.quarantined is None
    assert word_of(at.profile) == "credentials"
    assert owner_mark.pairing(at.profile) == paired
    assert start_marks.tried(at.profile) == {taken.id}


def test_a_logout_makes_older_copies_worthless(at: Places, lock: int, paired: str) -> None:
    snapshot_of(at, paired)
    owner_mark.disown(at.profile, lock)
    (at.profile / INDEXED / "CURRENT").unlink()
    assert isinstance(repair.prepare(at, lock).end, ShowQr)


def test_a_damaged_snapshot_is_passed_over(at: Places, lock: int, paired: str) -> None:
    snapshot_of(at, paired, now=NOW)
    rewrite(at, "newer")
    spoiled = snapshot_of(at, paired, now=NOW + 1)
    archive = at.snapshots / spoiled.id / snapshots.ARCHIVE
    archive.write_bytes(bytes(len(archive.read_bytes())))
    (at.profile / INDEXED / "CURRENT").unlink()
    assert isinstance(repair.prepare(at, lock).end, Use)
    assert word_of(at.profile) == "credentials"


@pytest.mark.parametrize("moment", ["link", "rename moved", "rename in"])
def test_a_crash_in_the_middle_costs_nothing(
    at: Places, lock: int, paired: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was reached, the next start finds either the old profile or the snapshot."""
    snapshot_of(at, paired)
    (at.profile / INDEXED / "CURRENT").unlink()

    class PowerCutError(Exception):
        pass

    def cut(*_: object, **__: object) -> None:
        raise PowerCutError

    rename = Path.rename
    if moment == "link":
        monkeypatch.setattr(os, "link", cut)
    else:
        inwards = moment == "rename in"
        monkeypatch.setattr(
            Path,
            "rename",
            lambda path, target: (
                cut()
                if (target == at.profile) == inwards and path.parent == at.profile.parent
                else rename(path, target)
            ),
        )
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(PowerCutError):
        repair.prepare(at, lock)
    monkeypatch.undo()
    fcntl.flock(lock, fcntl.LOCK_UN)  # the process is gone
    held = ProfileLock(at.profile)
    try:
        assert isinstance(repair.prepare(at, held.descriptor).end, Use)
        assert word_of(at.profile) == "credentials"
        assert len(list(at.quarantine.iterdir())) == 1
        assert list(at.profile.parent.iterdir()) == [at.profile]
    finally:
        held.release()


def test_nothing_is_unpacked_over_what_is_there(at: Places, lock: int, paired: str) -> None:
    with pytest.raises(NotHeldError, match="not empty"):
        repair.replace_profile(at, lock, why=None, fill=(CARRIED, profile))
    assert word_of(at.profile) == "credentials"


def test_caches_go_and_credentials_stay(at: Places, lock: int) -> None:
    before = files(at.profile / "Default/IndexedDB") | files(at.profile / "Default/Local Storage")
    elsewhere = at.profile.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (at.profile / "ShaderCache").symlink_to(elsewhere)
    assert caches.clean(at.profile, lock, above=0) >= 50_000
    assert not (at.profile / "Default/Cache").exists()
    assert not (at.profile / "Default/Service Worker").exists()
    assert (elsewhere / "precious").exists()
    after = files(at.profile / "Default/IndexedDB") | files(at.profile / "Default/Local Storage")
    assert after == before
    assert caches.clean(at.profile, lock, above=0) == 0


# ---- quarantine and the commands ----


def test_retention_spares_the_last_copy(at: Places, sessions: Path) -> None:
    for word in ("one", "two"):
        held = ProfileLock(at.profile)
        repair.replace_profile(at, held.descriptor, why=word)
        profile(at.profile.with_name("draft"))
        (at.profile.with_name("draft") / "Default").rename(at.profile / "Default")
        shutil.rmtree(at.profile.with_name("draft"))
        held.release()
    (at.quarantine / "of somebody else").mkdir()
    kept = quarantine.quarantined(sessions)
    assert [copy.only for copy in kept] == [True, True]
    assert all(copy.size > 50_000 for copy in kept)
    gone = quarantine.purge(sessions, now=time.time(), keep_for=0.0, size_limit=0)
    assert [copy.name for copy in gone] == [kept[0].name]
    held = ProfileLock(at.profile)
    owner_mark.claim(at.profile, held.descriptor, after_pairing=True)
    held.release()
    assert [
        copy.name
        for copy in quarantine.purge(sessions, now=time.time(), keep_for=0.0, size_limit=0)
    ] == [kept[1].name]
    assert [path.name for path in at.quarantine.iterdir()] == ["of somebody else"]


def test_the_commands(at: Places, sessions: Path) -> None:
    held = ProfileLock(at.profile)
    token = owner_mark.claim(at.profile, held.descriptor, after_pairing=True)
    [line] = profile_commands.listing(sessions)
    assert (line.session, line.workspace, line.state, line.paired) == ("abc", 7, "in use", True)
    with pytest.raises(ConflictError, match="paired just now"):
        profile_commands.snapshot(at)
    mark = json.loads((at.profile / PAIRING).read_text())
    (at.profile / PAIRING).write_text(json.dumps(mark | {"at": NOW}))
    assert profile_commands.snapshot(at).running
    for command in (profile_commands.restore, profile_commands.quarantine):
        with pytest.raises(ConflictError, match="in use"):
            command(at)
    held.release()

    assert not profile_commands.snapshot(at).running
    assert profile_commands.verify(at).good
    (at.profile / INDEXED / "CURRENT").unlink()
    [line] = profile_commands.listing(sessions)
    assert line.state == "damaged"
    assert line.why
    assert len(line.snapshots) == 2
    assert not profile_commands.verify(at).good
    with pytest.raises(SnapshotRefusedError):
        profile_commands.snapshot(at)

    done = profile_commands.restore(at, line.snapshots[0].id)
    assert done.snapshot == line.snapshots[0].id
    assert done.aside
    [line] = profile_commands.listing(sessions)
    assert line.state == "healthy"
    assert owner_mark.pairing(at.profile) == token
    with pytest.raises(NotFoundError):
        profile_commands.restore(at, "no such")

    moved = profile_commands.quarantine(at)
    assert (moved / "waguard-snapshots").is_dir()
    assert len(profile_commands.quarantined(sessions)) == 2
    assert profile_commands.listing(sessions) == []
    with pytest.raises(NotFoundError):
        profile_commands.quarantine(at)
    with pytest.raises(ConflictError, match="not paired"):
        profile_commands.snapshot(at)


def test_a_session_of_which_only_snapshots_are_left_is_found_and_restored(
    at: Places, sessions: Path
) -> None:
    taken = snapshot_of(at, "me")
    shutil.rmtree(at.profile)
    [line] = profile_commands.listing(sessions)
    assert (line.session, line.state, len(line.snapshots)) == ("abc", "missing", 1)
    assert profile_commands.find(sessions, "abc") == at
    with pytest.raises(NotFoundError):
        profile_commands.find(sessions, "ab")
    done = profile_commands.restore(at)
    assert (done.snapshot, done.aside) == (taken.id, None)
    assert word_of(at.profile) == "credentials"
    assert owner_mark.pairing(at.profile) == "me"


def test_of_two_profiles_with_one_name_the_workspace_says_which(at: Places, sessions: Path) -> None:
    other = layout.places(sessions, at.workspace + 1, at.session)
    for place in (at, other):
        place.profile.mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConflictError, match=f"{at.workspace}, {other.workspace}"):
        profile_commands.find(sessions, at.session)
    assert profile_commands.find(sessions, at.session, workspace=other.workspace) == other
    with pytest.raises(NotFoundError):
        profile_commands.find(sessions, at.session, workspace=99)


def test_a_hold_changes_nothing(at: Places, lock: int, paired: str) -> None:
    before = files(at.profile)
    prepared = repair.prepare(at, lock, finding=NoRoom("full"))
    assert prepared.end == Hold("full")
    assert files(at.profile) == before
    found = replace(prepared.found, finding=Healthy())
    assert found.locked
    assert Quarantine not in map(type, prepared.actions)
