"""Profiles as whatsapp-web.js leaves them, made by hand: paired, not paired, damaged; folders and archives."""

import os
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path

from tests.profile.leveldb_files import BLOBS, COMPARATOR, INDEXED, LOCAL, edit, log, text, varint
from waguard.profile.leveldb import MAGIC, masked_crc

OLD, NEW = 1_700_000_000.0, 1_700_000_100.0
"""Unix times at which a profile was used last."""

ACCOUNT = "6281180001:1@c.us"
ORIGIN = b"_https://web.whatsapp.com\0\1"
Change = tuple[bytes, bytes | None]
"""Key and value; None: deleted."""


def change(sequence: int, *changes: Change) -> bytes:
    """A batch as LevelDB writes it into its log."""
    batch = sequence.to_bytes(8, "little") + len(changes).to_bytes(4, "little")
    for key, value in changes:
        batch += bytes([value is not None]) + text(key) + (b"" if value is None else text(value))
    return batch


def handle(offset: int, size: int) -> bytes:
    return varint(offset) + varint(size)


def block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Keys and values, each key but the first without what it shares with the one before."""
    written, before = b"", b""
    for key, value in entries:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(key, before, strict=False))
        shared = len(list(same))
        written += varint(shared) + varint(len(key) - shared) + varint(len(value))
        written += key[shared:] + value
        before = key
    return written + bytes(4) + b"\1\0\0\0"


def sealed(content: bytes, kind: int = 0) -> bytes:
    """With its type and checksum."""
    content += bytes([kind])
    return content + masked_crc(content).to_bytes(4, "little")


def table(changes: Mapping[bytes, tuple[int, bytes | None]], *, kind: int = 0) -> bytes:
    """A table with one block: key → sequence and value."""
    entries = [
        (key + (sequence << 8 | (value is not None)).to_bytes(8, "little"), value or b"")
        for key, (sequence, value) in sorted(changes.items())
    ]
    data = block(entries)
    stored = sealed(literal(data) if kind else data, kind)
    index = block([(entries[-1][0], handle(0, len(stored) - 5))])
    body = stored + sealed(index)
    footer = handle(0, 0) + handle(len(stored), len(index))
    return body + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def literal(content: bytes) -> bytes:
    """In Snappy's format, nothing repeated."""
    return varint(len(content)) + b"\xf4" + (len(content) - 1).to_bytes(2, "little") + content


def account(value: str = ACCOUNT) -> Change:
    return ORIGIN + b"last-wid-md", b'\1"' + value.encode() + b'"'


def local_storage(
    folder: Path, *changes: Change, tables: Mapping[int, bytes] | None = None
) -> None:
    """A database with these changes in its log."""
    folder.mkdir(parents=True)
    (folder / "CURRENT").write_text("MANIFEST-000001\n")
    made = tables or {}
    sizes = {number: len(content) for number, content in made.items()}
    versions = (COMPARATOR + edit(), edit(log_number=6, tables=sizes))
    (folder / "MANIFEST-000001").write_bytes(log(*versions))
    for number, content in made.items():
        (folder / f"{number:06}.ldb").write_bytes(content)
    version = (b"VERSION", b"1")
    (folder / "000006.log").write_bytes(log(change(1, version), change(2, *changes)))
    (folder / "LOCK").touch()


def old_profile(folder: Path, *, paired: bool = True, used: float = 1_700_000_000.0) -> Path:
    """A profile that WhatsApp Web has used; ``used`` is unix time."""
    local_storage(folder / INDEXED, (b"any key", b"credentials"))
    (folder / BLOBS / "1/00").mkdir(parents=True)
    (folder / BLOBS / "1/00/7").write_bytes(b"a blob")
    other = (ORIGIN + b"WALangPref", b"\1en")
    local_storage(folder / LOCAL, other, *([account()] if paired else []))
    (folder / "Default/Cache/Cache_Data").mkdir(parents=True)
    (folder / "Default/Cache/Cache_Data/f_000001").write_bytes(bytes(50_000))
    (folder / "Default/Preferences").write_text("{}")
    (folder / "Local State").write_text("{}")
    date(folder, used)
    return folder


def date(folder: Path, used: float) -> None:
    """Say that everything in it was written then."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (used, used))


def archive(path: Path, profile: Path, *, prefix: str = "") -> Path:
    """What RemoteAuth stores of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("IndexedDB", "Local Storage"):
            for file in sorted((profile / "Default" / name).rglob("*")):
                packed.write(file, f"{prefix}{file.relative_to(profile)}")
    return path


def content(folder: Path) -> dict[str, object]:
    """Everything below it: modes, owners, times and bytes."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        there = path.lstat()
        own: object = path.readlink() if path.is_symlink() else None
        if path.is_file() and own is None:
            own = path.read_bytes()
        found[str(path.relative_to(folder))] = (
            *(there.st_mode, there.st_uid, there.st_mtime_ns, there.st_ino),
            own,
        )
    return found


def sqlite(profile: Path) -> None:
    """A later Chromium may keep localStorage so."""
    shutil.rmtree(profile / LOCAL)
    (profile / "Default/Local Storage/data").write_bytes(b"SQLite format 3\0" + bytes(100))
