"""What one session's credentials do to a backup: it is whole without them, and names the session."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.backup.installation import Installation
from tests.host.odd_files import refuse
from tests.profile.leveldb_files import BLOBS
from waguard.backup import archive, saving
from waguard.core import backup_contents as policy
from waguard.core.backup_contents import Holder, LastBackup, Manifest
from waguard.core.profile.before_start import Quarantine, ShowQr
from waguard.core.replace import replace
from waguard.errors import ConflictError
from waguard.host.memory import last_backup
from waguard.host.small_file import SUFFIX
from waguard.profile import layout, old_profiles, owner_mark, repair, snapshot_now, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.profile.quarantine import WHICHEVER
from waguard.profile.snapshot_archive import Taken


def alpha(installation: Installation) -> Places:
    """Where the first session's profile and snapshots lie."""
    return layout.places(installation.config.paths.sessions, 7, "alpha")


def test_credentials_that_are_too_large_are_named_and_the_others_saved(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(name: str) -> int | None:
        return 2 << 20 if name.startswith("credentials/") else limit(name)

    limit = policy.limit
    for module in (policy, archive):
        monkeypatch.setattr(module, "limit", small)
    (alpha(old).profile / BLOBS / "1/00/8").write_bytes(os.urandom(3 << 20))
    file, saved = old.save(tmp_path / "backups")
    large, other = saved.sessions[:2]
    assert (large.session, large.snapshot) == ("alpha", None)
    assert "3 MB" in str(large.why)
    assert str(alpha(old).snapshots) in str(large.why), "what is to be copied by hand"
    assert (other.session, other.why) == ("beta", None)
    assert [line for line in new.restore(file).lost if "alpha" in line]


def test_a_copy_of_a_snapshot_that_a_person_made_does_not_spoil_the_backup(
    old: Installation, tmp_path: Path
) -> None:
    at = alpha(old)
    taken = snapshot_now.create(at)
    shutil.copytree(at.snapshots / taken.id, at.snapshots / f"{taken.id}.before")
    _, saved = old.save(tmp_path / "backups")
    assert [it.session for it in saved.sessions if it.snapshot] == ["alpha", "beta"]


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("is_read", [False, True])
def test_a_snapshot_that_goes_meanwhile_costs_no_backup(
    old: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    deleted: bool,
    is_read: bool,
) -> None:
    """A worker takes the next one, or the session is deleted."""
    at = alpha(old)
    first = snapshot_now.create(at)
    verify, chosen = snapshots.verify, False

    def late(snapshot: Path) -> Taken:
        nonlocal chosen
        if snapshot.name != first.id:
            return verify(snapshot)
        taken = verify(snapshot) if is_read or not chosen else None
        if chosen:
            for gone in (at.snapshots, at.profile) if deleted else (at.snapshots,):
                shutil.rmtree(gone)
        chosen = True
        return taken or verify(snapshot)

    monkeypatch.setattr(snapshots, "verify", late)
    _, saved = old.save(tmp_path / "backups")
    of_alpha, of_beta = saved.sessions[:2]
    assert (of_alpha.session, of_beta.session) == ("alpha", "beta")
    assert of_beta.snapshot
    assert (of_alpha.snapshot is None, bool(of_alpha.why)) == (deleted, deleted)
    assert of_alpha.snapshot != first.id


# ---- what the database knows, and the disk does not have ----

ROW = (
    "INSERT INTO waguard_sessions (session_id, workspace_id, desired, generation, priority, removed_at, unpaired,"
    " created_at, updated_at) VALUES (?, ?, 'up', 1, 0, ?, ?, '2026-01-01', '2026-01-01')"
)


def test_a_session_of_the_database_without_a_folder_is_named(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    """A disk of one workspace that is not mounted; one that moved to another workspace has its folder."""
    rows = ("alpha", 8, None, 0), ("away", 9, None, 0), ("gone", 9, "2026-01-02", None)
    old.run(ROW, *rows, ("a/b", 9, None, 0), ("negative", -1, None, 0))
    file, saved = old.save(tmp_path / "backups")
    assert [it.session for it in saved.sessions] == ["alpha", "beta", "gamma", "away"]
    away = saved.sessions[-1]
    assert (away.workspace, away.snapshot, "no profile" in str(away.why)) == (9, None, True)
    last = last_backup.read(old.config.paths.state)
    assert last
    assert last.missing == ("gamma", "away")
    assert [line for line in new.restore(file).lost if "away" in line]


def emptied(folder: Path) -> None:
    """An empty mount point."""
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)


@pytest.mark.parametrize("unmount", [emptied, shutil.rmtree])
def test_no_backup_without_credentials_is_made_where_their_disk_is_away(
    old: Installation, tmp_path: Path, unmount: Callable[[Path], None]
) -> None:
    old.run(ROW, ("alpha", 7, None, 0))
    unmount(old.config.paths.sessions)
    with pytest.raises(
        ConflictError, match="no profile and no snapshot, and the database has 1 session"
    ):
        old.save(tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []
    assert last_backup.read(old.config.paths.state) is None


def test_a_backup_of_what_was_never_linked_is_made(old: Installation, tmp_path: Path) -> None:
    old.run(ROW, ("alpha", 7, None, 1))
    emptied(old.config.paths.sessions)
    _, saved = old.save(tmp_path / "backups")
    assert [it.session for it in saved.sessions] == ["alpha"]


@pytest.mark.parametrize("url", ["postgresql+asyncpg://db/shop", None])
def test_of_what_no_database_says_the_last_backup_knows(
    old: Installation, tmp_path: Path, url: str | None
) -> None:
    """A server's database is not in the backup, and one's own may have been emptied."""
    database = replace(old.config.database, url=url or old.config.database.url)
    old.config = replace(old.config, database=database)
    sessions = old.config.paths.sessions
    sessions.rename(tmp_path / "away")
    _, saved = old.save(tmp_path / "backups")  # none is known
    assert saved.sessions == ()
    (tmp_path / "away").rename(sessions)
    old.save(tmp_path / "backups")
    emptied(sessions)
    with pytest.raises(ConflictError, match="last backup has 2 sessions"):
        old.save(tmp_path / "backups")
    last = last_backup.read(old.config.paths.state)
    assert isinstance(last, LastBackup)
    assert last.saved == 2


# ---- the disk of one workspace ----


@pytest.fixture
def of_a_server(old: Installation) -> Installation:
    """Its backups know no rows; beta lies in a workspace of its own, on another disk."""
    url = "postgresql+asyncpg://db/shop"
    old.config = replace(old.config, database=replace(old.config.database, url=url))
    sessions = old.config.paths.sessions
    disk = old.folder / "disk"
    disk.mkdir()
    (sessions / "workspace_8").symlink_to(disk)
    layout.path(sessions, 7, "beta").rename(layout.path(sessions, 8, "beta"))
    for root in (sessions, sessions / "snapshots"):
        layout.path(root, 8, "x").parent.mkdir(exist_ok=True, parents=True)
    return old


def away(installation: Installation) -> None:
    """The disk of beta's workspace, and its snapshots."""
    (installation.folder / "disk").rename(installation.folder / "away")
    shutil.rmtree(installation.config.paths.sessions / "snapshots/workspace_8")


def saved_again(
    installation: Installation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Manifest]:
    """Three more, of which two stay; each at a time of its own."""
    start = time.time()
    made = []
    for hours in (1, 2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda at=start + hours * 3600: at)
            made.append(installation.save(folder, keep=2)[1])
    return made


def test_the_last_archive_with_the_credentials_of_a_workspace_whose_disk_is_away_stays(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    first, _ = of_a_server.save(folder, keep=2)
    away(of_a_server)
    for saved in saved_again(of_a_server, folder, monkeypatch):
        [beta] = [it for it in saved.sessions if it.session == "beta"]
        assert (beta.workspace, beta.snapshot) == (8, None)
        assert f"{first} has its credentials" in str(beta.why)
    assert first.exists()
    assert len(list(folder.iterdir())) == 3
    last = last_backup.read(of_a_server.config.paths.state)
    assert last
    assert set(last.missing) == {"beta", "gamma"}


def test_an_archive_on_a_stream_takes_nobodys_place(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    first, _ = of_a_server.save(folder, keep=2)
    saving.into_stream(of_a_server.source(), BytesIO())
    away(of_a_server)
    saved_again(of_a_server, folder, monkeypatch)
    assert first.exists()


def test_of_a_session_that_left_no_archive_stays(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    first, _ = of_a_server.save(folder, keep=2)
    at = layout.places(of_a_server.config.paths.sessions, 8, "beta")
    old_profiles.retire_unused(at, token=WHICHEVER, why="it was deleted")
    for saved in saved_again(of_a_server, folder, monkeypatch):
        assert "beta" not in [it.session for it in saved.sessions]
    assert not first.exists()


def damage(at: Places) -> None:
    """The next start quarantines the profile, and shows a code."""
    with ProfileLock(at.profile) as lock:
        begun = (Quarantine("it is damaged"), ShowQr("no snapshot can be used"))
        repair.carry_out(at, lock.descriptor, begun)


def test_the_last_archive_with_the_credentials_of_a_damaged_profile_stays(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    first, _ = of_a_server.save(folder, keep=2)
    at = layout.places(of_a_server.config.paths.sessions, 8, "beta")
    shutil.rmtree(at.snapshots)
    damage(at)
    for saved in saved_again(of_a_server, folder, monkeypatch):
        assert [it.snapshot for it in saved.sessions if it.session == "beta"] == [None]
    assert first.exists()
    with ProfileLock(at.profile) as lock:  # its new code was scanned, and it was logged out
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        owner_mark.disown(at.profile, lock.descriptor)
    saved_again(of_a_server, folder, monkeypatch)
    assert not first.exists()


def test_the_snapshot_of_a_damaged_profile_is_saved(old: Installation, tmp_path: Path) -> None:
    old.save(tmp_path / "backups")
    at = alpha(old)
    damage(at)
    _, saved = old.save(tmp_path / "again")
    assert [it.session for it in saved.sessions if it.snapshot] == ["alpha", "beta"]


def test_after_a_restore_the_archives_that_are_needed_stay(
    old: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.run(ROW, ("alpha", 7, None, 0), ("beta", 7, None, 0))
    folder = tmp_path / "backups"
    first, _ = old.save(folder, keep=2)
    shutil.rmtree(alpha(old).profile)  # its disk is away
    shutil.rmtree(alpha(old).snapshots)
    saved_again(old, folder, monkeypatch)
    new.restore(max(it for it in folder.iterdir() if it != first))
    saved_again(new, folder, monkeypatch)
    assert first.exists()
    assert len(list(folder.iterdir())) == 3


def test_an_archive_that_a_person_deleted_is_not_named(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    first, _ = of_a_server.save(folder, keep=2)
    away(of_a_server)
    first.unlink()
    *_, saved = saved_again(of_a_server, folder, monkeypatch)
    assert "beta" not in [it.session for it in saved.sessions]


def test_where_the_note_of_the_last_backup_is_damaged_no_older_archive_is_deleted(
    of_a_server: Installation, new: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows which of them are the last with a session's credentials."""
    folder, state = tmp_path / "backups", of_a_server.config.paths.state
    first, _ = of_a_server.save(folder, keep=2)
    away(of_a_server)
    (state / last_backup.FILE).write_bytes(b"{")
    saved_again(of_a_server, folder, monkeypatch)
    assert first.exists()
    assert len(list(folder.iterdir())) == 3, "those after it go as always"
    assert (state / f"{last_backup.FILE}{SUFFIX}").read_bytes() == b"{", "it is kept"
    new.config = replace(new.config, database=of_a_server.config.database)
    new.restore(max(it for it in folder.iterdir() if it != first))
    saved_again(new, folder, monkeypatch)
    assert first.exists(), "a restore does not know more"


def test_where_the_note_of_the_last_backup_is_missing_beside_archives_none_of_them_is_deleted(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = tmp_path / "backups", of_a_server.config.paths.state
    first, saved = of_a_server.save(folder, keep=2)
    assert saved.unknown_before is None, "the first of all"
    away(of_a_server)
    (state / last_backup.FILE).unlink()
    saved_again(of_a_server, folder, monkeypatch)
    assert first.exists()
    assert len(list(folder.iterdir())) == 3, "those after it go as always"


def test_where_the_note_of_the_last_backup_cannot_be_read_now_it_stays(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, state = tmp_path / "backups", of_a_server.config.paths.state
    first, _ = of_a_server.save(folder, keep=2)
    before = last_backup.read(state)
    away(of_a_server)
    with monkeypatch.context() as patch:
        refuse(patch, state / last_backup.FILE, errno.EIO)
        assert len(saved_again(of_a_server, folder, patch)) == 3
    assert first.exists()
    assert last_backup.read(state) == before
    saved_again(of_a_server, folder, monkeypatch)
    assert first.exists()


def test_an_empty_folder_is_not_saved_while_nobody_knows_what_the_last_backup_has(
    of_a_server: Installation, tmp_path: Path
) -> None:
    note = of_a_server.config.paths.state / last_backup.FILE
    of_a_server.save(tmp_path / "backups")
    note.write_bytes(b"{")
    emptied(of_a_server.config.paths.sessions)
    with pytest.raises(ConflictError, match="what the last backup has is not known") as caught:
        of_a_server.save(tmp_path / "backups")
    assert str(note) in str(caught.value.remedy)
    assert note.read_bytes() == b"{"


def test_of_a_logged_out_row_no_archive_is_needed() -> None:
    holder = Holder(session="a", workspace=7, at=1.0, archive="/backups/x.tar")
    row = policy.Row(session="a", workspace=7, unpaired=False)
    assert policy.needed([holder], (), [row], {}) == [holder]
    assert policy.needed([holder], (), [replace(row, unpaired=True)], {}) == []
    assert policy.needed([holder], (), [replace(row, session="b")], {}) == []
    assert policy.needed([holder], (), [], {"a": 0.5}) == [holder]


def test_a_quarantine_that_cannot_be_read_now_keeps_no_backup_from_being_made(
    of_a_server: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has left is unknown then: the archive stays."""
    folder = tmp_path / "backups"
    first, _ = of_a_server.save(folder, keep=2)
    quarantine = of_a_server.config.paths.sessions / "quarantine"
    old = quarantine / "beta-20200101T000000.000000"
    old.mkdir(parents=True)
    note = (
        '{"session_id": "beta", "workspace_id": 8, "at": "2020-01-01T00:00:00+00:00", "why": "x"}'
    )
    (old / "waguard-quarantine.json").write_text(note)
    away(of_a_server)
    snapshots_of = layout.path(of_a_server.config.paths.sessions / "snapshots", 8, "beta")
    snapshots_of.parent.mkdir()
    snapshots_of.touch()  # no folder
    saved_again(of_a_server, folder, monkeypatch)
    assert first.exists()
