"""localStorage as Chromium stores it: logs, tables, and what is wrong with them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.profile.leveldb_files import log, varint
from tests.profile.old_profile_files import (
    ACCOUNT,
    ORIGIN,
    Change,
    account,
    change,
    literal,
    local_storage,
    table,
)
from waguard.host.small_file import UnreadableError
from waguard.profile import local_storage as reader
from waguard.profile.leveldb import DamageError

KEY, VALUE = account()
assert VALUE


def account_of(folder: Path, *changes: Change, table: bytes | None = None) -> str | None:
    local_storage(folder, *changes, tables={5: table} if table else None)
    return reader.account(folder)


def test_the_account_is_found_in_a_log(tmp_path: Path) -> None:
    assert account_of(tmp_path / "a", account()) == ACCOUNT
    assert account_of(tmp_path / "b", (ORIGIN + b"WALangPref", b"\1en")) is None


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "snappy"])
def test_the_account_is_found_in_a_table(tmp_path: Path, kind: int) -> None:
    made = table({b"META:x": (1, b"1"), KEY: (2, VALUE), KEY + b"-more": (3, None)}, kind=kind)
    assert account_of(tmp_path / "a", table=made) == ACCOUNT


def test_what_was_deleted_later_is_not_there(tmp_path: Path) -> None:
    """As at a logout."""
    assert account_of(tmp_path / "a", account(), (KEY, None)) is None
    assert account_of(tmp_path / "b", (KEY, None), table=table({KEY: (1, VALUE)})) is None
    assert account_of(tmp_path / "c", table=table({KEY: (1, None)})) is None


def test_the_newest_of_several_counts_wherever_it_stands(tmp_path: Path) -> None:
    old = account("1:1@c.us")
    assert account_of(tmp_path / "a", old, account()) == ACCOUNT
    assert account_of(tmp_path / "b", old, table=table({KEY: (99, VALUE)})) == ACCOUNT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (KEY, b"\1null"),
        (KEY, b"\1"),
        (KEY, b""),
        (ORIGIN + b"not-last-wid-md", VALUE),
        (b"META:https://web.whatsapp.com\0\1last-wid-md", VALUE),
    ],
)
def test_what_is_no_account(tmp_path: Path, key: bytes, value: bytes) -> None:
    assert account_of(tmp_path / "a", (key, value)) is None


def test_a_value_may_be_stored_wide(tmp_path: Path) -> None:
    wide = b"\0" + f'"{ACCOUNT}"'.encode("utf-16-le")
    assert account_of(tmp_path / "a", (KEY, wide)) == ACCOUNT


def test_a_log_that_a_crash_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    local_storage(tmp_path / "a", account())
    path = tmp_path / "a/000006.log"
    path.write_bytes(path.read_bytes() + log(change(9, (KEY, None)))[:-3])
    assert reader.account(tmp_path / "a") == ACCOUNT


def test_what_is_too_big_is_not_read(tmp_path: Path) -> None:
    local_storage(tmp_path / "a", account(), (b"x", bytes(2_000)))
    with pytest.raises(UnreadableError, match="it has 0 MB"):
        reader.account(tmp_path / "a", limit=1_000)


def test_keys_that_repeat_each_other_are_bounded_as_they_are_read(tmp_path: Path) -> None:
    """A table has of each key only what differs from the one before."""
    keys = {bytes(900) + bytes([it]): (it, b"") for it in range(1, 200)}
    local_storage(tmp_path / "a", tables={5: table(keys)})
    assert (tmp_path / "a/000005.ldb").stat().st_size < 10_000
    with pytest.raises(UnreadableError, match="unpacked"):
        reader.account(tmp_path / "a", limit=100_000)


def test_a_number_without_an_end_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DamageError):
        account_of(tmp_path / "a", table=b"\x80" * (1 << 20))


def test_a_compression_that_is_not_known_is_unknown_and_not_damage(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="unknown method"):
        account_of(tmp_path / "a", table=table({KEY: (1, VALUE)}, kind=2))


WHOLE = table({b"META:x": (1, b"1"), KEY: (2, VALUE)})


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_table_with_a_wrong_byte_is_damage_or_means_the_same(at: int, change: int) -> None:
    spoilt = bytearray(WHOLE)
    spoilt[at] ^= change
    try:
        found = list(reader._table(bytes(spoilt), "000005.ldb"))
    except (DamageError, UnreadableError):
        return
    assert found == list(reader._table(WHOLE, "000005.ldb"))


@pytest.mark.parametrize("length", range(0, len(WHOLE), 7))
def test_a_table_that_was_cut_off_is_damage(length: int) -> None:
    with pytest.raises(DamageError):
        list(reader._table(WHOLE[:length], "000005.ldb"))


@pytest.mark.parametrize(
    "batch", [b"", change(1, account())[:-1], change(1, account())[:14], bytes(12) + b"\7\1a"]
)
def test_a_change_that_is_none_is_damage(batch: bytes) -> None:
    if not batch:
        assert list(reader._batch(batch, "log")) == []
        return
    with pytest.raises(DamageError):
        list(reader._batch(batch, "log"))


# ---- Snappy ----


@given(st.binary(min_size=1, max_size=300))
def test_literals_are_decompressed(content: bytes) -> None:
    assert reader.decompress(literal(content)) == content


@pytest.mark.parametrize(
    ("packed", "content"),
    [
        (varint(3) + b"\x08abc", b"abc"),
        (varint(62) + b"\xf0\x3d" + b"x" * 62, b"x" * 62),
        # a copy that overlaps itself: what RLE is in Snappy
        (varint(9) + b"\x04ab" + b"\x0d\x02", b"ababababa"),
        (varint(8) + b"\x04ab" + b"\x16\x02\x00", b"abababab"),
        (varint(8) + b"\x04ab" + b"\x17\x02\x00\x00\x00", b"abababab"),
    ],
)
def test_copies_are_decompressed(packed: bytes, content: bytes) -> None:
    assert reader.decompress(packed) == content


@pytest.mark.parametrize(
    "packed",
    [
        varint(9) + b"\x08abc",  # shorter than it says
        varint(2) + b"\x08abc",  # longer
        varint(8) + b"\x04ab" + b"\x16\x03\x00",  # from before its beginning
        varint(8) + b"\x04ab" + b"\x16\x00\x00",
    ],
)
def test_a_block_that_is_none(packed: bytes) -> None:
    with pytest.raises(DamageError):
        reader.decompress(packed)


def test_a_block_that_would_fill_the_memory_is_not_unpacked() -> None:
    with pytest.raises(UnreadableError):
        reader.decompress(varint(1 << 40) + b"\x08abc")
