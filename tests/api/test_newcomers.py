"""Where many are there without a key, who comes says first what it wants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.api.doors import GET, Client, House, Knock, house
from tests.waiting import wait_until
from waguard.api.timings import Limits, Timings

KEYED = GET[:-2] + b"X-Api-Key: good\r\n\r\n"
BEGUN = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345"
SHREDS = (
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\nx\r\n" * 1_500
)
NO_TIME = -1.0  # s of CPU time that are free: there is always too much owed


@contextlib.asynccontextmanager
async def busy_house(
    *, most: int = 100, free: float = NO_TIME, first_request: float = 60.0
) -> AsyncIterator[tuple[House, Knock]]:
    """One without a key is there already, and no more are read at once."""
    limits = Limits(keyless=1, keyless_cpu_free=free)
    async with house(most, timings=Timings(first_request=first_request), limits=limits) as (
        made,
        knock,
    ):
        assert b" 200 " in await (await knock()).ask()
        yield made, knock


def waiting(made: House) -> int:
    return len(made.door()._newcomers)


async def coming(made: House, knock: Knock, said: bytes = b"") -> Client:
    """One that waits, when it does."""
    before = waiting(made)
    client: Client = await knock()
    client.writer.write(said)
    await wait_until(lambda: waiting(made) > before, "it waits")
    return client


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize("said", [GET, KEYED])
async def test_a_key_or_a_whole_request_is_let_in_at_once(said: bytes) -> None:
    async with busy_house() as (made, knock):
        await coming(made, knock, BEGUN)
        client = await coming(made, knock)
        assert b" 200 " in await client.ask(said)
        assert waiting(made) == 1


@pytest.mark.parametrize("free", [NO_TIME, 0.01])
async def test_whoever_says_a_part_has_its_turn_whatever_is_owed(free: float) -> None:
    async with busy_house(free=free) as (made, knock):
        client = await coming(made, knock)
        client.writer.write(BEGUN)
        await wait_until(lambda: not waiting(made), "it is let in")
        assert b" 200 " in await client.ask(b"67890")


@pytest.mark.usefixtures("no_turns")
async def test_shreds_wait_for_their_turn() -> None:
    async with busy_house() as (made, knock):
        await coming(made, knock, SHREDS)
        assert b" 200 " in await (await knock()).ask()
        assert waiting(made) == 1


async def test_shreds_are_refused_when_it_is_their_turn() -> None:
    async with busy_house(free=0.01) as (_, knock):
        client = await knock()
        client.writer.write(SHREDS)
        async with asyncio.timeout(20):  # and no reset, which could take the answer with it
            assert b" 400 " in await client.reader.read()


async def test_whoever_says_nothing_is_shown_out() -> None:
    async with busy_house(first_request=0.05) as (_, knock):
        await (await knock()).ended()


@pytest.mark.parametrize("said", [b"", BEGUN])
async def test_whoever_hangs_up_is_gone(said: bytes) -> None:
    async with busy_house(free=0.01) as (made, knock):
        client = await coming(made, knock)
        client.writer.write(said)
        client.writer.close()
        await wait_until(lambda: not waiting(made), "it is gone")


async def test_the_oldest_makes_room_before_those_who_are_let_in() -> None:
    async with busy_house(most=3) as (made, knock):
        first, second = await coming(made, knock), await coming(made, knock)
        third = await knock()
        await first.ended()
        assert b" 200 " in await second.ask()
        assert b" 200 " in await third.ask()


@pytest.mark.usefixtures("no_turns")
async def test_who_says_nothing_makes_room_then_shreds_then_who_came_last() -> None:
    async with busy_house() as (made, knock):
        newcomers, intake = made.door()._newcomers, made.door().intake
        queued = list[Client]()
        for said in (BEGUN, SHREDS, BEGUN, BEGUN):
            queued.append(await coming(made, knock, said))
            await wait_until(lambda: len(intake._waiting) == len(queued), "it is queued")
        following, shreds, second, last = queued
        for one in (await coming(made, knock), shreds, last, second, following):
            assert newcomers.make_room()
            await one.ended()
        assert not newcomers.make_room()


async def test_at_a_stop_they_are_shown_out() -> None:
    async with busy_house() as (made, knock):
        client = await coming(made, knock)
        asyncio.get_running_loop().call_soon(made.free.set)
    await client.ended()
