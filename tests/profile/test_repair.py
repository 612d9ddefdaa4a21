"""How another profile takes a profile's place, and what a crash in the middle costs."""

import errno
import fcntl
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.host.odd_files import refuse
from tests.profile.copies import NOW, files, rewrite, snapshot_of
from tests.profile.leveldb_files import INDEXED, LOCAL, profile, word_of
from waguard.cli import profile_commands
from waguard.core.profile.before_start import (
    CARRIED,
    CredentialsLost,
    CutTornTails,
    Damaged,
    Healthy,
    Hold,
    ShowQr,
    Use,
)
from waguard.host.small_file import SUFFIX
from waguard.profile import (
    caches,
    inspection,
    leaving_mark,
    owner_mark,
    quarantine,
    repair,
    snapshot_archive,
    start_marks,
)
from waguard.profile.inspection import inspect
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import Leaving
from waguard.profile.lock import LOCK_NAME, NotHeldError, ProfileInUseError, ProfileLock, prove_held
from waguard.profile.owner_mark import PAIRING
from waguard.profile.quarantine import NOTE
from waguard.profile.start_marks import SUSPECT, TRIED

pytestmark = pytest.mark.usefixtures("used")


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


def spoil(at: Places) -> None:
    (at.profile / INDEXED / "000006.log").write_bytes(os.urandom(40_000))


@pytest.mark.parametrize("mark", [b"", b"\0" * 80, b"[]", b'{"at": 1}'])
def test_a_damaged_owner_mark_costs_no_snapshot(
    at: Places, lock: int, paired: str, mark: bytes
) -> None:
    taken = snapshot_of(at, paired)
    (at.profile / PAIRING).write_bytes(mark)
    assert repair.prepare(at, lock).actions == (Use(),)
    [kept] = at.profile.glob(f"{PAIRING}*{SUFFIX}")
    assert kept.read_bytes() == mark
    assert owner_mark.claim(at.profile, lock, after_pairing=False) == paired
    assert owner_mark.paired_at(at.profile) == NOW, "what came since the snapshot is still wanted"
    (at.profile / PAIRING).write_bytes(mark)
    spoil(at)
    assert isinstance(repair.prepare(at, lock).end, Use), "no code has to be scanned"
    assert owner_mark.pairing(at.profile) == paired
    assert start_marks.tried(at.profile) == {taken.id}


def test_a_damaged_owner_mark_without_a_snapshot_stays(
    at: Places, lock: int, logged: list[str]
) -> None:
    (at.profile / PAIRING).write_bytes(b"[]")
    assert repair.prepare(at, lock).actions == (Use(),)
    assert (at.profile / PAIRING).read_bytes() == b"[]"
    owner_mark.claim(at.profile, lock, after_pairing=False)
    [kept] = at.profile.glob(f"{PAIRING}*{SUFFIX}")
    assert kept.read_bytes() == b"[]"
    assert sum("file_unreadable" in line for line in logged) == 1


def test_a_damaged_owner_mark_is_replaced_where_it_cannot_be_kept(
    at: Places, lock: int, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (at.profile / PAIRING).write_bytes(b"[]")

    def no_links(*_: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    token = owner_mark.claim(at.profile, lock, after_pairing=False)
    assert owner_mark.pairing(at.profile) == token
    [line] = [line for line in logged if "file_unreadable" in line]
    assert "'kept': None" in line


@pytest.mark.parametrize("up", range(3))
def test_while_the_disk_of_its_snapshots_is_away_a_damaged_profile_stays(
    at: Places, lock: int, paired: str, tmp_path: Path, up: int
) -> None:
    snapshot_of(at, paired)
    link = (at.snapshots, *at.snapshots.parents)[up]
    link.rename(tmp_path / "disk")
    link.symlink_to(tmp_path / "away")
    spoil(at)
    before = files(at.profile)
    prepared = repair.prepare(at, lock)
    why = f"{link} links to {tmp_path / 'away'}, which is not there: mount its disk"
    assert prepared.actions == (Hold(why),)
    assert files(at.profile) == before
    (tmp_path / "disk").rename(tmp_path / "away")
    assert isinstance(repair.prepare(at, lock).end, Use)
    assert owner_mark.pairing(at.profile) == paired


def too_many(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("archive", [False, True])
def test_while_its_snapshot_cannot_be_read_a_damaged_profile_stays(
    at: Places, lock: int, paired: str, monkeypatch: pytest.MonkeyPatch, *, archive: bool
) -> None:
    taken = snapshot_of(at, paired)
    spoil(at)
    before = files(at.profile)
    with monkeypatch.context() as patch:
        if archive:
            patch.setattr(snapshot_archive, "_sha256", too_many)
        else:
            refuse(patch, at.snapshots / taken.id / snapshot_archive.MANIFEST, errno.EMFILE)
        held = repair.prepare(at, lock).end
    assert isinstance(held, Hold)
    assert "Too many open files" in held.why
    assert files(at.profile) == before
    assert isinstance(repair.prepare(at, lock).end, Use)
    assert owner_mark.pairing(at.profile) == paired


def test_while_the_owner_mark_cannot_be_read_a_damaged_profile_stays(
    at: Places, lock: int, paired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_of(at, paired)
    spoil(at)
    with monkeypatch.context() as patch:
        refuse(patch, at.profile / PAIRING, errno.EMFILE)
        with pytest.raises(OSError, match="Too many open files"):
            repair.prepare(at, lock)
    assert isinstance(repair.prepare(at, lock).end, Use)
    assert owner_mark.pairing(at.profile) == paired


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


def test_no_snapshot_from_before_a_logout_is_restored(at: Places, lock: int, paired: str) -> None:
    snapshot_of(at, paired)
    owner_mark.disown(at.profile, lock)
    (at.profile / INDEXED / "CURRENT").unlink()
    for _ in range(2):  # Chromium did not come up after the first one
        assert isinstance(repair.prepare(at, lock).end, ShowQr)
    assert owner_mark.pairing(at.profile) is None


def test_a_snapshot_that_could_not_be_read_is_restored_when_it_can(
    at: Places, lock: int, paired: str
) -> None:
    """As on a disk that is mounted later: nobody has logged the session out."""
    snapshot_of(at, paired)
    away = at.snapshots.rename(at.snapshots.with_name("away"))
    (at.profile / INDEXED / "CURRENT").unlink()
    assert isinstance(repair.prepare(at, lock).end, ShowQr)
    owner_mark.disown(at.profile, lock)  # as a worker does that has to show a code
    away.rename(at.snapshots)
    assert isinstance(repair.prepare(at, lock).end, Use)
    assert owner_mark.pairing(at.profile) == paired


def test_what_replaces_a_profile_that_leaves_must_leave_too(
    at: Places, lock: int, paired: str
) -> None:
    snapshot_of(at, paired)
    leaving = Leaving(3, "logged out by the API")
    leaving_mark.write(at.profile, leaving)
    (at.profile / INDEXED / "CURRENT").unlink()
    assert isinstance(repair.prepare(at, lock).end, Use)
    assert leaving_mark.read(at.profile) == leaving
    assert quarantine.retire(at, lock, token=paired, why=leaving.why)
    with ProfileLock(at.profile) as empty:
        leaving_mark.write(at.profile, leaving)
        assert quarantine.retire(at, empty.descriptor, token=None, why=leaving.why) is None
    assert leaving_mark.read(at.profile) is None


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
    archive = at.snapshots / spoiled.id / snapshot_archive.ARCHIVE
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


@pytest.mark.parametrize("name", [TRIED, SUSPECT])
def test_a_mark_of_no_use_to_a_healthy_profile_does_not_keep_it_from_starting(
    at: Places, paired: str, lock: int, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    refuse(monkeypatch, at.profile / name, errno.EIO)
    assert repair.prepare(at, lock).actions == (Use(),)


@pytest.mark.parametrize("name", [TRIED, SUSPECT])
def test_a_mark_that_cannot_be_read_is_named_by_verify(
    at: Places, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    refuse(monkeypatch, at.profile / name, errno.EIO)
    verified = profile_commands.verify(at)
    assert (verified.line.state, verified.line.paired, verified.good) == (
        "unreadable",
        False,
        False,
    )
    assert str(at.profile / name) in (verified.line.why or "")


def test_what_was_tried_is_read_before_a_snapshot_is_restored(
    at: Places, lock: int, paired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at.profile / INDEXED / "MANIFEST-000001").unlink()
    refuse(monkeypatch, at.profile / TRIED, errno.EIO)
    with pytest.raises(OSError, match=TRIED):
        repair.prepare(at, lock)
