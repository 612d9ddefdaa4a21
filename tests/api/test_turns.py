"""Whoever has shown no key waits for its turn; here each turn is the test's to give."""

import pytest

from tests.api.doors import GET, House, house
from tests.waiting import wait_until
from waguard.api.connection import Connection
from waguard.api.timings import Limits
from waguard.core.replace import replace

BEGUN = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345"
KEYED = BEGUN.replace(b"\r\n\r\n", b"\r\nX-Api-Key: good\r\n\r\n")
BUSY = Limits(keyless_cpu_free=-1.0)

pytestmark = pytest.mark.usefixtures("no_turns")


def only(made: House) -> Connection:
    """The one connection."""
    (one,) = made.door()._open
    assert isinstance(one, Connection)
    return one


async def turn(made: House) -> None:
    """Of whoever waits first, once somebody does."""
    intake = made.door().intake
    await wait_until(lambda: intake._waiting, "somebody waits")
    one = next(iter(intake._waiting))
    intake.leave(one)
    one.resume()


async def test_what_comes_while_a_request_waits_is_read_in_another_turn() -> None:
    async with house(limits=BUSY) as (made, knock):
        client = await knock()
        assert b" 200 " in await client.ask()
        client.writer.write(BEGUN)
        await turn(made)  # its head is read
        await wait_until(lambda: not only(made)._turn.is_set(), "the request waits")
        client.writer.write(b"678")  # of the same turn
        await wait_until(lambda: not only(made)._has_turn, "it is read")
        client.writer.write(b"90")
        await wait_until(lambda: only(made)._held, "the rest is here")
        await turn(made)
        await turn(made)
        assert b" 200 " in await client.ask(b"")


@pytest.mark.parametrize("first", ["GET", ""])
async def test_a_good_key_in_the_head_waits_for_no_turn(first: str) -> None:
    async with house(limits=BUSY) as (made, knock):
        client = await knock()
        if first:
            assert b" 200 " in await client.ask()
        client.writer.write(KEYED)
        await wait_until(lambda: any(one._known for one in made.door()._open), "it is known")
        assert b" 200 " in await client.ask(b"67890")


async def test_a_newcomer_that_is_let_in_is_read_in_the_same_turn() -> None:
    async with house(limits=replace(BUSY, keyless=0)) as (made, knock):
        client = await knock()
        client.writer.write(BEGUN)
        await turn(made)
        await wait_until(lambda: only(made).request, "its request is under way")


async def test_a_stop_does_not_wait_for_whoever_waits() -> None:
    async with house(limits=BUSY) as (made, knock):
        door, left = made.door(), list[int]()
        stop = door.stop

        async def noted() -> None:
            await stop()
            left.append(len(door._open))

        door.stop = noted
        client = await knock()
        assert b" 200 " in await client.ask()
        client.writer.write(GET)
        await wait_until(lambda: not only(made)._turn.is_set(), "its second request waits")
    assert left == [0]
