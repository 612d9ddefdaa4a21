"""A deadline, and what becomes of it in a process that stood still: its loop's clock has jumped."""

import asyncio

import pytest

from tests.virtual_time import VirtualTimeLoop
from waguard.host.patience import LATE, patience

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


def stand_still(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.skipped += seconds


@pytest.mark.parametrize("seconds", [0.0, 5.0])
async def test_who_does_not_come_is_given_up(seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with patience(seconds):
            await asyncio.Event().wait()
    assert now() == seconds


async def test_who_comes_in_time_is_not() -> None:
    async with patience(5.0):
        await asyncio.sleep(4.9)
    await asyncio.sleep(60)  # and the deadline is gone
    assert now() == 64.9


async def test_what_is_cancelled_by_others_stays_cancelled() -> None:
    async def wait() -> None:
        async with patience(5.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_time_in_which_we_stood_still_does_not_count() -> None:
    asyncio.get_running_loop().call_later(1, stand_still, 3600)
    asyncio.get_running_loop().call_later(4000, pytest.fail)
    with pytest.raises(TimeoutError):
        async with patience(5.0):
            await asyncio.Event().wait()
    assert now() == 3601 + 5


async def test_an_answer_that_came_meanwhile_is_taken() -> None:
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, stand_still, 3600)
    asyncio.get_running_loop().call_later(6, answer.set_result, "late")
    async with patience(5.0):
        assert await answer == "late"


async def test_a_loop_that_is_only_busy_gets_no_more_time() -> None:
    asyncio.get_running_loop().call_later(4, stand_still, 1 + LATE)
    with pytest.raises(TimeoutError):
        async with patience(5.0):
            await asyncio.Event().wait()
    assert now() == 5 + LATE
