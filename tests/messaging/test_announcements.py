"""What the application hears of messages: each once, after the reply, and every status after that."""

from typing import Any

import pytest

from tests.messaging.outbox_world import CHAT, UncertainSendError, World
from tests.messaging.published import GRACE, ROW, ack, names, until, webhooks
from tests.waiting import wait_until
from waguard.core.messages.send_states import State
from waguard.ports.outcomes import Uncertain
from waguard.supervision.session import application_events as translate
from waguard.wire.events import Ack, InboundMessage


def on_phone(message_id: str) -> InboundMessage:
    """As the page reports a message of our number's own."""
    return InboundMessage(
        id=message_id,
        chat=CHAT,
        sender="6281180001@c.us",
        to=CHAT,
        body="ä",
        timestamp=7,
        from_me=True,
        kind="chat",
    )


def written(world: World, message_id: str) -> None:
    world.journal.put(translate.received(ROW, on_phone(message_id), 9.0), lambda _: None)


async def test_an_announcement_has_the_shape_that_fills_a_chat(world: World) -> None:
    pending = world.send("hellö")
    sent = await world.result(pending)
    assert sent
    assert await webhooks(world) == []
    world.outbox.answered(pending)
    [(event, data)] = await webhooks(world)
    assert event == "message_sent"
    flat = {name: data[name] for name in ("message_id", "to", "type", "status", "timestamp")}
    assert flat == {
        "message_id": pending.message_id,
        "to": CHAT,
        "type": "text",
        "status": "sent",
        "timestamp": sent.timestamp,
    }
    assert data["message"] == {
        "id": pending.message_id,
        "chat_id": CHAT,
        "chat_type": "private",
        "group_id": None,
        "from": CHAT,
        "to": CHAT,
        "body": "hellö",
        "timestamp": sent.timestamp,
        "from_me": True,
        "type": "chat",
        "has_media": False,
    }
    [published] = world.published
    assert published[0] == "message_sent"


async def test_what_comes_before_the_reply_waits_for_it(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    ack(world, pending.message_id, 0, 1, 2)
    assert await webhooks(world) == []
    assert (await world.row(pending)).state is State.DELIVERED
    world.outbox.answered(pending)
    events = await webhooks(world)
    assert [event for event, _ in events] == [
        "message_sent",
        "message_status_updated",
        "message_status_updated",
        "message_delivered",
    ]
    assert [data["status"] for _, data in events] == ["sent", "sent", "delivered", "delivered"]
    ack(world, pending.message_id, -1, 0, 3)
    assert (await names(world))[4:] == ["message_status_updated", "message_read"]


async def test_an_ack_and_the_reply_in_one_transaction(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.answered(pending)
    ack(world, pending.message_id, 1)
    assert await names(world) == ["message_sent", "message_status_updated"]


async def test_a_reply_that_was_never_written_does_not_swallow_it(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.unanswered(pending)
    ack(world, pending.message_id, 2)
    assert await webhooks(world) == []
    world.clock.now += GRACE - 1
    world.outbox._reports._timers._ring()
    assert await webhooks(world) == []
    world.clock.now += 2
    world.outbox._reports._timers._ring()
    assert (await names(world))[0] == "message_sent"


@pytest.mark.parametrize("after", [GRACE - 1, GRACE + 1])
async def test_a_crash_between_the_server_and_the_reply_does_not_swallow_it(
    world: World, after: float
) -> None:
    pending = world.send()
    await world.result(pending)
    ack(world, pending.message_id, 2)
    assert (await world.row(pending)).state is State.DELIVERED
    await world.kill()
    world.clock.now += after
    await world.start()
    if after < GRACE:
        assert await webhooks(world) == []
        again = world.send()
        await world.result(again)
        assert again.message_id == pending.message_id
        world.outbox.answered(again)
    await wait_until(lambda: world.published, "it is announced")
    assert await names(world) == ["message_sent", "message_status_updated", "message_delivered"]


async def test_uncertain_ones_are_announced_when_an_ack_comes(world: World) -> None:
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send()
    with pytest.raises(UncertainSendError):
        await world.result(pending)
    world.outbox.answered(pending)  # 202: the application keeps the id
    assert await webhooks(world) == []
    ack(world, pending.message_id, 1)
    assert await names(world) == ["message_sent", "message_status_updated"]


async def test_a_late_ack_is_announced_by_its_own_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send(later=True)
    await world.result(pending)
    world.outbox.answered(pending)
    await until(world, pending, State.UNCERTAIN)
    written: list[list[str]] = []
    write = world.store.messages.write

    async def noted(entries: Any, *given: Any, **more: Any) -> Any:
        done = await write(entries, *given, **more)
        written.append([one.key for one in done.reported])
        return done

    monkeypatch.setattr(world.store.messages, "write", noted)
    ack(world, pending.message_id, 1)
    assert await world.journal.flushed(10.0)
    assert written == [[f"sent:{pending.message_id}"]]


async def test_uncertain_ones_are_announced_when_a_poll_finds_them(world: World) -> None:
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send()
    world.sessions.acks[pending.message_id] = 2
    with pytest.raises(UncertainSendError):
        await world.result(pending)
    world.outbox.answered(pending)
    await wait_until(lambda: world.published, "it is announced")
    assert await names(world) == ["message_sent"]


async def test_an_uncertain_one_that_is_refused_after_all_is_published(world: World) -> None:
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send()
    with pytest.raises(UncertainSendError):
        await world.result(pending)
    world.outbox.answered(pending)
    await until(world, pending, State.UNCERTAIN)
    ack(world, pending.message_id, -1)
    events = await webhooks(world)
    assert [event for event, _ in events] == ["message_failed", "message_status_updated"]
    assert events[0][1]["status"] == "refused"


async def test_what_was_played_was_read(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.answered(pending)
    ack(world, pending.message_id, 4)
    events = (await webhooks(world))[1:]
    assert [(event, data["status"], data["ack_level"]) for event, data in events] == [
        ("message_status_updated", "read", 4),
        ("message_read", "read", 4),
        ("message_played", "played", 5),
    ]
    assert (await world.row(pending)).state is State.READ


async def test_read_is_published_once(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.answered(pending)
    ack(world, pending.message_id, 3, 4)
    assert (await names(world)).count("message_read") == 1
    assert (await names(world))[-1] == "message_played"


async def test_what_was_written_on_the_phone_is_published_and_its_status_after_it(
    world: World,
) -> None:
    message_id = f"true_{CHAT}_ABC"
    ack(world, message_id, 2)
    assert await webhooks(world) == []
    written(world, message_id)
    written(world, message_id)
    ack(world, message_id, 3)
    events = await webhooks(world)
    assert [event for event, _ in events] == [
        "message_sent",
        "mobile_activity_detected",
        "message_status_updated",
        "message_delivered",
        "message_status_updated",
        "message_read",
    ]
    data = events[0][1]
    assert data["source"] == "message_create_event"
    assert (data["message"]["id"], data["message"]["body"]) == (message_id, "ä")
    assert (data["message"]["from_me"], data["message"]["chat_type"]) == (True, "private")


async def test_in_one_transaction_its_status_goes_behind_it_too(world: World) -> None:
    message_id = f"true_{CHAT}_ABC"
    one = translate.acks(ROW, Ack(ids=(message_id,), chat=CHAT, ack=2), 5.0)
    world.journal.put((*one, *translate.received(ROW, on_phone(message_id), 9.0)), lambda _: None)
    assert await names(world) == [
        "message_sent",
        "mobile_activity_detected",
        "message_status_updated",
        "message_delivered",
    ]


async def test_what_the_outbox_sent_was_not_written_on_the_phone(world: World) -> None:
    world.sessions.free.clear()
    pending = world.send()
    await wait_until(world.sessions.sends, "the command has left")
    written(world, pending.message_id)
    assert await webhooks(world) == []
    world.sessions.free.set()
    await world.result(pending)
    world.outbox.answered(pending)
    written(world, pending.message_id)
    [(event, data)] = await webhooks(world)
    assert (event, data.get("source")) == ("message_sent", None)


async def test_a_bug_of_one_that_hears_of_the_database_s_return_ends_nobody_else(
    world: World,
) -> None:
    def odd() -> None:
        raise RuntimeError

    heard: list[str] = []
    announcer = world.journal.announcer
    announcer.on_resumed[:0] = [odd, lambda: heard.append("the next one")]
    announcer.resumed()
    assert heard == ["the next one"]
