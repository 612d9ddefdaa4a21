"""Whose Chromium's own lock is, and when it is removed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.processes import no_descriptor
from tests.profile.leveldb_files import word_of
from waguard.core.profile.before_start import (
    DeadOwner,
    Free,
    Hold,
    LivingOwner,
    OtherHost,
    RemoveStaleLock,
    Use,
)
from waguard.profile import caches, chromium_lock, repair
from waguard.profile.chromium_lock import SINGLETONS
from waguard.profile.layout import Places
from waguard.profile.lock import NotHeldError

pytestmark = pytest.mark.usefixtures("used")


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
    for target in ("no pid at all", f"{host}-99999999999", f"{host}-²"):
        chromium_holds(at, target)
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
            with no_descriptor():  # then nobody is proven to be gone
                assert isinstance(chromium_lock.owner(at.profile), LivingOwner)
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
