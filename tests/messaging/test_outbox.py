"""No double, whatever the replies do: stories."""

import asyncio
import re
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import CHAT, World
from tests.waiting import wait_until
from waguard.config import Send
from waguard.errors import ConflictError, RefusedError, UnavailableError, UncertainError
from waguard.messaging import outbox as module
from waguard.messaging.outbox import KEPT_AT_MOST, KEPT_FOR, Media, Outbox, Ticket, new_message_id
from waguard.wire.protocol import SendMedia, SendText, Sent, Value


@pytest.fixture
def world() -> World:
    return World()


def test_the_id_is_one_as_whatsapp_web_makes_them() -> None:
    ids = {new_message_id(CHAT) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(r"true_6281234567890@c\.us_3EB0[0-9A-F]{18}", i) for i in ids)


async def test_the_session_is_asked_with_the_configured_times(world: World) -> None:
    ticket = world.send()
    sent = await world.outbox.result(ticket)
    assert sent.message_id == ticket.message_id
    call = SendText(chat=CHAT, text="hi", message_id=ticket.message_id, timeout=30.0)
    assert world.sessions.calls == [(SESSION, call, 20.0)]


async def test_media_are_asked_for_whole(world: World) -> None:
    media = Media(content=b"x", mimetype="image/png", kind="image", filename="f", caption="c")
    ticket = world.outbox.send_media(SESSION, CHAT, media)
    await world.outbox.result(ticket)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.kind, call.filename, call.caption) == (b"x", "image", "f", "c")
    assert world.outbox.send_media(SESSION, CHAT, media) is ticket


async def test_what_differs_in_anything_is_another_message(world: World) -> None:
    def media(**changes: Any) -> Ticket:
        given: dict[str, Any] = {"content": b"x", "mimetype": "a/b", "kind": "document"}
        return world.outbox.send_media(SESSION, CHAT, Media(**(given | changes)))

    tickets = [
        world.send(),
        world.send(text="ho"),
        world.send(chat="1" + CHAT),
        media(),
        media(caption="x"),
        media(filename="x"),
        media(content=b"y"),
        media(kind="image"),
        world.send(text="x"),
    ]
    assert len({ticket.message_id for ticket in tickets}) == len(tickets)
    await asyncio.gather(*(world.outbox.result(ticket) for ticket in tickets))


async def test_a_caller_that_is_cancelled_does_not_cancel_the_send(world: World) -> None:
    world.sessions.free.clear()
    ticket = world.send()
    waiting = asyncio.create_task(world.outbox.result(ticket))
    await wait_until(world.sessions.sends, "the send began")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    world.outbox.unanswered(ticket)
    world.sessions.free.set()
    assert (await world.outbox.result(world.send())).message_id == ticket.message_id
    assert len(world.sessions.sends()) == 1


@pytest.mark.parametrize("error", [UncertainError("?"), RefusedError("no"), RuntimeError("bug")])
async def test_what_may_have_happened_is_shared_until_it_is_told(
    world: World, error: Exception
) -> None:
    world.sessions.outcomes.append(error)
    ticket = world.send()
    for _ in range(2):
        with pytest.raises((UncertainError, RefusedError)):
            await world.outbox.result(ticket)
        world.outbox.unanswered(ticket)
        assert world.send() is ticket
    assert world.outbox.answered(ticket)
    assert world.send() is not ticket


@pytest.mark.parametrize("error", [ConflictError("off"), UnavailableError("not ready")])
async def test_what_did_not_happen_is_tried_again(world: World, error: Exception) -> None:
    world.sessions.outcomes.append(error)
    ticket = world.send()
    with pytest.raises(type(error)):
        await world.outbox.result(ticket)
    world.outbox.unanswered(ticket)
    second = world.send()
    assert second is not ticket
    assert not world.outbox.answered(ticket) or world.send() is second  # the late one ends itself
    assert (await world.outbox.result(second)).outcome == "sent"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Sent(outcome="refused", message_id="x", timestamp=0, error="no"), RefusedError),
        (Sent(outcome="uncertain", message_id="x", timestamp=0), UncertainError),
        (Value(text="what?"), UncertainError),
    ],
)
async def test_only_sent_is_sent(
    world: World, outcome: Sent | Value, error: type[Exception]
) -> None:
    world.sessions.outcomes.append(outcome)
    with pytest.raises(error):
        await world.outbox.result(world.send())


async def test_a_session_that_never_answers_is_uncertain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARGIN", 0.02)
    outbox = Outbox(world.sessions, lambda: Send(wait=0.0, timeout=0.01))
    world.sessions.free.clear()
    with pytest.raises(UncertainError):
        await outbox.result(outbox.send_text(SESSION, CHAT, "hi"))


async def test_a_kept_result_is_forgotten_after_a_while(world: World) -> None:
    ticket = world.send()
    await world.outbox.result(ticket)
    world.outbox.unanswered(ticket)
    world.clock.now += KEPT_FOR - 1
    assert world.send() is ticket
    world.clock.now += 2
    assert world.send() is not ticket


async def test_only_so_many_are_kept_and_the_oldest_go(world: World) -> None:
    tickets = []
    for number in range(KEPT_AT_MOST + 3):
        tickets.append(world.send(text=str(number)))
        await world.outbox.result(tickets[-1])
        world.clock.now += 0.001
        world.outbox.unanswered(tickets[-1])
    assert world.outbox.owed() == KEPT_AT_MOST
    assert world.send(text="3") is tickets[3]
    assert world.send(text="0") is not tickets[0]


async def test_the_late_reply_of_an_old_send_leaves_the_new_one_alone(world: World) -> None:
    old = world.send()
    await world.outbox.result(old)
    assert world.outbox.answered(old)
    new = world.send()
    assert not world.outbox.answered(old)  # a second waiter of the old one
    assert world.send() is new
