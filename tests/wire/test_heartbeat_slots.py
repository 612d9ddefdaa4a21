"""The file of heartbeats: what is read of it when it is whole, damaged, short, gone, or something else."""

import os
import stat
import struct
from pathlib import Path
from zlib import crc32

import pytest

from waguard.wire.heartbeat_slots import (
    SIZE,
    SlotBeat,
    SlotFile,
    SlotLoan,
    decode,
    decode_loan,
    encode,
    encode_loan,
    number_of,
)

BEAT = SlotBeat(4242, 3, 1_234.5, 1_234.25, unrecoverable=True)
LOAN = SlotLoan(4242, 3, 1_234.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heartbeats"


@pytest.fixture
def file(path: Path) -> SlotFile:
    return SlotFile(path, create=True)


def test_a_slot_says_what_was_written(file: SlotFile, path: Path) -> None:
    assert file.write(2, encode(BEAT))
    content = file.read(0, 100)
    assert decode(content, 2) == BEAT
    assert [decode(content, number) for number in (0, 1, 3)] == [None] * 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(encode(BEAT)) == SIZE


def test_how_long_the_page_took_is_written_and_read_and_unknown_of_an_earlier_version() -> None:
    assert decode(encode(BEAT._replace(page_took=0.25))) == BEAT._replace(page_took=0.25)
    earlier = struct.pack("<4sIqdd?27x", b"wgh1", *BEAT[:5])
    assert decode(earlier + struct.pack("<I", crc32(earlier))) == BEAT
    now = encode(BEAT._replace(page_took=0.25))
    assert struct.unpack_from("<4sIqdd?27x", now)[1:] == BEAT[:5], "an earlier daemon reads it"


def test_what_is_obeyed_is_written_and_read_and_unknown_of_an_earlier_version() -> None:
    assert decode(encode(BEAT._replace(obeys=9.5))) == BEAT._replace(obeys=9.5)
    earlier = struct.pack("<4sIqdd?d19x", b"wgh1", *BEAT[:6])
    assert decode(earlier + struct.pack("<I", crc32(earlier))) == BEAT
    now = encode(BEAT._replace(obeys=9.5))
    assert struct.unpack_from("<4sIqdd?d19x", now)[1:] == BEAT[:6], "an earlier daemon reads it"


def test_a_loan_is_read_as_it_was_written_and_is_no_heartbeat() -> None:
    assert decode_loan(encode_loan(LOAN)) == LOAN
    assert len(encode_loan(LOAN)) == SIZE
    assert decode(encode_loan(LOAN)) is None
    assert decode_loan(encode(BEAT)) is None
    assert decode_loan(bytes(SIZE)) is None
    assert decode_loan(b"") is None


@pytest.mark.parametrize("byte", range(SIZE))
def test_a_damaged_slot_says_nothing(byte: int) -> None:
    for slot, read in ((encode(BEAT), decode), (encode_loan(LOAN), decode_loan)):
        damaged = bytearray(slot)
        damaged[byte] ^= 0x40
        assert read(bytes(damaged)) is None


def test_a_slot_of_another_format_says_nothing() -> None:
    assert decode(bytes(SIZE)) is None
    assert decode(b"") is None


def test_a_file_that_is_too_short_ends_nobody_and_the_next_heartbeat_makes_it_whole(
    file: SlotFile, path: Path
) -> None:
    file.write(1, encode(BEAT))
    os.truncate(path, SIZE + 7)
    assert decode(file.read(0, 2), 1) is None
    os.truncate(path, 0)
    assert file.read(0, 2) == b""
    assert file.write(1, encode(BEAT))
    assert decode(file.read(0, 2), 1) == BEAT


def test_a_file_that_is_gone_is_made_again_by_the_daemon_alone(file: SlotFile, path: Path) -> None:
    worker = SlotFile(path)
    assert not worker.write(0, encode(BEAT)), "there is none yet"
    assert file.read() == b""
    assert worker.write(0, encode(BEAT))
    path.unlink()
    assert not worker.write(0, encode(BEAT)), "nobody would read it"
    assert file.read() == b""
    assert worker.write(0, encode(BEAT))
    assert decode(file.read()) == BEAT


def test_a_file_in_its_place_is_used_from_now_on(file: SlotFile, path: Path) -> None:
    file.write(0, encode(BEAT))
    other = path.with_name("other")
    other.write_bytes(encode(BEAT._replace(pid=7)))
    other.replace(path)
    found = decode(file.read())
    assert found
    assert found.pid == 7


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "nowhere"])
def test_what_is_no_file_is_not_used(path: Path, kind: str) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("/dev/null")
        case "pipe":
            os.mkfifo(path)
        case _:
            path = path / "nowhere"
    file = SlotFile(path, create=True)
    assert not file.write(0, encode(BEAT))
    assert file.read() == b""


def test_a_slot_is_found_by_who_wrote_it() -> None:
    content = encode(BEAT._replace(pid=1)) + bytes(SIZE) + encode(BEAT)
    assert number_of(content, 4242, 3) == 2
    assert number_of(content, 4242, 4) is None
    assert number_of(content[: 3 * SIZE - 1], 4242, 3) is None, "it is damaged"
    assert number_of(b"x" + content, 4242, 3) is None
