"""Rates: each session for itself, and as it is configured now."""

import pytest

from tests.messaging.outbox_world import Clock
from waguard.config.sections import Send
from waguard.messaging.outbox.rate_limiter import RateLimiter


class World:
    """A rate limiter on a clock that a test moves."""

    def __init__(self, send: Send) -> None:
        self.send, self.clock = send, Clock()
        self.turns = RateLimiter(lambda: self.send, clock=self.clock.monotonic, chance=lambda: 0.5)

    def waits(self, count: int, session: str = "s", *, bulk: bool = False) -> list[float]:
        """How long each of so many waits after the one before, where all want to go at once."""
        waited = []
        for _ in range(count):
            began = self.clock.now
            while wait := self.turns.acquire(session, bulk=bulk):
                self.clock.now += wait
            waited.append(self.clock.now - began)
        return waited


def test_nothing_configured_holds_nothing_back() -> None:
    assert World(Send()).waits(100) == [0.0] * 100


def test_a_burst_then_the_rate() -> None:
    assert World(Send(rate=60, burst=2)).waits(5) == pytest.approx([0.0, 0.0, 1.0, 1.0, 1.0])


def test_a_gap_is_random() -> None:
    assert World(Send(gap=(10.0, 20.0))).waits(3) == [0.0, 15.0, 15.0]


def test_a_session_does_not_wait_for_another() -> None:
    world = World(Send(rate=6, burst=1))
    assert world.waits(1) == [0.0]
    assert world.waits(1, "other") == [0.0]
    assert world.turns.acquire("s", bulk=False) == pytest.approx(10.0)


def test_what_is_configured_later_counts_at_once() -> None:
    world = World(Send(rate=1, burst=1))
    world.waits(1)
    assert world.turns.acquire("s", bulk=False) == pytest.approx(60.0)
    world.send = Send(rate=60, burst=1)
    assert world.waits(2) == pytest.approx([1.0, 1.0])
    world.send = Send()
    assert world.waits(2) == [0.0, 0.0]
    world.send = Send(gap=(5.0, 5.0))
    assert world.waits(2) == [0.0, 5.0]


def test_a_bulk_has_a_gap_of_its_own_that_holds_up_nobody_else() -> None:
    world = World(Send(bulk_gap=2.0))
    assert world.waits(3, bulk=True) == [0.0, 2.0, 2.0]
    assert world.waits(3) == [0.0, 0.0, 0.0]
    assert world.turns.acquire("s", bulk=True) == 2.0


def test_a_bulk_keeps_the_pace_of_its_session() -> None:
    world = World(Send(gap=(5.0, 5.0), bulk_gap=2.0))
    assert world.waits(3, bulk=True) == [0.0, 5.0, 5.0]
    assert world.waits(1) == [5.0]
