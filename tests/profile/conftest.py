import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.profile.database_lock import another
from tests.profile.leveldb_files import profile
from waguard.profile import layout, owner_mark
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """The old service's folder."""
    return tmp_path / "service"


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """The folder of all profiles, which is not there yet."""
    return tmp_path / "sessions"


@pytest.fixture
def sessions_made(sessions: Path) -> None:
    """It is there, for this user alone."""
    sessions.mkdir(mode=0o700)


@pytest.fixture
def at(sessions: Path) -> Places:
    """Where the profile of a session lies, or would."""
    return layout.places(sessions, 7, "abc")


@pytest.fixture
def used(at: Places) -> None:
    """Chromium has used the profile."""
    profile(at.profile)


@pytest.fixture
def lock(at: Places, used: None) -> Iterator[int]:
    """The descriptor of the lock of a profile that was used."""
    held = ProfileLock(at.profile)
    yield held.descriptor
    held.release()


@pytest.fixture
def paired(at: Places, lock: int) -> str:
    """The token of its pairing."""
    return owner_mark.claim(at.profile, lock, after_pairing=True)


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process: it takes LevelDB's lock on the file that it is told, and says so."""
    with another() as process:
        yield process
