"""What every engine of hosts' leases does: etcd, PostgreSQL, MariaDB."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest

from tests.cluster.conftest import NUMBER, Bench
from tests.waiting import DEADLINE
from waguard.core.cluster.records import FORMAT, Found, HostRecord
from waguard.core.replace import replace
from waguard.errors import EngineUnavailableError

IMPATIENT = 0.5  # s for a call that cannot work
A = HostRecord(
    format=FORMAT,
    host="a",
    incarnation="i1",
    number=1,
    alive=True,
    address="http://10.0.0.1:3001",
    version="1.0",
    room=7,
    owned=3,
    drain=False,
)
B = replace(A, host="b", incarnation="i2")


def numbered(number: int) -> HostRecord:
    return replace(A, number=number)


def watching(changes: AsyncIterator[Sequence[Found]]) -> Any:
    """All engines' are generators, which have to be closed."""
    return aclosing(cast("Any", changes))


async def assert_unavailable(*calls: Any) -> None:
    for call in calls:
        with pytest.raises(EngineUnavailableError) as caught:
            async with asyncio.timeout(DEADLINE):
                await call
        assert caught.value.status == 503
        assert caught.value.field
        assert caught.value.remedy


async def test_nobody_is_there_at_first(bench: Bench) -> None:
    leases = await bench.leases()
    assert await leases.read("a") is None
    assert await leases.hosts() == []
    assert await leases.put(A, 1) is None
    assert await leases.read("a") is None


async def test_a_record_is_read_as_it_was_written(bench: Bench) -> None:
    leases, other = await bench.leases(), await bench.leases()
    first = await leases.put(A, 0)
    assert first
    assert await other.read("a") == Found(A, first)
    assert await other.read("A") is None
    second = await other.put(B, 0)
    assert second
    assert await leases.hosts() == [Found(A, first), Found(B, second)]


async def test_it_is_created_once(bench: Bench) -> None:
    leases = await bench.leases()
    first = await leases.put(A, 0)
    assert first
    assert await leases.put(numbered(2), 0) is None
    assert await leases.read("a") == Found(A, first)


async def test_only_what_was_seen_is_replaced(bench: Bench) -> None:
    leases, other = await bench.leases(), await bench.leases()
    first = await leases.put(A, 0)
    assert first
    second = await leases.put(numbered(2), first)
    assert second
    assert second > first
    dead = replace(A, alive=False)
    assert await other.put(dead, first) is None
    assert await other.read("a") == Found(numbered(2), second)
    assert await other.put(dead, second)
    assert await leases.put(numbered(3), second) is None


async def test_only_what_was_seen_is_deleted(bench: Bench) -> None:
    leases, other = await bench.leases(), await bench.leases()
    assert not await leases.delete("a", 1)
    first, kept = await leases.put(A, 0), await leases.put(B, 0)
    assert first
    assert kept
    second = await leases.put(numbered(2), first)
    assert second
    async with watching(other.changes()) as changes:
        assert len(await anext(changes)) == 2
        assert not await other.delete("a", first)
        assert await other.read("a") == Found(numbered(2), second)
        assert await other.delete("a", second)
        assert not await leases.delete("a", second)
        assert await anext(changes) == [Found(B, kept)]
    assert await leases.put(numbered(3), second) is None


async def test_of_two_that_write_at_once_one_wins(bench: Bench) -> None:
    leases, other = await bench.leases(), await bench.leases()
    revision = 0
    for number in range(1, 20):
        mine, theirs = numbered(number), numbered(-number)
        answers = await asyncio.gather(leases.put(mine, revision), other.put(theirs, revision))
        assert answers.count(None) == 1
        won = mine if answers[0] else theirs
        revision = answers[0] or answers[1] or 0
        assert await leases.read("a") == await other.read("a") == Found(won, revision)


async def test_a_revision_does_not_come_back_when_a_record_was_deleted(bench: Bench) -> None:
    leases = await bench.leases()
    first = await leases.put(A, 0)
    assert first
    second = await leases.put(numbered(2), first)
    assert second
    await bench.delete_raw("a")
    assert await leases.put(numbered(3), second) is None
    third = await leases.put(numbered(3), 0)
    assert third
    assert third > second


async def test_a_write_whose_answer_was_lost_is_read(bench: Bench) -> None:
    other = await bench.leases()
    first = await other.put(A, 0)
    assert first
    leases = await bench.leases(relayed=True)
    assert await leases.read("a") == Found(A, first)
    bench.relay.swallow = bench.writes
    async with asyncio.timeout(DEADLINE):
        writing = asyncio.ensure_future(leases.put(numbered(NUMBER), first))
        await bench.relay.swallowed.wait()
    # it was written, and who wrote it does not know; nor does it keep others from writing
    found = await other.read("a")
    assert found
    assert found.record == numbered(NUMBER)
    assert await other.put(replace(found.record, alive=False), found.revision)
    bench.relay.mend()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert await leases.put(numbered(3), first) is None


async def test_an_engine_that_hangs_is_unavailable(bench: Bench) -> None:
    leases = await bench.leases(relayed=True, deadline=IMPATIENT)
    bench.relay.swallow = b""
    await assert_unavailable(leases.read("a"), leases.hosts(), leases.put(A, 0))
    async with watching(leases.changes()) as changes:
        await assert_unavailable(anext(changes))


async def test_an_engine_that_is_cut_off_is_unavailable_until_it_is_back(bench: Bench) -> None:
    leases = await bench.leases(relayed=True, deadline=1.0)
    await bench.relay.cut()
    await assert_unavailable(leases.read("a"), leases.put(A, 0))
    bench.relay.mend()
    while True:  # a busy machine may take longer than the deadline
        try:
            assert await leases.hosts() == []
        except EngineUnavailableError:
            continue
        break


async def test_changes_are_seen_in_order_and_after_a_reconnect_all(bench: Bench) -> None:
    other = await bench.leases()
    revision = await other.put(A, 0)
    assert revision
    leases = await bench.leases(relayed=True, deadline=3.0)
    seen: list[Sequence[Found]] = []
    async with asyncio.timeout(DEADLINE), watching(_again(leases.changes)) as changes:
        seen.append(await anext(changes))
        assert seen[0] == [Found(A, revision)]
        for number in range(2, 6):
            revision = await other.put(numbered(number), revision)
            assert revision
        while seen[-1][0].record.number < 5:
            seen.append(await anext(changes))
    assert [it[0].revision for it in seen] == sorted({it[0].revision for it in seen})
    assert seen[-1] == [Found(numbered(5), revision)]
    async with watching(leases.changes()) as changes:
        await anext(changes)
        await bench.relay.cut()
        await assert_unavailable(anext(changes))
    changed = await other.put(numbered(6), revision)
    assert changed
    added = await other.put(B, 0)
    assert added
    bench.relay.mend()
    async with asyncio.timeout(DEADLINE), watching(_again(leases.changes)) as changes:
        assert await anext(changes) == [Found(numbered(6), changed), Found(B, added)]


async def _again(changes: Any) -> AsyncIterator[Sequence[Found]]:
    """As the caller does it: a busy machine may take longer than a deadline that something else must not take."""
    while True:
        try:
            async with watching(changes()) as watched:
                async for found in watched:
                    yield found
        except EngineUnavailableError:
            continue


async def test_what_was_deleted_is_gone_from_what_is_watched(bench: Bench) -> None:
    leases = await bench.leases()
    await leases.put(A, 0)
    kept = await leases.put(B, 0)
    assert kept
    async with asyncio.timeout(DEADLINE), watching(leases.changes()) as changes:
        assert len(await anext(changes)) == 2
        await bench.delete_raw("a")
        assert await anext(changes) == [Found(B, kept)]


NEWER = (
    '{"format":2,"host":"a","incarnation":"i9","number":4,"alive":true,"address":["x"],'
    '"room":3,"zones":{"z":["Köln"]}}'
)


async def test_a_record_of_a_newer_format_is_read_as_far_as_it_can_be(bench: Bench) -> None:
    leases = await bench.leases()
    await bench.write_raw("a", NEWER)
    kept = await leases.put(B, 0)
    assert kept
    found = await leases.read("a")
    assert found
    assert found.record == HostRecord(
        format=2,
        host="a",
        incarnation="i9",
        number=4,
        alive=True,
        address="",
        version="",
        room=3,
        owned=0,
        drain=True,
        more={"zones": {"z": ["Köln"]}},
    )
    assert await leases.hosts() == [found, Found(B, kept)]
    async with watching(leases.changes()) as changes:
        assert await anext(changes) == [found, Found(B, kept)]
    # who declares that host dead keeps what it does not understand
    assert await leases.put(replace(found.record, alive=False), found.revision)
    dead = await leases.read("a")
    assert dead
    assert dead.record == replace(found.record, alive=False)


@pytest.mark.parametrize(
    "content", ["", "no JSON", "[]", '{"format":1}', NEWER.replace("4", "'4'")]
)
async def test_what_cannot_be_read_is_not_nothing(bench: Bench, content: str) -> None:
    leases = await bench.leases()
    await bench.write_raw("a", content)
    found = await leases.read("a")
    assert found
    assert (found.record.format, found.record.host, found.record.alive) == (FORMAT + 1, "a", True)
    assert await leases.hosts() == [found]
    assert await leases.put(A, 0) is None
