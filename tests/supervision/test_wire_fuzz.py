"""A broken worker against a whole supervisor: seeded frames, while another session goes on.

Each frame is a valid message of one of the kinds, damaged in one of the ways below, or noise. A frame
that ends the line costs a worker, and a new one takes its place.
"""

import asyncio
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pytest

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from tests.wire.messages import TO_DAEMON
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.wire.channel import FRAME_LIMIT
from waguard.wire.reports import Heartbeat

SEED: Final = 20_261_126
SHORT: Final = 400  # frames
WHOLE: Final = 6_000
PARTS: Final = 6
CHECK_AFTER: Final = 20  # frames
ODD: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 1 << 40, 2**64 - 1, -(2**63), 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), float("-inf"), b"", b"\xff" * 300),
    *("", "odd", "\0", "\x1b[2J\r\n", "x" * 300, "y" * 70_000, "\u202e", "\ufdd0", "9" * 5_000),
    *([], {}, [[]], {"type": "event"}, ["connected"], [1] * 600, {"raw": 1, "count": {}}),
    *("connected", "qr_pending", "blocked", "conflict", "logged_out", "ready", "closing"),
)

Damage = Callable[[random.Random, dict[str, Any]], bytes]


def encoded(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def holders(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in it."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from holders(inner)


def a_field(chance: random.Random, reported: dict[str, Any]) -> tuple[dict[str, Any], str]:
    holder = chance.choice([found for found in holders(reported) if found])
    return holder, chance.choice(sorted(holder))


def with_an_odd_field(chance: random.Random, reported: dict[str, Any]) -> bytes:
    for _ in range(chance.randint(1, 3)):
        holder, name = a_field(chance, reported)
        holder[name] = copy.deepcopy(chance.choice(ODD))
    return encoded(reported)


def without_a_field(chance: random.Random, reported: dict[str, Any]) -> bytes:
    holder, name = a_field(chance, reported)
    del holder[name]
    return encoded(reported)


def with_a_part_of_another(chance: random.Random, reported: dict[str, Any]) -> bytes:
    other = msgspec.to_builtins(chance.choice(TO_DAEMON), builtin_types=(bytes,))
    holder, name = a_field(chance, reported)
    holder[name] = a_field(chance, other)[0]
    return encoded(reported)


def cut(chance: random.Random, reported: dict[str, Any]) -> bytes:
    content = encoded(reported)
    return content[: chance.randrange(len(content))]


def with_flipped_bytes(chance: random.Random, reported: dict[str, Any]) -> bytes:
    content = bytearray(encoded(reported))
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def noise(chance: random.Random, reported: dict[str, Any]) -> bytes:
    del reported
    return chance.randbytes(chance.randrange(200))


def deep(chance: random.Random, reported: dict[str, Any]) -> bytes:
    return encoded(reported)[:-1] + b"\x91" * chance.randrange(10, 50_000)


DAMAGES: Final[tuple[Damage, ...]] = (
    *(with_an_odd_field,) * 6,
    *(without_a_field, with_a_part_of_another, cut, with_flipped_bytes, noise, deep),
)


def framed(chance: random.Random, content: bytes) -> bytes:
    """Now and then with a length that is not so."""
    if chance.random() > 0.02:
        return len(content).to_bytes(4) + content
    return chance.choice((0, FRAME_LIMIT + 1, 2**32 - 1)).to_bytes(4) + content


def frame(chance: random.Random, process: FakeProcess) -> bytes:
    reported = msgspec.to_builtins(chance.choice(TO_DAEMON), builtin_types=(bytes,))
    if reported["type"] == "report":  # one of this worker's own, so that the damage is what counts
        reported |= {"session": process.spec.session, "generation": process.spec.generation}
    return framed(chance, chance.choice(DAMAGES)(chance, reported))


@dataclass
class Attack:
    """Frames from the worker of "s", whichever it is by now."""

    bench: Bench
    chance: random.Random
    lines: int = 0
    """Workers that it took."""

    async def run(self, frames: int) -> None:
        last: FakeProcess | None = None
        for number in range(frames):
            process = await wait_until(self._worker, "the session has a worker that listens")
            assert process
            self.lines += process is not last
            last = process
            process.write(frame(self.chance, process))
            process.send(Heartbeat(devtools=0.01, page=0.01))
            await asyncio.sleep(0)
            if number % CHECK_AFTER == 0:
                await self._check()

    def _worker(self) -> FakeProcess | None:
        session = self.bench.session("s")
        if session.lifecycle in {
            State.PARKED,
            State.STOPPED,
        }:  # what it said may be a reason for that
            session.start()
        process = session.runner.process
        return process if isinstance(process, FakeProcess) and process.connected else None

    async def _check(self) -> None:
        """What ops and the API see meanwhile; the restarts of before are forgotten."""
        self.bench.world.clock.advance(0.5)
        self.bench.process("other").beat()
        await self.bench.it.watchdog.watch()
        await self.bench.it.reconciler.reconcile()
        for view in await self.bench.it.sessions.views():
            msgspec.json.encode(view)
        health = self.bench.it.health.read()
        assert (await self.bench.it.sessions.view("other")).status == "connected"
        assert health.supervising
        assert not any("waguard failed" in problem for problem in health.problems), health.problems


async def attack(bench: Bench, world: World, seed: int, frames: int) -> Attack:
    world.change("restart", base_delay=0.0, max_delay=0.0, intensity=1_000, period=1.0)
    other = await bench.connected("other")
    await bench.connected("s")
    made = Attack(bench, random.Random(seed))
    await made.run(frames)
    assert bench.session("other").runner.process is other
    assert bench.session("other").state.restarts == 0
    return made


async def all_is_well_after(bench: Bench, world: World) -> None:
    process = bench.session("s").runner.process
    if isinstance(process, FakeProcess):
        process.exit(-9)
    await until(bench.session("s"), lambda s: s.runner.process is not process)
    await wait_until(lambda: back(bench), "it is connected again")
    await bench.until_written("s")
    for received in world.inbox.kept.values():
        msgspec.json.encode([reported.data for reported in received.events])
    assert world.row_status("s") == ("connected", None)


def back(bench: Bench) -> bool:
    session = bench.session("s")
    if session.lifecycle in {State.PARKED, State.STOPPED}:
        session.start()
    return session.link is Link.CONNECTED


async def test_some_broken_frames(empty: Bench, world: World) -> None:
    made = await attack(empty, world, SEED, SHORT)
    assert made.lines > SHORT // 10
    assert world.inbox.kept
    await all_is_well_after(empty, world)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
async def test_many_broken_frames(empty: Bench, world: World, part: int) -> None:
    await attack(empty, world, SEED + 1 + part, WHOLE // PARTS)
    await all_is_well_after(empty, world)
