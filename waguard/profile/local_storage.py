"""What a page keeps in localStorage, read from Chromium's LevelDB while no browser has it open.

Theory of operation. A database is the tables that its MANIFEST names and the logs that are newer than
those; of several entries of a key the one with the highest sequence counts, and a deletion is an entry
too. Tables are sorted blocks, compressed with Snappy, in which a key is stored as what differs from the one
before (``table/format.cc``, ``table/block.cc``). Everything is bounded: the files are anybody's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from waguard.host.small_file import UnreadableError
from waguard.profile import leveldb
from waguard.profile.leveldb import BATCH_HEADER, FOOTER, TRAILER, DamageError, masked_crc

_NUMBER_BITS: Final = 70  # of a number in 7-bit pieces: LevelDB writes at most ten
LIMIT: Final = 64 << 20  # bytes of all its files; WhatsApp Web's are below 2 MB
ACCOUNT: Final = "last-wid-md"
"""Under which WhatsApp Web keeps whose account it is linked to."""

_PLAIN, _SNAPPY = 0, 1
_DELETION, _VALUE = 0, 1
_LATIN1: Final = 1  # the first byte of a key or value; 0: UTF-16
_SEQUENCE: Final = 8  # bytes behind a key in a table: type, sequence
_LITERAL, _NEAR, _FAR = 0, 1, 2  # kinds of Snappy's elements; 3: farther
_LONG: Final = 60  # from here on the length of a literal stands behind its tag

Entry = tuple[bytes, int, bytes | None]
"""Key, sequence, value; None: deleted."""


def account(database: Path, *, limit: int = LIMIT) -> str | None:
    """The account that a page of this database is linked to, such as ``"628…:1@c.us"``; None: none.

    ``limit``: bytes of all its files. Raises ``DamageError``, ``UnreadableError``, ``OSError``.
    """
    wanted = b"\0" + bytes([_LATIN1]) + ACCOUNT.encode()
    for key, value in values(database, limit=limit).items():
        if key.startswith(b"_") and key.endswith(wanted):
            text = value[1:].decode("latin-1" if value[:1] == b"\1" else "utf-16-le", "replace")
            if "@" in text:
                return text.strip('"')
    return None


def values(database: Path, *, limit: int = LIMIT) -> dict[bytes, bytes]:
    """Each key and its value. Raises as ``account``."""
    contents = leveldb.contents(database)
    files = (*contents.tables, *contents.logs)
    left = limit
    size = sum((database / name).stat().st_size for name in files)
    if size > limit:
        raise UnreadableError(f"it has {size >> 20} MB")
    newest: dict[bytes, tuple[int, bytes | None]] = {}
    for key, sequence, value in _entries(database, contents):
        if sequence >= newest.get(key, (0, None))[0]:
            newest[key] = (sequence, value)
            if (left := left - len(key) - len(value or b"")) < 0:
                raise UnreadableError(f"it holds more than {limit >> 20} MB, unpacked")
    return {key: value for key, (_, value) in newest.items() if value is not None}


def _entries(database: Path, contents: leveldb.Contents) -> Iterator[Entry]:
    for name in contents.tables:
        yield from _table(leveldb.read(database / name), name)
    for name in contents.logs:
        for batch in leveldb.records(leveldb.read(database / name), name):
            yield from _batch(batch, name)


# ---- a log ----


def _batch(batch: bytes, name: str) -> Iterator[Entry]:
    sequence = int.from_bytes(batch[:8], "little")
    at = BATCH_HEADER
    try:
        while at < len(batch):
            kind = batch[at]
            key, at = _text(batch, at + 1)
            value = None
            if kind == _VALUE:
                value, at = _text(batch, at)
            elif kind != _DELETION:
                raise DamageError(f"{name}: an unknown kind of change")
            yield key, sequence, value
            sequence += 1
    except IndexError:
        raise DamageError(f"{name}: a change that ends too soon") from None


def _text(content: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(content, at)
    if at + length > len(content):
        raise IndexError
    return content[at : at + length], at + length


def _number(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if shift >= _NUMBER_BITS:
            raise IndexError
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


# ---- a table ----


def _table(content: bytes, name: str) -> Iterator[Entry]:
    try:
        *_, at = _handle(content, max(0, len(content) - FOOTER))  # of a block that is not needed
        index = _content(content, handle=content[at:], name=name)
        for _, handle in _block(index):
            for key, value in _block(_content(content, handle=handle, name=name)):
                packed = int.from_bytes(key[-_SEQUENCE:], "little")
                deleted = packed & 0xFF == _DELETION
                yield key[:-_SEQUENCE], packed >> 8, None if deleted else value
    except IndexError:
        raise DamageError(f"{name}: a block that ends too soon") from None


def _handle(content: bytes, at: int) -> tuple[int, int, int]:
    """Where a block lies, its length, where to go on."""
    offset, at = _number(content, at)
    length, at = _number(content, at)
    return offset, length, at


def _content(content: bytes, *, handle: bytes, name: str) -> bytes:
    """The block that the handle names, decompressed."""
    offset, length, _ = _handle(handle, 0)
    block = content[offset : offset + length + TRAILER]
    if len(block) < length + TRAILER:
        raise IndexError
    if masked_crc(block[:-4]) != int.from_bytes(block[-4:], "little"):
        raise DamageError(f"{name}: a wrong checksum")
    kind, block = block[length], block[:length]
    if kind == _PLAIN:
        return block
    if kind == _SNAPPY:
        return decompress(block)
    raise UnreadableError(f"{name}: compressed by an unknown method ({kind})")


def _block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values; behind them lie offsets of those that stand whole, and their number."""
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise IndexError
    key, at = b"", 0
    while at < end:
        shared, at = _number(block, at)
        length, at = _number(block, at)
        size, at = _number(block, at)
        if shared > len(key) or at + length + size > end:
            raise IndexError
        key = key[:shared] + block[at : at + length]
        at += length
        yield key, block[at : at + size]
        at += size


def decompress(block: bytes) -> bytes:
    """Snappy's format without frames. Raises ``DamageError``, ``IndexError``."""
    size, at = _number(block, 0)
    if size > LIMIT:
        raise UnreadableError(f"a block of {size >> 20} MB")
    out = bytearray()
    while at < len(block):
        tag = block[at]
        at += 1
        if tag & 3 == _LITERAL:
            length, at = _literal(block, tag >> 2, at)
            out += block[at : at + length]
            at += length
        else:
            length, offset, at = _copy(block, tag, at)
            _repeat(out, offset, length)
        if len(out) > size:
            raise DamageError("a block is longer than it says")
    if len(out) != size:
        raise DamageError("a block is shorter than it says")
    return bytes(out)


def _literal(block: bytes, length: int, at: int) -> tuple[int, int]:
    if length < _LONG:
        return length + 1, at
    width = length - _LONG + 1
    return int.from_bytes(block[at : at + width], "little") + 1, at + width


def _copy(block: bytes, tag: int, at: int) -> tuple[int, int, int]:
    """Length, how far back, where to go on."""
    if tag & 3 == _NEAR:
        return 4 + (tag >> 2 & 7), tag >> 5 << 8 | block[at], at + 1
    width = 2 if tag & 3 == _FAR else 4
    return 1 + (tag >> 2), int.from_bytes(block[at : at + width], "little"), at + width


def _repeat(out: bytearray, offset: int, length: int) -> None:
    if not 0 < offset <= len(out):
        raise DamageError("a block refers to what is not there")
    begin = len(out) - offset
    piece = bytes(out[begin : begin + length])
    out += (piece * (length // offset + 1))[:length]
