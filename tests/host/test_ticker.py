import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, tzinfo
from typing import Any, Self

import pytest
from apscheduler.schedulers import base

from tests.waiting import wait_until
from waguard.host.clock import SystemClock
from waguard.host.ticker import Ticker

SHORT = 0.02  # s between two ticks


@pytest.fixture
async def ticker() -> AsyncIterator[Ticker]:
    ticking = Ticker()
    ticking.start()
    yield ticking
    ticking.stop()
    await asyncio.sleep(0)  # it stops with the loop's next turn


async def test_the_ticker_ticks_on_the_event_loop(ticker: Ticker) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def tick() -> None:
        loops.append(asyncio.get_running_loop())

    ticker.every(SHORT, "tick", tick)
    await wait_until(lambda: len(loops) >= 3, "three ticks")
    assert set(loops) == {asyncio.get_running_loop()}


async def test_a_slow_tick_never_runs_twice_and_late_ones_are_left_out(
    ticker: Ticker, caplog: pytest.LogCaptureFixture
) -> None:
    running, most, begun = 0, 0, 0
    other = 0
    go_on = asyncio.Event()

    async def slow() -> None:
        nonlocal running, most, begun
        begun += 1
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    async def quick() -> None:
        nonlocal other
        other += 1

    ticker.every(SHORT, "slow", slow)
    ticker.every(SHORT, "quick", quick)
    await wait_until(lambda: begun == 1 and other > 10, "many ticks beside the slow one")
    assert (begun, most) == (1, 1)
    assert caplog.records, "it was left out"
    assert {it.levelname for it in caplog.records} == {"DEBUG"}
    go_on.set()
    await wait_until(lambda: begun >= 3, "it ticks again")
    assert most == 1


async def test_what_is_under_way_is_known(ticker: Ticker) -> None:
    go_on = asyncio.Event()
    ends = 0

    async def fails() -> None:
        nonlocal ends
        await go_on.wait()
        ends += 1
        raise LookupError("a bug")

    ticker.every(SHORT, "fails", fails)
    await wait_until(lambda: list(ticker.under_way) == ["fails"], "it is under way")
    first = ticker.under_way["fails"]
    go_on.set()
    await wait_until(lambda: ends >= 2, "it is under way again")
    go_on.clear()
    await wait_until(lambda: ticker.under_way.get("fails", first) > first, "and counted anew")


async def test_a_stop_while_a_tick_runs_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    running = asyncio.Event()

    async def tick() -> None:
        running.set()
        await asyncio.Event().wait()

    ticker = Ticker()
    ticker.start()
    ticker.every(SHORT, "tick", tick)
    await running.wait()
    ticker.stop()
    await wait_until(lambda: len(asyncio.all_tasks()) == 1, "the tick is cut short")
    assert caplog.records == []


async def test_a_stop_before_a_tick_has_begun_is_not_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    ticker = Ticker()
    cut_short = asyncio.Event()

    async def tick() -> None:
        raise AssertionError

    def made(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **more)
        ticker.stop()
        task.cancel()  # the loop's next turn has the stop before the task's first step
        task.add_done_callback(lambda _: cut_short.set())
        return task

    ticker.start()
    loop.set_task_factory(made)
    ticker.every(SHORT, "tick", tick)
    await cut_short.wait()
    loop.set_task_factory(None)
    await asyncio.sleep(0)
    assert caplog.records == []


async def test_a_loop_that_was_held_up_ticks_once_for_all_skipped_ticks(ticker: Ticker) -> None:
    ticks: list[float] = []

    async def tick() -> None:
        ticks.append(asyncio.get_running_loop().time())

    ticker.every(SHORT, "tick", tick)
    await wait_until(lambda: len(ticks) >= 1, "it ticks")
    seen = len(ticks)
    time.sleep(SHORT * 20)  # noqa: ASYNC251  # to hold the loop up is the point
    held_up_until = asyncio.get_running_loop().time()
    await wait_until(lambda: len(ticks) >= seen + 2, "it goes on")
    at_once = [at for at in ticks[seen:] if at < held_up_until + SHORT / 2]
    assert len(at_once) <= 2


@pytest.mark.parametrize("step", [-86_400.0, -3_600.0, 3_600.0, 86_400.0, 4e8])
async def test_a_step_of_the_wall_clock_stops_no_tick_and_makes_up_for_none(
    ticker: Ticker, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    ticks, other = 0, 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1

    async def witness() -> None:
        nonlocal other
        other += 1

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time() + step, tz)

    ticker.every(SHORT, "tick", tick)
    await wait_until(lambda: ticks >= 1, "it ticks")
    monkeypatch.setattr(base, "datetime", Stepped)
    seen = ticks
    await wait_until(lambda: ticks >= seen + 3, "it goes on")
    ticker.every(SHORT, "witness", witness)
    await wait_until(lambda: other >= 3, "what begins now ticks too")


async def test_a_tick_that_fails_does_not_end_the_ticking(
    ticker: Ticker, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1
        raise RuntimeError("a bug")

    ticker.every(SHORT, "tick", tick)
    await wait_until(lambda: ticks >= 3, "it goes on")
    assert "a bug" in caplog.text


async def test_the_same_name_replaces(ticker: Ticker) -> None:
    first, second = [], []

    async def old() -> None:
        first.append(1)

    async def new() -> None:
        second.append(1)

    ticker.every(SHORT, "tick", old)
    ticker.every(SHORT, "tick", new)
    await wait_until(lambda: len(second) >= 3, "the new one ticks")
    assert not first


async def test_a_stopped_ticker_is_silent() -> None:
    ticker = Ticker()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1

    ticker.every(SHORT, "tick", tick)
    ticker.start()
    await wait_until(lambda: ticks >= 1, "it ticks")
    ticker.stop()
    await asyncio.sleep(0)
    seen = ticks
    # a scheduler that begins now and has ticked often proves that the old one would have
    witness = Ticker()
    witnessed = 0

    async def watch() -> None:
        nonlocal witnessed
        witnessed += 1

    witness.every(SHORT, "witness", watch)
    witness.start()
    await wait_until(lambda: witnessed >= 5, "time has passed")
    witness.stop()
    await asyncio.sleep(0)
    assert ticks == seen


def test_the_clocks_are_the_machines() -> None:
    clock = SystemClock()
    assert time.time() - 60 < clock.wall() < time.time() + 60
    assert time.monotonic() - 60 < clock.monotonic() <= time.monotonic()
