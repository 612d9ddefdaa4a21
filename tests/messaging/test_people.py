"""What the outbox knows of people: whom it must ask for, who rests, by which names it polls."""

import asyncio

import pytest

from tests.api.fake_sessions import SESSION, WORKSPACE
from tests.messaging.outbox_world import (
    CHAT,
    UncertainSendError,
    World,
    with_bounds,
    with_timings,
)
from tests.waiting import wait_until
from waguard.core.messages.send_states import State
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.messaging.outbox.commands import Context, Media, file, text
from waguard.ports.outcomes import Acked, NotSent, Uncertain
from waguard.ports.store import SessionRow
from waguard.supervision.session import application_events as translate
from waguard.wire.calls import Acks
from waguard.wire.events import Acquainted

OTHER, LID, NEWER = "6281234567891@c.us", "7000001@lid", "7000002@lid"
ROW = SessionRow(
    session_id=SESSION,
    workspace_id=WORKSPACE,
    status="connected",
    desired_up=True,
    generation=1,
)


async def learn(world: World, it: Acquainted) -> None:
    world.journal.put(translate.acquainted(ROW, it, world.clock.wall()), lambda _: None)
    assert await world.journal.flushed(10.0)


async def checks(world: World, chat: str = CHAT) -> tuple[bool, bool]:
    """How the command of a send there says whether its number is to be asked for."""
    pending = world.send(chat=chat)
    await world.result(pending)
    world.outbox.answered(pending)  # the next one is another message
    call = world.sessions.sends()[-1]
    return call.first_contact_check, call.absent


async def test_a_number_is_asked_for_until_it_is_known(world: World) -> None:
    assert await checks(world) == (True, False)
    await learn(world, Acquainted(asked=((CHAT, True), (OTHER, False))))
    assert await checks(world) == (False, False)
    assert await checks(world, OTHER) == (True, True)
    world.clock.now += 86_400.0
    assert await checks(world, OTHER) == (True, False)
    await learn(world, Acquainted(pairs=((LID, OTHER),)))
    assert await checks(world, OTHER) == (False, False)


async def test_without_the_database_it_is_asked_for_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(session_id: str) -> object:
        raise DatabaseUnavailableError("gone", value=session_id)

    monkeypatch.setattr(world.journal, "people", gone)
    assert await checks(world) == (True, False)


GROUP = "120363000000000001@g.us"


async def aliases(world: World, chat: str, *mentions: str) -> dict[str, tuple[str, ...]]:
    """By what other ids the command of a send there says that they are known."""
    pending = world.accept(text(chat, "hi", Context(mentions=mentions)))
    await world.result(pending)
    world.outbox.answered(pending)
    return world.sessions.sends()[-1].aliases


async def test_a_group_gets_all_ids_of_those_whom_it_mentions(world: World) -> None:
    assert await aliases(world, GROUP, OTHER) == {}
    await learn(world, Acquainted(pairs=((LID, OTHER), (NEWER, OTHER))))
    assert await aliases(world, GROUP, OTHER, LID, CHAT) == {
        OTHER: (NEWER, LID),
        LID: (OTHER, NEWER),
    }
    assert await aliases(world, CHAT, OTHER) == {}


async def test_a_repetition_is_the_same_message_whatever_was_learned_meanwhile(
    world: World,
) -> None:
    command = text(GROUP, "hi", Context(mentions=(OTHER,)))
    first = world.accept(command)
    await world.result(first)  # its reply is not written yet
    await learn(world, Acquainted(pairs=((LID, OTHER),)))
    assert world.accept(command).message_id == first.message_id


async def test_a_group_without_the_database_gets_what_was_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(session_id: str) -> object:
        raise DatabaseUnavailableError("gone", value=session_id)

    monkeypatch.setattr(world.journal, "people", gone)
    assert await aliases(world, GROUP, OTHER) == {}


def too_many(retry_after: float = 900) -> NotSent:
    error = "too many new numbers"
    return NotSent(
        UnavailableError(error, field="recipient_phone", retry_after=retry_after), hold="paused"
    )


@with_timings(retry=0.0)
@with_bounds(chats_at_once=1)
async def test_a_first_contact_rests_and_holds_up_nobody(world: World) -> None:
    world.sessions.outcomes.append(too_many())
    first = world.send(later=True)
    await wait_until(lambda: first.rests_until > 0, "it was tried")
    second = world.send("another", later=True)
    others = [world.send(f"{n}", chat=OTHER, later=True) for n in range(3)]
    for pending in others:
        assert isinstance(await pending.done, Acked)
    assert [(await world.row(it)).state for it in (first, second)] == [State.ACCEPTED] * 2
    assert [call.chat for call in world.sessions.sends()] == [CHAT, *[OTHER] * 3]


@with_timings(retry=0.0)
async def test_then_it_goes_by_itself(world: World) -> None:
    world.sessions.outcomes.append(too_many(retry_after=1))
    first, second = world.send(later=True), world.send("another", later=True)
    for pending in (first, second):
        assert isinstance(await pending.done, Acked)
    sent = [call.message_id for call in world.sessions.sends()]
    assert sent == [first.message_id, first.message_id, second.message_id]


@with_timings(retry=0.0)
@pytest.mark.parametrize("chats", [(LID, OTHER), (OTHER, LID)], ids=["lid first", "number first"])
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "is on its way"])
async def test_whose_lid_is_learned_gets_messages_in_order(
    world: World, chats: tuple[str, str], *, waits: bool
) -> None:
    world.sessions.outcomes.append(too_many(retry_after=1))
    if not waits:
        world.sessions.free.clear()
    first = world.send(chat=chats[0], later=True)
    await wait_until(world.sessions.sends, "it was begun")
    if waits:
        await wait_until(lambda: first.rests_until > 0, "it was tried in vain")
    await learn(world, Acquainted(pairs=((LID, OTHER),)))
    second = world.send("another", chat=chats[1], later=True)
    await asyncio.shield(second.stored)
    world.sessions.free.set()
    for pending in (first, second):
        assert isinstance(await pending.done, Acked)
    sent = [call.message_id for call in world.sessions.sends()]
    assert sent == [first.message_id, first.message_id, second.message_id]


async def test_a_request_gets_a_time_to_come_back(world: World) -> None:
    world.sessions.outcomes.append(too_many())
    pending = world.send()
    with pytest.raises(UnavailableError) as raised:
        await world.result(pending)
    assert raised.value.retry_after == 900
    assert (await world.row(pending)).state is State.FAILED


async def test_one_that_may_queue_waits_and_outlives_a_restart(world: World) -> None:
    world.sessions.first_contacts = 900.0
    world.sessions.outcomes.append(too_many())
    pending = world.send(queue=True)
    assert await world.result(pending) is None
    row = await world.row(pending)
    assert (row.state, row.queued, row.expires_at) == (State.ACCEPTED, True, None)
    other = world.send("another", chat=OTHER, queue=True)
    sent = await world.result(other)
    assert sent
    world.outbox.answered(pending)
    await world.stop(0.0)
    world.sessions.first_contacts = 0.0
    await world.start()
    await wait_until(lambda: len(world.sessions.sends()) == 3, "it goes")
    assert world.sessions.sends()[-1].message_id == pending.message_id
    await wait_until(
        lambda: any(event[0] == "message_sent" for event in world.published), "it is published"
    )


async def test_a_file_that_may_queue_is_kept(world: World) -> None:
    world.sessions.first_contacts = 900.0
    world.sessions.outcomes.append(too_many())
    command = file(CHAT, Media(content=b"a file", mimetype="text/plain", kind="document"))
    pending = world.accept(command, queue=True)
    assert await world.result(pending) is None
    loaded = await world.store.outbox.load(pending.id)
    assert loaded
    assert loaded[1] == b"a file"


async def test_without_the_database_it_does_not_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.outcomes.append(too_many())
    world.sessions.free.clear()
    pending = world.send(queue=True)
    await wait_until(world.sessions.sends, "it is tried")

    async def gone(*_: object) -> int:
        raise DatabaseUnavailableError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "keep", gone)
        world.sessions.free.set()
        with pytest.raises(UnavailableError, match="too many new numbers"):
            await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED


@with_timings(retry=0.0, pause_check=0.01, longest_rest=0.0)
async def test_while_first_contacts_pause_none_is_tried_again_and_then_all_go(
    world: World,
) -> None:
    world.sessions.first_contacts = 900.0
    world.sessions.outcomes.append(too_many())
    first = world.send(later=True)
    await wait_until(lambda: first.held, "it is held")
    for number in range(3):
        await world.send(f"{number}", chat=OTHER, later=True).done
    assert [call.chat for call in world.sessions.sends()] == [CHAT, *[OTHER] * 3]
    world.sessions.first_contacts = 0.0
    assert isinstance(await first.done, Acked)


async def test_a_number_and_its_lid_are_one_chat_in_one_order(world: World) -> None:
    await learn(world, Acquainted(pairs=((LID, CHAT),)))
    world.sessions.free.clear()
    first = world.send("first")
    await wait_until(world.sessions.sends, "the first began")
    second, third = world.send("second", chat=LID, later=True), world.send("third", later=True)
    for pending in (second, third):
        await asyncio.shield(pending.stored)
    await world.result(world.send("elsewhere", chat=OTHER, later=True))
    await wait_until(lambda: len(world.sessions.sends()) == 2, "another chat goes on")
    world.sessions.free.set()
    await world.result(first)
    for pending in (second, third):
        await pending.done
    assert [call.chat for call in world.sessions.sends()] == [CHAT, OTHER, LID, CHAT]


async def test_a_poll_names_every_lid_that_the_chat_ever_had(world: World) -> None:
    await learn(world, Acquainted(pairs=((LID, CHAT), (NEWER, CHAT))))
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send()
    with pytest.raises(UncertainSendError):
        await world.result(pending)
    polls: list[Acks] = []

    def polled() -> bool:
        polls[:] = [call for _, call, _ in world.sessions.calls if isinstance(call, Acks)]
        return bool(polls)

    await wait_until(polled, "it is polled")
    name = pending.message_id
    assert polls[0] == Acks(ids=(name,), aliases={name: (NEWER, LID)})
