"""Commits that seemed to fail: nothing is lost, and nothing is sent twice."""

from typing import Any

import pytest

from tests.messaging.outbox_world import World, with_timings
from tests.messaging.restarts import state
from tests.store.test_outages import write_locked
from waguard.core.messages.send_states import State
from waguard.errors import DatabaseUnavailableError, UnavailableError


async def test_a_send_while_the_database_is_locked_is_refused_and_leaves_nothing(
    world: World,
) -> None:
    await world.result(world.send("warm"))
    await world.stop()
    world.busy_timeout = 0.5
    await world.start()
    with write_locked(f"sqlite+aiosqlite:///{world.path}"):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await world.result(world.send())
    sent = await world.result(world.send())
    assert sent
    assert [call.message_id for call in world.sessions.sends()][1:] == [sent.message_id]
    assert await world.journal.flushed(10.0)
    assert len(await world.store.outbox.listing()) == 2


async def test_a_kept_message_whose_commit_seemed_to_fail_is_retracted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = world.store.messages.write
    lost = [True]

    async def torn(*given: Any, **more: Any) -> Any:
        done = await write(*given, **more)
        if lost and more["outgoing"]:
            lost.pop()
            raise DatabaseUnavailableError("the connection was lost in the commit")
        return done

    monkeypatch.setattr(world.store.messages, "write", torn)
    with pytest.raises(DatabaseUnavailableError):
        await world.result(world.send())
    assert await world.journal.flushed(10.0)
    assert await world.store.outbox.listing() == []
    assert world.sessions.sends() == []
    await world.result(world.send())
    assert len(await world.store.outbox.listing()) == 1


@with_timings(keeping=0.01)
async def test_what_is_going_to_be_retracted_is_no_answer_to_a_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = world.tear(monkeypatch)
    for message in ("lost in the commit", "does not know yet"):
        with pytest.raises(UnavailableError, match=message):
            await world.result(world.send(key="k", later=True))
    back.set()
    assert await world.journal.flushed(10.0)
    pending = world.send(key="k", later=True)
    await world.result(pending)
    assert await state(world, pending, State.SENT)
    assert [call.message_id for call in world.sessions.sends()] == [pending.message_id]
    assert len(await world.store.outbox.listing()) == 1


@with_timings(retry=0.01)
async def test_a_turn_whose_commit_seemed_to_fail_comes_again_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    pending = world.send(later=True)
    await world.result(pending)
    write = world.store.messages.write
    lost = [True]

    async def torn(*given: Any, **more: Any) -> Any:
        done = await write(*given, **more)
        if lost and more["outgoing"]:
            lost.pop()
            raise DatabaseUnavailableError("the connection was lost in the commit")
        return done

    monkeypatch.setattr(world.store.messages, "write", torn)
    world.sessions.connect()
    assert await state(world, pending, State.SENT)
    assert len(world.sessions.sends()) == 1
