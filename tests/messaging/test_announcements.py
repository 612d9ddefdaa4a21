"""What the application hears of messages: each once, after the reply, and every status after that."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION, a_view
from tests.messaging.outbox_world import CHAT, World, outbox
from tests.waiting import DEADLINE, wait_until
from waguard.config import Config, Send
from waguard.core.outbox import State
from waguard.errors import ConflictError, OtherNumberError, UnavailableError, UncertainError
from waguard.messaging.entries import of_event
from waguard.messaging.pending_sends import PendingSend
from waguard.ports.bus import BusEvent
from waguard.ports.store import SessionRow
from waguard.supervision import translate
from waguard.wire.protocol import Ack, InboundMessage, Sent

ROW = SessionRow(
    session_id=SESSION, workspace_id=1, status="connected", desired_up=True, generation=1
)
GRACE = Send().reply_grace
REFUSED = Sent(outcome="refused", message_id="x", timestamp=0, error="no such number")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with outbox(tmp_path) as made:
        yield made


async def webhooks(world: World) -> list[tuple[str, Any]]:
    """All that wait, in order: the event and its data."""
    assert await world.journal.flushed(10.0)
    found = await world.store.messages.pending("*", after=0, limit=1_000)
    events = [json.loads(one.body or b"") for one in found]
    return [(one["event"], one["data"]) for one in events]


async def names(world: World) -> list[str]:
    return [event for event, _ in await webhooks(world)]


def ack(world: World, message_id: str, *levels: int) -> None:
    for level in levels:
        received = translate.acks(ROW, Ack(ids=(message_id,), chat=CHAT, ack=level), 5.0)
        world.journal.put(received, lambda _: None)


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


async def until(world: World, pending: PendingSend, state: State) -> None:
    async def poll() -> None:
        while (await world.row(pending)).state is not state:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), DEADLINE)


async def test_it_has_the_shape_that_fills_a_chat(world: World) -> None:
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
        "from": "6281180001@c.us",
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
    world.sessions.outcomes.append(UncertainError("no answer"))
    pending = world.send()
    with pytest.raises(UncertainError):
        await world.result(pending)
    world.outbox.answered(pending)  # 202: the application keeps the id
    assert await webhooks(world) == []
    ack(world, pending.message_id, 1)
    assert await names(world) == ["message_sent", "message_status_updated"]


async def test_a_late_ack_is_announced_by_its_own_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.outcomes.append(UncertainError("no answer"))
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


async def test_uncertain_ones_are_announced_when_a_look_finds_them(world: World) -> None:
    world.sessions.outcomes.append(UncertainError("no answer"))
    pending = world.send()
    world.sessions.acks[pending.message_id] = 2
    with pytest.raises(UncertainError):
        await world.result(pending)
    world.outbox.answered(pending)
    await wait_until(lambda: world.published, "it is announced")
    assert await names(world) == ["message_sent"]


async def test_an_uncertain_one_that_is_refused_after_all_is_said(world: World) -> None:
    world.sessions.outcomes.append(UncertainError("no answer"))
    pending = world.send()
    with pytest.raises(UncertainError):
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


async def test_read_is_said_once(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.answered(pending)
    ack(world, pending.message_id, 3, 4)
    assert (await names(world)).count("message_read") == 1
    assert (await names(world))[-1] == "message_played"


# ---- written on the phone ----


async def test_what_was_written_on_the_phone_is_told_and_its_status_after_it(world: World) -> None:
    message_id = f"true_{CHAT}_ABC"
    ack(world, message_id, 2)
    assert await webhooks(world) == []
    written(world, message_id)
    written(world, message_id)
    ack(world, message_id, 3)
    events = await webhooks(world)
    assert [event for event, _ in events] == [
        "message_sent",
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
    assert await names(world) == ["message_sent", "message_status_updated", "message_delivered"]


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


# ---- what is never sent ----


@pytest.mark.parametrize("how", [{"later": True}, {"send_at": 1.0}, {"later": True, "key": "k"}])
async def test_a_refusal_that_nobody_waits_for_is_told(world: World, how: dict[str, Any]) -> None:
    world.sessions.outcomes.append(REFUSED)
    pending = world.send(**how)
    await world.result(pending)
    world.outbox.answered(pending)
    await until(world, pending, State.REFUSED)
    [(event, data)] = await webhooks(world)
    assert (event, data["message_id"], data["to"]) == ("message_failed", pending.message_id, CHAT)
    assert (data["status"], data["error"]) == ("refused", "no such number")
    assert data["message"]["id"] == pending.message_id
    assert data.get("idempotency_key") == how.get("key")
    await wait_until(lambda: world.published, "it is published")
    assert [event for event, *_ in world.published] == ["message_failed"]


async def test_a_refusal_that_was_answered_is_not_told_again(world: World) -> None:
    world.sessions.outcomes.append(REFUSED)
    pending = world.send()
    with pytest.raises(Exception, match="no such number"):
        await world.result(pending)
    world.outbox.answered(pending)
    assert (await world.row(pending)).state is State.REFUSED
    assert await webhooks(world) == []


async def test_a_failure_is_told_behind_its_reply(world: World) -> None:
    world.sessions.outcomes.append(REFUSED)
    pending = world.send(later=True)
    await world.result(pending)
    await until(world, pending, State.REFUSED)
    assert await webhooks(world) == []
    world.outbox.answered(pending)
    assert await names(world) == ["message_failed"]


async def test_a_failure_whose_reply_was_lost_is_the_repetitions(world: World) -> None:
    world.sessions.outcomes.append(UnavailableError("not ready"))
    pending = world.send()
    with pytest.raises(UnavailableError):
        await world.result(pending)
    world.outbox.unanswered(pending)
    again = world.send()
    await world.result(again)
    world.outbox.answered(again)
    world.clock.now += GRACE + 1
    world.outbox._reports._timers._ring()
    [(event, data)] = await webhooks(world)
    assert (event, data["message_id"]) == ("message_sent", again.message_id)


# ---- messages belong to a number ----


def link(world: World, phone: str | None) -> None:
    world.sessions.known[SESSION] = a_view(phone_number=phone)
    world.sessions.connect()


async def ready(world: World, phone: str) -> None:
    """As the supervisor publishes it."""
    data = {"phone_number": phone, "status": "connected"}
    event = BusEvent(
        id=1, event="session_ready", session_id=SESSION, workspace_id=1, at=1.0, data=data
    )
    world.journal.put((of_event(event),), lambda _: None)
    assert await world.journal.flushed(10.0)


async def test_the_same_number_again_goes_on(world: World) -> None:
    world.sessions.connect(ConflictError("it is qr_pending"))
    pending = world.send(queue=True)
    await world.result(pending)
    world.outbox.answered(pending)
    assert (await world.row(pending)).phone == "6281180001"
    link(world, "+62 811-80001")
    await until(world, pending, State.SENT)


async def test_another_number_sends_nothing_of_it(world: World) -> None:
    world.sessions.connect(ConflictError("it is qr_pending"))
    pending = world.send(queue=True)
    await world.result(pending)
    world.outbox.answered(pending)
    link(world, "4917000")
    await until(world, pending, State.FAILED)
    [(event, data)] = await webhooks(world)
    assert (event, data["status"]) == ("message_failed", "failed")
    assert "+6281180001" in data["error"]
    assert "+4917000" in data["error"]
    assert world.sessions.sends() == []


async def test_a_request_that_waits_is_told_so(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    link(world, "4917000")
    with pytest.raises(OtherNumberError):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    assert world.sessions.sends() == []


async def test_a_number_that_changes_at_the_last_moment_is_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = world.sessions.call

    async def late(*given: Any, **more: Any) -> Any:
        world.sessions.known[SESSION] = a_view(phone_number="4917000")
        return await call(*given, **more)

    monkeypatch.setattr(world.sessions, "call", late)
    direct, queued = world.send("now"), world.send("later", later=True)
    with pytest.raises(OtherNumberError):
        await world.result(direct)
    await until(world, queued, State.FAILED)
    assert world.sessions.sends() == []


async def test_what_belongs_to_no_number_is_the_first_pairings(world: World) -> None:
    world.sessions.known[SESSION] = a_view(phone_number=None)
    world.sessions.connect(ConflictError("it is qr_pending"))
    soon = world.send("soon", queue=True)
    tomorrow = world.send("tomorrow", send_at=world.clock.wall() + 86_400)
    for pending in (soon, tomorrow):
        await world.result(pending)
        world.outbox.answered(pending)
        assert (await world.row(pending)).phone is None
    await ready(world, "6281180001")
    link(world, "6281180001")
    await until(world, soon, State.SENT)
    link(world, "4917000")
    world.clock.now += 86_401
    world.outbox._dispatcher._timers._ring()
    await until(world, tomorrow, State.FAILED)
    assert len(world.sessions.sends()) == 1


async def test_what_is_sent_at_once_by_a_session_without_a_number(world: World) -> None:
    link(world, None)
    assert await world.result(world.send())


# ---- abandoned ----


async def test_all_that_waits_fails_and_is_told(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    queued = world.send("a", later=True)
    scheduled = world.send("b", send_at=world.clock.wall() + 600)
    for pending in (queued, scheduled):
        await world.result(pending)
        world.outbox.answered(pending)
    awaited = world.send("c")
    await asyncio.shield(awaited.stored)
    await world.outbox.abandon(SESSION, "the session was logged out")
    with pytest.raises(ConflictError, match="logged out"):
        await world.result(awaited)
    for pending in (queued, scheduled, awaited):
        assert (await world.row(pending)).state is State.FAILED
    events = await webhooks(world)
    assert [(event, data["error"]) for event, data in events] == [
        ("message_failed", "the session was logged out")
    ] * 2
    world.sessions.connect()
    world.clock.now += 601
    world.outbox._dispatcher._timers._ring()
    assert await world.result(world.send("new"))
    assert len(world.sessions.sends()) == 1


async def test_one_that_is_on_its_way_is_not_tried_again(world: World) -> None:
    world.sessions.free.clear()
    world.sessions.outcomes.append(UnavailableError("the page is closed"))
    pending = world.send(later=True)
    await wait_until(world.sessions.sends, "the command has left")
    await world.outbox.abandon(SESSION, "the session was logged out")
    assert (await world.row(pending)).state is State.SENDING
    world.sessions.free.set()
    await until(world, pending, State.FAILED)
    assert len(world.sessions.sends()) == 1


async def test_one_that_is_just_being_kept_fails_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    write, hold = world.store.messages.write, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    pending = world.send(later=True)
    await wait_until(lambda: world.journal.backlog.count, "it is being kept")
    await world.outbox.abandon(SESSION, "the session was logged out")
    hold.set()
    await until(world, pending, State.FAILED)


async def test_what_cannot_be_failed_still_waits_and_goes_once(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    sends = [world.send(later=True), world.send("b", send_at=world.clock.wall() + 60)]
    for pending in sends:
        await world.result(pending)
    await world.store.close()
    with pytest.raises(UnavailableError):
        await world.outbox.abandon(SESSION, "the session was logged out")
    await world.store.open()
    world.clock.now += 61
    world.outbox._dispatcher._timers._ring()
    world.sessions.connect()
    for pending in sends:
        await until(world, pending, State.SENT)
    assert len(world.sessions.sends()) == 2


async def test_what_an_earlier_run_left_is_abandoned_too(world: World) -> None:
    world.config = lambda: Config(send=Send(wait=5.0))
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(send_at=world.clock.wall() + 600)
    await world.result(pending)
    await world.kill()
    await world.start(begin=False)
    with pytest.raises(UnavailableError):
        await world.outbox.abandon(SESSION, "the session was deleted")
    await world.outbox.begin()
    await world.outbox.abandon(SESSION, "the session was deleted")
    assert (await world.row(pending)).state is State.FAILED


# ---- the same request ----


async def test_another_time_is_another_message(world: World) -> None:
    times = [world.clock.wall() + 600 * day for day in range(1, 8)]
    sends = [world.send("a reminder", send_at=at) for at in times]
    for pending in sends:
        await world.result(pending)
    assert len({pending.id for pending in sends}) == 7
    assert world.send("a reminder", send_at=times[0]) is sends[0]


async def test_the_same_key_at_another_time_is_refused(world: World) -> None:
    at = world.clock.wall() + 600
    await world.result(world.send(key="k", send_at=at))
    with pytest.raises(Exception, match="used for another message"):
        world.send(key="k", send_at=at + 1)
