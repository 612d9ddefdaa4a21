"""Reading a LevelDB folder as LevelDB reads it: what it forgives, and what costs the database."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.profile.leveldb_files import COMPARATOR, batch, database, edit, log, record, table
from waguard.profile import leveldb
from waguard.profile.leveldb import BLOCK, HEADER, DamageError, EmptyError, check, records

LOG = "000006.log"
MANIFEST = "MANIFEST-000001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return database(tmp_path / "db")


def test_the_checksum_is_castagnolis() -> None:
    crc = 0xE3069283  # the polynomial's check value
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert leveldb.masked_crc(b"123456789") == masked


def test_what_belongs_to_a_database(folder: Path) -> None:
    assert check(folder) == {}
    found = leveldb.contents(folder)
    assert found.manifest == MANIFEST
    assert found.tables == {"000005.ldb": len(table())}
    assert found.logs == (LOG,)


def test_tables_with_the_old_suffix_and_deleted_ones(folder: Path) -> None:
    (folder / "000005.ldb").rename(folder / "000005.sst")
    check(folder)
    gone = b"\6\0\5" + b"\x09\0"
    (folder / MANIFEST).write_bytes(log(COMPARATOR + edit(tables={5: 1}), gone))
    assert leveldb.contents(folder).tables == {}


def test_logs_are_read_in_the_order_of_their_numbers(folder: Path) -> None:
    for name in ("000007.log", "1000000.log", "999999.log", "notes.log", "²²².log"):
        (folder / name).touch()
    assert leveldb.contents(folder).logs == (LOG, "000007.log", "999999.log", "1000000.log")


Break = Callable[[Path], object]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def put(path: Path, at: int, content: bytes) -> None:
    before = path.read_bytes()
    path.write_bytes(before[:at] + content + before[at + len(content) :])


DAMAGES: dict[str, tuple[Break, str]] = {
    "no CURRENT": (lambda f: (f / "CURRENT").unlink(), "CURRENT is missing"),
    "CURRENT empty": (lambda f: (f / "CURRENT").write_bytes(b""), "no name of a MANIFEST"),
    "CURRENT cut off": (
        lambda f: (f / "CURRENT").write_bytes(b"MANIFEST-000001"),
        "no name of a MANIFEST",
    ),
    "CURRENT garbage": (
        lambda f: (f / "CURRENT").write_bytes(b"\xff\0\n"),
        "no name of a MANIFEST",
    ),
    "CURRENT leads out": (
        lambda f: (f / "CURRENT").write_text("MANIFEST-../../x\n"),
        "no name of a MANIFEST",
    ),
    "no MANIFEST": (lambda f: (f / MANIFEST).unlink(), "MANIFEST-000001 is missing"),
    "MANIFEST empty": (lambda f: (f / MANIFEST).write_bytes(b""), "is empty"),
    "MANIFEST garbage": (
        lambda f: (f / MANIFEST).write_bytes(b"garbage" * 99),
        "garbage at byte 0",
    ),
    "MANIFEST spoiled": (lambda f: put(f / MANIFEST, 12, b"?"), "a wrong checksum at byte 0"),
    "MANIFEST of a later kind": (
        lambda f: (f / MANIFEST).write_bytes(log(COMPARATOR + b"\x63")),
        "an unknown tag",
    ),
    "a number cut off": (
        lambda f: (f / MANIFEST).write_bytes(log(COMPARATOR + b"\2\xff")),
        "ends too soon",
    ),
    "a text cut off": (lambda f: (f / MANIFEST).write_bytes(log(b"\1\x30short")), "ends too soon"),
    "no table": (lambda f: (f / "000005.ldb").unlink(), "000005.sst is missing"),
    "table cut off": (lambda f: cut(f / "000005.ldb", 50), "cut off"),
    "table zeroed": (
        lambda f: (f / "000005.ldb").write_bytes(bytes(len(table()))),
        "has no footer",
    ),
    "table's index spoiled": (
        lambda f: put(f / "000005.ldb", 18, b"?"),
        "a wrong checksum of its index",
    ),
    "no log": (lambda f: (f / LOG).unlink(), "its log is missing"),
    "log spoiled": (lambda f: put(f / LOG, 20, b"garbage"), "a wrong checksum at byte 0"),
    "small log garbage": (lambda f: (f / LOG).write_bytes(b"garbage" * 99), "garbage at byte 0"),
    "log garbage": (lambda f: (f / LOG).write_bytes(b"garbage!" * 9999), f"{LOG}: "),
    "log spoiled late": (lambda f: put(f / LOG, BLOCK - 20, b"garbage"), "a wrong checksum"),
    "log's start zeroed": (lambda f: put(f / LOG, 0, bytes(BLOCK)), "a record without start"),
    "log's middle zeroed": (lambda f: put(f / LOG, BLOCK, bytes(BLOCK)), "a record without end"),
    "no writes in the log": (
        lambda f: (f / LOG).write_bytes(log(b"short")),
        "a record that is too short",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found_and_named(folder: Path, name: str) -> None:
    damage, why = DAMAGES[name]
    damage(folder)
    with pytest.raises(DamageError) as raised:
        check(folder)
    assert why in str(raised.value)
    assert not isinstance(raised.value, EmptyError)


def test_a_database_that_was_just_made_is_empty(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(log(COMPARATOR))
    for name in ("000003.log", LOG):
        (folder / name).write_bytes(b"")
    with pytest.raises(EmptyError):
        check(folder)
    (folder / "000003.log").write_bytes(log(batch("something")))
    check(folder)
    for name in ("000003.log", LOG):
        (folder / name).unlink()
    with pytest.raises(EmptyError):
        check(folder)


def test_a_log_without_a_whole_record_is_not_the_log_of_a_new_database(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(log(COMPARATOR))
    (folder / "000003.log").unlink()
    (folder / LOG).write_bytes(b"\0\0\0\0\xff\xff\1 garbage that looks like a record of 64 KB")
    with pytest.raises(DamageError, match="nothing whole") as raised:
        check(folder)
    assert not isinstance(raised.value, EmptyError)


PAYLOADS = (batch("first"), batch("x" * 40_000), batch("between"), batch("y" * 70_000), batch("z"))
ENDS = [len(log(*PAYLOADS[:count])) for count in range(len(PAYLOADS) + 1)]
WHOLE = log(*PAYLOADS)


@given(st.integers(0, len(WHOLE)))
def test_a_tail_that_a_crash_cut_off_is_no_damage(size: int) -> None:
    read = list(records(WHOLE[:size], "log"))
    assert read == list(PAYLOADS[: len(read)])


@given(st.integers(0, len(WHOLE)), st.integers(1, 3 * BLOCK))
def test_nor_is_room_that_was_never_written_behind_a_whole_record(number: int, room: int) -> None:
    count = number % len(ENDS)
    read = list(records(WHOLE[: ENDS[count]] + bytes(room), "log"))
    assert read == list(PAYLOADS[:count])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_record_is_taken_for_another(at: int, change: int) -> None:
    spoiled = WHOLE[:at] + bytes([WHOLE[at] ^ change]) + WHOLE[at + 1 :]
    read: list[bytes] = []
    with contextlib.suppress(DamageError):
        read.extend(one for one in records(spoiled, "log"))
    assert read == list(PAYLOADS[: len(read)])


FIRST_PART = record(batch("x" * BLOCK))[:BLOCK]
TAILS = {
    "half a record": record(batch("never finished"))[:-3],
    "half a header": b"abc",
    "the first part of a record": FIRST_PART,
    "room that was never written": bytes(5000),
}


@pytest.mark.parametrize("file", [MANIFEST, LOG])
@pytest.mark.parametrize("tail", TAILS)
def test_a_torn_tail_is_cut_off_before_anybody_writes_behind_it(
    tmp_path: Path, file: str, tail: str
) -> None:
    folder = database(tmp_path / "db")
    whole = log(COMPARATOR + edit(log_number=6)) if file == MANIFEST else log(batch("whole"))
    (folder / file).write_bytes(whole + TAILS[tail])
    if tail.startswith("the first"):
        (folder / file).write_bytes(FIRST_PART)
        whole = b""
        if file == MANIFEST:
            return  # nothing at all is in it then
    torn = check(folder)
    assert torn == {file: len(whole)}
    leveldb.repair(folder, torn)
    assert (folder / file).read_bytes() == whole
    assert check(folder) == {}


def test_only_what_is_written_to_is_mended(folder: Path) -> None:
    (folder / "000007.log").write_bytes(log(batch("newer")))
    (folder / LOG).write_bytes(log(batch("whole")) + b"torn")
    assert check(folder) == {}


@given(st.binary(max_size=300))
def test_garbage_is_damage_and_nothing_worse(garbage: bytes) -> None:
    with contextlib.suppress(DamageError):
        assert all(isinstance(one, bytes) for one in records(garbage, "log"))


@pytest.mark.parametrize("length", [0, 1, BLOCK - HEADER - 1, BLOCK - HEADER, BLOCK, 3 * BLOCK])
def test_records_of_every_length(length: int) -> None:
    payload = b"x" * length
    wanted = [payload, b"after"] if length else [b"after"]
    read = [one for one in records(log(payload, b"after"), "log") if one]
    assert read == wanted


@pytest.mark.parametrize("left", range(HEADER + 2))
def test_a_record_may_begin_in_the_last_bytes_of_a_block(left: int) -> None:
    """Where just a header is left, LevelDB begins with an empty part."""
    before = b"x" * (BLOCK - HEADER - left)
    payloads = [before, b"y" * 100, b"z" * 2 * BLOCK, b"after"]
    written = log(*payloads)
    if left == HEADER:
        assert written[BLOCK - HEADER :][4:HEADER] == b"\0\0\2"
    assert list(records(written, "log")) == payloads
    assert list(records(written[:BLOCK], "log")) == [before], "a crash right behind it"


def test_kinds_of_records_that_do_not_follow(folder: Path) -> None:
    whole, parts = record(batch("whole")), record(batch("x" * BLOCK))
    assert parts[6] == 2
    with pytest.raises(DamageError, match="without end"):
        list(records(parts[:BLOCK] + whole, "log"))
    with pytest.raises(DamageError, match="without start"):
        list(records(parts[BLOCK:], "log"))
    strange = bytes([9]) + b"abc"
    crc = leveldb.masked_crc(strange).to_bytes(4, "little")
    with pytest.raises(DamageError, match="an unknown kind"):
        list(records(crc + b"\3\0" + strange, "log"))
