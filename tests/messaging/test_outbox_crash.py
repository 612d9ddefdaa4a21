"""A daemon is killed at each step of a send; a database goes away; a daemon stops in order."""

import asyncio
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import CHAT, UncertainSendError, World, with_timings
from tests.messaging.restarts import in_flight, restart, state
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Config, Send
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind, ack_key
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import State
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.messaging.outbox.commands import Media, file
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Uncertain
from waguard.wire.calls import SendMedia


@pytest.mark.parametrize(
    ("ack", "after"),
    [(1, State.SENT), (3, State.READ), (0, State.UNCERTAIN), (None, State.UNCERTAIN)],
)
async def test_killed_in_mid_send_it_is_polled_and_never_sent_again(
    world: World, ack: int | None, after: State
) -> None:
    pending = await in_flight(world)
    if ack is not None:
        world.sessions.acks[pending.message_id] = ack
    await restart(world)
    assert await state(world, pending, after)
    again = world.send()  # the application repeats what had no answer
    if after is State.UNCERTAIN:
        with pytest.raises(UncertainSendError):
            await world.result(again)
    else:
        sent = await world.result(again)
        assert sent
        assert sent.message_id == pending.message_id
    assert again.id == pending.id
    assert len(world.sessions.sends()) == 1


async def test_killed_before_the_command_it_is_not_sent_again_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing proves that the command has not left."""

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(world.sessions, "send", never)
        pending = world.send()
        await asyncio.shield(pending.stored)
        await world.kill()
    await world.start()
    assert await state(world, pending, State.UNCERTAIN)
    assert world.sessions.sends() == []


async def test_what_was_accepted_is_sent_once_and_its_repetition_joins_it(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    await restart(world)
    again = world.send()
    await asyncio.shield(again.stored)
    world.sessions.connect()
    sent = await world.result(again)
    assert sent
    assert sent.message_id == pending.message_id
    assert len(world.sessions.sends()) == 1


async def test_a_key_has_its_second_chance_also_after_a_repetition_that_came_before_the_failure(
    world: World,
) -> None:
    """The repetition was answered from the row, for memory has forgotten the message after a restart."""
    world.sessions.connect(UnavailableError("not yet"))
    how: dict[str, Any] = {"key": "k", "later": True}
    first = world.send(**how)
    await world.result(first)
    world.outbox.answered(first)
    await restart(world)
    world.sessions.connect(UnavailableError("not yet"))
    world.clock.now += REPEATED_FOR + 100.0
    again = world.send(**how)
    await world.result(again)
    world.outbox.answered(again)
    assert again.id == first.id
    await world.outbox.abandon(SESSION, "the session was logged out")
    second = world.send(**how)
    await world.result(second)
    assert second.id != first.id


async def test_a_repetition_that_gives_up_withdraws_what_it_joined(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    await restart(world)
    world.config = lambda: Config(send=Send(wait=0.05))
    again = world.send()
    assert again.message_id == pending.message_id
    with pytest.raises(UnavailableError, match="not yet"):
        await asyncio.wait_for(world.result(again), DEADLINE)
    world.outbox.answered(again)
    assert (await world.row(again)).state is State.FAILED
    world.sessions.connect()
    second = await world.result(world.send())
    assert second
    assert [call.message_id for call in world.sessions.sends()] == [second.message_id]


@with_timings(keeping=0.01)
async def test_a_turn_that_comes_without_a_database_is_none_for_who_waits(
    world: World,
) -> None:
    first = await in_flight(world)
    second = world.send("second")
    await asyncio.shield(second.stored)
    await world.store.close()
    world.sessions.free.set()
    assert await world.result(first)
    with pytest.raises(DatabaseUnavailableError):
        await asyncio.wait_for(world.result(second), DEADLINE)
    world.outbox.answered(second)
    await world.store.open()
    assert await state(world, second, State.FAILED)
    assert len(world.sessions.sends()) == 1


async def test_what_a_client_has_given_up_long_ago_is_not_sent(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    await world.kill()
    world.clock.now += REPEATED_FOR + 1
    world.sessions.connect()
    await world.start()
    assert await state(world, pending, State.FAILED)
    assert world.sessions.sends() == []


async def test_a_file_that_is_queued_survives(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    media = Media(content=b"picture", mimetype="image/png", kind="image", caption="ä")
    pending = world.accept(file(CHAT, media), later=True)
    await world.result(pending)
    world.outbox.answered(pending)
    assert (await world.row(pending)).answered
    await restart(world)
    world.sessions.connect()
    assert await state(world, pending, State.SENT)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.caption, call.message_id) == (b"picture", "ä", pending.message_id)
    await wait_until(lambda: world.published, "it is announced")


async def test_the_order_of_a_chat_survives(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    sends = [world.send(str(number), later=True) for number in range(10)]
    for pending in sends:
        await world.result(pending)
    await restart(world)
    world.sessions.connect()
    assert await state(world, sends[-1], State.SENT)
    ids = [call.message_id for call in world.sessions.sends()]
    assert ids == [pending.message_id for pending in sends]


async def test_the_same_key_over_a_restart_has_the_same_result(world: World) -> None:
    pending = world.send(key="k")
    sent = await world.result(pending)
    world.outbox.answered(pending)
    await world.row(pending)
    await restart(world)
    again = world.send(key="k")
    assert await world.result(again) == sent
    assert (again.id, len(world.sessions.sends())) == (pending.id, 1)


async def test_one_that_was_only_to_be_accepted_is_joined_over_a_crash(world: World) -> None:
    pending = world.send(later=True)
    await world.result(pending)
    assert await state(world, pending, State.SENT)
    await restart(world)  # its 202 was never written
    again = world.send(later=True)
    assert await world.result(again) is None
    assert (again.id, len(world.sessions.sends())) == (pending.id, 1)
    world.outbox.answered(again)
    await world.result(world.send(later=True))
    await wait_until(lambda: len(world.sessions.sends()) == 2, "one more is a new one")


async def test_what_was_answered_before_the_crash_is_over(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.answered(pending)
    await world.row(pending)
    await restart(world)
    second = await world.result(world.send())
    assert second
    assert second.message_id != pending.message_id


async def test_one_of_an_earlier_run_that_nobody_asks_for_is_not_kept_for_ever(
    world: World,
) -> None:
    pending = await in_flight(world)
    await restart(world)
    assert await state(world, pending, State.UNCERTAIN)
    world.clock.now += REPEATED_FOR + 1
    assert world.send().message_id != pending.message_id


async def test_one_whose_session_stays_away_is_not_joined_for_ever(world: World) -> None:
    pending = await in_flight(world)
    world.sessions.connect(UnavailableError("not yet"))
    await restart(world)
    world.clock.now += REPEATED_FOR - 1
    assert world.send().id == pending.id
    world.clock.now += 2
    assert world.send().message_id != pending.message_id


def an_ack(pending: PendingSend, ack: int) -> InboxRecord:
    data = {"message_id": pending.message_id, "ack_level": ack + 1}
    return InboxRecord(
        session_id=SESSION,
        workspace_id=1,
        key=ack_key(pending.message_id, ack),
        kind=Kind.ACK,
        at=1.0,
        events=(EventPayload("message_status_updated", data),),
    )


@pytest.mark.parametrize("later", [True, False])
async def test_a_late_ack_says_how_it_ended(world: World, later: bool) -> None:  # noqa: FBT001
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send(later=later)
    if later:
        await world.result(pending)
    else:
        with pytest.raises(UncertainSendError):
            await world.result(pending)
    if later:
        world.outbox.answered(pending)
    else:
        world.outbox.unanswered(pending)
    assert await state(world, pending, State.UNCERTAIN)
    await restart(world)
    world.journal.put((an_ack(pending, 0),), lambda _: None)
    world.journal.put((an_ack(pending, 2),), lambda _: None)
    assert await state(world, pending, State.DELIVERED)
    if later:
        await wait_until(lambda: world.published, "it is announced")
    else:
        assert world.published == []
        sent = await world.result(world.send())
        assert sent
        assert sent.message_id == pending.message_id
    assert len(world.sessions.sends()) == 1
