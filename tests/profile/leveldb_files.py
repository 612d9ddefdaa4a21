"""LevelDB folders and profiles made by hand, so that each kind of damage can be made on purpose."""

from pathlib import Path

from waguard.profile.leveldb import BATCH_HEADER, BLOCK, HEADER, MAGIC, masked_crc, records


def record(payload: bytes, *, at: int = 0) -> bytes:
    """A record of a log as LevelDB writes it, beginning at byte ``at`` of the file."""
    written = b""
    first = True
    while first or payload:
        left = BLOCK - (at + len(written)) % BLOCK
        if left < HEADER:
            written += bytes(left)
            left = BLOCK
        part, payload = payload[: left - HEADER], payload[left - HEADER :]
        kind = bytes([{(1, 1): 1, (1, 0): 2, (0, 0): 3, (0, 1): 4}[(first, not payload)]])
        crc = masked_crc(kind + part).to_bytes(4, "little")
        written += crc + len(part).to_bytes(2, "little") + kind + part
        first = False
    return written


def log(*payloads: bytes) -> bytes:
    """A whole log."""
    content = b""
    for payload in payloads:
        content += record(payload, at=len(content))
    return content


def batch(text: str) -> bytes:
    """Something like a write: sequence, count, data."""
    return bytes(8) + b"\1\0\0\0" + text.encode()


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def text(value: bytes) -> bytes:
    return varint(len(value)) + value


COMPARATOR = b"\1" + text(b"idb_cmp1")


def edit(*, log_number: int = 0, tables: dict[int, int] | None = None) -> bytes:
    """A version edit."""
    made = b"\2" + varint(log_number) + b"\3" + varint(99) + b"\4" + varint(7)
    made += b"\5\1" + text(b"pointer")
    for number, size in (tables or {}).items():
        made += b"\7\0" + varint(number) + varint(size) + text(b"a" * 9) + text(b"z" * 9)
    return made


def table(content: bytes = b"compressed data") -> bytes:
    """A table, as far as its footer and index go."""
    index = b"index block"
    block = index + b"\1"
    body = content + block + masked_crc(block).to_bytes(4, "little")
    handles = varint(0) + varint(0) + varint(len(content)) + varint(len(index))
    return body + handles.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def database(folder: Path, word: str = "credentials") -> Path:
    """A small database with one table and one log."""
    folder.mkdir(parents=True)
    (folder / "CURRENT").write_text("MANIFEST-000001\n")
    (folder / "000005.ldb").write_bytes(table())
    changes = (COMPARATOR + edit(), edit(log_number=6, tables={5: len(table())}))
    (folder / "MANIFEST-000001").write_bytes(log(*changes))
    (folder / "000006.log").write_bytes(log(batch(word), batch("more " * 20_000), batch("end")))
    for name in ("LOCK", "LOG", "000003.log"):  # the last one is older than what the MANIFEST says
        (folder / name).touch()
    return folder


INDEXED = "Default/IndexedDB/https_web.whatsapp.com_0.indexeddb.leveldb"
BLOBS = "Default/IndexedDB/https_web.whatsapp.com_0.indexeddb.blob"
LOCAL = "Default/Local Storage/leveldb"


def profile(folder: Path, word: str = "credentials") -> Path:
    """What Chromium leaves of a session, as far as it matters here."""
    database(folder / INDEXED, word)
    database(folder / LOCAL, word)
    (folder / BLOBS / "1/00").mkdir(parents=True)
    (folder / BLOBS / "1/00/7").write_bytes(b"a blob of " + word.encode())
    (folder / "Default/Cache/Cache_Data").mkdir(parents=True)
    (folder / "Default/Cache/Cache_Data/f_000001").write_bytes(bytes(50_000))
    (folder / "Default/Service Worker/ScriptCache").mkdir(parents=True)
    (folder / "Default/Preferences").write_text("{}")
    (folder / "Local State").write_text("{}")
    return folder


def word_of(folder: Path) -> str:
    """Which word the profile was made with."""
    content = (folder / LOCAL / "000006.log").read_bytes()
    return next(records(content, "log"))[BATCH_HEADER:].decode()
