"""What comes from a worker is stored, reported once and acknowledged; calls go to it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.sends import not_sent
from tests.supervision.bench import TEXT, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.reports import message
from tests.supervision.sessions import connected, until, up
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.messages import sentinel
from waguard.core.messages.inbox import File, Kind
from waguard.errors import UnavailableError
from waguard.ports.outcomes import Acked, NotSent
from waguard.supervision.session import application_events as translate
from waguard.supervision.session.intake import TOUCH_INTERVAL
from waguard.wire.calls import Call, SendContent, SendText, Sent, Unlink, Value
from waguard.wire.events import (
    Ack,
    BackfillGap,
    Edit,
    InboundMessage,
    IncomingCall,
    LoggedOut,
    MessageError,
    Reaction,
    Revoke,
)
from waguard.wire.worker import WorkerSpec


async def test_messages_and_acks_reach_the_world_once_and_are_acknowledged(
    bench: Bench, world: World
) -> None:
    session = await bench.add()
    process = await up(session)
    process.event(message(1))
    process.event(message(2, media=b"\x00\x01", mimetype="image/png", caption="look"))
    process.event(Ack(ids=("true_c_1", "true_c_2"), chat="c", ack=3))
    await wait_until(lambda: process.stored == [1, 2, 3], "all is acknowledged")
    names = [n for n in world.names() if n.startswith("message_")]
    assert names == [
        "message_received",
        "message_received",
        "message_status_updated",
        "message_read",
        "message_status_updated",
        "message_read",
    ]
    first, second = (e.data["message"] for e in world.events("message_received"))
    assert (first["id"], first["body"], first["media"]) == ("false_49170@c.us_1", "text 1", None)
    assert (second["body"], second["media"]["data"], second["has_media"]) == ("look", None, True)
    files = [one.file for one in world.inbox.kept.values() if one.kind == "message"]
    assert files == [None, File(b"\x00\x01", "image/png")]
    levels = {e.data["ack_level"] for e in world.events("message_status_updated")}
    assert levels == {4}
    await wait_until(lambda: world.store.accounts["s"].last_activity_at, "activity was noted")


WHO: dict[str, Any] = {"chat": "1-2@g.us", "sender": "49170@c.us", "timestamp": 7}


ABOUT = "false_1-2@g.us_1_49170@c.us"


@pytest.mark.parametrize(
    ("happening", "event", "fields"),
    [
        (
            Edit(id="e", message_id=ABOUT, body="new", **WHO),
            "message_edited",
            {"message_id": ABOUT, "body": "new"},
        ),
        (
            Revoke(id="r", message_id=ABOUT, **WHO),
            "message_revoked",
            {"message_id": ABOUT},
        ),
        (
            Reaction(id="x", message_id=ABOUT, text="", **WHO),
            "message_reaction",
            {"message_id": ABOUT, "reaction": ""},
        ),
        (
            InboundMessage(
                id="false_1-2@g.us_1.7000_49170@c.us",
                to="",
                body="",
                from_me=False,
                kind="poll_update",
                quoted_id=ABOUT,
                content='{"poll_update":{"options":["red"]}}',
                **WHO,
            ),
            "poll_voted",
            {"message_id": ABOUT, "options": ["red"]},
        ),
        (
            IncomingCall(id="c", video=False, group=True, **WHO),
            "call_received",
            {"call_id": "c", "is_video": False, "is_group_call": True},
        ),
    ],
    ids=["edit", "revoke", "reaction", "vote", "call"],
)
async def test_what_happens_beside_messages_is_reported_once(
    bench: Bench,
    world: World,
    happening: Edit | Revoke | Reaction | InboundMessage | IncomingCall,
    event: str,
    fields: dict[str, Any],
) -> None:
    process = await up(await bench.add())
    process.event(happening)
    process.event(happening)
    await wait_until(lambda: process.stored == [1, 2], "both are acknowledged")
    (reported,) = world.events(event)
    assert reported.data == fields | {
        "chat_id": "1-2@g.us",
        "from": "1-2@g.us",
        "chat_type": "group",
        "group_id": "1-2@g.us",
        "sender_phone": "49170",
        "timestamp": 7,
    }
    (kept,) = world.inbox.kept.values()
    assert (kept.chat, kept.at) == ("1-2@g.us", START)


async def test_what_could_not_be_read_is_kept_and_reported_once(bench: Bench, world: World) -> None:
    process = await up(await bench.add())
    error = MessageError(
        what="ack", id=None, chat="c@c.us", error="ids is not a list", raw='{"ids": 1}', digest="d"
    )
    process.event(error)
    process.event(error)
    process.event(msgspec.structs.replace(error, id="true_c_1", chat=""))
    await wait_until(lambda: process.stored == [1, 2, 3], "all are acknowledged")
    first, second = world.events("message_error")
    assert first.data == {
        "message_id": None,
        "chat_id": "c@c.us",
        "error": "ack: ids is not a list",
        "raw": '{"ids": 1}',
        "timestamp": int(START),
    }
    assert (second.data["message_id"], second.data["chat_id"]) == ("true_c_1", None)
    assert [one.key for one in world.inbox.kept.values()] == ["error:ack:d", "error:ack:true_c_1"]


async def test_a_gap_is_in_the_trail(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    process.event(BackfillGap(chat="c@c.us", why="its history cannot be read", since=7))
    await wait_until(lambda: process.stored == [1], "it is acknowledged")
    await wait_until(lambda: world.audited("backfill_gap"), "it is in the trail")
    gap = next(one for one in await world.store.audit("s") if one.kind == "backfill_gap")
    assert gap.reason == "messages of c@c.us may be missing: its history cannot be read"
    assert gap.evidence == {"chat": "c@c.us", "since": 7}


async def test_what_the_phone_wrote_is_not_taken_for_something_received(
    bench: Bench, world: World
) -> None:
    process = await up(await bench.add())
    process.event(message(1, id="true_49170@c.us_3A", from_me=True))
    process.event(message(2))
    await wait_until(lambda: process.stored == [1, 2], "both are acknowledged")
    assert [e.data["message"]["id"] for e in world.events("message_received")] == [message(2).id]


async def test_a_worker_hears_what_to_leave_out(bench: Bench, world: World) -> None:
    world.change("inbox", groups=False)
    process = await up(await bench.add())
    assert isinstance(process.spec, WorkerSpec)
    assert process.spec.left_out == ("@broadcast", "@newsletter", "@g.us")


async def test_nothing_is_acknowledged_or_reported_before_it_is_stored(
    bench: Bench, world: World
) -> None:
    process = await up(await bench.add())
    world.inbox.free.clear()
    process.event(message(1))
    process.event(Ack(ids=("true_c_1",), chat="c", ack=3))
    process.event(Ack(ids=("true_c_1",), chat="c", ack=2))  # no news, and no way past the others
    process.event(LoggedOut())
    await wait_until(lambda: len(world.inbox.waiting) == 4, "the daemon has them all")
    assert process.stored == []
    assert not world.events("message_received", "message_status_updated")
    world.inbox.store()
    await wait_until(lambda: process.stored == [1, 2, 3, 4], "all is acknowledged")
    reported = world.events("message_received", "message_status_updated", "message_read")
    assert len(reported) == 3
    assert all(event.stored for event in reported)


async def test_acks_of_a_sentinel_are_no_news_for_the_application(
    bench: Bench, world: World
) -> None:
    """It has never seen the message."""
    process = await up(await bench.add())
    own = sentinel.message_id("49170@c.us", "0123456789")
    process.event(Ack(ids=(own, "true_c_1"), chat="49170@c.us", ack=3))
    await wait_until(lambda: process.stored == [1], "it is acknowledged")
    reported = world.events("message_status_updated", "message_read")
    assert {event.data["message_id"] for event in reported} == {"true_c_1"}


async def test_what_is_reported_again_is_acknowledged_and_not_reported_again(
    bench: Bench, world: World
) -> None:
    process = await up(await bench.add())
    for _ in range(2):
        process.event(message(1))
        process.event(Ack(ids=("true_c_1",), chat="c", ack=1))
    await wait_until(lambda: process.stored == [1, 2, 3, 4], "all is acknowledged")
    assert len(world.events("message_received")) == 1
    assert len(world.events("message_status_updated")) == 1
    assert [one.kind for one in world.inbox.kept.values()] == ["message", "ack"]


async def test_activity_is_noted_once_in_a_while(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write for each of many messages would be more work than the messages."""
    touched: list[str] = []

    async def touch(session_id: str) -> None:
        touched.append(session_id)

    monkeypatch.setattr(world.store, "touch", touch)
    session = await bench.add()
    process = await up(session)
    for number in range(10):
        process.event(message(number))
    await wait_until(lambda: len(process.stored) == 10, "all is acknowledged")
    await wait_until(lambda: touched == ["s"], "it is noted once")
    world.clock.advance(TOUCH_INTERVAL)
    process.event(message(10))
    await wait_until(lambda: touched == ["s", "s"], "it is noted again")
    world.clock.advance(TOUCH_INTERVAL)
    await session.traffic.send(TEXT)
    await wait_until(lambda: touched == ["s"] * 3, "a send is activity")
    now = datetime.fromtimestamp(world.clock.wall(), UTC)
    await wait_until(lambda: session.row.last_activity == now, "who asks for it is answered that")


async def test_what_the_inbox_has_no_room_for_is_asked_for_again(
    bench: Bench, world: World
) -> None:
    """What follows it is not taken either: its acknowledgement would have the worker forget both."""
    session = await bench.add()
    process = await up(session)
    before = process.greeting
    world.inbox.full = True
    world.inbox.empty.clear()
    process.event(message(1))
    process.event(Ack(ids=("true_c_1",), chat="c", ack=2))
    process.beat()
    await wait_until(lambda: world.inbox.waits, "somebody waits for the inbox")
    world.inbox.full = False
    process.event(message(2))
    process.event(message(3))
    process.beat()
    process.report(details="all is said")
    await until(session, lambda s: bool(s.runner.report and s.runner.report.details))
    assert (process.stored, world.inbox.kept) == ([], {})
    world.inbox.empty.set()
    await wait_until(lambda: process.connected and process.greeting is not before, "it is back")
    process.event(message(1))  # as a worker says again what was not stored
    process.event(Ack(ids=("true_c_1",), chat="c", ack=2))
    await wait_until(lambda: len(process.stored) == 2, "now it is stored")
    assert len(world.inbox.kept) == 2
    assert session.runner.process is process


async def test_a_full_inbox_leaves_no_send_uncertain(bench: Bench, world: World) -> None:
    """The line is made again when the send has its answer."""
    session = await bench.add()
    process = await up(session)
    call = SendText(chat="c", text="t", message_id="true_c_1", timeout=5.0)
    answered = asyncio.Event()

    async def answer(_: Call) -> Sent:
        await answered.wait()
        return Sent(outcome="sent", message_id=call.message_id, timestamp=1)

    process.script.answer = answer
    link = session.runner.link
    assert link
    sending = asyncio.create_task(link.send(call))
    await wait_until(lambda: process.calls, "the worker has it")
    world.inbox.full = True
    process.event(message(1))
    await wait_until(lambda: world.inbox.waits, "the inbox was waited for")
    assert isinstance(await link.send(call), NotSent), "it waits for the next line"
    answered.set()
    assert await sending == Acked("true_c_1", 1)
    await wait_until(lambda: session.runner.link not in {None, link}, "it is back")


@pytest.mark.timings(greet_again=0.01)
async def test_a_line_that_ends_while_its_worker_lives_is_made_again(
    bench: Bench, world: World
) -> None:
    """Its heartbeats are in a file: nothing else would show it."""
    session = await bench.add()
    process = await up(session)
    link = session.runner.link
    process.hang_up()
    await wait_until(lambda: session.runner.link not in {None, link}, "it is back")
    assert await session.traffic.call(Unlink()) == Value()
    assert (session.runner.process, session.state.restarts) == (process, 0)


@pytest.mark.timings(greet_again=0.01, final_flush=0.01)
async def test_a_worker_that_closes_is_left_to_its_end(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    process.report(phase="closing")
    await until(session, lambda s: bool(s.runner.report and s.runner.report.phase == "closing"))
    greeting = process.greeting
    process.hang_up()
    talks = f"{session._tasks._owner}: worker"
    await wait_until(
        lambda: talks not in {task.get_name() for task in session._tasks._running}, "it is over"
    )
    assert process.greeting is greeting
    process.exit(0)


async def test_a_late_commit_sends_nothing_to_a_worker_that_is_gone(
    bench: Bench, world: World
) -> None:
    """Its successor counts from one again: an old number would acknowledge what is not stored."""
    session = await bench.add()
    process = await up(session)
    world.inbox.free.clear()
    process.event(message(1))
    await wait_until(lambda: world.inbox.waiting, "the daemon has it")
    process.exit(-9)
    await until(session, lambda s: s.state.restarts == 1)
    await until(session, connected)
    fresh = session.runner.process
    assert isinstance(fresh, FakeProcess)
    world.inbox.store()
    seq = fresh.event(message(2))
    await wait_until(lambda: world.inbox.waiting, "the daemon has that too")
    assert fresh.stored == []
    world.inbox.store()
    await wait_until(lambda: fresh.stored == [seq], "its own is acknowledged")
    assert len(world.events("message_received")) == 2


@pytest.mark.parametrize(
    ("ack", "level", "status"),
    [(-1, 0, "failed"), (0, 1, "pending"), (1, 2, "sent"), (2, 3, "delivered"), (4, 4, "read")],
)
async def test_ack_levels_are_one_more_than_whatsapps(
    bench: Bench, world: World, ack: int, level: int, status: str
) -> None:
    """Fault 12."""
    process = await up(await bench.add())
    process.event(Ack(ids=("true_c_1",), chat="c", ack=ack))
    await wait_until(lambda: process.stored, "it is acknowledged")
    (reported,) = world.events("message_status_updated")
    assert (reported.data["ack_level"], reported.data["status"]) == (level, status)
    played = [event.data["ack_level"] for event in world.events("message_played")]
    assert played == ([5] if ack == 4 else [])


async def test_what_was_written_on_the_phone_is_message_sent(empty: Bench, world: World) -> None:
    process = await up(await empty.add())
    process.event(message(1, id="true_49170@c.us_1", from_me=True, media=b"", mimetype="a/b"))
    await wait_until(lambda: process.stored, "it is acknowledged")
    assert not world.events("message_received")
    (reported,) = world.events("message_sent")
    assert (reported.data["source"], reported.data["message_id"]) == (
        "message_create_event",
        "true_49170@c.us_1",
    )
    assert reported.data["message"]["from_me"]
    (kept,) = world.inbox.kept.values()
    assert (kept.kind, kept.unless_own, kept.file) == (Kind.SENT, True, File(b"", "a/b"))
    view = await empty.it.sessions.view("s")
    assert view.phone_used_at == int(START)


async def test_what_another_device_wrote_is_no_use_of_the_phone(empty: Bench, world: World) -> None:
    process = await up(await empty.add())
    process.event(message(1, id="true_49170@c.us_3EB0" + "A" * 16, from_me=True))
    process.event(message(2))
    await wait_until(lambda: len(process.stored) == 2, "both are acknowledged")
    assert (await empty.it.sessions.view("s")).phone_used_at is None


async def test_what_a_dying_worker_received_is_not_lost(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    for number in range(20):
        process.event(message(number))
    process.exit(-9)
    await until(session, lambda s: s.state.restarts == 1)
    assert len(world.events("message_received")) == 20


async def test_one_odd_message_does_not_cost_the_session(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await bench.add()
    process = await up(session)
    real = translate.inbound

    def odd(report: Any) -> Any:
        if report.body == "text 1":
            raise ValueError(report)
        return real(report)

    monkeypatch.setattr(translate, "inbound", odd)
    process.event(message(1))
    process.event(message(2))
    await wait_until(lambda: world.events("message_received"), "the second came")
    assert session.runner.process is process
    assert session.link is Link.CONNECTED


async def test_calls_reach_the_worker_while_there_is_one(bench: Bench, world: World) -> None:
    session = await bench.add()
    assert "stopped" in (await not_sent(session.traffic.send(TEXT), UnavailableError)).message
    process = await up(session)
    await session.traffic.send(TEXT)
    assert process.calls == [TEXT]
    await session.stop()
    await not_sent(session.traffic.send(TEXT), UnavailableError)


async def test_an_action_proves_nothing_of_acks(bench: Bench, world: World) -> None:
    session = await bench.add()
    process = await up(session)
    action = SendContent(
        chat="c", kind="edit", content={}, target="true_c_0", message_id="true_c_1", timeout=5.0
    )
    assert isinstance(await session.traffic.send(action), Acked)
    assert (process.calls, session.traffic.acks.proved_at) == ([action], None)
    await session.traffic.send(TEXT)
    assert session.traffic.acks.proved_at is not None
