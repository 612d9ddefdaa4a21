"""Old profiles are put in their place before a start, and leave with their session."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.profile.database_lock import lock_database
from tests.profile.old_profile_files import NEW, OLD, old_profile, sqlite
from waguard.cli import profile_commands
from waguard.core.profile.old_profiles import Credentials, places
from waguard.profile import old_profiles, owner_mark, quarantine, repair, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.profile.old_profiles import OldProfileInUseError, examine, migrate
from waguard.profile.quarantine import NOTE

# ---- before a start ----


def inode(path: Path) -> int:
    return (path / "Default").stat().st_ino


def start(at: Places, *, known: bool = True) -> Path | None:
    return migrate(at, known=known)


@pytest.mark.parametrize("place", places(7, "abc", known=True))
def test_an_old_profile_is_moved_into_its_place(at: Places, sessions: Path, place: str) -> None:
    old_profile(sessions / place)
    assert start(at) == sessions / place
    assert examine(at.profile).credentials is Credentials.PAIRED
    assert not (sessions / place).exists()
    assert start(at) is None, "again"


def test_only_the_inner_folder_of_a_profile_is_moved_into_its_place(
    at: Places, sessions: Path
) -> None:
    old = old_profile(sessions / "7/abc/session-abc")
    for path in ("Local State", *()):
        (old / path).unlink()
    shutil.move(old / "Default", sessions / "bare")
    shutil.rmtree(sessions / "7")
    shutil.move(sessions / "bare", sessions / "7/abc")
    assert start(at) == sessions / "7/abc"
    assert examine(at.profile).credentials is Credentials.PAIRED


def test_a_paired_old_profile_takes_the_place_of_a_new_one_that_is_not(
    at: Places, sessions: Path
) -> None:
    """Fault 2: the old service's restore made a new profile beside the paired one."""
    old_profile(at.profile, paired=False, used=NEW)
    wanted = inode(old_profile(sessions / "7/abc/session-abc", used=OLD))
    assert start(at) == sessions / "7/abc/session-abc"
    assert inode(at.profile) == wanted
    [quarantined] = quarantine.quarantined(sessions)
    assert "7/abc/session-abc" in (at.quarantine / quarantined.name / NOTE).read_text()
    with ProfileLock(at.profile):
        pass


def test_the_newest_paired_one_of_several_is_used(at: Places, sessions: Path) -> None:
    old_profile(sessions / "7/abc", used=OLD)
    wanted = inode(old_profile(sessions / "session-abc", used=NEW))
    old_profile(sessions / "7/abc/session-abc", paired=False, used=NEW + 1)
    start(at)
    assert inode(at.profile) == wanted
    assert (sessions / "7/abc").exists()


def test_a_newer_pairing_in_its_place_stays(at: Places, sessions: Path) -> None:
    wanted = inode(old_profile(at.profile, used=NEW))
    old_profile(sessions / "7/abc/session-abc", used=OLD)
    assert start(at) is None
    assert inode(at.profile) == wanted


def test_what_cannot_be_read_in_its_place_stays(
    at: Places, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_profile(at.profile, paired=False)
    sqlite(at.profile)
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is None


@pytest.mark.parametrize("logged_out", [False, True])
def test_where_waguard_connected_the_session_nothing_older_is_used(
    at: Places, sessions: Path, *, logged_out: bool
) -> None:
    old_profile(at.profile, paired=not logged_out, used=OLD)
    old_profile(sessions / "7/abc/session-abc", used=NEW)
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        if logged_out:
            owner_mark.disown(at.profile, lock.descriptor)
            assert owner_mark.pairing(at.profile) is None
    assert start(at) is None


def test_nothing_older_is_used_after_a_damaged_profile_was_replaced(
    at: Places, sessions: Path
) -> None:
    old_profile(at.profile)
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        repair.replace_profile(at, lock.descriptor, why="a test")
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is None


def test_a_snapshot_is_newer_than_any_old_profile(at: Places, sessions: Path) -> None:
    old_profile(at.profile)
    snapshots.create(at.profile, at.snapshots, pairing="token", running=False, now=NEW)
    shutil.rmtree(at.profile)
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is None


def test_another_workspaces_profile_is_nobodys_here(at: Places, sessions: Path) -> None:
    old_profile(sessions / "8/abc/session-abc")
    assert start(at) is None
    old_profile(sessions / "session-abc")
    assert start(at, known=False) is None, "it may be another customer's"
    assert start(at, known=True) == sessions / "session-abc"


def test_one_that_another_browser_uses_is_waited_for(
    at: Places, sessions: Path, other: subprocess.Popen[str]
) -> None:
    old = old_profile(sessions / "7/abc/session-abc")
    lock_database(other, old)
    with pytest.raises(OldProfileInUseError, match=f"process {other.pid} uses"):
        start(at)
    assert old.exists()
    assert not at.profile.exists()


def test_what_a_worker_still_holds_stays(at: Places, sessions: Path) -> None:
    old_profile(at.profile, paired=False)
    old_profile(sessions / "7/abc/session-abc")
    with ProfileLock(at.profile):
        assert start(at) is None
    assert start(at) is not None


def test_an_empty_place_is_taken(at: Places, sessions: Path) -> None:
    with ProfileLock(at.profile):
        pass
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is not None
    assert quarantine.quarantined(sessions) == []


@pytest.mark.parametrize("step", ["quarantined", "renamed"])
def test_a_crash_in_the_middle_loses_none(
    at: Places, sessions: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old_profile(at.profile, paired=False)
    wanted = inode(old_profile(sessions / "7/abc/session-abc"))
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if step == "renamed" and target == at.profile:
            raise KeyboardInterrupt
        made = real(self, target)
        if step == "quarantined" and self == at.profile:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            start(at)
    start(at)
    assert inode(at.profile) == wanted


# ---- a session that leaves ----


def test_the_old_profiles_of_a_session_leave_with_it(at: Places, sessions: Path) -> None:
    old_profile(at.profile, used=NEW)
    old = old_profile(sessions / "7/abc/session-abc", used=OLD)
    other = old_profile(sessions / "session-abc", used=OLD)
    quarantined = profile_commands.quarantine(at)
    assert sorted(p.name for p in quarantined.glob(f"{old_profiles.OLD}*")) == [
        "waguard-old-0",
        "waguard-old-1",
    ]
    assert not old.exists()
    assert not other.exists()
    assert start(at) is None
    assert not at.profile.exists()


def test_what_may_be_another_customers_does_not_leave_with_it(at: Places, sessions: Path) -> None:
    old_profile(at.profile)
    other = old_profile(sessions / "session-abc")
    with ProfileLock(at.profile) as lock:
        old_profiles.retire(at, lock.descriptor, token=None, why="a test", known=False)
    assert other.exists()
    assert start(at, known=False) is None


def test_one_that_is_used_stays_where_it_is(
    at: Places, sessions: Path, other: subprocess.Popen[str]
) -> None:
    old_profile(at.profile)
    old = old_profile(sessions / "7/abc/session-abc")
    lock_database(other, old)
    profile_commands.quarantine(at)
    assert old.exists()
