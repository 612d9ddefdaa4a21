"""The lock on a profile: for one worker and its browser, and for as long as either lives."""

import fcntl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from waguard.errors import WaguardError
from waguard.profile.lock import LOCK_NAME, ProfileInUseError, ProfileLock


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "workspace_7" / "session-s"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_lock_makes_the_folder_for_this_user_alone(profile: Path) -> None:
    lock = ProfileLock(profile)
    assert stat.S_IMODE(profile.stat().st_mode) == 0o700
    assert stat.S_IMODE((profile / LOCK_NAME).stat().st_mode) == 0o600
    lock.release()


def test_a_second_one_hears_who_to_ask(profile: Path) -> None:
    lock = ProfileLock(profile)
    before = descriptors()
    with pytest.raises(ProfileInUseError) as raised:
        ProfileLock(profile)
    assert raised.value.value == str(profile)
    assert "fuser" in str(raised.value.remedy)
    assert descriptors() == before
    lock.release()
    ProfileLock(profile).release()


def test_two_profiles_do_not_mind_each_other(tmp_path: Path) -> None:
    one, two = ProfileLock(tmp_path / "a"), ProfileLock(tmp_path / "b")
    one.release()
    two.release()


def test_the_lock_outlives_the_worker_in_its_browser(profile: Path) -> None:
    lock = ProfileLock(profile)
    browser = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    )
    try:
        lock.release()
        with pytest.raises(ProfileInUseError):
            ProfileLock(profile)
    finally:
        browser.communicate()
    ProfileLock(profile).release()


def test_other_children_do_not_have_it(profile: Path) -> None:
    lock = ProfileLock(profile)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lock.release()
        ProfileLock(profile).release()
    finally:
        other.communicate()


def test_a_stale_lock_file_is_no_obstacle(profile: Path) -> None:
    profile.mkdir(parents=True)
    (profile / LOCK_NAME).write_text("left by a worker that was killed")
    ProfileLock(profile).release()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WaguardError, match="cannot be used") as raised:
        ProfileLock(tmp_path / "file" / "session-s")
    assert not isinstance(raised.value, ProfileInUseError)
    assert raised.value.field == "paths.sessions"
    assert raised.value.remedy


def test_a_disk_that_knows_no_locks(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    before = descriptors()
    with pytest.raises(WaguardError, match="No locks available") as raised:
        ProfileLock(profile)
    assert not isinstance(raised.value, ProfileInUseError)
    assert descriptors() == before
