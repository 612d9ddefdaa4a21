"""Whether a LevelDB folder can be opened without a loss, read from its files alone.

LevelDB itself forgives the torn tail that a crash leaves; everything else that is wrong in a log or
in the MANIFEST makes Chromium throw the whole database away without a word. So the files are read
here as LevelDB reads them (``db/log_reader.cc``, ``db/version_edit.cc``): what it would report is
damage, what it would pass over is not. Tables are checked by size, footer and index only: their
data is compressed, and LevelDB finds a bad block itself when it reads it.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

BLOCK: Final = 32768  # bytes; a record never crosses the end of one
HEADER: Final = 7  # bytes: masked CRC-32C, length, type
FOOTER: Final = 48  # bytes at the end of a table
TRAILER: Final = 5  # bytes behind each block of a table: type, masked CRC-32C
MAGIC: Final = 0xDB4775248B80FB57

_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
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


@dataclass(frozen=True, slots=True)
class Contents:
    """The files that make up a database at one moment: names, in the order to read them."""

    manifest: str
    tables: dict[str, int]
    """Name → size in bytes, as the MANIFEST says."""
    logs: tuple[str, ...]
    """Oldest first; only the last one still grows."""


@dataclass(slots=True)
class _Version:
    comparator: bool = False
    log: int = 0
    tables: dict[int, int] = field(default_factory=dict)


def contents(folder: Path) -> Contents:
    """What the MANIFEST of the moment names. Raises ``DamageError``, ``OSError``."""
    return parse(folder, manifest_name(folder), None)


def manifest_name(folder: Path) -> str:
    """What CURRENT points to."""
    try:
        current = (folder / "CURRENT").read_bytes()
    except FileNotFoundError:
        raise DamageError("CURRENT is missing") from None
    name = current.decode("latin-1").removesuffix("\n")
    if not current.endswith(b"\n") or not name.startswith("MANIFEST-") or "/" in name:
        raise DamageError("CURRENT holds no name of a MANIFEST")
    return name


def parse(folder: Path, manifest: str, content: bytes | None) -> Contents:
    """As ``contents``; ``content`` of the MANIFEST may have been read before."""
    if content is None:
        try:
            content = (folder / manifest).read_bytes()
        except FileNotFoundError:
            raise DamageError(f"{manifest} is missing") from None
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
    logs = sorted(
        name for name in names if name.endswith(".log") and name.removesuffix(".log").isdigit()
    )
    wanted = tuple(name for name in logs if int(name.removesuffix(".log")) >= version.log)
    return Contents(manifest, tables, wanted)


def check(folder: Path) -> None:
    """Raise ``DamageError`` where LevelDB would not open it whole; ``OSError`` when unreadable."""
    found = contents(folder)
    for name, size in found.tables.items():
        _check_table(folder / name, size)
    logged = False
    for name in found.logs:
        for _ in records((folder / name).read_bytes(), name):
            logged = True
    if not found.logs and found.tables:
        raise DamageError("its log is missing")
    if not logged and not found.tables:
        raise EmptyError("it holds nothing")


class EmptyError(DamageError):
    """A database that was just made, or lost its log: there is nothing in it."""


def records(content: bytes, name: str) -> Iterator[bytes]:
    """The records of a log; a tail that a crash cut off is passed over, as LevelDB does."""
    begun: list[bytes] | None = None
    for kind, payload in _fragments(content, name):
        match kind:
            case 1:
                # a begun record before it: its writer died, which LevelDB reports
                _refuse(begun is not None and any(begun), f"{name}: a record without end")
                begun = None
                yield payload
            case 2:
                _refuse(begun is not None and any(begun), f"{name}: two starts of records")
                begun = [payload]
            case _:
                _refuse(begun is None, f"{name}: a record without start")
                assert begun is not None  # noqa: S101 - refused above
                begun.append(payload)
                if kind == _LAST:
                    yield b"".join(begun)
                    begun = None


def _fragments(content: bytes, name: str) -> Iterator[tuple[int, bytes]]:
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
                return  # torn off by a crash
            if kind == 0 and length == 0:
                break  # room that was reserved and never written
            wanted = int.from_bytes(block[at : at + 4], "little")
            if masked_crc(block[at + 6 : end]) != wanted:
                raise DamageError(f"{name}: a wrong checksum at byte {start + at}")
            _refuse(not _FULL <= kind <= _LAST, f"{name}: an unknown kind of record")
            yield kind, block[at + HEADER : end]
            at = end


def _refuse(wrong: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence
    if wrong:
        raise DamageError(why)


def _apply(edit: bytes, version: _Version, name: str) -> None:
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = edit[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - a varint's last byte
                return value
            shift += 7

    def text() -> bytes:
        nonlocal at
        length = number()
        if at + length > len(edit):
            raise IndexError
        at += length
        return edit[at - length : at]

    try:
        while at < len(edit):
            tag = number()
            if tag == _COMPARATOR:
                text()
                version.comparator = True
            elif tag == _LOG:
                version.log = number()
            elif tag in {_NEXT, _LAST_SEQUENCE, _PREVIOUS_LOG}:
                number()
            elif tag == _POINTER:
                number()
                text()
            elif tag == _DELETED:
                number()
                version.tables.pop(number(), None)
            elif tag == _NEW:
                number()
                table, size = number(), number()
                text()
                text()
                version.tables[table] = size
            else:
                raise DamageError(f"{name}: an unknown tag")
    except IndexError:
        raise DamageError(f"{name}: a record that ends too soon") from None


def _check_table(path: Path, size: int) -> None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DamageError(f"{path.name} is missing") from None
    if len(content) < size or size < FOOTER:
        raise DamageError(f"{path.name} is cut off")
    footer = content[size - FOOTER : size]
    if int.from_bytes(footer[-8:], "little") != MAGIC:
        raise DamageError(f"{path.name} has no footer")
    at = 0
    handles = []
    for _ in range(4):  # offset and size of the metaindex, then of the index
        value = shift = 0
        while footer[at] & 0x80:
            value |= (footer[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        handles.append(value | footer[at] << shift)
        at += 1
    offset, length = handles[2:]
    block = content[offset : offset + length + TRAILER]
    if len(block) < length + TRAILER or masked_crc(block[:-4]) != int.from_bytes(
        block[-4:], "little"
    ):
        raise DamageError(f"{path.name}: a wrong checksum of its index")


def masked_crc(content: bytes) -> int:
    """CRC-32C as LevelDB stores it. zlib's is another polynomial; two bytes a step: 20 MB/s."""
    table = _crc_table()
    crc = _WORD
    even = len(content) & ~1
    for pair in memoryview(content)[:even].cast("H"):
        crc = (crc >> 16) ^ table[(crc ^ pair) & 0xFFFF]
    if even < len(content):
        crc = (crc >> 8) ^ _crc_of(crc & 0xFF ^ content[-1], 8)
    crc ^= _WORD
    return ((crc >> 15 | crc << 17) + _MASK) & _WORD


def _crc_of(value: int, bits: int) -> int:
    for _ in range(bits):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


@cache
def _crc_table() -> "array[int]":
    """For 16 bits a step (little-endian pairs); 256 KB, made in about 10 ms."""
    by_byte = [_crc_of(value, 8) for value in range(256)]
    return array(
        "I",
        (
            by_byte[(low := by_byte[value & 0xFF] ^ value >> 8) & 0xFF] ^ low >> 8
            for value in range(1 << 16)
        ),
    )
