"""Which request is which message: repetitions share a result, keys outlive memory."""

import asyncio
from typing import Any

import pytest

from tests.messaging.outbox_ends import result
from tests.messaging.outbox_world import CHAT, UncertainSendError, World, with_bounds, with_timings
from tests.waiting import DEADLINE
from waguard.config.sections import Config, Send
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import State
from waguard.errors import (
    ConflictError,
    RefusedError,
    UnavailableError,
    WaguardError,
)
from waguard.messaging.outbox.commands import Context, Media, file, text
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain


async def test_what_differs_in_anything_is_another_message(world: World) -> None:
    def media(**changes: Any) -> PendingSend:
        given: dict[str, Any] = {"content": b"x", "mimetype": "a/b", "kind": "document"}
        return world.accept(file(CHAT, Media(**(given | changes))))

    sends = [
        world.send(),
        world.send("ho"),
        world.send(chat="1" + CHAT),
        media(),
        media(caption="x"),
        media(filename="x"),
        media(content=b"y"),
        media(kind="image"),
        world.send("x"),
        world.accept(text(CHAT, "hi", Context(quoted="false_x_y"))),
        world.accept(text(CHAT, "hi", Context(mentions=("62@c.us",)))),
    ]
    assert len({pending.message_id for pending in sends}) == len(sends)
    await asyncio.gather(*(world.result(pending) for pending in sends))


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Uncertain("?"), State.UNCERTAIN),
        (Refused(RefusedError("no")), State.REFUSED),
        (RuntimeError("bug"), State.UNCERTAIN),
    ],
)
async def test_what_may_have_happened_is_shared_until_it_is_answered(
    world: World, outcome: Outcome | Exception, state: State
) -> None:
    world.sessions.outcomes.append(outcome)
    pending = world.send()
    for _ in range(2):
        with pytest.raises((UncertainSendError, RefusedError)):
            await world.result(pending)
        world.outbox.unanswered(pending)
        assert world.send() is pending
    assert world.outbox.answered(pending)
    assert (await world.row(pending)).state is state
    assert world.send() is not pending


@pytest.mark.parametrize("error", [ConflictError("off"), UnavailableError("not ready")])
async def test_what_did_not_happen_is_tried_again(world: World, error: WaguardError) -> None:
    world.sessions.outcomes.append(NotSent(error))
    pending = world.send()
    with pytest.raises(type(error)):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    world.outbox.unanswered(pending)
    second = world.send()
    assert second is not pending
    assert not world.outbox.answered(pending) or world.send() is second  # the late one ends itself
    assert isinstance(await world.result(second), Acked)


@with_timings(margin=0.02)
async def test_a_session_that_never_answers_is_uncertain(
    world: World,
) -> None:
    world.config = lambda: Config(send=Send(wait=0.0, timeout=0.01))
    world.sessions.free.clear()
    with pytest.raises(UncertainSendError):
        await world.result(world.send())


async def test_a_kept_result_is_forgotten_after_a_while(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.unanswered(pending)
    world.clock.now += REPEATED_FOR - 1
    assert world.send() is pending
    world.clock.now += 2
    assert world.send() is not pending


@with_bounds(kept=10)
async def test_only_so_many_are_kept_and_the_oldest_go(world: World) -> None:
    sends = []
    for number in range(13):
        sends.append(world.send(str(number)))
        await world.result(sends[-1])
        world.clock.now += 0.001
        world.outbox.unanswered(sends[-1])
    assert world.outbox.owed() == 10
    assert world.send("3") is sends[3]
    assert world.send("0") is not sends[0]


async def test_the_late_reply_of_an_old_send_leaves_the_new_one_alone(world: World) -> None:
    old = world.send()
    await world.result(old)
    assert world.outbox.answered(old)
    new = world.send()
    assert not world.outbox.answered(old)  # a second waiter of the old one
    assert world.send() is new


async def test_the_same_key_is_the_same_message(world: World) -> None:
    pending = world.send(key="k")
    first = await result(world, pending)
    world.outbox.answered(pending)
    again = world.send(key="k")
    assert await result(world, again) == first
    assert world.send(key="other") is not again
    with pytest.raises(WaguardError, match="used for another message"):
        world.send("something else", key="k")


async def test_a_key_outlives_the_memory_for_some_hours(world: World) -> None:
    pending = world.send(key="k")
    first = await result(world, pending)
    world.outbox.answered(pending)
    assert (await world.row(pending)).state is State.SENT
    world.clock.now += REPEATED_FOR + 1
    again = world.send(key="k")
    assert await result(world, again) == first
    assert (again.id, again.message_id) == (pending.id, pending.message_id)
    world.outbox.answered(again)
    world.clock.now += REPEATED_FOR + 1
    with pytest.raises(WaguardError, match="used for another message"):
        await world.result(world.send("something else", key="k"))
    world.clock.now += 24 * 3600
    new = world.send(key="k")
    assert (await result(world, new)).message_id != first.message_id
    assert (await world.row(pending)).key is None


async def test_a_key_of_what_never_left_may_be_used_again(world: World) -> None:
    world.sessions.outcomes.append(NotSent(UnavailableError("not ready")))
    pending = world.send(key="k")
    with pytest.raises(UnavailableError):
        await world.result(pending)
    world.outbox.answered(pending)
    again = world.send(key="k")
    assert (await result(world, again)).message_id != pending.message_id


@with_timings(keeping=0.01)
async def test_a_key_whose_failure_is_not_kept_yet_has_a_second_chance_soon(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config = lambda: Config(send=Send(wait=0.05))
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(key="k")
    await asyncio.shield(pending.stored)
    write, hold = world.store.messages.write, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    for message in ("not yet", "does not know yet"):
        again = world.send(key="k")
        with pytest.raises(UnavailableError, match=message):
            await asyncio.wait_for(world.result(again), DEADLINE)
        world.outbox.answered(again)
    hold.set()
    assert (await world.row(pending)).state is State.FAILED
    world.sessions.connect()
    sent = await result(world, world.send(key="k"))
    assert [call.message_id for call in world.sessions.sends()] == [sent.message_id]
