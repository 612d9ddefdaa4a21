"""What is quarantined, how long it stays, and the commands that show it and bring it back."""

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.profile.copies import NOW, files, snapshot_of
from tests.profile.leveldb_files import INDEXED, profile, word_of
from waguard.cli import profile_commands
from waguard.core.profile.before_start import Healthy, Hold, NoRoom, Quarantine
from waguard.core.replace import replace
from waguard.errors import ConflictError, NotFoundError, UnavailableError
from waguard.host.files import moving
from waguard.profile import (
    inspection,
    layout,
    leaving_mark,
    owner_mark,
    quarantine,
    repair,
    snapshot_now,
    snapshots,
)
from waguard.profile.credentials import SnapshotRefusedError
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import Leaving
from waguard.profile.lock import ProfileLock
from waguard.profile.owner_mark import PAIRING

pytestmark = pytest.mark.usefixtures("used")

# ---- quarantine and the commands ----


def quarantine_two(at: Places) -> None:
    """One after the other; a third one is used."""
    for word in ("one", "two"):
        held = ProfileLock(at.profile)
        repair.replace_profile(at, held.descriptor, why=word)
        profile(at.profile.with_name("draft"))
        (at.profile.with_name("draft") / "Default").rename(at.profile / "Default")
        shutil.rmtree(at.profile.with_name("draft"))
        held.release()


def test_retention_spares_the_last_copy(at: Places, sessions: Path) -> None:
    quarantine_two(at)
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


def test_a_purge_that_is_interrupted_leaves_nothing_that_stays(
    at: Places, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine_two(at)
    _, second = quarantine.quarantined(sessions)

    def killed(path: Path, **_: object) -> None:
        (path / quarantine.NOTE).unlink()  # as it comes first
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            quarantine.purge(sessions, now=time.time(), keep_for=0.0, size_limit=0)
    assert [copy.name for copy in quarantine.quarantined(sessions)] == [second.name]
    later = time.time() + 2 * quarantine.STALE
    monkeypatch.setattr(time, "time", lambda: later)
    assert quarantine.purge(sessions, now=time.time(), keep_for=0.0, size_limit=0) == []
    assert [path.name for path in at.quarantine.iterdir()] == [second.name]


def test_what_cannot_be_purged_is_not_said_to_be_gone(
    at: Places, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine_two(at)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    assert quarantine.purge(sessions, now=time.time(), keep_for=0.0, size_limit=0) == []


def test_the_commands_follow_a_profile_through_damage_and_restore(
    at: Places, sessions: Path
) -> None:
    held = ProfileLock(at.profile)
    token = owner_mark.claim(at.profile, held.descriptor, after_pairing=True)
    [line] = profile_commands.listing(sessions)
    assert (line.session, line.workspace, line.state, line.paired) == ("abc", 7, "in use", True)
    with pytest.raises(ConflictError, match="paired just now"):
        snapshot_now.create(at)
    mark = json.loads((at.profile / PAIRING).read_text())
    (at.profile / PAIRING).write_text(json.dumps(mark | {"at": NOW}))
    assert snapshot_now.create(at).running
    for command in (profile_commands.restore, profile_commands.quarantine):
        with pytest.raises(ConflictError, match="in use"):
            command(at)
    held.release()

    assert not snapshot_now.create(at).running
    assert profile_commands.verify(at).good
    (at.profile / INDEXED / "CURRENT").unlink()
    [line] = profile_commands.listing(sessions)
    assert line.state == "damaged"
    assert line.why
    assert len(line.snapshots) == 2
    assert not profile_commands.verify(at).good
    with pytest.raises(SnapshotRefusedError):
        snapshot_now.create(at)

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
        snapshot_now.create(at)


def test_a_session_of_which_only_snapshots_are_left_is_found_and_restored(
    at: Places, sessions: Path
) -> None:
    taken = snapshot_of(at, "me")
    shutil.rmtree(at.profile)
    leaving_mark.write(at.profile, Leaving(3, "a logout that was cut off"))
    [line] = profile_commands.listing(sessions)
    assert (line.session, line.state, len(line.snapshots)) == ("abc", "missing", 1)
    assert profile_commands.find(sessions, "abc") == at
    with pytest.raises(NotFoundError):
        profile_commands.find(sessions, "ab")
    done = profile_commands.restore(at)
    assert (done.snapshot, done.aside) == (taken.id, None)
    assert word_of(at.profile) == "credentials"
    assert owner_mark.pairing(at.profile) == "me"
    assert leaving_mark.read(at.profile) is None, "who restores it wants it to stay"


class _Killed(BaseException):
    """Nothing after it happens."""


@pytest.mark.parametrize("moves", [0, 1])
def test_what_is_killed_while_it_retires_leaves_no_snapshot_to_be_restored(
    at: Places, lock: int, paired: str, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = snapshot_of(at, paired)
    move, done = moving.move, list[Path]()

    def killed(source: Path, target: Path, *, key: str) -> None:
        if len(done) == moves:
            raise _Killed
        move(source, target, key=key)
        done.append(target)

    monkeypatch.setattr(moving, "move", killed)
    with pytest.raises(_Killed):
        quarantine.retire(at, lock, token=paired, why="logged out by the API")
    assert layout.exists(at.profile), "what ends it sees that it is not ended"
    monkeypatch.undo()
    again = snapshot_of(at, paired, now=NOW + 1)
    moved = quarantine.retire(at, lock, token=paired, why="logged out by the API")
    assert moved
    assert not inspection.something_left(at)
    kept = {it.id for place in moved.glob("waguard-snapshots*") for it in snapshots.known(place)}
    assert kept == {first.id, again.id}


def test_what_is_killed_with_snapshots_alone_is_ended_by_its_repetition(
    at: Places, lock: int, paired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_of(at, paired)
    shutil.rmtree(at.profile / "Default")

    def killed(*_: object) -> Path:
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "move_in", killed)
        with pytest.raises(_Killed):
            quarantine.retire(at, lock, token=paired, why="logged out by the API")
    moved = quarantine.retire(at, lock, token=paired, why="logged out by the API")
    assert moved
    assert [*moved.glob("waguard-snapshots*")]
    assert not quarantine.was_begun(at.profile)


def test_a_snapshot_that_is_made_while_it_retires_goes_with_it(
    at: Places, lock: int, paired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarantine on another disk gives a backup the time."""
    first = snapshot_of(at, paired)
    move_in, made = quarantine.move_in, list[str]()

    def slow(at: Places, why: str) -> Path:
        made.append(snapshot_of(at, paired, now=NOW + 1).id)
        return move_in(at, why)

    monkeypatch.setattr(quarantine, "move_in", slow)
    moved = quarantine.retire(at, lock, token=paired, why="logged out by the API")
    assert moved
    assert not inspection.something_left(at)
    kept = {it.id for place in moved.glob("waguard-snapshots*") for it in snapshots.known(place)}
    assert kept == {first.id, *made}


def test_while_the_disk_of_its_snapshots_is_away_nothing_retires(
    at: Places, lock: int, paired: str
) -> None:
    """They would come back with their disk."""
    snapshot_of(at, paired)
    link = at.snapshots.parent
    disk = link.rename(link.with_name("disk"))
    link.symlink_to(disk.with_name("away"))
    with pytest.raises(UnavailableError, match="mount its disk"):
        quarantine.retire(at, lock, token=paired, why="logged out by the API")
    assert layout.exists(at.profile)
    disk.rename(disk.with_name("away"))
    assert quarantine.retire(at, lock, token=paired, why="logged out by the API")
    assert not inspection.something_left(at)


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
