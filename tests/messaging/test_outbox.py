"""No double, whatever the replies do: stories."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_ends import result
from tests.messaging.outbox_world import CHAT, UncertainSendError, World, with_timings
from tests.waiting import wait_until
from waguard.core.messages.send_states import State
from waguard.core.metrics.families import SEND, SENDS
from waguard.core.metrics.tally import Count, Histogram
from waguard.errors import RefusedError, UnavailableError
from waguard.messaging.outbox.pending_sends import new_message_id
from waguard.ports.outcomes import Acked, Refused, Uncertain
from waguard.wire.calls import SendText


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


async def test_a_message_is_kept_before_the_command_leaves_and_its_end_with_the_reply(
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


async def test_what_was_not_answered_is_polled(world: World) -> None:
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send()
    world.sessions.acks[pending.message_id] = 3
    with pytest.raises(UncertainSendError):
        await world.result(pending)
    world.outbox.unanswered(pending)
    await wait_until(lambda: not world.outbox._recovery._watched, "it was polled")
    assert (await world.row(pending)).state is State.READ
    again = world.send()
    assert again is pending
    assert (await result(world, again)).message_id == pending.message_id
    assert len(world.sessions.sends()) == 1


@with_timings(polls=(0.0,), poll_retry=0.01)
async def test_a_question_without_an_answer_is_repeated(world: World) -> None:
    """It shows not even that the message is not there."""
    world.sessions.outcomes.append(Uncertain("no answer"))
    world.sessions.unread = 2
    pending = world.send()
    world.sessions.acks[pending.message_id] = 3
    with pytest.raises(UncertainSendError):
        await world.result(pending)
    world.outbox.unanswered(pending)
    await wait_until(lambda: not world.outbox._recovery._watched, "it was polled")
    assert (await world.row(pending)).state is State.READ


@with_timings(polls=(0.0, 0.01))
async def test_that_it_is_not_there_proves_nothing(
    world: World,
) -> None:
    world.sessions.outcomes.append(Uncertain("no answer"))
    pending = world.send(later=True)
    await world.result(pending)
    await wait_until(lambda: len(world.sessions.calls) == 3, "it was polled twice")
    assert (await world.row(pending)).state is State.UNCERTAIN
    assert len(world.sessions.sends()) == 1


async def test_each_attempt_is_counted_with_its_outcome_and_its_time(world: World) -> None:
    refused = Refused(RefusedError("no such number"))
    world.sessions.outcomes.extend([Uncertain("no answer"), refused])
    for text in ("uncertain", "refused", "acked", "acked too"):
        pending = world.send(text, later=True)
        await wait_until(pending.done.done, "it has an outcome")
    sends, times = (world.tally.series[it] for it in (SENDS, SEND))
    counts = {key[1]: it.value for key, it in sends.items() if isinstance(it, Count) and it.value}
    assert counts == {"uncertain": 1, "refused": 1, "acked": 2}
    assert {
        key[0]: it.below()[-1] for key, it in times.items() if isinstance(it, Histogram)
    } == counts | {"not_sent": 0}
