import asyncio

import pytest

from tests.waiting import block_until, wait_until


@pytest.mark.virtual_time
async def test_wait_until_waits_for_the_first_true_result() -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await wait_until(lambda: loop.time() >= 5 and "there", "it comes") == "there"
    assert 5 <= loop.time() - begin < 6


@pytest.mark.virtual_time
async def test_wait_until_never_waits_longer_than_the_deadline_and_says_for_what() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(pytest.fail.Exception, match="never: the sun rises"):
        await wait_until(lambda: False, "the sun rises", deadline=60)
    assert loop.time() == pytest.approx(60)


def test_without_a_loop_too() -> None:
    assert block_until(lambda: 7, "at once") == 7
    with pytest.raises(pytest.fail.Exception, match="never: it is true"):
        block_until(lambda: 0, "it is true", deadline=0)
