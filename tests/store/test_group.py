"""Group calls, without a database: who is done with whom, and what a failure costs the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import pytest

from waguard.errors import DatabaseUnavailableError
from waguard.store.database import Database
from waguard.store.failures import answering
from waguard.store.group import MOST, Group

SLOW = "slow"


class Calls:
    """Upper-cases texts. A call for several raises ``failures`` first; ``refused`` are refused whoever asks."""

    def __init__(self, *, answers_within: float = 60.0) -> None:
        self.together: list[list[str]] = []
        self.alone: list[str] = []
        self.cut_off: list[str] = []
        self.failures: list[Exception] = []
        self.refused: set[str] = set()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.go_on_alone = asyncio.Event()
        self.go_on_alone.set()
        database = Database(
            "sqlite+aiosqlite:////nowhere/db", busy_timeout=answers_within / 2, wall=lambda: 0.0
        )
        self.group = Group(database, self._all, self._one)

    async def _all(self, items: Sequence[str]) -> list[str | None]:
        self.together.append(list(items))
        await self.go_on.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.refused & {*items}:
            raise ValueError("one of them")
        return [None if item == SLOW else item.upper() for item in items]

    async def _one(self, item: str) -> str:
        self.alone.append(item)
        try:
            await self.go_on_alone.wait()
        except asyncio.CancelledError:
            self.cut_off.append(item)
            raise
        if item in self.refused:
            raise ValueError(item)
        return item.upper()


async def begun(*calls: Awaitable[str]) -> Sequence["asyncio.Future[str]"]:
    """These calls, each as far as it comes by itself."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_call_runs_is_the_next_call() -> None:
    calls = Calls()
    calls.go_on.clear()
    (first,) = await begun(calls.group.do("a"))
    later = await begun(*map(calls.group.do, "bcd"))
    assert calls.together == [["a"]]
    assert not first.done()
    calls.go_on.set()
    assert await asyncio.gather(first, *later) == ["A", "B", "C", "D"]
    assert calls.together == [["a"], ["b", "c", "d"]]
    assert await calls.group.do("e") == "E"  # it begins again after a rest
    assert calls.alone == []


async def test_a_call_has_a_bound() -> None:
    calls = Calls()
    many = [str(number) for number in range(MOST + 1)]
    assert await asyncio.gather(*map(calls.group.do, many)) == many
    assert list(map(len, calls.together)) == [MOST, 1]


async def test_one_that_is_refused_costs_its_neighbours_nothing() -> None:
    calls = Calls()
    calls.refused = {"b"}
    results = await asyncio.gather(*map(calls.group.do, "abc"), return_exceptions=True)
    assert (results[0], results[2]) == ("A", "C")
    assert isinstance(results[1], ValueError)
    assert calls.alone == ["a", "b", "c"]


async def test_a_connection_that_is_lost_under_several_is_no_failure_of_theirs() -> None:
    calls = Calls()
    calls.failures = [DatabaseUnavailableError("gone")]
    assert await asyncio.gather(*map(calls.group.do, "ab")) == ["A", "B"]


async def test_what_fails_alone_too_has_its_own_error() -> None:
    calls = Calls()
    calls.failures, calls.refused = [DatabaseUnavailableError("gone")], {"a"}
    with pytest.raises(ValueError, match="a"):
        await calls.group.do("a")
    assert await calls.group.do("b") == "B"


async def test_without_alone_a_failed_one_is_asked_again_by_itself() -> None:
    calls = Calls()
    group = Group(calls.group._database, calls._all)
    calls.refused = {"b"}
    results = await asyncio.gather(*map(group.do, "ab"), return_exceptions=True)
    assert results[0] == "A"
    assert isinstance(results[1], ValueError)
    assert calls.together == [["a", "b"], ["a"], ["b"]]


async def test_nobody_waits_for_one_that_is_done_alone() -> None:
    calls = Calls()
    calls.go_on_alone.clear()
    slow, quick = await begun(calls.group.do(SLOW), calls.group.do("a"))
    assert await quick == "A"
    assert await calls.group.do("b") == "B"
    assert not slow.done()
    calls.go_on_alone.set()
    assert await slow == "SLOW"


async def test_who_gives_up_ends_what_is_done_for_it_alone() -> None:
    """Else it could write after what its caller writes next."""
    calls = Calls()
    calls.go_on_alone.clear()
    (slow,) = await begun(calls.group.do(SLOW))
    assert calls.alone == [SLOW]
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert calls.cut_off == [SLOW]


async def test_who_does_not_wait_any_more_is_left_out() -> None:
    calls = Calls()
    calls.go_on.clear()
    (first,) = await begun(calls.group.do("a"))
    second, third = await begun(*map(calls.group.do, "bc"))
    second.cancel()
    first.cancel()  # its call is under way, and the others' comes after it
    await asyncio.sleep(0)
    calls.go_on.set()
    assert await third == "C"
    assert calls.together == [["a"], ["c"]]


async def test_a_call_that_is_late_is_an_outage() -> None:
    calls = Calls(answers_within=0.02)
    calls.go_on.clear()
    group = Group(calls.group._database, calls._all)
    with pytest.raises(DatabaseUnavailableError):
        await group.do("a")
    assert calls.together == [["a"], ["a"]]  # and then by itself


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Timeout]:
    """Of callers and of calls, as they begin."""
    begun = list[asyncio.Timeout]()

    @asynccontextmanager
    async def recorded(_: Database) -> AsyncIterator[asyncio.Timeout]:
        async with answering("the test's", within=60.0) as deadline:
            begun.append(deadline)
            yield deadline

    monkeypatch.setattr(Database, "answering", recorded)
    return begun


async def test_nothing_is_done_of_what_waited_for_its_call_too_long(
    deadlines: list[asyncio.Timeout],
) -> None:
    calls = Calls()
    calls.go_on.clear()
    (first,) = await begun(calls.group.do("a"))
    (second,) = await begun(calls.group.do("b"))
    deadlines[-1].reschedule(0.0)
    with pytest.raises(DatabaseUnavailableError):
        await second
    calls.go_on.set()
    assert await first == "A"
    assert await calls.group.do("c") == "C"
    assert calls.together == [["a"], ["c"]]


async def test_what_a_call_has_taken_has_no_other_deadline_than_the_call(
    deadlines: list[asyncio.Timeout],
) -> None:
    """Else its caller is told that it failed, repeats it, and it is stored twice."""
    calls = Calls()
    calls.go_on.clear()
    (first,) = await begun(calls.group.do("a"))
    (second,) = await begun(calls.group.do("b"))
    of_first, of_call, of_second = deadlines
    assert of_first.when() is None
    assert of_call.when() is not None
    assert of_second.when() is not None
    calls.go_on.set()
    assert await first == "A"
    assert await second == "B"
    assert of_second.when() is None
    assert calls.together == [["a"], ["b"]]
