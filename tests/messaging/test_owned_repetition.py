"""Requests without a key that are repeated while no host owns their session are still one message, at any host."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.outbox_world import World
from tests.messaging.restarts import in_flight, state
from tests.messaging.test_owned_outbox import a_host, kept, sent
from tests.waiting import DEADLINE
from waguard.core.messages.repetitions import REPEATED_FOR
from waguard.core.messages.send_states import State
from waguard.errors import UnavailableError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Uncertain


async def unanswered(host: World, body: str = "hi") -> PendingSend:
    """A queued one that is kept, and whose reply was lost."""
    pending = await kept(host, body, later=True)
    assert await host.result(pending) is None
    host.outbox.unanswered(pending)
    return pending


async def answered_repetition(host: World) -> PendingSend:
    pending = await kept(host, later=True)
    assert await host.result(pending) is None
    host.outbox.answered(pending)
    return pending


def disown(host: World) -> None:
    """Nobody owns the session for now."""
    assert host.owners is not None
    host.owners[SESSION] = 0


async def test_a_repetition_while_nobody_owns_the_session_is_the_same_message(
    tmp_path: Path,
) -> None:
    async with a_host(tmp_path) as host:
        disown(host)
        pending = await unanswered(host)
        repeated = await answered_repetition(host)
        assert repeated.message_id == pending.message_id
        again = await kept(host, later=True)
        assert again.message_id != pending.message_id, "a reply was written: it is a new message"
        host.outbox.answered(again)
        await host.outbox.acquire({SESSION})
        assert await state(host, again, State.SENT)
        assert sent(host) == [pending.message_id, again.message_id]


@pytest.mark.parametrize("how", ["lose", "release"])
async def test_a_repetition_after_its_owner_lost_the_session_is_the_same_message(
    tmp_path: Path, how: str
) -> None:
    async with a_host(tmp_path) as host:
        await host.outbox.acquire({SESSION})
        host.sessions.connect(UnavailableError("not yet"))
        pending = await unanswered(host)
        if how == "lose":
            await host.outbox.lose({SESSION})
        else:
            await host.outbox.release(SESSION)
        await host.outbox.lose({SESSION})  # once more: another part could not be lost
        disown(host)
        assert (await answered_repetition(host)).message_id == pending.message_id
        host.sessions.connect()
        await host.outbox.acquire({SESSION})
        assert await state(host, pending, State.SENT)
        assert sent(host) == [pending.message_id]


async def test_a_repetition_of_what_was_under_way_at_the_loss_is_uncertain(tmp_path: Path) -> None:
    async with a_host(tmp_path) as host:
        await host.outbox.acquire({SESSION})
        pending = await in_flight(host)
        await host.outbox.lose({SESSION})
        assert isinstance(await host.outbox.result(pending), Uncertain)
        host.outbox.unanswered(pending)
        disown(host)
        repeated = await kept(host, queue=True)
        assert repeated.message_id == pending.message_id
        assert isinstance(await host.outbox.result(repeated), Uncertain)


async def test_what_memory_knew_of_another_hosts_message_ends_with_the_next_acquisition(
    tmp_path: Path,
) -> None:
    """The rows say more: another owner has written its reply."""
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        disown(one)
        pending = await unanswered(one)
        await two.outbox.acquire({SESSION})
        repeated = await answered_repetition(two)
        assert repeated.message_id == pending.message_id
        assert await state(two, repeated, State.SENT)
        await two.outbox.lose({SESSION})
        await one.outbox.acquire({SESSION})
        assert one.outbox.owed() == 0
        assert one.send().message_id != pending.message_id


@pytest.mark.parametrize("how", [{"later": True}, {"queue": True}])
async def test_a_repetition_at_another_host_while_nobody_owns_the_session_is_the_same_message(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        disown(one)
        disown(two)
        pending = await unanswered(one)
        repeated = await kept(two, **how)
        assert await two.result(repeated) is None
        assert (repeated.id, repeated.message_id) == (pending.id, pending.message_id)
        two.outbox.answered(repeated)
        assert (await two.row(repeated)).answered
        again = await kept(two, later=True)
        assert again.message_id != pending.message_id, "a reply was written: it is a new message"
        two.outbox.answered(again)
        assert (await two.row(again)).answered
        third = await kept(one, later=True)
        assert third.message_id not in {pending.message_id, again.message_id}, "so at the first one"
        one.outbox.answered(third)
        await one.row(third)
        other = await kept(two, "something else", later=True)
        assert other.message_id != pending.message_id
        await two.outbox.acquire({SESSION})
        assert await state(two, other, State.SENT)
        sends = (pending, again, third, other)
        assert sent(two) == [it.message_id for it in sends]


async def test_its_owner_asks_no_rows_for_what_memory_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_host(tmp_path) as host:
        await host.outbox.acquire({SESSION})

        async def asked(*_: Any, **__: Any) -> Any:
            raise AssertionError

        monkeypatch.setattr(host.store.outbox, "find_unanswered", asked)
        assert await host.result(host.send())


async def test_a_repetition_at_another_host_is_known_only_for_a_while(tmp_path: Path) -> None:
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        disown(one)
        disown(two)
        pending = await unanswered(one)
        two.clock.now += REPEATED_FOR + 1
        assert (await kept(two, later=True)).message_id != pending.message_id


async def test_a_repetition_of_what_was_cancelled_is_a_second_chance(tmp_path: Path) -> None:
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        disown(one)
        disown(two)
        pending = await unanswered(one)
        await one.outbox.cancel(await one.row(pending))
        assert (await kept(two, later=True)).message_id != pending.message_id


async def test_a_repetition_of_what_a_dead_owner_was_sending_is_uncertain_at_each_host(
    tmp_path: Path,
) -> None:
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        await one.outbox.acquire({SESSION})
        pending = await in_flight(one)
        disown(two)
        repeated = await kept(two, queue=True)
        assert repeated.message_id == pending.message_id
        assert isinstance(await two.outbox.result(repeated), Uncertain)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("accepted_here", [False, True])
async def test_a_repetition_while_the_session_is_acquired_is_the_same_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, accepted_here: bool, begun: bool
) -> None:
    """What was begun is looked for all the same."""
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        first = two if accepted_here else one
        if begun:
            await first.outbox.acquire({SESSION})
            pending = await in_flight(first)
            await first.outbox.lose({SESSION})
            first.outbox.unanswered(pending)
            first.sessions.free.set()
        else:
            disown(first)
            pending = await unanswered(first)
        read, asked, hold = two.store.outbox.unfinished, asyncio.Event(), asyncio.Event()

        async def slow(**which: Any) -> Any:
            asked.set()
            await hold.wait()
            return await read(**which)

        monkeypatch.setattr(two.store.outbox, "unfinished", slow)
        two.sessions.acks[pending.message_id] = 1
        acquiring = asyncio.create_task(two.outbox.acquire({SESSION}))
        await asyncio.wait_for(asked.wait(), DEADLINE)
        repeated = await kept(two, later=True)
        assert repeated.message_id == pending.message_id
        hold.set()
        await asyncio.wait_for(acquiring, DEADLINE)
        two.outbox.answered(repeated)
        assert await state(two, pending, State.SENT)
        again = await answered_repetition(two)
        assert await state(two, again, State.SENT)
        new = [pending.message_id, again.message_id]
        assert sent(two)[-1] == again.message_id
        assert sorted([*sent(one), *sent(two)]) == sorted(new), "each is sent once"


async def test_the_same_text_again_is_sent_by_the_owner_where_another_host_answered_the_first(
    tmp_path: Path,
) -> None:
    async with a_host(tmp_path) as one, a_host(tmp_path) as two:
        disown(one)
        pending = await answered_repetition(one)
        row = await one.row(pending)
        assert row.answered
        assert row.state is State.ACCEPTED
        await two.outbox.acquire({SESSION})
        again = await answered_repetition(two)
        assert await state(two, again, State.SENT)
        assert sent(two) == [pending.message_id, again.message_id]


async def test_the_same_text_again_is_sent_where_the_session_came_before_the_reply_of_the_first(
    tmp_path: Path,
) -> None:
    async with a_host(tmp_path) as host:
        disown(host)
        pending = await kept(host, later=True)
        assert await host.result(pending) is None
        await host.outbox.acquire({SESSION})
        host.outbox.answered(pending)
        again = await answered_repetition(host)
        assert await state(host, again, State.SENT)
        assert sent(host) == [pending.message_id, again.message_id]


async def test_a_repetition_of_another_hosts_message_is_known_only_for_a_while(
    tmp_path: Path,
) -> None:
    async with a_host(tmp_path) as host:
        disown(host)
        pending = await unanswered(host)
        host.clock.now += REPEATED_FOR + 1
        assert (await kept(host, later=True)).message_id != pending.message_id
        assert host.outbox.owed() == 0
