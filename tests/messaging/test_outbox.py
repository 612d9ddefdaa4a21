"""No double, whatever the replies do: stories."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import CHAT, World, outbox, with_timings
from tests.waiting import DEADLINE, wait_until
from waguard.config import Config, Send
from waguard.core.outbox import State
from waguard.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TooManyError,
    UnavailableError,
    UncertainError,
    WaguardError,
)
from waguard.messaging import dispatcher
from waguard.messaging.commands import Command, Context, Media, file, text
from waguard.messaging.pending_sends import KEPT_AT_MOST, KEPT_FOR, PendingSend, new_message_id
from waguard.messaging.timings import SendTimings
from waguard.ports.outcomes import Acked
from waguard.wire.protocol import SendMedia, SendText, Sent, Value


@pytest.fixture
async def world(tmp_path: Path, timings: SendTimings) -> AsyncIterator[World]:
    async with outbox(tmp_path, timings) as made:
        yield made


async def result(world: World, pending: PendingSend) -> Acked:
    sent = await world.result(pending)
    assert sent
    return sent


def test_the_id_is_one_as_whatsapp_web_makes_them() -> None:
    ids = {new_message_id(CHAT) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(r"true_6281234567890@c\.us_3EB0[0-9A-F]{18}", i) for i in ids)


async def test_the_session_is_asked_with_the_configured_times(world: World) -> None:
    pending = world.send()
    sent = await result(world, pending)
    assert sent.message_id == pending.message_id
    call = SendText(
        chat=CHAT,
        text="hi",
        message_id=pending.message_id,
        timeout=30.0,
        first_contact_check=True,
    )
    assert world.sessions.calls == [(SESSION, call, 20.0)]


async def test_it_is_kept_before_the_command_leaves_and_its_end_with_the_reply(
    world: World,
) -> None:
    world.sessions.free.clear()
    pending = world.send()
    await wait_until(world.sessions.sends, "the send began")
    row = await world.row(pending)
    assert (row.state, row.message_id, row.attempts, row.chat, row.kind) == (
        State.SENDING,
        pending.message_id,
        1,
        CHAT,
        "text",
    )
    world.sessions.free.set()
    sent = await result(world, pending)
    assert world.outbox.answered(pending)
    row = await world.row(pending)
    assert (row.state, row.ack, row.sent_at, row.answered) == (
        State.SENT,
        1,
        sent.timestamp,
        True,
    )


async def test_one_commit_before_the_command_and_one_for_all_that_follows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, commits = world.store.messages.write, []

    async def counted(*given: Any, **more: Any) -> Any:
        commits.append(len(more["outgoing"]))
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", counted)
    pending = world.send()
    await world.result(pending)
    assert commits == [1]
    world.outbox.answered(pending)
    assert (await world.row(pending)).state is State.SENT
    assert commits == [1, 1]
    assert [event for event, *_ in world.published] == ["message_sent"]


async def test_what_cannot_be_kept_is_not_sent(world: World) -> None:
    await world.store.close()
    with pytest.raises(UnavailableError, match="does not answer"):
        await world.result(world.send())
    assert world.sessions.sends() == []
    assert world.outbox.owed() == 0
    await world.store.open()
    assert isinstance(await world.result(world.send()), Acked)
    assert len(await world.store.outbox.listing()) == 1


async def test_before_its_beginning_and_after_its_end_nothing_is_accepted(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start(begin=False)
    with pytest.raises(UnavailableError, match="does not know yet"):
        world.send()
    await world.outbox.begin()
    await result(world, world.send())
    await world.stop()
    with pytest.raises(UnavailableError, match="stopping"):
        world.send("another")


async def test_media_are_asked_for_whole(world: World) -> None:
    media = Media(content=b"x", mimetype="image/png", kind="image", filename="f", caption="c")
    pending = world.accept(file(CHAT, media))
    await world.result(pending)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.kind, call.filename, call.caption) == (b"x", "image", "f", "c")
    assert world.accept(file(CHAT, media)) is pending


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


async def test_the_same_address_is_the_same_file_whatever_it_gave(world: World) -> None:
    def fetched(content: bytes, address: str) -> PendingSend:
        media = Media(content=content, mimetype="a/b", kind="document")
        return world.accept(file(CHAT, media), scope=address)

    first = fetched(b"made at 12:00", "https://files.example/bill")
    assert fetched(b"made at 12:01", "https://files.example/bill") is first
    assert fetched(b"made at 12:00", "https://files.example/other") is not first
    await wait_until(lambda: len(world.sessions.sends()) == 2, "both began")


async def test_a_file_is_fetched_once_also_over_a_crash(world: World) -> None:
    fetched: list[str] = []

    async def fetch() -> Command:
        fetched.append("bill")
        return file(CHAT, Media(content=b"a bill", mimetype="a/b", kind="image"))

    def ask() -> PendingSend:
        asked = file(CHAT, Media(content=b"", mimetype="?/?", kind="document"))
        return world.accept(asked, key="k", scope="https://files.example/bill", fetch=fetch)

    pending = ask()
    assert ask() is pending
    await result(world, pending)
    world.outbox.answered(pending)
    row = await world.row(pending)
    assert (row.state, row.kind) == (State.SENT, "image")
    await world.kill()
    await world.start()
    assert (await result(world, ask())).message_id == pending.message_id
    assert fetched == ["bill"]
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert call.content == b"a bill"


async def test_a_file_that_waits_is_in_the_database_and_not_in_memory(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.accept(file(CHAT, Media(content=b"bill", mimetype="a/b", kind="image")))
    await asyncio.shield(pending.stored)
    await asyncio.sleep(0)
    assert pending.command is None
    world.sessions.connect()
    await result(world, pending)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.kind) == (b"bill", "image")


async def test_what_cannot_be_fetched_has_another_chance(world: World) -> None:
    answers = [NotFoundError("no file"), RuntimeError("a bug"), None]

    async def fetch() -> Command:
        if answer := answers.pop(0):
            raise answer
        return text(CHAT, "hi")

    for error in (NotFoundError, RuntimeError):
        with pytest.raises(error):
            await world.result(world.send(fetch=fetch))
    assert await world.store.outbox.listing() == []
    assert isinstance(await world.result(world.send(fetch=fetch)), Acked)


async def test_a_caller_that_is_cancelled_does_not_cancel_the_send(world: World) -> None:
    world.sessions.free.clear()
    pending = world.send()
    waiting = asyncio.create_task(world.result(pending))
    await wait_until(world.sessions.sends, "the send began")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    world.outbox.unanswered(pending)
    world.sessions.free.set()
    assert (await result(world, world.send())).message_id == pending.message_id
    assert len(world.sessions.sends()) == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UncertainError("?"), State.UNCERTAIN),
        (RefusedError("no"), State.REFUSED),
        (RuntimeError("bug"), State.UNCERTAIN),
    ],
)
async def test_what_may_have_happened_is_shared_until_it_is_told(
    world: World, error: Exception, state: State
) -> None:
    world.sessions.outcomes.append(error)
    pending = world.send()
    for _ in range(2):
        with pytest.raises((UncertainError, RefusedError)):
            await world.result(pending)
        world.outbox.unanswered(pending)
        assert world.send() is pending
    assert world.outbox.answered(pending)
    assert (await world.row(pending)).state is state
    assert world.send() is not pending


@pytest.mark.parametrize("error", [ConflictError("off"), UnavailableError("not ready")])
async def test_what_did_not_happen_is_tried_again(world: World, error: WaguardError) -> None:
    world.sessions.outcomes.append(error)
    pending = world.send()
    with pytest.raises(type(error)):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    world.outbox.unanswered(pending)
    second = world.send()
    assert second is not pending
    assert not world.outbox.answered(pending) or world.send() is second  # the late one ends itself
    assert isinstance(await world.result(second), Acked)


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
        await world.result(world.send())


@with_timings(margin=0.02)
async def test_a_session_that_never_answers_is_uncertain(
    world: World,
) -> None:
    world.config = lambda: Config(send=Send(wait=0.0, timeout=0.01))
    world.sessions.free.clear()
    with pytest.raises(UncertainError):
        await world.result(world.send())


async def test_a_kept_result_is_forgotten_after_a_while(world: World) -> None:
    pending = world.send()
    await world.result(pending)
    world.outbox.unanswered(pending)
    world.clock.now += KEPT_FOR - 1
    assert world.send() is pending
    world.clock.now += 2
    assert world.send() is not pending


async def test_only_so_many_are_kept_and_the_oldest_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEPT_AT_MOST > 100
    monkeypatch.setattr("waguard.messaging.pending_sends.KEPT_AT_MOST", 10)
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


# ---- a session that is not ready, a turn that has not come ----


async def test_a_session_that_only_a_person_can_help_is_told_at_once(world: World) -> None:
    world.sessions.connect(ConflictError("Session not connected: it is qr_pending"))
    with pytest.raises(ConflictError, match="qr_pending"):
        await world.result(world.send())
    assert await world.store.outbox.listing() == []


async def test_a_request_waits_for_its_session_and_is_kept_meanwhile(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    await asyncio.shield(pending.stored)
    assert (await world.row(pending)).state is State.ACCEPTED
    world.sessions.connect()
    assert (await result(world, pending)).message_id == pending.message_id
    assert len(world.sessions.sends()) == 1


async def test_a_request_gives_up_and_then_nothing_is_sent(world: World) -> None:
    world.config = lambda: Config(send=Send(wait=0.05))
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send()
    with pytest.raises(UnavailableError, match="not yet"):
        await world.result(pending)
    assert (await world.row(pending)).state is State.FAILED
    world.sessions.connect()
    other = world.send("other")
    await world.result(other)
    assert [call.message_id for call in world.sessions.sends()] == [other.message_id]


async def test_one_chat_is_written_to_in_order_and_others_meanwhile(world: World) -> None:
    world.sessions.free.clear()
    first, second, third = (world.send(body) for body in "abc")
    other = world.send("d", chat="1" + CHAT)
    await wait_until(lambda: len(world.sessions.sends()) == 2, "two chats began")
    for pending in (second, third):
        await asyncio.shield(pending.stored)
    world.sessions.free.set()
    for pending in (first, second, third, other):
        await world.result(pending)
    chat = [call.message_id for call in world.sessions.sends() if call.chat == CHAT]
    assert chat == [first.message_id, second.message_id, third.message_id]


async def test_none_goes_before_one_that_is_just_being_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.free.clear()
    first = world.send("a")
    await wait_until(world.sessions.sends, "the first began")
    write, hold = world.store.messages.write, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await hold.wait()
        return await write(*given, **more)

    monkeypatch.setattr(world.store.messages, "write", slow)
    second = world.send("b")
    await asyncio.sleep(0)
    world.sessions.free.set()
    await world.result(first)
    await asyncio.sleep(0)
    third = world.send("c")
    await asyncio.sleep(0)
    hold.set()
    for pending in (second, third):
        await world.result(pending)
    sent = [call.message_id for call in world.sessions.sends()]
    assert sent == [first.message_id, second.message_id, third.message_id]


async def test_a_turn_that_does_not_come_in_time_is_given_up(world: World) -> None:
    world.sessions.free.clear()
    first = world.send("a")
    await wait_until(world.sessions.sends, "the first began")
    world.config = lambda: Config(send=Send(wait=0.05))
    with pytest.raises(UnavailableError, match="earlier message"):
        await world.result(world.send("b"))
    world.sessions.free.set()
    await world.result(first)
    assert len(world.sessions.sends()) == 1


async def test_only_so_many_chats_at_once(world: World) -> None:
    world.sessions.free.clear()
    sends = [world.send("a", chat=f"62{number:09}@c.us") for number in range(20)]
    for pending in sends:
        await asyncio.shield(pending.stored)
    await wait_until(lambda: len(world.sessions.sends()) >= 8, "those that may have begun")
    assert len(world.sessions.sends()) == 8
    world.sessions.free.set()
    for pending in sends:
        await world.result(pending)
    assert len(world.sessions.sends()) == 20


# ---- without a reply that waits ----


async def ended(world: World, pending: PendingSend) -> State:
    """Its state when nobody waits for it."""

    async def poll() -> State:
        while True:
            row = await world.row(pending)
            if row.state not in {State.ACCEPTED, State.SENDING}:
                return row.state
            await asyncio.sleep(0.005)

    return await asyncio.wait_for(poll(), DEADLINE)


async def test_what_nobody_waits_for_is_announced_when_the_server_has_it(world: World) -> None:
    pending = world.send(later=True)
    assert await world.result(pending) is None
    assert await ended(world, pending) is State.SENT
    assert world.published == []  # its reply is not written yet
    world.outbox.answered(pending)
    await wait_until(lambda: world.published, "it is announced")
    [(event, session, _, data)] = world.published
    assert (event, session, data["message_id"]) == ("message_sent", SESSION, pending.message_id)
    [notice] = await world.store.messages.pending("*", after=0, limit=10)
    assert notice.event == "message_sent"


async def test_what_is_queued_waits_for_its_session(world: World) -> None:
    world.sessions.connect(ConflictError("Session not connected: it is qr_pending"))
    media = Media(content=b"picture", mimetype="image/png", kind="image")
    pending = world.accept(file(CHAT, media), queue=True)
    assert await world.result(pending) is None
    behind = world.send("behind", later=True)
    await world.result(behind)
    assert world.sessions.sends() == []
    world.sessions.connect()
    assert await ended(world, behind) is State.SENT
    first, second = world.sessions.sends()
    assert isinstance(first, SendMedia)
    assert (first.content, first.message_id) == (b"picture", pending.message_id)
    assert second.message_id == behind.message_id
    assert await world.store.outbox.load(pending.id) is not None
    loaded = await world.store.outbox.load(pending.id)
    assert loaded
    assert loaded[1] is None, "the file is dropped"


async def test_queueing_changes_nothing_where_the_session_is_ready(world: World) -> None:
    assert isinstance(await world.result(world.send(queue=True)), Acked)


@with_timings(retry=0.01)
async def test_what_has_certainly_not_left_waits_again(
    world: World,
) -> None:
    world.sessions.outcomes.extend([UnavailableError("the page is loading")] * 2)
    pending = world.send(later=True)
    assert await ended(world, pending) is State.SENT
    assert (await world.row(pending)).attempts == 3
    assert {call.message_id for call in world.sessions.sends()} == {pending.message_id}


async def test_only_so_many_wait_and_no_request_is_refused_for_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "WAITING_AT_MOST", 2)
    world.sessions.connect(UnavailableError("not yet"))
    await world.result(world.send("a", later=True))
    await world.result(world.send("b", queue=True))
    with pytest.raises(TooManyError, match="wait already"):
        world.send("c", later=True)
    with pytest.raises(TooManyError, match="wait already"):
        await world.result(world.send("c", queue=True))
    world.sessions.connect()
    assert await world.result(world.send("d"))


@with_timings(retry=0.01)
async def test_a_bug_in_another_part_does_not_stop_a_session_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, bugs = world.sessions.ready, [True]

    async def buggy(*given: Any, hoping: bool = False, **more: Any) -> None:
        if hoping and bugs:
            raise RuntimeError(bugs.pop())
        await ready(*given, hoping=hoping, **more)

    monkeypatch.setattr(world.sessions, "ready", buggy)
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(later=True)
    await world.result(pending)
    await wait_until(lambda: not bugs, "it was asked whether the session is ready")
    world.sessions.connect()
    assert await ended(world, pending) is State.SENT


async def test_a_session_that_is_gone_fails_what_waits_for_it(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(later=True)
    await world.result(pending)
    del world.sessions.known[SESSION]
    world.sessions.connect()
    assert await ended(world, pending) is State.FAILED
    with pytest.raises(NotFoundError):
        await world.result(world.send())


async def test_what_is_for_later_is_sent_then(world: World) -> None:
    world.clock.now = 0.0
    pending = world.send(send_at=world.clock.wall() + 0.05)
    assert await world.result(pending) is None
    now = world.send("now")
    await world.result(now)
    assert len(world.sessions.sends()) == 1
    world.clock.now = 1.0
    assert await ended(world, pending) is State.SENT


async def test_what_has_not_begun_can_be_cancelled(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending, other = world.send(later=True), world.send("other", later=True)
    await world.result(pending)
    await world.result(other)
    await world.outbox.cancel(await world.row(pending))
    world.sessions.connect()
    assert await ended(world, other) is State.SENT
    assert (await world.row(pending)).state is State.CANCELLED
    assert len(world.sessions.sends()) == 1
    for row in (await world.row(pending), await world.row(other)):
        with pytest.raises(ConflictError):
            await world.outbox.cancel(row)


# ---- keys ----


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
    world.clock.now += KEPT_FOR + 1
    again = world.send(key="k")
    assert await result(world, again) == first
    assert (again.id, again.message_id) == (pending.id, pending.message_id)
    world.outbox.answered(again)
    world.clock.now += KEPT_FOR + 1
    with pytest.raises(WaguardError, match="used for another message"):
        await world.result(world.send("something else", key="k"))
    world.clock.now += 24 * 3600
    new = world.send(key="k")
    assert (await result(world, new)).message_id != first.message_id
    assert (await world.row(pending)).key is None


async def test_a_key_of_what_never_left_may_be_used_again(world: World) -> None:
    world.sessions.outcomes.append(UnavailableError("not ready"))
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


# ---- what was not answered ----


async def test_what_was_not_answered_is_looked_up(world: World) -> None:
    world.sessions.outcomes.append(UncertainError("no answer"))
    pending = world.send()
    world.sessions.acks[pending.message_id] = 3
    with pytest.raises(UncertainError):
        await world.result(pending)
    world.outbox.unanswered(pending)
    await wait_until(lambda: not world.outbox._recovery._watched, "it was looked up")
    assert (await world.row(pending)).state is State.READ
    again = world.send()
    assert again is pending
    assert (await result(world, again)).message_id == pending.message_id
    assert len(world.sessions.sends()) == 1


@with_timings(polls=(0.0, 0.01))
async def test_that_it_is_not_there_proves_nothing(
    world: World,
) -> None:
    world.sessions.outcomes.append(UncertainError("no answer"))
    pending = world.send(later=True)
    await world.result(pending)
    await wait_until(lambda: len(world.sessions.calls) == 3, "it was looked up twice")
    assert (await world.row(pending)).state is State.UNCERTAIN
    assert len(world.sessions.sends()) == 1
