"""Whether a LevelDB folder can be opened without a loss, read from its files alone.

LevelDB itself forgives the torn tail that a crash leaves; everything else that is wrong in a log or
in the MANIFEST makes Chromium throw the whole database away silently. So the files are read
here as LevelDB reads them (``db/log_reader.cc``, ``db/version_edit.cc``): what it would report is
damage, what it would pass over is not. Tables are checked by size, footer and index only: their
data is compressed, and LevelDB finds a bad block itself when it reads it.
"""

import os
import re
import stat
from array import array
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct, field

BLOCK: Final = 32768  # bytes; a record never crosses the end of one
HEADER: Final = 7  # bytes: masked CRC-32C, length, type
BATCH_HEADER: Final = 12  # bytes of a record in a log: sequence, count
FOOTER: Final = 48  # bytes at the end of a table
TRAILER: Final = 5  # bytes behind each block of a table: type, masked CRC-32C
MAGIC: Final = 0xDB4775248B80FB57

_NUMBER: Final = re.compile(r"[0-9]{1,20}")  # of 64 bits

_NOTHING, _FULL, _FIRST, _MIDDLE, _LAST = range(5)
_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, reflected
_MASK: Final = 0xA282EAD8
_WORD: Final = 0xFFFFFFFF

# tags of a version edit
_COMPARATOR, _LOG, _NEXT, _LAST_SEQUENCE, _POINTER, _DELETED, _NEW, _PREVIOUS_LOG = (
    *range(1, 8),
    9,
)


class DamageError(Exception):
    """Why LevelDB would refuse or lose what is in the folder."""


class EmptyError(DamageError):
    """A database that was just made, or lost its log: there is nothing in it."""


class Contents(Struct, frozen=True):
    """The files that make up a database at one moment: names, in the order to read them."""

    manifest: str
    tables: dict[str, int]
    """Name → size in bytes, as the MANIFEST says."""
    logs: tuple[str, ...]
    """Oldest first; only the last one still grows."""


class _Version(Struct):
    comparator: bool = False
    log: int = 0
    tables: dict[int, int] = field(default_factory=dict)


def opened(path: Path) -> BinaryIO:
    """A file of a database, to be read. Raises ``DamageError`` for a pipe, on which nobody may ever write, or a device;
    ``OSError``."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DamageError(f"{path.name} is not a regular file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read(path: Path) -> bytes:
    """All of it; raises as ``opened``."""
    with opened(path) as file:
        return file.read()


def contents(folder: Path) -> Contents:
    """What the MANIFEST of the moment names. Raises ``DamageError``, ``OSError``."""
    return parse(folder, *manifest_of(folder))


def manifest_of(folder: Path) -> tuple[str, bytes]:
    """The MANIFEST that CURRENT points to: its name and what it holds at this moment."""
    try:
        current = read(folder / "CURRENT")
    except FileNotFoundError:
        raise DamageError("CURRENT is missing") from None
    name = current.decode("latin-1").removesuffix("\n")
    if not current.endswith(b"\n") or not name.startswith("MANIFEST-") or "/" in name:
        raise DamageError("CURRENT holds no name of a MANIFEST")
    try:
        return name, read(folder / name)
    except FileNotFoundError:
        raise DamageError(f"{name} is missing") from None


def parse(folder: Path, manifest: str, content: bytes) -> Contents:
    """As ``contents``, of a MANIFEST that was read before."""
    version = _Version()
    for record in records(content, manifest):
        _apply(record, version, manifest)
    if not version.comparator:
        raise DamageError(f"{manifest} is empty")
    names = {path.name for path in folder.iterdir()}
    tables = {}
    for number, size in version.tables.items():
        # LevelDB's own suffix, and the one that it had before
        name = f"{number:06}.ldb"
        tables[name if name in names else f"{number:06}.sst"] = size
    numbers = sorted(
        int(digits)
        for name in names
        if name.endswith(".log") and _NUMBER.fullmatch(digits := name.removesuffix(".log"))
    )
    logs = tuple(f"{number:06}.log" for number in numbers if number >= version.log)
    return Contents(manifest, tables, logs)


def check(folder: Path) -> dict[str, int]:
    """Raise ``DamageError`` where LevelDB would not open it whole; ``OSError`` when unreadable.

    The files whose tail a crash cut off, and the bytes of them that are whole: to be repaired.
    """
    name, manifest = manifest_of(folder)
    found = parse(folder, name, manifest)
    for table, size in found.tables.items():
        try:
            with opened(folder / table) as file:
                check_table(file, table, size)
        except FileNotFoundError:
            raise DamageError(f"{table} is missing") from None
    ends = {name: (_end(manifest, name, 0), len(manifest))}
    for log in found.logs:
        content = read(folder / log)
        ends[log] = (_end(content, log, BATCH_HEADER), len(content))
    if not found.logs and found.tables:
        raise DamageError("its log is missing")
    if not found.tables and not any(ends[log][0] for log in found.logs):
        if any(ends[log][1] for log in found.logs):
            # Chromium would go on writing behind it, and never read that again (see ``mend``)
            raise DamageError("its log holds nothing whole")
        raise EmptyError("it holds nothing")
    growing = {name, *found.logs[-1:]}
    return {file: end for file, (end, size) in ends.items() if end < size and file in growing}


def check_blocks(content: bytes, name: str) -> None:
    """Raise ``DamageError`` where a piece of a log has a wrong checksum. It begins where a block does; at its end half
    a record may be missing."""
    for _ in _fragments(content, name):
        pass


def repair(folder: Path, torn: Mapping[str, int]) -> None:
    """Cut off the torn tails that ``check`` found; nobody may have it open.

    LevelDB reads nothing behind such a tail, yet Chromium's goes on writing behind it: the start after
    the next one would find what was written there damaged, and throw the database away (measured).
    """
    for name, size in torn.items():
        with (folder / name).open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())


def records(content: bytes, name: str) -> Iterator[bytes]:
    """The records of a log; a tail that a crash cut off is passed over, as LevelDB does."""
    return (record for record, _ in _records(content, name))


def _end(content: bytes, name: str, shortest: int) -> int:
    """Where the last whole record ends."""
    last = 0
    for record, end in _records(content, name):
        _refuse(len(record) < shortest, f"{name}: a record that is too short")
        last = end
    return last


def _records(content: bytes, name: str) -> Iterator[tuple[bytes, int]]:
    begun: bytes | None = None  # a start may be empty: that of a record for which a header was left
    for kind, payload, end in _fragments(content, name):
        if kind in {_MIDDLE, _LAST}:
            if begun is None:
                raise DamageError(f"{name}: a record without start")
            begun += payload
        else:
            _refuse(begun is not None, f"{name}: a record without end")
            begun = payload
        if kind in {_FULL, _LAST}:
            yield begun, end
        if kind not in {_FIRST, _MIDDLE}:
            begun = None


def _fragments(content: bytes, name: str) -> Iterator[tuple[int, bytes, int]]:
    for start in range(0, len(content), BLOCK):
        block = content[start : start + BLOCK]
        last = len(block) < BLOCK
        at = 0
        while at + HEADER <= len(block):
            length = block[at + 4] | block[at + 5] << 8
            kind = block[at + 6]
            end = at + HEADER + length
            if end > len(block):
                _refuse(not last, f"{name}: a record crosses its block")
                # LevelDB would pass over it, and lose what was there: it wrote no such kind
                _refuse(kind > _LAST, f"{name}: garbage at byte {start + at}")
                return  # torn off by a crash
            if kind == 0 and length == 0:
                yield _NOTHING, b"", start + at  # room that was reserved and never written
                break
            wanted = int.from_bytes(block[at : at + 4], "little")
            if masked_crc(block[at + 6 : end]) != wanted:
                raise DamageError(f"{name}: a wrong checksum at byte {start + at}")
            _refuse(not _FULL <= kind <= _LAST, f"{name}: an unknown kind of record")
            yield kind, block[at + HEADER : end], start + end
            at = end


def _refuse(wrong: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence
    if wrong:
        raise DamageError(why)


class _Fields:
    """The numbers and texts of a version edit; ``IndexError`` where it ends too soon."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._content)

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._content[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    def text(self) -> None:
        length = self.number()
        if self._at + length > len(self._content):
            raise IndexError
        self._at += length


def _apply(edit: bytes, version: _Version, name: str) -> None:
    fields = _Fields(edit)
    try:
        while fields:
            _apply_one(fields.number(), fields, version, name)
    except IndexError:
        raise DamageError(f"{name}: a record that ends too soon") from None


def _apply_one(tag: int, fields: _Fields, version: _Version, name: str) -> None:
    if tag == _COMPARATOR:
        fields.text()
        version.comparator = True
    elif tag == _LOG:
        version.log = fields.number()
    elif tag in {_NEXT, _LAST_SEQUENCE, _PREVIOUS_LOG}:
        fields.number()
    elif tag == _POINTER:
        fields.number()
        fields.text()
    elif tag == _DELETED:
        fields.number()
        version.tables.pop(fields.number(), None)
    elif tag == _NEW:
        fields.number()
        table, size = fields.number(), fields.number()
        fields.text()
        fields.text()
        version.tables[table] = size
    else:
        raise DamageError(f"{name}: an unknown tag")


def check_table(file: BinaryIO, name: str, size: int) -> None:
    """Read the ends only: a real account has hundreds of megabytes of tables. Raises ``DamageError``, ``OSError``."""
    if os.fstat(file.fileno()).st_size < size or size < FOOTER:
        raise DamageError(f"{name} is cut off")
    file.seek(size - FOOTER)
    footer = file.read(FOOTER)
    if int.from_bytes(footer[-8:], "little") != MAGIC:
        raise DamageError(f"{name} has no footer")
    handles = _Fields(footer)
    try:
        _, _, offset, length = (handles.number() for _ in range(4))  # metaindex, index
    except IndexError:
        raise DamageError(f"{name} has no footer") from None
    file.seek(min(offset, size))
    block = file.read(min(length, size) + TRAILER)
    if masked_crc(block[:-4]) != int.from_bytes(block[-4:], "little"):
        raise DamageError(f"{name}: a wrong checksum of its index")


def masked_crc(content: bytes) -> int:
    """CRC-32C as LevelDB stores it. zlib's is another polynomial; two bytes a step: 20 MB/s."""
    table = _crc_table()
    crc = _WORD
    even = len(content) & ~1
    for pair in memoryview(content)[:even].cast("H"):
        crc = (crc >> 16) ^ table[(crc ^ pair) & 0xFFFF]
    if even < len(content):
        crc = (crc >> 8) ^ _crc_of(crc & 0xFF ^ content[-1])
    crc ^= _WORD
    return ((crc >> 15 | crc << 17) + _MASK) & _WORD


def _crc_of(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


@cache
def _crc_table() -> "array[int]":
    """For 16 bits a step (little-endian pairs); 256 KB, made in about 10 ms."""
    by_byte = [_crc_of(value) for value in range(256)]
    return array(
        "I",
        (
            by_byte[(low := by_byte[value & 0xFF] ^ value >> 8) & 0xFF] ^ low >> 8
            for value in range(1 << 16)
        ),
    )
