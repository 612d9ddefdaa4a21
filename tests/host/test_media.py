"""Received files on the disk: each once, whole or not at all, as old as they were last sent."""

import errno
import hashlib
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.host.odd_files import hide
from tests.small_disk import small_disk
from waguard.core.messages import media_retention
from waguard.errors import UnavailableError
from waguard.host.files import media as under_test
from waguard.host.files.media import MediaFolder

PICTURE = b"a picture"
NAME = hashlib.sha256(PICTURE).hexdigest()
NOW = 1_732_233_600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def files(folder: Path) -> MediaFolder:
    return MediaFolder(folder)


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def aged(folder: Path, name: str, at: float) -> None:
    for path in (folder / name[:2]).glob(f"{name}*"):
        os.utime(path, (at, at))


def test_a_file_is_kept_for_this_user_alone(files: MediaFolder, folder: Path) -> None:
    assert files.keep(PICTURE, "image/png") == NAME
    path = folder / NAME[:2] / NAME
    assert path.read_bytes() == files.read(NAME) == PICTURE
    assert files.find(NAME) == (path, "image/png")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for made in (folder, path.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert everything(folder) == [f"{NAME[:2]}/{NAME}", f"{NAME[:2]}/{NAME}.json"]


def test_the_same_again_is_kept_once_and_is_as_new_as_ever(
    files: MediaFolder, folder: Path
) -> None:
    files.keep(PICTURE, "image/png")
    aged(folder, NAME, NOW - 100)
    before = (folder / NAME[:2] / NAME).stat()
    assert files.keep(PICTURE, "text/html") == NAME
    after = (folder / NAME[:2] / NAME).stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime > before.st_mtime
    assert len(everything(folder)) == 2
    assert files.tidy(now=after.st_mtime, keep_for=50, size_limit=1_000) == 0


@pytest.mark.parametrize("note", ["its type", None])
def test_one_that_chromium_may_be_reading_is_renewed_and_keeps_its_time(
    files: MediaFolder, folder: Path, note: str | None
) -> None:
    path = folder / NAME[:2] / files.keep(PICTURE, "image/png")

    def send_again() -> None:
        draft = files.begin()
        draft.write(PICTURE)
        draft.keep("image/png")

    def touch() -> None:
        files.touch(NAME)

    for renew in (touch, send_again):
        aged(folder, NAME, NOW)
        if note is None:
            path.with_suffix(".json").unlink()
        renew()
        assert path.stat().st_mtime == NOW
        assert files.tidy(now=NOW + 100, keep_for=50, size_limit=1_000) == 0
    files.touch(hashlib.sha256(b"another").hexdigest())
    assert len(everything(folder)) == 2


def test_the_same_again_has_the_type_with_which_it_came_last(files: MediaFolder) -> None:
    def piece_by_piece(mimetype: str) -> None:
        draft = files.begin()
        draft.write(PICTURE)
        draft.keep(mimetype)

    def at_once(mimetype: str) -> None:
        files.keep(PICTURE, mimetype)

    at_once("application/x-www-form-urlencoded")
    for keep, mimetype in ((piece_by_piece, "image/png"), (at_once, "image/x-png")):
        keep(mimetype)
        found = files.find(NAME)
        assert found
        assert found[1] == mimetype


def test_what_was_cut_short_is_written_again(files: MediaFolder, folder: Path) -> None:
    files.keep(PICTURE, "image/png")
    (folder / NAME[:2] / NAME).write_bytes(b"a pic")
    files.keep(PICTURE, "image/png")
    assert files.read(NAME) == PICTURE


@pytest.mark.parametrize("note", [None, b"", b"[]", b"{", b'{"mimetype": 7}', b"\xff"])
def test_a_file_whose_type_was_lost(files: MediaFolder, folder: Path, note: bytes | None) -> None:
    files.keep(PICTURE, "image/png")
    path = folder / NAME[:2] / f"{NAME}.json"
    if note is None:
        path.unlink()
    else:
        path.write_bytes(note)
    found = files.find(NAME)
    assert found
    assert found[1] == "application/octet-stream"


@pytest.mark.parametrize(
    "name", ["", ".", "..", NAME.upper(), NAME[:-1], f"{NAME}.json", f"../{NAME}", "é" * 64]
)
def test_what_is_no_name_touches_no_path(files: MediaFolder, name: str) -> None:
    files.keep(PICTURE, "image/png")
    assert files.find(name) is None


def test_what_is_not_there(files: MediaFolder) -> None:
    assert files.find(NAME) is None
    assert files.read(NAME) is None
    assert files.tidy(now=NOW, keep_for=1, size_limit=0) == 0


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_what_the_disk_does_not_say_now_is_not_gone(
    files: MediaFolder, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    files.keep(PICTURE, "image/png")
    path = folder / NAME[:2] / NAME
    with monkeypatch.context() as patch:
        hide(patch, path, code)
        with pytest.raises(UnavailableError, match=os.strerror(code)):
            files.find(NAME)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        files.read(NAME)
    assert files.find(NAME) is None


def test_the_oldest_are_deleted_with_all_that_belongs_to_them(
    files: MediaFolder, folder: Path
) -> None:
    names = [files.keep(bytes([number]) * 100, "a/b") for number in range(4)]
    for number, name in enumerate(names):
        aged(folder, name, NOW - 10 * number)
    assert files.tidy(now=NOW, keep_for=25, size_limit=1_000) == 1
    assert files.tidy(now=NOW, keep_for=25, size_limit=150) == 2
    assert everything(folder) == [f"{names[0][:2]}/{names[0]}", f"{names[0][:2]}/{names[0]}.json"]


def test_what_comes_again_while_it_is_to_be_deleted_stays(
    files: MediaFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.keep(PICTURE, "a/b")
    aged(folder, NAME, NOW - 100)
    real = media_retention.expired

    def meanwhile(*args: Any, **more: Any) -> list[media_retention.Held]:
        doomed = real(*args, **more)
        files.keep(PICTURE, "a/b")
        return doomed

    monkeypatch.setattr(media_retention, "expired", meanwhile)
    assert files.tidy(now=NOW, keep_for=50, size_limit=1_000) == 0
    assert files.read(NAME) == PICTURE


def test_what_a_crash_left_is_cleared_and_what_is_being_written_is_not(
    files: MediaFolder, folder: Path
) -> None:
    files.keep(PICTURE, "a/b")
    for age, name in ((7_200, "old"), (10, "new")):
        path = folder / NAME[:2] / f"{under_test.UNFINISHED}{name}"
        path.write_bytes(b"half")
        os.utime(path, (NOW - age, NOW - age))
    files.tidy(now=NOW, keep_for=1e9, size_limit=1_000)
    assert f"{NAME[:2]}/{under_test.UNFINISHED}new" in everything(folder)
    assert f"{NAME[:2]}/{under_test.UNFINISHED}old" not in everything(folder)


def test_a_full_disk_is_said_and_leaves_nothing_half(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64 << 10) as disk:
        files = MediaFolder(disk / "media")
        files.keep(PICTURE, "image/png")
        with pytest.raises(OSError, match="No space left") as refused:
            files.keep(b"x" * (128 << 10), "image/png")
        assert refused.value.errno == errno.ENOSPC
        assert not [name for name in everything(disk) if under_test.UNFINISHED in name]
        assert [n for n in everything(disk) if n.endswith(".json")] == [
            f"media/{NAME[:2]}/{NAME}.json"
        ]
        assert files.read(NAME) == PICTURE
        files.keep(b"small", "image/png")


def test_the_same_from_many_sessions_at_once(files: MediaFolder, folder: Path) -> None:
    together = threading.Barrier(8)

    def keep(_: int) -> str:
        together.wait()
        return files.keep(PICTURE, "image/png")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(keep, range(8))) == {NAME}
    assert len(everything(folder)) == 2


def coming(folder: Path) -> list[str]:
    return [it for it in everything(folder) if it.startswith("coming/")]


def test_a_file_that_comes_in_pieces_is_kept_whole(files: MediaFolder, folder: Path) -> None:
    draft = files.begin()
    for piece in (PICTURE[:3], PICTURE[3:]):
        draft.write(piece)
    assert len(coming(folder)) == 1
    assert draft.keep("image/png") == NAME
    draft.discard()
    path = folder / NAME[:2] / NAME
    assert files.find(NAME) == (path, "image/png")
    assert path.read_bytes() == PICTURE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert files.size() == draft.size == len(PICTURE)
    again = files.begin()
    again.write(PICTURE)
    assert again.keep("text/html") == NAME
    assert files.find(NAME) == (path, "text/html"), "as it came last"
    assert not coming(folder)


def test_a_piece_of_which_the_disk_takes_a_part_is_no_whole_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64 << 10) as disk:
        draft = MediaFolder(disk / "media").begin()
        with pytest.raises(OSError, match="No space left"):
            draft.write(bytes(65_000) + bytes(65_000))
        draft.discard()
        assert not everything(disk)


def test_nothing_is_left_of_what_is_discarded(files: MediaFolder, folder: Path) -> None:
    draft = files.begin()
    draft.write(PICTURE)
    draft.discard()
    assert not everything(folder)


def test_what_another_program_wrote_is_taken(files: MediaFolder, folder: Path) -> None:
    place = files.coming("a")
    place.mkdir(parents=True)
    (place / "file").write_bytes(PICTURE)
    assert files.keep_file(place / "file", "image/png") == NAME
    assert files.read(NAME) == PICTURE
    assert stat.S_IMODE((folder / NAME[:2] / NAME).stat().st_mode) == 0o600
    assert not coming(folder)
    files.discard(place)
    assert not place.exists()


def test_what_a_crash_left_is_swept(files: MediaFolder, folder: Path) -> None:
    files.keep(PICTURE, "image/png")
    half = files.begin()
    half.write(b"half")
    half._file.close()
    (folder / NAME[:2] / f"{under_test.UNFINISHED}x").write_bytes(b"half")
    files.sweep()
    assert everything(folder) == [f"{NAME[:2]}/{NAME}", f"{NAME[:2]}/{NAME}.json"]
    MediaFolder(folder / "none").sweep()


def test_the_reserve_stays_free(folder: Path) -> None:
    reserve = 0
    files = MediaFolder(folder, reserve=lambda: reserve)
    draft = files.begin()
    reserve = 1 << 60
    for refused in (
        lambda: draft.write(PICTURE),
        files.begin,
        lambda: files.keep(PICTURE, "image/png"),
    ):
        with pytest.raises(OSError, match=r"limits\.disk_reserve") as raised:
            refused()
        assert raised.value.errno == errno.ENOSPC
    draft.discard()
    assert not everything(folder)
