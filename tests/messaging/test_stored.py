"""The look-up of what the receiver has stored: switched off where it fails, and on again by itself."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from tests.clocks import Clock
from waguard.core.webhooks.stored import Message, Presence, StoredKey, Unknown
from waguard.messaging.stored import PACE, StoredMessages

KEY = "chats.whatsapp_message_id"
X: Message = ("a", "x")
DENIED = Unknown("SELECT command denied")
LATE = Unknown("no answer in time", late=True)


@dataclass
class Table:
    """Fails with ``why`` while that is set; counts what it is asked."""

    why: Unknown | None = None
    usable: bool = True
    checks: list[StoredKey] = field(default_factory=list)
    finds: int = 0

    async def check(self, key: StoredKey) -> Unknown | None:
        self.checks.append(key)
        await asyncio.sleep(0)
        return self.why

    async def received(
        self, key: StoredKey, messages: Collection[Message]
    ) -> Mapping[Message, Presence] | Unknown:
        self.finds += 1
        await asyncio.sleep(0)
        return self.why or dict.fromkeys(messages, Presence.STORED)

    async def sent(
        self, key: StoredKey, message_ids: Collection[str]
    ) -> Mapping[str, Presence] | Unknown:
        self.finds += 1
        return self.why or dict.fromkeys(message_ids, Presence.MISSING)


@dataclass
class World:
    table: Table = field(default_factory=Table)
    key: str | None = KEY
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.it = StoredMessages(self.table, lambda: self.key, self.clock)

    def types(self) -> list[str]:
        return [it.type for it in self.it.conditions()]


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_found_is_passed_on(world: World) -> None:
    assert world.it.why_not is None
    assert await world.it.received([X]) == {X: Presence.STORED}
    assert await world.it.sent(["y"]) == {"y": Presence.MISSING}
    assert world.it.conditions() == []


async def test_without_the_key_nothing_is_asked(world: World) -> None:
    world.key = None
    await world.it.check()
    assert isinstance(await world.it.received([X]), Unknown)
    assert isinstance(world.it.why_not, Unknown)
    assert (world.table.checks, world.table.finds, world.it.conditions()) == ([], 0, [])


async def test_the_first_question_waits_for_the_first_check(world: World) -> None:
    world.table.why = DENIED
    found = await asyncio.gather(*(world.it.received([X]) for _ in range(5)))
    assert found == [DENIED] * 5
    assert (len(world.table.checks), world.table.finds) == (1, 0)
    assert world.types() == ["stored_unknown"]


async def test_a_failure_switches_it_off_until_a_check_works(world: World) -> None:
    assert await world.it.received([X]) == {X: Presence.STORED}
    world.table.why = DENIED
    assert await world.it.received([X]) == DENIED
    (condition,) = world.it.conditions()
    assert DENIED.reason in condition.message
    assert condition.since == world.clock.wall()
    world.table.why = None
    assert await world.it.received([X]) == DENIED  # nobody asks before its time
    assert world.table.finds == 2
    world.clock.live(PACE.least)
    assert condition.since == world.it.conditions()[0].since
    await world.it.check()
    assert world.it.conditions() == []
    assert await world.it.received([X]) == {X: Presence.STORED}


async def test_the_lookup_is_checked_at_a_bounded_pace(world: World) -> None:
    world.table.why = DENIED
    for _ in range(3_600):
        await world.it.check()
        world.clock.live(1.0)
    assert 60 <= len(world.table.checks) <= 65
    world.table.why = None
    world.table.checks.clear()
    for _ in range(3_600):
        await world.it.check()
        world.clock.live(1.0)
    assert 59 <= len(world.table.checks) <= 61


async def test_what_is_late_passes_until_it_lasts(world: World) -> None:
    """A machine that stood still is back by then; a statement that always takes too long stops no deliveries."""
    assert await world.it.received([X]) == {X: Presence.STORED}
    world.table.why = LATE
    assert await world.it.received([X]) == LATE
    (condition,) = world.it.conditions()
    assert "waits for it" in condition.message
    lasted = 0.0
    while world.it.is_away:
        world.clock.live(1.0)
        await world.it.check()
        lasted += 1.0
    assert PACE.every <= lasted < 2 * PACE.every
    (condition,) = world.it.conditions()
    assert "counts as delivered" in condition.message


async def test_before_the_database_is_used_nothing_is_learnt(world: World) -> None:
    world.table.usable = False
    await world.it.check()
    assert isinstance(await world.it.received([X]), Unknown)
    assert world.it.is_away, "a 2xx that comes meanwhile is no proof"
    assert (world.table.checks, world.it.conditions()) == ([], [])
    world.table.usable = True
    assert await world.it.received([X]) == {X: Presence.STORED}


async def test_another_key_begins_again(world: World) -> None:
    world.table.why = DENIED
    await world.it.check()
    world.key = "inbox.id"
    assert world.it.conditions() == []
    world.table.why = None
    assert await world.it.received([X]) == {X: Presence.STORED}
    assert world.table.checks[-1] == StoredKey("inbox", "id")
    world.key = None
    assert world.it.conditions() == []
    assert isinstance(await world.it.sent(["x"]), Unknown)
