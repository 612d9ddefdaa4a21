"""A session that nobody writes with writes to itself."""

import asyncio
from typing import Any

import pytest

from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.link import Link
from waguard.core.messages import sentinel
from waguard.core.replace import replace
from waguard.supervision.session.sentinel import NOT_REPORTED
from waguard.wire.calls import Call, Failed, SendText, Sent, Value

INTERVAL = 3600.0


class Watched:
    """A connected session ``s``, whose worker answers a sentinel with ``outcome``."""

    def __init__(self, bench: Bench, world: World) -> None:
        self.bench, self.world = bench, world
        self.outcome: dict[str, Any] = {"outcome": "sent", "seen": True}
        self.failed: Failed | None = None
        self.sent: list[SendText] = []
        world.spawn.script = Script(reports=(CONNECTED,), answer=self.answer)
        self.choose("s")

    def choose(self, *names: str) -> None:
        chosen = replace(self.world.config.sentinel, sessions=names, interval=INTERVAL)
        self.world.config = replace(self.world.config, sentinel=chosen)

    async def answer(self, call: Call) -> Sent | Value | Failed:
        if not isinstance(call, SendText):
            return Value()
        self.sent.append(call)
        if self.failed:
            return self.failed
        return Sent(message_id=call.message_id, timestamp=int(START), **self.outcome)

    async def passes(self, seconds: float) -> None:
        """Whatever is due then has been answered."""
        self.world.clock.advance(seconds)
        session = self.bench.session()
        session.tick()
        for _ in range(5):
            await asyncio.sleep(0)
        await wait_until(lambda: not session.traffic.sentinel._under_way, "it has been answered")

    def conditions(self) -> list[str]:
        return [it.type for it in self.bench.it.health.read().conditions]


@pytest.fixture
async def watched(empty: Bench, world: World) -> Watched:
    it = Watched(empty, world)
    await empty.create("s")
    await until(empty.session("s"), lambda s: s.link is Link.CONNECTED)
    return it


async def test_it_writes_to_its_own_number_at_the_interval(watched: Watched) -> None:
    await watched.passes(sentinel.first_pause("s", INTERVAL) - 1)
    assert not watched.sent
    await watched.passes(2)
    [call] = watched.sent
    phone = watched.bench.session().state.phone
    assert call.chat == f"{phone}@c.us"
    assert sentinel.is_sentinel(call.text)
    view = await watched.bench.it.sessions.view("s")
    assert view.sentinel
    assert view.sentinel.error is None
    assert not watched.conditions()
    await watched.passes(sentinel.pause("s", INTERVAL) - 2)
    assert len(watched.sent) == 1
    await watched.passes(2)
    assert len(watched.sent) == 2
    assert watched.sent[1].message_id != call.message_id


async def test_who_was_not_chosen_writes_nothing(watched: Watched) -> None:
    watched.choose("another")
    await watched.passes(10 * INTERVAL)
    assert not watched.sent
    watched.choose("*")
    await watched.passes(INTERVAL)
    assert len(watched.sent) <= 1


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ({"outcome": "sent", "seen": False}, NOT_REPORTED),
        ({"outcome": "uncertain", "ack": 0}, "WhatsApp has not acknowledged it yet"),
        ({"outcome": "refused", "error": "ERROR_UNKNOWN"}, "WhatsApp refused the message"),
    ],
)
async def test_what_fails_is_a_condition_until_one_works(
    watched: Watched, outcome: dict[str, Any], error: str
) -> None:
    watched.outcome = outcome
    await watched.passes(INTERVAL)
    assert watched.conditions() == ["sentinel_failed"]
    view = await watched.bench.it.sessions.view("s")
    assert view.degraded
    assert error in view.degraded
    watched.outcome = {"outcome": "sent", "seen": True}
    await watched.passes(2 * INTERVAL)
    assert not watched.conditions()
    await wait_until(lambda: watched.world.audited("sentinel_back"), "it is on the trail")
    [incident] = fold([it for it in watched.world.store.entries if it.session_id == "s"])
    assert "own number" in sentences(incident)[-1]


async def test_one_that_certainly_did_not_leave_says_nothing(watched: Watched) -> None:
    watched.failed = Failed(kind="not_ready", error="the page is loading")
    await watched.passes(INTERVAL)
    assert watched.bench.session().traffic.sentinel.result is None
    watched.failed = None
    await watched.passes(sentinel.RETRY)
    assert len(watched.sent) == 2
    result = watched.bench.session().traffic.sentinel.result
    assert result
    assert result.error is None


async def test_an_ack_that_does_not_come_counts_as_for_any_send(watched: Watched) -> None:
    """What watches sends cures the page, and suspects its version, also where nobody else writes."""
    watched.outcome = {"outcome": "uncertain", "ack": 0}
    await watched.passes(INTERVAL)
    watched.world.clock.advance(watched.world.config.send.ack_limit + 1)
    assert watched.bench.session().traffic.acks.overdue


async def test_an_answer_that_never_came_counts_the_second_time(watched: Watched) -> None:
    """A worker that ended meanwhile says nothing about the number, and its successor is asked soon."""
    watched.outcome = {"outcome": "uncertain"}
    await watched.passes(INTERVAL)
    assert not watched.conditions()
    await watched.passes(sentinel.RETRY)
    assert len(watched.sent) == 2
    assert watched.conditions() == ["sentinel_failed"]
    watched.outcome = {"outcome": "sent", "seen": True}
    await watched.passes(2 * INTERVAL)
    assert not watched.conditions()
