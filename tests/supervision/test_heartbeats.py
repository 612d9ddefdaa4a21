"""Heartbeats in slots: what the tick reads is as good as a message, and nothing is made of what no worker wrote."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.host.processes import no_descriptor
from tests.supervision.bench import Bench
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.sessions import connected, heard_at, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.fleet.facts import Measured
from waguard.core.lifecycle import State
from waguard.core.metrics.families import PROBE
from waguard.core.metrics.tally import Histogram
from waguard.core.session.effects import Effect
from waguard.core.session.probe import STALL
from waguard.supervision.heartbeats import Heartbeats
from waguard.wire.heartbeat_slots import SIZE, SlotBeat, SlotFile, encode

NEVER_A_PID = 2**22 + 1
"""More than the kernel gives."""


def file(world: World) -> Path:
    return world.config.paths.runtime / "heartbeats"


@pytest.fixture(autouse=True)
def folder(world: World) -> None:
    file(world).parent.mkdir(parents=True, exist_ok=True)


def slot(process: FakeProcess) -> int:
    """Where its daemon reads."""
    assert process.greeting
    assert process.greeting.slot is not None
    return process.greeting.slot


def write(world: World, *processes: FakeProcess, **fields: Any) -> None:
    """As a worker does whose page answers too; ``fields``: what is otherwise."""
    now = world.clock.monotonic()
    for process in processes:
        beat = SlotBeat(process.pid, process.spec.generation, now, now)._replace(**fields)
        SlotFile(file(world)).write(slot(process), encode(beat))


async def watch(bench: Bench, seconds: int, before: Callable[[], object] = lambda: None) -> None:
    for _ in range(seconds):
        bench.world.clock.advance(1)
        before()
        await bench.it.watchdog.watch()


async def test_a_worker_that_only_writes_is_not_silent_and_one_that_stops_is(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await watch(empty, 60, lambda: write(world, process))
    assert empty.session().lifecycle is State.RUNNING
    assert heard_at(empty.session()) == world.clock.monotonic()
    assert (await empty.it.sessions.view("s")).disconnect_details is None
    await watch(empty, 4)
    assert empty.session().lifecycle is State.RUNNING
    await watch(empty, 1)
    await until(empty.session(), lambda s: s.runner.process is not process)
    assert "TERM" in process.signals


async def test_a_fact_is_handled_after_what_its_worker_wrote(empty: Bench, world: World) -> None:
    """It says until when the session was healthy, and nothing else had waited for the heartbeat."""
    process = await empty.connected()
    await watch(empty, 1, lambda: write(world, process))
    session, before = empty.session(), empty.session().state
    await watch(empty, 2, lambda: write(world, process))  # the second one's is of no use yet
    assert session.state is before
    session.post(Measured(memory=1, idle=None))
    assert session.state.worker
    assert session.state.worker.heard_at == world.clock.monotonic()
    assert session.state.worker.page_at == world.clock.monotonic()


async def test_a_heartbeat_that_is_read_while_its_deadline_passes_counts(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick takes its time, and the deadlines are evaluated at its end."""
    process = await empty.connected()
    session, ticks = empty.session(), empty.session().tick

    def tick() -> None:
        world.clock.advance(0.003)
        write(world, process)
        world.clock.advance(0.002)
        ticks()

    monkeypatch.setattr(session, "tick", tick)
    seen: list[Effect] = []
    monkeypatch.setattr(session, "perform", seen.append)
    for _ in range(20):
        world.clock.advance(0.995)
        await empty.it.watchdog.watch()
    assert seen == []


async def test_a_daemon_that_stood_still_reads_first_who_wrote_meanwhile(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await watch(empty, 1, lambda: write(world, process))
    for late in (STALL - 0.5, STALL + 1.0):
        world.clock.advance(late - 1.0)
        await watch(empty, 1, lambda: write(world, process))
        worker = empty.session().state.worker
        assert worker
        assert (worker.unresponsive, worker.heard_at) == (None, world.clock.monotonic())


async def test_each_answer_of_a_page_is_a_probe_and_no_answer_is_none(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    await watch(empty, 3, lambda: write(world, process, page_took=0.02))
    await watch(empty, 2, lambda: write(world, process))
    probes = world.tally.series[PROBE][()]
    assert isinstance(probes, Histogram)
    assert (probes.below()[-1], round(probes.sum, 3)) == (3, 0.06)


async def test_a_silent_page_is_read_in_a_slot_too(empty: Bench, world: World) -> None:
    process = await empty.connected()
    answered = world.clock.monotonic()
    await watch(empty, 29, lambda: write(world, process, page_at=answered))
    assert empty.session().lifecycle is State.RUNNING
    await watch(empty, 1, lambda: write(world, process, page_at=answered))
    assert empty.session().lifecycle is State.RECYCLING


async def test_a_page_that_cannot_be_helped_is_read_in_a_slot_too(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    since = world.clock.monotonic()
    await watch(empty, 10, lambda: write(world, process, page_at=since, unrecoverable=True))
    assert empty.session().lifecycle is State.RECYCLING


@pytest.mark.parametrize(
    "fields", [{"pid": NEVER_A_PID}, {"generation": 99}, {"at": 1e12}, {"at": 0.0}]
)
async def test_what_another_worker_or_another_time_wrote_is_no_heartbeat(
    empty: Bench, world: World, fields: dict[str, Any]
) -> None:
    process = await empty.connected()
    await watch(empty, 5, lambda: write(world, process, **fields))
    assert empty.session().lifecycle is State.RECYCLING


@pytest.mark.parametrize("fault", ["damaged", "truncated", "removed", "folder"])
async def test_a_file_that_is_broken_is_used_again_with_the_next_heartbeat(
    empty: Bench, world: World, fault: str
) -> None:
    process = await empty.connected()
    await watch(empty, 2, lambda: write(world, process))
    match fault:
        case "damaged":
            file(world).write_bytes(os.urandom(SIZE * 4))
        case "truncated":
            os.truncate(file(world), 3)
        case "removed":
            file(world).unlink()
        case _:
            file(world).unlink()
            file(world).mkdir()
    await watch(empty, 2)
    if fault == "folder":
        file(world).rmdir()
    await watch(empty, 2)  # the daemon makes it again
    assert empty.session().lifecycle is State.RUNNING
    await watch(empty, 10, lambda: write(world, process))
    assert empty.session().lifecycle is State.RUNNING
    assert empty.session().runner.process is process


async def test_a_worker_that_sends_needs_no_slot(empty: Bench, world: World) -> None:
    """One of an earlier version, or one whose slot is given up."""
    process = await empty.connected()

    def is_heard() -> bool:
        return heard_at(empty.session()) == world.clock.monotonic()

    for _ in range(20):
        world.clock.advance(1)
        process.beat()
        await wait_until(is_heard, "it is heard")
        await empty.it.watchdog.watch()
    assert empty.session().lifecycle is State.RUNNING


async def test_the_next_daemon_reads_where_a_worker_writes(empty: Bench, world: World) -> None:
    first, other = await empty.connected("a"), await empty.connected("b")
    await watch(empty, 2, lambda: write(world, first, other))
    slots = {slot(first), slot(other)}
    left = await empty.die()
    await empty.restore(
        *(
            (msgspec.structs.replace(it.record, socket=it.process.spec.socket), it.process)
            for it in left
        )
    )
    for name in "ab":
        await until(empty.session(name), connected)
    assert {slot(first), slot(other)} == slots
    assert [empty.process(name) for name in "ab"] == [first, other]
    await watch(empty, 20, lambda: write(world, first, other))
    for name in "ab":
        assert empty.session(name).lifecycle is State.RUNNING
    await watch(empty, 5, lambda: write(world, first))
    assert empty.session("a").lifecycle is State.RUNNING
    assert empty.session("b").lifecycle is not State.RUNNING, "silence counts as before"


async def test_an_adopted_worker_without_a_slot_is_greeted_without_one(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await until(session, connected)
    assert left.process.greeting
    assert left.process.greeting.slot is None


async def test_a_host_that_was_suspended_has_silenced_nobody(empty: Bench, world: World) -> None:
    """Its clock may go on: a container that is frozen. The daemon may go on before its workers do."""
    process = await empty.connected()
    await watch(empty, 2, lambda: write(world, process))
    world.clock.advance(3_600)
    await empty.it.watchdog.watch()
    await watch(empty, 3)
    assert empty.session().lifecycle is State.RUNNING
    await watch(empty, 10, lambda: write(world, process))
    assert empty.session().runner.process is process


async def test_a_tick_that_is_late_does_not_count_for_the_workers(
    empty: Bench, world: World
) -> None:
    """The host lets the daemon wait too, for less than what is a standstill."""
    process = await empty.connected()
    await watch(empty, 2, lambda: write(world, process))
    world.clock.advance(4.5)
    await empty.it.watchdog.watch()
    await watch(empty, 2)
    assert empty.session().lifecycle is State.RUNNING
    await watch(empty, 2, lambda: write(world, process))
    assert empty.session().runner.process is process


# ---- who gets which slot ----


def test_no_two_workers_get_the_same_slot(tmp_path: Path) -> None:
    slots = Heartbeats(tmp_path / "heartbeats")
    assert [slots.assign() for _ in range(3)] == [0, 1, 2]
    slots.release(1)
    assert [slots.assign() for _ in range(2)] == [1, 3]


def test_a_slot_is_empty_for_its_next_worker(tmp_path: Path) -> None:
    path = tmp_path / "heartbeats"
    slots, worker = Heartbeats(path), SlotFile(path)
    number = slots.assign()
    worker.write(number, encode(SlotBeat(NEVER_A_PID, 1, 7.0)))
    slots.read()
    assert slots.of(number, NEVER_A_PID, 1)
    slots.release(number)
    assert slots.assign() == number
    slots.read()
    assert slots.of(number, NEVER_A_PID, 1) is None


def test_a_slot_in_which_a_living_worker_writes_is_given_to_nobody(tmp_path: Path) -> None:
    """It may be of an earlier daemon, and not adopted yet."""
    path = tmp_path / "heartbeats"
    earlier = Heartbeats(path)
    earlier.read()
    SlotFile(path).write(0, encode(SlotBeat(os.getpid(), 3, 7.0)))
    SlotFile(path).write(1, encode(SlotBeat(NEVER_A_PID, 3, 7.0)))
    slots = Heartbeats(path)
    assert slots.assign() == 1
    assert slots.adopt(os.getpid(), 3) == 0
    assert slots.adopt(os.getpid(), 4) is None
    assert slots.assign() == 2


def test_without_a_descriptor_no_slot_counts_as_free(tmp_path: Path) -> None:
    path = tmp_path / "heartbeats"
    slots = Heartbeats(path)
    slots.read()
    SlotFile(path).write(0, encode(SlotBeat(os.getpid(), 3, 7.0)))
    assert slots.assign() == 1
    with no_descriptor(), pytest.raises(OSError, match="Too many open files"):
        slots.assign()
    assert slots.assign() == 2


def test_without_a_file_there_are_slots_all_the_same(tmp_path: Path) -> None:
    """Nobody can write in them: heartbeats are sent."""
    slots = Heartbeats(tmp_path / "nowhere" / "heartbeats")
    assert slots.assign() == 0
    slots.read()
    assert slots.of(0, 1, 1) is None
    assert slots.adopt(1, 1) is None


def test_only_slots_that_were_written_are_decoded_and_none_outlives_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "heartbeats"
    slots, beats = Heartbeats(path), [SlotBeat(os.getpid(), n, 1.0, 1.0) for n in range(3)]
    numbers = [slots.assign() for _ in beats]
    for number, beat in zip(numbers, beats, strict=True):
        SlotFile(path).write(number, encode(beat))
    assert slots.read() == beats
    assert slots.read() == []
    later = beats[1]._replace(at=2.0)
    SlotFile(path).write(numbers[1], encode(later))
    assert slots.read() == [later]
    assert slots.of(numbers[0], os.getpid(), 0) == beats[0]
    SlotFile(path).write(numbers[0], b"?" * SIZE)  # damaged
    os.truncate(path, SIZE * 2)
    assert slots.read() == []
    assert [slots.of(number, os.getpid(), n) for n, number in enumerate(numbers)] == [
        None,
        later,
        None,
    ]
    for number, beat in zip(numbers, beats, strict=True):
        SlotFile(path).write(number, encode(beat))
    assert slots.read() == beats
