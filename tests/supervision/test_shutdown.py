"""Ask, wait, insist."""

import asyncio

import pytest

from waguard.supervision.fleet.shutdown import stop

pytestmark = pytest.mark.virtual_time

GRACE = 12.0  # s


class Worker:
    """A process without sockets: virtual time has no I/O."""

    pid = 4

    def __init__(self, *, takes: float | None) -> None:
        """``takes``: seconds from TERM to its end; None: it does not listen to TERM."""
        self.takes = takes
        self.stands_still = asyncio.Event()
        self.signals: list[tuple[str, float]] = []
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def listening(self) -> None:
        return

    def effort(self) -> None:
        """Nothing is known of it."""

    async def stopped(self) -> None:
        await self.stands_still.wait()

    async def wait(self) -> int | None:
        return await asyncio.shield(self.ended)

    def terminate(self) -> None:
        self.signals.append(("TERM", now()))
        if self.takes is not None:
            asyncio.get_running_loop().call_later(self.takes, self._end, 0)

    def kill(self) -> None:
        self.signals.append(("KILL", now()))
        asyncio.get_running_loop().call_later(0.1, self._end, -9)

    def _end(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("takes", [0.0, 5.0, 11.9])
async def test_a_worker_that_obeys_is_only_asked(takes: float) -> None:
    worker = Worker(takes=takes)
    assert await stop(worker, grace=GRACE) == 0
    assert worker.signals == [("TERM", 0.0)]
    assert now() == takes


@pytest.mark.parametrize("takes", [None, 60.0])
async def test_one_that_does_not_is_killed_after_the_grace_and_waited_for(
    takes: float | None,
) -> None:
    worker = Worker(takes=takes)
    assert await stop(worker, grace=GRACE) == -9
    assert worker.signals == [("TERM", 0.0), ("KILL", GRACE)]
    assert now() == GRACE + 0.1


@pytest.mark.parametrize("since", [0.0, 3.0])
async def test_one_that_stands_still_is_killed_without_the_grace(since: float) -> None:
    worker = Worker(takes=None)
    asyncio.get_running_loop().call_later(since, worker.stands_still.set)
    assert await stop(worker, grace=GRACE) == -9
    assert worker.signals == [("TERM", 0.0), ("KILL", since)]


async def test_one_that_is_gone_already_costs_no_time() -> None:
    worker = Worker(takes=None)
    worker.ended.set_result(13)
    assert await stop(worker, grace=GRACE) == 13
    assert now() == 0


async def test_giving_up_on_the_stop_does_not_kill() -> None:
    worker = Worker(takes=None)
    stopping = asyncio.create_task(stop(worker, grace=GRACE))
    await asyncio.sleep(1)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    assert worker.signals == [("TERM", 0.0)]


async def test_many_are_stopped_in_the_time_of_one() -> None:
    workers = [Worker(takes=5.0) for _ in range(20)]
    codes = await asyncio.gather(*(stop(worker, grace=GRACE) for worker in workers))
    assert set(codes) == {0}
    assert now() == 5.0
