"""What is written each minute: what is known of the fleet, and what is not is left out."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from tests.supervision.bench import Bench
from tests.supervision.world import World
from waguard.core.conditions import Receiver
from waguard.core.history import FLEET
from waguard.core.metrics.families import OUTCOMES, SEND
from waguard.core.metrics.tally import Tally
from waguard.daemon.history_recorder import HistoryRecorder
from waguard.host.memory.history_file import HistoryFile
from waguard.host.memory.lived import LivedTime
from waguard.ports.process import Usage
from waguard.ports.webhooks import Queued

WAITING = 3


class Recording:
    """A recorder of the bench's supervisor."""

    def __init__(self, bench: Bench) -> None:
        self.bench, world = bench, bench.world
        self.file = HistoryFile(world.config.paths.state, world.clock)
        ages = LivedTime(world.config.paths.state, world.clock)
        self.tally = Tally()
        base: Any = SimpleNamespace(
            history=self.file, bus=world.bus, ages=ages, clock=world.clock, tally=self.tally
        )
        self.messages = SimpleNamespace(receivers=[], dead=2, queued=Queued())
        messages: Any = self.messages
        outbox: Any = SimpleNamespace(waiting=lambda: WAITING)
        self.recorder = HistoryRecorder(base, bench.it, outbox, messages)

    async def minute(self) -> dict[str, float | None]:
        """A minute passes; what is known of it."""
        self.bench.world.clock.advance(60.0)
        await self.recorder.tick()
        layout, content = self.file.read()
        ring = layout.minutes
        found = ring.values(content, ring.span(self.bench.world.clock.wall()))
        assert found
        return {
            name: None if math.isnan(value) else value
            for name, value in zip(layout.fleet, found, strict=True)
        }


async def test_what_is_known_of_the_fleet_is_written(empty: Bench, world: World) -> None:
    await empty.connected()
    recording = Recording(empty)
    session = empty.session()
    session.runner.usage = Usage(cpu_percent=1.5, memory=172 << 20)
    for _ in range(4):
        world.bus.publish("message_sent", "s", 7, {})
    world.bus.publish("message_received", "s", 7, {})
    oldest = world.clock.wall() - 40.0
    recording.messages.receivers = [Receiver(session=None, waiting=5, oldest=oldest)]
    found = await recording.minute()
    assert found.keys() == set(FLEET)
    expected: dict[str, float] = {
        "sessions": 1,
        "connected": 1,
        "workers": 1,
        "conditions": 0,
        "restarts": 0,
    }
    expected |= {"sent": 4, "received": 1, "queued": WAITING, "dead_letters": 2}
    expected |= {"memory": 172 << 20, "cpu": 1.5, "webhooks_waiting": 5, "webhooks_age": 100}
    assert {name: found[name] for name in expected} == expected
    assert (found["daemon_memory"] or 0) > 1 << 20
    assert (found["daemon_cpu"] or 0) >= 0
    assert recording.file.read()[0].sessions == ("s",)
    assert (world.config.paths.state / "clock.json").exists()
    recording.messages.receivers = []
    found = await recording.minute()
    assert (found["sent"], found["webhooks_age"]) == (0, 0), "of this minute alone"


async def test_while_the_database_is_away_what_it_counts_is_unknown(empty: Bench) -> None:
    recording = Recording(empty)
    recording.messages.queued = None
    found = await recording.minute()
    assert [found[name] for name in ("webhooks_waiting", "webhooks_age", "dead_letters")] == [
        None
    ] * 3
    assert found["queued"] == WAITING, "of which memory knows"


async def test_the_time_to_send_is_the_mean_of_its_minute(empty: Bench) -> None:
    recording = Recording(empty)
    first, second, *_ = OUTCOMES
    for sent, expected in (
        ([(2.0, first), (4.0, second)], 3.0),
        ([], None),
        ([(5.0, first)], 5.0),
    ):
        for seconds, outcome in sent:
            recording.tally.add(SEND, seconds, outcome)
        assert (await recording.minute())["send_seconds"] == expected


async def test_a_bug_in_the_history_costs_no_deadline(empty: Bench, world: World) -> None:
    recording = Recording(empty)
    recording.messages.dead = None
    del recording.messages.receivers
    with pytest.raises(AttributeError):
        await recording.minute()
    assert (world.config.paths.state / "clock.json").exists()


async def test_before_the_rows_are_known_sessions_are_unknown_not_none(bench: Bench) -> None:
    found = await Recording(bench).minute()
    assert [found[it] for it in ("sessions", "connected", "workers", "memory")] == [None] * 4
    assert found["queued"] == WAITING


async def test_what_was_not_measured_yet_is_not_nothing(empty: Bench) -> None:
    await empty.connected()
    empty.session().runner.usage = None
    found = await Recording(empty).minute()
    assert (found["workers"], found["memory"], found["cpu"]) == (1, None, None)
    await empty.it.sessions.stop("s")
    empty.world.clock.advance(1.0)
    found = await Recording(empty).minute()
    assert (found["workers"], found["memory"], found["cpu"]) == (0, 0, 0)


async def test_a_clock_that_stands_still_gives_no_rate(
    empty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(empty)
    monkeypatch.setattr(empty.world.clock, "advance", lambda _: None)
    found = await recording.minute()
    assert (found["sent"], found["daemon_cpu"], found["queued"]) == (None, None, WAITING)
