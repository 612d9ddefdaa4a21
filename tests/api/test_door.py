"""Connections that say nothing, too slowly or too much are shown out."""

import asyncio
import errno

import pytest

from tests.api.doors import GET, house
from tests.waiting import wait_until
from waguard.api import connection
from waguard.api.timings import Limits, Timings


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: local"])
async def test_who_does_not_ask_in_time_is_shown_out(said: bytes) -> None:
    async with house(timings=Timings(first_request=0.05)) as (_, knock):
        client = await knock()
        client.writer.write(said)
        await client.ended()


async def test_who_asks_byte_by_byte_too() -> None:
    async with house(timings=Timings(first_request=0.1)) as (_, knock):
        client = await knock()

        async def drip() -> None:
            client.writer.write(GET.rstrip())  # the name of the host goes on
            while client.is_open:
                client.writer.write(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        await client.ended()
        dripping.cancel()


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
async def test_between_two_requests_it_may_be_quiet_for_longer(said: bytes) -> None:
    async with house(timings=Timings(first_request=0.4)) as (_, knock):
        client = await knock()
        assert b" 200 " in await client.ask()
        with pytest.raises(TimeoutError):  # the first deadline is over by then
            async with asyncio.timeout(0.5):
                await client.reader.read(1)
        assert b" 200 " in await client.ask()
    async with house(timings=Timings(next_request=0.05)) as (_, knock):
        client = await knock()
        assert b" 200 " in await client.ask()
        client.writer.write(said)
        await client.ended()


async def test_a_request_may_take_its_time() -> None:
    async with house(timings=Timings(first_request=0.5, next_request=0.05)) as (made, knock):
        client = await knock()
        asking = asyncio.create_task(client.ask(GET.replace(b"/ ", b"/slow ")))
        await wait_until(lambda: made.working, "it has asked")
        await (await knock()).ended()
        assert made.working == 1
        made.free.set()
        assert b" 200 " in await asking


async def test_long_heads_that_do_not_end_are_kept_up_to_a_limit() -> None:
    """The parser keeps a megabyte of each; the oldest makes room."""
    begun = GET.rstrip() + b"\r\nA: " + b"x" * 7_000 + b"\r\n"
    async with house(limits=Limits(begun_bytes=50_000)) as (_, knock):
        quiet = await knock()
        long = [await knock() for _ in range(20)]
        for one in long:
            one.writer.write(begun)
            assert b" 200 " in await (await knock()).ask()
        for one in long[:10]:
            await one.ended()
        for one in long[-3:]:
            assert b" 200 " in await one.ask(b"\r\n")
        for one in long[-3:]:  # what was said of a request that is answered is forgotten
            for _ in range(10):
                assert b" 200 " in await one.ask(begun + b"\r\n")
        assert b" 200 " in await quiet.ask()


async def test_requests_may_come_ahead_of_their_turn_but_not_many() -> None:
    slow = GET.replace(b"/ ", b"/slow ").replace(b"\r\n\r\n", b"\r\nX-Api-Key: x\r\n\r\n")
    async with house(limits=Limits(ahead_bytes=20_000)) as (made, knock):
        client, greedy = await knock(), await knock()
        asking = asyncio.create_task(client.ask(slow))
        refused = asyncio.create_task(greedy.ask(slow))
        await wait_until(lambda: made.working == 2, "both are at work")
        client.writer.write(GET * 10)
        for _ in range(30):
            greedy.writer.write(GET.rstrip() + b"\r\nA: " + b"x" * 1_000 + b"\r\n\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await refused
        made.free.set()
        assert b" 200 " in await asking
        for _ in range(10):
            assert b" 200 " in await client.ask(b"")
        door = made.door()
        await wait_until(lambda: len(door._idle) == 1, "all are answered")
        assert door._said == 0  # what came ahead was of no request that had only begun


async def test_the_end_of_a_request_is_not_that_of_the_next_one() -> None:
    """Which has come ahead of its turn, and is at work when the first one's response is written."""
    keyed = GET.replace(b"\r\n\r\n", b"\r\nX-Api-Key: x\r\n\r\n")
    async with house() as (made, knock):
        client = await knock()
        assert b" 200 " in await client.ask(keyed + keyed.replace(b"/ ", b"/slow "))
        await wait_until(lambda: made.working, "the second is at work")
        for _ in range(10):  # whatever the first one's end had still to do
            await asyncio.sleep(0)
        door = made.door()
        (one,) = door._open
        assert one.request
        assert not door._idle
        made.free.set()
        assert b" 200 " in await client.ask(b"")
        await wait_until(lambda: door._idle, "it waits for another")


async def test_a_large_body_is_nothing_ahead_of_its_turn() -> None:
    async with house(limits=Limits(ahead_bytes=1_000)) as (_, knock):
        client = await knock()
        head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
        client.writer.write(head)
        for _ in range(30):
            client.writer.write(bytes(100_000))
            await client.writer.drain()
        assert b" 200 " in await client.ask(b"")


async def test_who_takes_nothing_of_an_answer_is_shown_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the kernel, wherever the answer comes from."""
    lost: list[BaseException | None] = []
    is_lost = connection.Connection.connection_lost

    def noted(self: connection.Connection, exc: BaseException | None) -> None:
        lost.append(exc)
        is_lost(self, exc)

    monkeypatch.setattr(connection.Connection, "connection_lost", noted)
    async with house(timings=Timings(unread=0.2)) as (_, knock):
        client = await knock()
        client.writer.transport.pause_reading()
        client.writer.write(GET.replace(b"/ ", b"/large "))
        await wait_until(lambda: lost, "it is shown out")
        assert isinstance(lost[0], OSError)
        assert lost[0].errno == errno.ETIMEDOUT
