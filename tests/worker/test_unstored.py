"""Events that a worker leaves to the next one."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from loguru import logger

from tests.host.odd_files import refuse
from tests.host.processes import worker_spec
from tests.small_disk import small_disk
from waguard.core.blame import Blame, of_exit
from waguard.core.messages.received_media import DEFERRED
from waguard.wire.events import Event, InboundMessage, LoggedOut
from waguard.worker import main
from waguard.worker.link.unstored import UnstoredEvents

MESSAGE = InboundMessage(
    id="m", chat="c", sender="c", to="me", from_me=False, body="hi", timestamp=1, kind="image"
)
EVENTS = [
    Event(seq=4, at=1.0, body=LoggedOut(reason="it was unlinked")),
    Event(seq=5, at=2.0, body=MESSAGE),
]


def file_of(folder: Path, generation: int = 3, paired_at: float | None = None) -> UnstoredEvents:
    return UnstoredEvents(folder / "s1.json", generation, paired_at)


def test_what_is_written_is_read_until_it_is_cleared(tmp_path: Path) -> None:
    file_of(tmp_path).write(EVENTS)
    assert file_of(tmp_path).read() == EVENTS
    assert file_of(tmp_path).read() == EVENTS
    assert file_of(tmp_path, generation=4).read() == [], "that session was created anew"
    file_of(tmp_path).clear()
    assert file_of(tmp_path).read() == []
    file_of(tmp_path).clear()  # there is none


def test_what_a_generation_before_left_is_read_where_it_is_of_the_same_pairing(
    tmp_path: Path,
) -> None:
    file_of(tmp_path, generation=9).write(EVENTS[:1])
    file_of(tmp_path, generation=10).write(EVENTS[1:])
    assert file_of(tmp_path, generation=12, paired_at=1.5).read() == EVENTS[1:]
    now = file_of(tmp_path, generation=12, paired_at=0.5)
    assert now.read() == EVENTS
    now.clear()
    assert file_of(tmp_path, generation=12, paired_at=0.5).read() == []


def test_what_is_of_another_pairing_stays(tmp_path: Path) -> None:
    file_of(tmp_path).write(EVENTS)
    for paired_at in (None, 1.5):
        other = file_of(tmp_path, generation=4, paired_at=paired_at)
        assert other.read() == []
        other.clear()
    assert file_of(tmp_path).read() == EVENTS


def test_what_generations_before_left_is_kept_once_more_in_one_file(tmp_path: Path) -> None:
    file_of(tmp_path).write(EVENTS)
    now = file_of(tmp_path, generation=5, paired_at=0.5)
    now.write(now.read())
    assert [path.name for path in tmp_path.iterdir()] == ["s1.5.unstored"]
    assert file_of(tmp_path, generation=5).read() == EVENTS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(EVENTS)[:-1],
        msgspec.msgpack.encode({"seq": 1}),
        msgspec.json.encode(EVENTS),
        b"\x91" * 10_000,
    ],
    ids=["empty", "garbage", "truncated", "no list", "another format", "nested"],
)
def test_what_cannot_be_read_is_quarantined(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s1.3.unstored"
    path.write_bytes(content)
    assert file_of(tmp_path).read() == []
    assert not path.exists()
    assert (tmp_path / "s1.3.unstored.unreadable").read_bytes() == content


async def test_while_the_system_does_not_let_them_be_read_no_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end with nothing left of them, and nobody would have had them."""
    spec = worker_spec(tmp_path)
    path = Path(spec.record).with_suffix(f".{spec.generation}.unstored")
    path.write_bytes(msgspec.msgpack.encode(EVENTS))
    with monkeypatch.context() as patch:
        refuse(patch, path, errno.EMFILE)
        assert of_exit(await main._run(spec)).blame is Blame.HOST
    assert msgspec.msgpack.decode(path.read_bytes(), type=list[Event]) == EVENTS


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(msgspec.msgpack.encode(EVENTS))
    (tmp_path / "s1.3.unstored").symlink_to(tmp_path / "elsewhere")
    assert file_of(tmp_path).read() == []
    assert (tmp_path / "elsewhere").exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    with small_disk(tmp_path / "disk", 64 << 10) as mounted:
        yield mounted


def test_files_come_later_where_there_is_no_room(disk: Path) -> None:
    big = msgspec.structs.replace(MESSAGE, media=os.urandom(128 << 10))
    file_of(disk).write([EVENTS[0], msgspec.structs.replace(EVENTS[1], body=big)])
    first, second = file_of(disk).read()
    assert first == EVENTS[0]
    assert isinstance(second.body, InboundMessage)
    assert (second.body.media, second.body.deferred, second.body.media_error) == (
        None,
        True,
        DEFERRED,
    )


def test_where_files_are_left_out_what_a_generation_before_left_stays(disk: Path) -> None:
    file_of(disk).write(EVENTS)
    big = msgspec.structs.replace(MESSAGE, media=os.urandom(128 << 10))
    now = file_of(disk, generation=5, paired_at=0.5)
    now.write([*now.read(), msgspec.structs.replace(EVENTS[1], body=big)])
    assert file_of(disk).read() == EVENTS
    assert len(file_of(disk, generation=5).read()) == len(EVENTS) + 1


MEMBERS = tuple(f"{number:015}@lid" for number in range(1_000))


@pytest.mark.parametrize(
    ("limit", "media", "participants", "count"),
    [
        (90_000, b"\0" * 20_000, MEMBERS, 3),
        (70_000, None, MEMBERS, 3),
        (1_000, None, (), 3),
        (700, None, (), 2),
        (10, None, (), 0),
    ],
    ids=["all", "no files", "no participants", "the newest", "nothing"],
)
def test_what_is_written_can_be_read(
    tmp_path: Path, limit: int, media: bytes | None, participants: tuple[str, ...], count: int
) -> None:
    """Else all of it would be lost, and not only what is large."""
    logged: list[str] = []
    sink = logger.add(logged.append, level="ERROR", format="{message}: {extra[count]}")
    body = msgspec.structs.replace(MESSAGE, media=b"\0" * 20_000, participants=MEMBERS)
    events = [Event(seq=number, at=1.0, body=body) for number in (1, 2, 3)]
    events[0] = Event(seq=1, at=1.0, body=msgspec.structs.replace(body, media=None))
    events[1] = Event(seq=2, at=1.0, body=msgspec.structs.replace(body, media=None))
    it = UnstoredEvents(tmp_path / "s1.json", 3, limit=limit)
    it.write(events)
    logger.remove(sink)
    found = it.read()
    assert [event.seq for event in found] == [1, 2, 3][3 - count :]
    for event in found:
        assert isinstance(event.body, InboundMessage)
        assert event.body.participants == participants
    if found:
        assert isinstance(found[-1].body, InboundMessage)
        assert found[-1].body.media == media
    assert [line.strip().rpartition(" ")[2] for line in logged] == (
        [f"{3 - count}"] if count < 3 else []
    )
    assert not list(tmp_path.glob("*.unreadable"))


def test_a_draft_of_a_worker_that_was_killed_is_removed(tmp_path: Path) -> None:
    for name in ("s1.3.unstored.new", "s1.2.unstored.new", "s2.3.unstored.new"):
        (tmp_path / name).write_bytes(b"half")
    assert file_of(tmp_path).read() == []
    assert [path.name for path in tmp_path.iterdir()] == ["s2.3.unstored.new"]


def test_a_full_disk_is_an_error_in_the_log_and_leaves_what_was_there(
    disk: Path,
) -> None:
    logged: list[str] = []
    sink = logger.add(logged.append, level="ERROR", format="{message}")
    file_of(disk).write(EVENTS)
    (disk / "filler").write_bytes(bytes((64 << 10) - 2 * 4096))
    many = [msgspec.structs.replace(EVENTS[0], seq=seq) for seq in range(5_000)]
    file_of(disk).write(many)
    logger.remove(sink)
    assert [line.partition(":")[0] for line in logged] == ["events lost"]
    assert file_of(disk).read() == EVENTS
    assert not list(disk.glob("*.new"))
