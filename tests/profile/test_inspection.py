"""What is wrong with a profile, and what is only not known."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.profile.copies import Break, just_made
from tests.profile.leveldb_files import INDEXED, LOCAL
from waguard.core.profile.before_start import (
    CredentialsLost,
    Damaged,
    Emptied,
    Healthy,
    Missing,
    NoRoom,
)
from waguard.profile import inspection
from waguard.profile.inspection import inspect
from waguard.profile.layout import Places

pytestmark = pytest.mark.usefixtures("used")


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def test_a_profile_that_is_well(at: Places, paired: str) -> None:
    assert inspect(at.profile) == Healthy()
    (at.profile / "Local State").write_text('{"cut')
    (at.profile / "Default/Preferences").write_bytes(b"")
    assert inspect(at.profile) == Healthy()


def test_a_folder_without_chromiums_files_is_a_missing_profile(tmp_path: Path) -> None:
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
    "a pipe that nobody writes to": (
        lambda p: pipe(p / LOCAL / "CURRENT"),
        Damaged,
        "CURRENT is not a regular file",
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
