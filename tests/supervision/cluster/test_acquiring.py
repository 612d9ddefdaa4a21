"""Sessions that are brought up while some of them go again: those never come back by themselves."""

import asyncio
from collections.abc import Collection

import pytest

from tests.supervision.cluster.hosts import Rows
from waguard.core.cluster.owner_facts import Ended, Stays
from waguard.errors import DatabaseUnavailableError
from waguard.supervision.cluster.acquiring import Acquiring
from waguard.supervision.cluster.endings import Endings
from waguard.supervision.cluster.engine_calls import EngineCalls

pytestmark = pytest.mark.virtual_time


class Slow:
    """``ports.cluster.OwnedSessions`` that takes a second to bring sessions up, and a moment to be cut off."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        """Whether a call that is cut off says that the database is away, as one in the middle of a statement does."""
        self.begun: list[set[str]] = []
        self.lost: list[set[str]] = []

    async def acquire(self, sessions: Collection[str]) -> None:
        self.begun.append(set(sessions))
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            if self.fails:
                raise DatabaseUnavailableError("cut off") from None
            raise

    async def release(self, session: str) -> None:
        raise NotImplementedError

    async def lose(self, sessions: Collection[str]) -> None:
        self.lost.append(set(sessions))
        await asyncio.sleep(5)


async def begun(sessions: Slow) -> Acquiring:
    acquiring = Acquiring(sessions)
    for name in ("s1", "s2", "s3"):
        acquiring.add(name)
    acquiring.open()
    await asyncio.sleep(0.1)
    assert sessions.begun == [{"s1", "s2", "s3"}]
    return acquiring


@pytest.mark.parametrize("fails", [False, True])
async def test_of_a_batch_whose_sessions_go_one_by_one_none_comes_back(*, fails: bool) -> None:
    sessions = Slow(fails=fails)
    acquiring = await begun(sessions)
    await asyncio.gather(*(acquiring.drop([name]) for name in ("s1", "s2")))
    await asyncio.sleep(10)
    assert sessions.begun[1:] == [{"s3"}]
    await acquiring.end()


async def test_all_that_go_while_one_is_cut_off_may_be_in_memory() -> None:
    acquiring = await begun(Slow())
    assert await asyncio.gather(*(acquiring.drop([name]) for name in ("s1", "s2"))) == [True, True]
    await acquiring.end()


async def test_what_waits_while_it_is_lost_is_not_brought_up() -> None:
    sessions, ended = Slow(), list[Ended | Stays]()
    acquiring = await begun(sessions)
    acquiring.add("s4")
    calls = EngineCalls()
    endings = Endings(Rows(), sessions, acquiring, calls, report=ended.append)
    endings.lose(["s4"])
    await asyncio.sleep(3)
    assert sessions.begun == [{"s1", "s2", "s3"}]
    await calls.end()
    assert (ended, sessions.lost) == ([Ended("s4")], [{"s4"}])


async def test_what_is_lost_while_it_is_brought_up_is_lost_twice() -> None:
    """It may have come to memory after it was lost."""
    sessions, ended = Slow(), list[Ended | Stays]()
    acquiring, calls = await begun(sessions), EngineCalls()
    endings = Endings(Rows(), sessions, acquiring, calls, report=ended.append)
    endings.lose(["s1"])
    await calls.end()
    assert (ended, sessions.lost) == ([Ended("s1")], [{"s1"}, {"s1"}])
    assert sessions.begun[1:] == [{"s2", "s3"}]
    await acquiring.end()


async def test_what_could_not_be_ended_is_ended_again_and_has_not_ended_before() -> None:
    class Odd(Slow):
        async def lose(self, sessions: Collection[str]) -> None:
            await super().lose(sessions)
            if len(self.lost) < 3:
                raise RuntimeError

    sessions, ended = Odd(), list[Ended | Stays]()
    acquiring, calls = Acquiring(sessions), EngineCalls()
    endings = Endings(Rows(), sessions, acquiring, calls, report=ended.append)
    endings.lose(["s1", "s2"])
    await asyncio.sleep(24)
    assert ended == []
    await calls.end()
    assert sessions.lost == [{"s1", "s2"}] * 3
    assert ended == [Ended("s1"), Ended("s2")]


async def test_an_odd_session_does_not_hold_up_the_others() -> None:
    class Odd(Slow):
        async def acquire(self, sessions: Collection[str]) -> None:
            if "s2" in sessions:
                raise RuntimeError
            await super().acquire(sessions)

    sessions = Odd()
    acquiring = Acquiring(sessions)
    for name in ("s1", "s2", "s3"):
        acquiring.add(name)
    acquiring.open()
    await asyncio.sleep(20)
    acquiring.add("s4")
    await asyncio.sleep(10)
    assert sessions.begun == [{"s1"}, {"s3"}, {"s4"}]
    assert acquiring.pop_waiting() == {"s2"}
    await acquiring.end()
