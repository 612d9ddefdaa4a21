"""A worker writes in its slot, or says that it could not."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.golden.spoken import SPEC
from waguard.host.clock import since_boot
from waguard.wire.heartbeat_slots import (
    LENT,
    SIZE,
    SlotBeat,
    SlotFile,
    SlotLoan,
    decode,
    encode,
    encode_loan,
)
from waguard.wire.reports import Heartbeat
from waguard.wire.worker import WorkerSpec
from waguard.worker.lease_end import Deadline
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
    slot, before = HeartbeatSlot(spec(path), Deadline()), time.monotonic()
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
    assert HeartbeatSlot(spec(None), Deadline()).write(WELL) is None, (
        "its daemon is of an earlier version"
    )
    slot = HeartbeatSlot(spec(path), Deadline())
    path.unlink()
    assert slot.write(WELL) is None
    path.touch()
    assert slot.write(WELL) == 5


def test_a_slot_that_another_worker_has_is_given_up_for_good(path: Path) -> None:
    """Each of the two would be silent half of the time; so both send."""
    slot = HeartbeatSlot(spec(path), Deadline())
    assert slot.write(WELL) == 5
    file = SlotFile(path)
    file.write(5, encode(SlotBeat(os.getpid() + 1, 3, 7.0)))
    assert slot.write(WELL) is None
    assert written(path).at == 7.0, "the other's is left as it is"
    file.write(5, bytes(SIZE))
    assert slot.write(WELL) is None


def test_a_damaged_slot_is_written_again(path: Path) -> None:
    slot = HeartbeatSlot(spec(path), Deadline())
    assert slot.write(WELL) == 5
    path.write_bytes(b"\xff" * 6 * SIZE)
    assert slot.write(WELL) == 5
    assert written(path).pid == os.getpid()


# ---- until when it may live ----


@pytest.fixture
def deadline() -> Iterator[Deadline]:
    made = Deadline()
    yield made
    made.move(None)  # it would end the tests


def lend(path: Path, until: float, pid: int | None = None, generation: int = 3) -> None:
    """As its daemon does."""
    loan = SlotLoan(os.getpid() if pid is None else pid, generation, until)
    SlotFile(path.with_name(LENT), create=True).write(5, encode_loan(loan))


def test_what_was_lent_is_obeyed_and_said_with_the_next_heartbeat(
    path: Path, deadline: Deadline
) -> None:
    slot, first = HeartbeatSlot(spec(path), deadline), since_boot() + 3_600.0
    deadline.move(first)
    slot.write(WELL)
    assert written(path).obeys == first
    lend(path, first + 5.0)
    slot.write(WELL)
    assert (written(path).obeys, deadline.until) == (first + 5.0, first + 5.0)


def test_less_and_what_was_lent_to_another_worker_and_what_is_damaged_is_not_followed(
    path: Path, deadline: Deadline
) -> None:
    slot, first = HeartbeatSlot(spec(path), deadline), since_boot() + 3_600.0
    deadline.move(first)
    lend(path, first - 5.0)
    slot.write(WELL)
    lend(path, first + 5.0, pid=os.getpid() + 1)
    slot.write(WELL)
    lend(path, first + 5.0, generation=2)
    slot.write(WELL)
    path.with_name(LENT).write_bytes(b"\xff" * 6 * SIZE)
    slot.write(WELL)
    assert (written(path).obeys, deadline.until) == (first, first)


def test_who_lives_forever_follows_nothing_that_an_earlier_daemon_wrote(
    path: Path, deadline: Deadline
) -> None:
    slot = HeartbeatSlot(spec(path), deadline)
    lend(path, since_boot() + 3_600.0)
    deadline.move(None)
    slot.write(WELL)
    assert (written(path).obeys, deadline.until) == (0.0, None)
