"""A worker writes in its slot, or says that it could not."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from tests.golden.spoken import SPEC
from waguard.wire.heartbeat_slots import SIZE, SlotBeat, SlotFile, decode, encode
from waguard.wire.reports import Heartbeat
from waguard.wire.worker import WorkerSpec
from waguard.worker.link.heartbeat_slot import HeartbeatSlot

WELL = Heartbeat(devtools=0.001, page=0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "heartbeats"
    made.touch()
    return made


def spec(path: Path | None) -> WorkerSpec:
    named = str(path) if path else None
    made: WorkerSpec = msgspec.structs.replace(SPEC, heartbeats=named, slot=5, generation=3)
    return made


def written(path: Path) -> SlotBeat:
    beat = decode(SlotFile(path).read(5))
    assert beat
    return beat


def test_it_writes_when_worker_and_page_answered(path: Path) -> None:
    slot, before = HeartbeatSlot(spec(path)), time.monotonic()
    assert slot.write(WELL) == 5
    first = written(path)
    assert (first.pid, first.generation, first.unrecoverable) == (os.getpid(), 3, False)
    assert before <= first.page_at == first.at <= time.monotonic()
    assert first.page_took == WELL.page
    assert slot.write(Heartbeat(devtools=0.1, page=None, hopeless=True)) == 5
    second = written(path)
    assert (second.page_at, second.unrecoverable) == (first.page_at, True)
    assert second.page_took == 0
    assert second.at >= first.at


def test_without_a_file_each_heartbeat_is_sent(path: Path) -> None:
    assert HeartbeatSlot(spec(None)).write(WELL) is None, "its daemon is of an earlier version"
    slot = HeartbeatSlot(spec(path))
    path.unlink()
    assert slot.write(WELL) is None
    path.touch()
    assert slot.write(WELL) == 5


def test_a_slot_that_another_worker_has_is_given_up_for_good(path: Path) -> None:
    """Each of the two would be silent half of the time; so both send."""
    slot = HeartbeatSlot(spec(path))
    assert slot.write(WELL) == 5
    file = SlotFile(path)
    file.write(5, encode(SlotBeat(os.getpid() + 1, 3, 7.0)))
    assert slot.write(WELL) is None
    assert written(path).at == 7.0, "the other's is left as it is"
    file.write(5, bytes(SIZE))
    assert slot.write(WELL) is None


def test_a_damaged_slot_is_written_again(path: Path) -> None:
    slot = HeartbeatSlot(spec(path))
    assert slot.write(WELL) == 5
    path.write_bytes(b"\xff" * 6 * SIZE)
    assert slot.write(WELL) == 5
    assert written(path).pid == os.getpid()
