"""After a restore: webhooks that may have been delivered, and messages to groups."""

import asyncio
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Final

import pytest

from tests.api.fake_sessions import SESSION
from tests.messaging.gateway import gateway
from tests.messaging.outbox_world import World
from tests.messaging.receiver import Receiver, event
from tests.messaging.test_application import paired, received
from tests.waiting import wait_until
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.send_states import State
from waguard.core.replace import replace
from waguard.core.restored import Restored, group_waits, marked, released
from waguard.core.webhooks.delivery import Cause, DeadLetterState, dead_letter_state
from waguard.errors import ConflictError
from waguard.messaging.outbox.outbox import Outbox

GROUP: Final = "120363000000000000@g.us"


async def test_what_may_have_been_delivered_waits_for_a_person(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        restored = Restored(backup_at=0.0, restored_at=1e12, database=True)

        def mark(record: InboxRecord) -> InboxRecord:
            return marked(restored, record, uses_lookup=False)

        it.journal._marked = mark
        await it.stored(event(1), event(2))
        it.journal._marked = lambda record: record
        await it.stored(event(3))
        await receiver.wait_taken(1)
        assert [dead_letter_state(one.cause) for one in await it.dead()] == [
            DeadLetterState.RESTORED
        ] * 2
        assert await it.webhooks.dead_letters.replay() == 0  # not with all others
        assert await it.webhooks.dead_letters.release_restored() == 2
        taken = await receiver.wait_taken(3)
        assert [one["data"].get("restored", False) for one in taken] == [False, True, True]
        assert await it.dead() == []
        assert await it.webhooks.dead_letters.release_restored() == 0


async def test_with_a_table_only_what_it_has_not_is_delivered(tmp_path: Path) -> None:
    async with paired(tmp_path) as pair:
        await pair.it.stored(received(1))
        assert await pair.end("1") == ["1"]
        restored = Restored(backup_at=0.0, restored_at=1e12, database=True)
        pair.it.journal._marked = lambda record: marked(restored, record, uses_lookup=True)
        # the database before the restore had it delivered; the one that was restored knows nothing of it
        await pair.it.stored(replace(received(1), id=11), received(2))
        assert await pair.end("1", "2") == ["1", "2"]
        bodies = [one["data"]["message"]["body"] for one in pair.app.received]
        assert bodies == ["1", "2"]
        assert await pair.it.dead() == []


async def test_with_a_table_a_release_leaves_what_that_shows(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url, stored="no.table") as it:
        it.journal._marked = lambda record: marked(
            Restored(backup_at=0.0, restored_at=1e12, database=True), record, uses_lookup=True
        )
        await it.stored(event(1))
        assert await it.webhooks.dead_letters.release_restored() == 0
        assert [one.cause for one in await it.pending()] == [Cause.RESTORED]
        it.configure(stored=None)  # nobody looks it up any more
        assert await it.webhooks.dead_letters.release_restored() == 1
        assert Cause.RESTORED not in [one.cause for one in await it.pending()]


async def test_what_waits_for_the_number_of_a_lid_waits_for_it_again(tmp_path: Path) -> None:
    async with gateway(tmp_path, "http://127.0.0.1:9/") as it:
        it.journal._marked = lambda record: marked(
            Restored(backup_at=0.0, restored_at=1e12, database=True), record, uses_lookup=False
        )
        await it.stored(event(1, message={"id": "false_77@lid_X"}))
        assert [one.cause for one in await it.dead()] == [Cause.RESTORED]
        assert await it.webhooks.dead_letters.release_restored() == 0
    with closing(connect(tmp_path / "w.db")) as connection:
        found = connection.execute("SELECT state, cause FROM waguard_deliveries").fetchall()
    assert found == [("dead", Cause.UNIDENTIFIED)]


async def _with_groups(world: World, restored: list[Restored]) -> None:
    await world.outbox.close(0.0)
    world.outbox = Outbox(
        world.sessions,
        world.store.outbox,
        world.journal,
        world.config,
        world.clock,
        timings=replace(world.timings, pause_check=0.01),
        group_waits=lambda session, chat: group_waits(restored[0], session, chat),
    )
    await world.outbox.begin()


async def test_messages_to_groups_wait_and_private_ones_go(world: World) -> None:
    restored = [Restored(backup_at=0.0, restored_at=1.0, database=True, groups=(SESSION,))]
    await _with_groups(world, restored)
    with pytest.raises(ConflictError, match="groups of this session wait"):
        await world.result(world.send(chat=GROUP))
    waiting = world.send(chat=GROUP, queue=True)
    await asyncio.shield(waiting.stored)
    await world.result(world.send())
    assert (await world.row(waiting)).state is State.ACCEPTED
    assert [call.chat for call in world.sessions.sends()] != [GROUP]
    restored[0] = released(restored[0])
    await wait_until(lambda: len(world.sessions.sends()) == 2, "the group's message went")
    await asyncio.wait_for(asyncio.shield(waiting.done), 20)
    assert (await world.row(waiting)).state is State.SENT
