"""Bulks: all kept or none, one after the other, each once; also over a crash."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.api.fake_sessions import SESSION, WORKSPACE
from tests.messaging.outbox_world import World, with_bounds, with_timings
from tests.waiting import wait_until
from waguard.config.sections import Config, Send
from waguard.core.messages.repetitions import KEY_LASTS, REPEATED_FOR
from waguard.core.messages.send_states import State
from waguard.errors import NotFoundError, TooManyError, UnavailableError
from waguard.messaging.outbox import bulk
from waguard.messaging.outbox.bulk import Bulks
from waguard.messaging.outbox.commands import text
from waguard.messaging.outbox.repetitions import KeyReusedError
from waguard.messaging.timings import SendBounds, SendTimings

GAP = 2.0**-10  # s, without a rounding; the outbox's clock stands until a test moves it
CHATS = [f"628123456789{n}@c.us" for n in range(5)]
OTHER = "6281999999999@c.us"


def settings() -> Send:
    return Send(bulk_gap=GAP)


@pytest.fixture
async def world(tmp_path: Path, timings: SendTimings, bounds: SendBounds) -> AsyncIterator[World]:
    made = World(tmp_path, lambda: Config(send=settings()), timings, bounds)
    await made.start()
    yield made
    await made.stop(0.0)


def bulks(world: World) -> Bulks:
    return Bulks(world.outbox, world.store.outbox, settings, wall=world.clock.wall)


async def accept(
    world: World, body: str = "hi", chats: Sequence[str] = CHATS, key: str | None = None
) -> str:
    commands = [text(chat, body) for chat in chats]
    return await bulks(world).accept(SESSION, WORKSPACE, commands, key)


def began(world: World) -> list[str]:
    return [call.chat for call in world.sessions.sends()]


async def counts(world: World, bulk_id: str) -> dict[State, int]:
    assert await world.journal.flushed(10.0)
    return await bulks(world).counts(bulk_id)


async def wait_began(world: World, count: int) -> None:
    await wait_until(lambda: len(began(world)) == count, f"{count} went")


async def test_one_after_the_other_in_the_order_of_the_list(world: World) -> None:
    bulk_id = await accept(world)
    for count in range(1, len(CHATS) + 1):
        await wait_began(world, count)
        world.clock.now += GAP
    assert began(world) == CHATS
    assert await counts(world, bulk_id) == {State.SENT: len(CHATS)}
    assert len([event for event, *_ in world.published if event == "message_sent"]) == len(CHATS)


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_is_set_neither_stops_nor_hastens_it(world: World, hours: int) -> None:
    await accept(world)
    await wait_began(world, 1)
    world.clock.step = 3_600.0 * hours
    for count in range(2, len(CHATS) + 1):
        world.clock.now += GAP
        await wait_began(world, count)
    assert began(world) == CHATS


async def test_a_clock_that_was_set_back_before_a_start_does_not_stop_it(world: World) -> None:
    await accept(world)
    await wait_began(world, 1)
    await world.kill()
    world.clock.step = -3_600.0
    await world.start()
    world.clock.now += GAP  # to when the second one is due
    for count in range(2, len(CHATS) + 1):
        await wait_began(world, count)
        world.clock.now += GAP
    assert began(world) == CHATS


async def test_others_do_not_wait_for_it(world: World) -> None:
    await accept(world)
    await wait_began(world, 1)
    await world.result(world.send(chat=OTHER))
    await world.result(world.send(chat=CHATS[3]))  # of which one waits that is not due
    assert began(world) == [CHATS[0], OTHER, CHATS[3]]


async def test_others_go_first_where_the_session_is_slower_than_the_bulk(world: World) -> None:
    gap = 5 * GAP
    world.config = lambda: Config(send=Send(bulk_gap=GAP, gap=(gap, gap)))
    await accept(world)
    await wait_began(world, 1)
    waiting = world.outbox._dispatcher.queues(SESSION).waiting
    world.clock.now += gap - GAP / 2
    await wait_until(lambda: len(waiting()) == len(CHATS) - 1, "all of the bulk are due")
    world.send(chat=OTHER, later=True)
    await wait_until(lambda: len(waiting()) == len(CHATS), "it waits behind them")
    world.clock.now += gap
    await wait_began(world, 2)
    assert began(world) == [CHATS[0], OTHER]


async def test_after_a_crash_it_goes_on_one_after_the_other_and_doubles_none(
    world: World,
) -> None:
    bulk_id = await accept(world)
    await wait_began(world, 1)
    await world.kill()
    world.clock.now += 3_600.0  # all are overdue
    await world.start()
    await wait_began(world, 2)
    assert (await counts(world, bulk_id))[State.ACCEPTED] == len(CHATS) - 2
    for count in range(3, len(CHATS) + 1):
        world.clock.now += GAP
        await wait_began(world, count)
    assert began(world) == CHATS


async def test_all_are_kept_or_none(world: World) -> None:
    await world.store.close()
    with pytest.raises(UnavailableError):
        await accept(world)
    await world.store.open()
    assert await world.store.outbox.listing() == []
    await accept(world)
    assert len(await world.store.outbox.listing()) == len(CHATS)


@with_timings(keeping=0.01)
async def test_one_whose_commit_seemed_to_fail_is_kept_by_its_repetition(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = world.tear(monkeypatch)
    for message in ("lost in the commit", "does not know yet"):
        with pytest.raises(UnavailableError, match=message):
            await accept(world)
    back.set()
    assert await world.journal.flushed(10.0)
    bulk_id = await accept(world)
    assert sum((await counts(world, bulk_id)).values()) == len(CHATS)
    assert len(await world.store.outbox.listing()) == len(CHATS)


@with_bounds(waiting=len(CHATS) - 1)
async def test_all_find_a_place_or_none(world: World) -> None:
    with pytest.raises(TooManyError):
        await accept(world)
    assert await world.store.outbox.listing() == []
    await accept(world, chats=CHATS[1:])


async def test_a_repeated_request_is_the_same_bulk_as_long_as_it_may_be_repeated(
    world: World,
) -> None:
    first = await accept(world)
    assert await accept(world) == first
    assert await accept(world, "ho") != first
    assert await accept(world, chats=CHATS[:4]) != first
    await world.kill()
    await world.start()
    world.clock.now += REPEATED_FOR - 1
    assert await accept(world) == first
    world.clock.now += 2
    assert await accept(world) != first


async def test_the_same_at_the_same_time_is_one(world: World) -> None:
    one = bulks(world)
    commands = [text(chat, "hi") for chat in CHATS]
    ids = await asyncio.gather(*(one.accept(SESSION, WORKSPACE, commands, None) for _ in range(3)))
    assert len(set(ids)) == 1
    assert len(await world.store.outbox.listing()) == len(CHATS)


async def test_a_key_means_the_same_bulk(world: World) -> None:
    first = await accept(world, key="k")
    with pytest.raises(KeyReusedError):
        await accept(world, chats=CHATS[:4], key="k")
    with pytest.raises(KeyReusedError):
        await world.result(world.send(chat=CHATS[0], key="k"))
    world.clock.now += KEY_LASTS - 3_600
    assert await accept(world, key="k") == first
    assert await accept(world, key="other") != first
    world.clock.now += 7_200
    assert await accept(world, key="k") != first


async def test_a_clients_key_is_never_one_of_our_own(world: World) -> None:
    first = await accept(world, key="bulk mine")
    world.clock.now += KEY_LASTS - 3_600
    assert await accept(world, key="bulk mine") == first
    own = {row.key for row in await world.store.outbox.listing() if row.key}
    await accept(world, "ho")
    [ours] = {row.key for row in await world.store.outbox.listing() if row.key} - own
    assert not ours.isprintable()


async def test_a_bulk_of_the_version_before_is_still_the_same(world: World) -> None:
    about = bulk._about(SESSION, [text(chat, "hi") for chat in CHATS])
    first = await accept(world, key=f"bulk {about[:40]}")
    assert await accept(world) == first
    world.clock.now += REPEATED_FOR + 1
    assert await accept(world) != first


async def test_the_key_of_a_single_message_is_no_bulks(world: World) -> None:
    await world.result(world.send(chat=CHATS[0], key="k"))
    with pytest.raises(KeyReusedError):
        await accept(world, key="k")


async def test_cancelled_is_what_has_not_begun(world: World) -> None:
    world.sessions.free.clear()
    bulk_id = await accept(world)
    await wait_began(world, 1)
    await bulks(world).cancel(bulk_id)
    world.sessions.free.set()
    world.clock.now += 1.0
    await world.result(world.send(chat=OTHER))
    left = len(CHATS) - 1
    assert await counts(world, bulk_id) == {State.SENT: 1, State.CANCELLED: left}
    assert began(world) == [CHATS[0], OTHER]
    await bulks(world).cancel(bulk_id)  # again: nothing is left


async def test_a_cancelled_bulk_can_be_asked_for_again(world: World) -> None:
    first = await accept(world)
    keyed = await accept(world, key="k")
    for bulk_id in (first, keyed):
        await bulks(world).cancel(bulk_id)
    assert await accept(world) != first
    assert await accept(world, key="k") == keyed


async def test_there_is_no_such_bulk(world: World) -> None:
    with pytest.raises(NotFoundError):
        await bulks(world).counts("none")
    with pytest.raises(NotFoundError):
        await bulks(world).cancel("none")
