"""What an earlier waguard wrote is read as what it was, and what this one writes has all of it."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.golden import (
    host_records,
    outbox,
    profile_marks,
    runtime_files,
    spoken,
    state_files,
    webhooks,
    words,
)
from tests.golden.formats import Format, lost, merged, misread
from waguard.wire.forking import Fork
from waguard.wire.protocol import PROTOCOL
from waguard.wire.stable import understood

FORMATS: Final = (
    *spoken.FORMATS,
    *runtime_files.FORMATS,
    *state_files.FORMATS,
    *profile_marks.FORMATS,
    *outbox.FORMATS,
    *webhooks.FORMATS,
    *words.FORMATS,
    *host_records.FORMATS,
)
each = pytest.mark.parametrize("one", FORMATS, ids=[it.name for it in FORMATS])


@each
def test_a_golden_file_is_read_as_what_it_was(one: Format, short_path: Path) -> None:
    assert one.read(one.path.read_bytes(), short_path) == one.means


@each
def test_the_writer_of_today_leaves_nothing_out(one: Format, short_path: Path) -> None:
    """A reader of yesterday ignores keys that were added, and misses those that are gone."""
    today = one.write(short_path)
    assert lost(one.decode(one.path.read_bytes()), one.decode(today), one.own) == []


@pytest.mark.parametrize("number", sorted(spoken.protocols()))
def test_state_and_heartbeat_of_each_protocol_are_understood(number: int) -> None:
    frames = spoken.frames(spoken.protocols()[number])
    stable = {name: it for name, it in frames.items() if name.split()[1] in {"report", "heartbeat"}}
    assert stable
    assert all(understood(msgspec.msgpack.decode(it)) for it in stable.values())


def test_each_message_of_this_protocol_has_a_golden_frame() -> None:
    kept = spoken.frames(spoken.protocols()[PROTOCOL])
    missing = spoken.SAID.keys() - kept.keys()
    assert not missing, "`python -m tests.golden` adds them"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, {"b": 2}, ["$.a is gone"]),
        ({"a": 1}, {"a": "1"}, ["$.a: int is str"]),
        ({"a": [1, 2]}, {"a": [1]}, ["$.a: 2 elements are 1"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["$.a[0].b: 1 is 2"]),
        ({"pid": 1}, {"pid": 2}, []),
        ({"pid": 1}, {"pid": None}, ["$.pid: int is NoneType"]),
        ({"pid": {"a": 1}}, {"pid": {"b": 1}}, ["$.pid.a is gone"]),
    ],
)
def test_what_a_reader_would_miss_is_named(
    before: object, after: object, expected: list[str]
) -> None:
    assert lost(before, after, frozenset({"pid"})) == expected


def test_what_is_kept_stays_and_what_is_new_is_added() -> None:
    kept, today = {"a": {"x": 1}, "b": 2}, {"a": {"x": 9, "y": 3}, "c": 4}
    assert merged(kept, today) == {"a": {"x": 1, "y": 3}, "b": 2, "c": 4}


def test_a_reader_that_lacks_a_field_is_found() -> None:
    assert misread(b'{"pid":3}', dict[str, int], msgspec.json) == []
    assert misread(b'{"number":3,"more":1}', Fork, msgspec.json) == ["$.more is gone"]
