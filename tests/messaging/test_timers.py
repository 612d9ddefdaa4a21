"""Calls at times of the wall clock."""

import asyncio
from typing import Any

from tests.waiting import wait_until
from waguard.messaging.timers import Timers


async def test_they_come_in_the_order_of_their_times() -> None:
    called: list[str] = []
    timers = Timers(lambda: 100.0)
    timers.at(99.0, lambda: called.append("second"))
    timers.at(98.0, lambda: called.append("first"))
    timers.at(10_000.0, lambda: called.append("much later"))
    await wait_until(lambda: len(called) == 2, "both are called")
    assert called == ["first", "second"]
    timers.close()


async def test_one_that_raises_does_not_keep_the_others_waiting() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    called: list[str] = []

    def bug() -> None:
        raise RuntimeError

    timers = Timers(lambda: 100.0)
    timers.at(98.0, bug)
    timers.at(99.0, lambda: called.append("the other"))
    await wait_until(lambda: called, "the other is called")
    assert [type(context["exception"]) for context in reported] == [RuntimeError]


async def test_a_closed_one_calls_nothing() -> None:
    called: list[str] = []
    timers = Timers(lambda: 100.0)
    timers.at(99.0, lambda: called.append("never"))
    timers.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert called == []
