"""RemoteAuth's archives: whole ones, and those that somebody made to do harm."""

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.profile.old_profile_files import archive, content, old_profile
from waguard.host.small_file import UnreadableError
from waguard.profile.session_archive import Limits, opened

GOOD = "Default/Local Storage/leveldb/CURRENT"


@pytest.mark.parametrize("prefix", ["", "RemoteAuth-abc/"])
def test_an_archive_is_unpacked_for_this_user_alone(tmp_path: Path, prefix: str) -> None:
    profile = old_profile(tmp_path / "profile")
    into = tmp_path / "into"
    into.mkdir(mode=0o700)
    with opened(archive(tmp_path / "a.zip", profile, prefix=prefix)) as packed:
        packed.unpack(into)
        assert packed.size == sum(p.stat().st_size for p in into.rglob("*") if p.is_file())
    files = [p for p in (profile / "Default").rglob("*") if p.is_file()]
    wanted = [p for p in files if "IndexedDB" in p.parts or "Local Storage" in p.parts]
    assert len(wanted) > 8
    for path in wanted:
        copy = into / path.relative_to(profile)
        assert copy.read_bytes() == path.read_bytes()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    folders = [p for p in into.rglob("*") if p.is_dir()]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o700 for p in folders)


def test_only_the_profile_of_an_archive_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", old_profile(tmp_path / "profile"), prefix="x/")
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("notes.txt", "about it")
        packed.writestr("x/Default/", "")
    with opened(path) as found:
        assert {name.parts[0] for name in found.members} == {"Default"}
        assert {name.parts[1] for name in found.members} == {"IndexedDB", "Local Storage"}


def linked(packed: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("Default/IndexedDB/x")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    packed.writestr(entry, "/etc")
    packed.writestr("Default/IndexedDB/x/passwd", "root::0:0::/:/bin/sh")


def twice(packed: zipfile.ZipFile) -> None:
    packed.writestr("Default/IndexedDB/x", "1")
    with pytest.warns(UserWarning, match="Duplicate"):
        packed.writestr("Default/IndexedDB/x", "2")


def named(name: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda packed: packed.writestr(name, "x")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (named("../../outside"), "leads out"),
        (named("Default/IndexedDB/../../../outside"), "leads out"),
        (named("/outside"), "leads out"),
        (named("Default\\..\\outside"), "leads out"),
        (linked, "not a plain file"),
        (twice, "twice"),
    ],
    ids=["up", "down and up", "absolute", "of another system", "a link", "twice"],
)
def test_an_archive_that_leads_out_of_the_profile_is_refused_whole(
    tmp_path: Path, spoil: Callable[[zipfile.ZipFile], None], why: str
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "x")
        spoil(packed)
    with pytest.raises(UnreadableError, match=why), opened(path):
        pass


@pytest.mark.parametrize("name", ["Default", "Default/IndexedDB", "Default/Local Storage/leveldb"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "x")
        packed.writestr("Default/IndexedDB/x", "x")
        packed.writestr(name, "x")
    with pytest.raises(UnreadableError, match="a file and a folder"), opened(path):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_unpacks_in_one_piece_is_refused(tmp_path: Path, method: int) -> None:
    """A kilobyte is a gigabyte then."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "x")
        packed.writestr("Default/IndexedDB/x", "x", compress_type=method)
    with pytest.raises(UnreadableError, match="method"), opened(path):
        pass


def test_no_more_is_written_than_was_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the library reads."""
    path, into = tmp_path / "a.zip", tmp_path / "into"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "x" * 100)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: b"x" * 100)  # without an end
    with opened(path) as found, pytest.raises(UnreadableError, match="more than it says"):
        found.unpack(into)
    assert (into / GOOD).stat().st_size <= 200


def test_a_bomb_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(GOOD, bytes(1 << 20))
    small = Limits(unpacked=1 << 19)
    with pytest.raises(UnreadableError, match="it has 1 MB"), opened(path, small):
        pass
    with pytest.raises(UnreadableError, match="1 entries"), opened(path, Limits(entries=0)):
        pass


def test_a_list_of_entries_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "x")
    with pytest.raises(UnreadableError, match="more than"), opened(path, Limits(directory=10)):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
        with zipfile.ZipFile(path, "a") as packed:
            packed.writestr(f"{GOOD}2", "x")
    with pytest.raises(UnreadableError, match="more than"), opened(path):
        pass


def test_databases_that_are_too_big_are_not_unpacked_to_be_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", old_profile(tmp_path / "profile"))
    with (
        opened(path, Limits(databases=100)) as packed,
        pytest.raises(UnreadableError, match="its databases have"),
    ):
        packed.databases()


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """It would unpack to more than was allowed for."""
    path, into = tmp_path / "a.zip", tmp_path / "into"
    into.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(GOOD, bytes(1 << 20))
    raw, said = bytearray(path.read_bytes()), struct.pack("<I", 1 << 20)
    while (at := raw.find(said)) >= 0:
        raw[at : at + 4] = struct.pack("<I", 10)
    path.write_bytes(raw)
    with opened(path) as archive_, pytest.raises(UnreadableError):
        archive_.unpack(into)
    assert sum(p.stat().st_size for p in into.rglob("*") if p.is_file()) <= 10


@pytest.mark.parametrize("keep", [0, 10, 200, -40])
def test_a_file_that_is_no_whole_archive_is_unreadable(tmp_path: Path, keep: int) -> None:
    path = archive(tmp_path / "a.zip", old_profile(tmp_path / "profile"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableError, match="not a readable archive"), opened(path):
        pass


def test_a_damaged_entry_is_found(tmp_path: Path) -> None:
    path, into = tmp_path / "a.zip", tmp_path / "into"
    into.mkdir()
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "MANIFEST-000001")
    path.write_bytes(path.read_bytes().replace(b"MANIFEST", b"MANIFESS"))
    with opened(path) as found, pytest.raises(UnreadableError, match="CRC"):
        found.unpack(into)


def test_an_archive_without_a_profile_and_an_encrypted_one(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("readme", "x")
    with pytest.raises(UnreadableError, match="no profile"), opened(path):
        pass
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(GOOD, "x")
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(UnreadableError, match="encrypted"), opened(path):
        pass


def test_a_link_and_a_pipe_are_no_archives(tmp_path: Path) -> None:
    archive(tmp_path / "a.zip", old_profile(tmp_path / "profile"))
    (tmp_path / "link.zip").symlink_to(tmp_path / "a.zip")
    with pytest.raises(OSError, match="symbolic link"), opened(tmp_path / "link.zip"):
        pass
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(UnreadableError, match="not a file"), opened(tmp_path / "folder.zip"):
        pass


def test_reading_one_changes_nothing(tmp_path: Path) -> None:
    archive(tmp_path / "in/a.zip", old_profile(tmp_path / "profile"))
    before = content(tmp_path / "in")
    with opened(tmp_path / "in/a.zip") as packed:
        packed.databases()
    assert content(tmp_path / "in") == before
