"""The archive: what was written is what is read, and nothing else is."""

import io
import tarfile
import warnings
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.backup.installation import KEY
from waguard.backup.archive import ArchiveWriter, BackupDamagedError, read
from waguard.backup.encryption import CHUNK
from waguard.core.backup_contents import (
    API_KEY,
    DATABASE,
    KEYS,
    MANIFEST,
    Manifest,
    Member,
    SavedSession,
)
from waguard.core.replace import replace
from waguard.errors import ConfigError
from waguard.host.files.sealing import read_key

EMPTY: Final = Manifest(
    waguard="1", made_at=1.8e9, installation="", database="x", sessions=(), members=()
)
CONTENTS: Final = {API_KEY: b"key", KEYS: b"{}", DATABASE: bytes(range(256)) * 1_024}


def archive(key: bytes | None = None, manifest: Manifest = EMPTY) -> bytes:
    raw = io.BytesIO()
    writer = ArchiveWriter(raw, key)
    for name, content in CONTENTS.items():
        writer.add_bytes(name, content)
    writer.finish(manifest)
    return raw.getvalue()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_what_was_written_comes_back(tmp_path: Path, key: bytes | None) -> None:
    manifest = read(io.BytesIO(archive(key)), key, into=tmp_path)
    assert {it.name for it in manifest.members} == set(CONTENTS)
    assert {name: (tmp_path / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in CONTENTS)


def test_an_encrypted_one_shows_nothing() -> None:
    content = archive(KEY)
    assert b"state/" not in content
    assert CONTENTS[DATABASE][:64] not in content
    assert archive(KEY) != content  # each has a salt of its own


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_one_that_is_cut_off_anywhere_is_refused(key: bytes | None) -> None:
    whole = archive(key)
    content = whole if key else whole.rstrip(b"\0")  # behind the end of a tar there are zeros
    for length in (0, 5, 17, 40, 600, 3_000, CHUNK + 49, len(whole) // 2, len(content) - 1):
        with pytest.raises(BackupDamagedError):
            read(io.BytesIO(whole[:length]), key)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_one_changed_byte_is_seen(key: bytes | None) -> None:
    whole = archive(key)
    for place in (20, 513, 1_100, CHUNK + 60, 2 * CHUNK, len(whole) // 2 + 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(BackupDamagedError):
            read(io.BytesIO(bytes(changed)), key)


def test_chunks_cannot_change_places() -> None:
    whole, head, size = archive(KEY), 17 + 16, CHUNK + 16
    first, second = whole[head : head + size], whole[head + size : head + 2 * size]
    swapped = whole[:head] + second + first + whole[head + 2 * size :]
    dropped = whole[: head + size] + whole[head + 2 * size :]
    for changed in (swapped, dropped, whole[: head + size], whole + b"x"):
        with pytest.raises(BackupDamagedError, match="decrypt"):
            read(io.BytesIO(changed), KEY)


@pytest.mark.parametrize(
    ("written", "given", "why"),
    [
        (KEY, bytes(32), "does not decrypt"),
        (KEY, None, "--key-file"),
        (None, KEY, "not encrypted"),
    ],
    ids=["another key", "no key", "a key for nothing"],
)
def test_a_wrong_key_says_so(written: bytes | None, given: bytes | None, why: str) -> None:
    with pytest.raises(BackupDamagedError, match=why):
        read(io.BytesIO(archive(written)), given)


def made(*entries: tuple[str, bytes, bytes], sealed: bool = True) -> bytes:
    """A tar of these names, types and contents, with a manifest that agrees."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "target"
            tar.addfile(info, io.BytesIO(content))
        if sealed:
            info = tarfile.TarInfo(MANIFEST)
            content = msgspec.json.encode(EMPTY)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


ODD: Final = {
    "a name that leads out": ("../../etc/passwd", tarfile.REGTYPE, b"x"),
    "an absolute name": ("/etc/passwd", tarfile.REGTYPE, b"x"),
    "a name of nobody's": ("state/other", tarfile.REGTYPE, b"x"),
    "a link": (API_KEY, tarfile.SYMTYPE, b""),
    "a hard link": (API_KEY, tarfile.LNKTYPE, b""),
    "a device": (API_KEY, tarfile.CHRTYPE, b""),
    "a pipe": (API_KEY, tarfile.FIFOTYPE, b""),
    "a folder": ("state", tarfile.DIRTYPE, b""),
    "a sparse file": (API_KEY, tarfile.GNUTYPE_SPARSE, b"x"),
    "a header that is read as a whole": ("long", tarfile.GNUTYPE_LONGNAME, b"x" * 600),
    "another such header": ("pax", tarfile.XHDTYPE, b"11 path=abc"),
    "more than it may have": (API_KEY, tarfile.REGTYPE, bytes((1 << 20) + 1)),
    "a file that the manifest does not name": (API_KEY, tarfile.REGTYPE, b"x"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_no_backup_has_refuses_all_of_it(tmp_path: Path, odd: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BackupDamagedError):
            read(io.BytesIO(made(ODD[odd])), None, into=tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir()] in ([], ["in"])
    assert not list(tmp_path.rglob("passwd"))


def test_twice_the_same_and_what_follows_the_end() -> None:
    twice = [(API_KEY, tarfile.REGTYPE, b"x")] * 2
    for content in (made(*twice), made(sealed=False), b"no archive" * 100):
        with pytest.raises(BackupDamagedError):
            read(io.BytesIO(content), None)


def test_a_manifest_that_promises_more_than_there_is() -> None:
    session = SavedSession(session="alpha", workspace=7, snapshot="20261130T000000Z-abcdef")
    for odd in (
        replace(EMPTY, format=2),
        replace(EMPTY, sessions=(session,)),
        replace(EMPTY, sessions=(replace(session, session="../a", snapshot=None),)),
        replace(EMPTY, sessions=(replace(session, snapshot="../a"),)),
        replace(EMPTY, sessions=(replace(session, snapshot=None),) * 2),
    ):
        with pytest.raises(BackupDamagedError):
            read(io.BytesIO(archive(manifest=odd)), None)


def test_a_member_that_no_backup_has_is_not_written() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        ArchiveWriter(io.BytesIO(), None).add_bytes("other", b"")
    assert Member("a", 1, "b") != Member("a", 1, "c")


def test_a_key_is_64_digits_that_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    assert read_key(path) == KEY
    path.chmod(0o640)  # root's, and the daemon's group's to read
    assert read_key(path) == KEY
    for mode in (0o644, 0o620):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="open to other users"):
            read_key(path)
    path.chmod(0o600)
    for text in ("", "zz" * 32, "00" * 31, "\x00" * 64):
        path.write_text(text)
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            read_key(path)
    with pytest.raises(ConfigError) as raised:
        read_key(tmp_path / "none")
    assert "openssl rand -hex 32" in raised.value.line()
