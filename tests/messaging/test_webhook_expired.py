"""Webhooks that are older than ``retention.inbox_days`` while the daemon runs."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.messaging.gateway import Gateway, gateway
from tests.messaging.holding import AWAY, PATIENT, connect, until_held
from tests.messaging.receiver import Receiver, event
from tests.messaging.test_webhook_queue import message, numbers
from tests.waiting import wait_until
from waguard.config.sections import Config, Retention
from waguard.core.webhooks.delivery import TOO_LONG, Cause
from waguard.daemon.housekeeping import Housekeeping
from waguard.errors import DatabaseUnavailableError
from waguard.ports.clock import WallAges

DAY = 86_400.0  # s


class Ticks:
    """Those that the daemon schedules, by name."""

    def __init__(self) -> None:
        self.known: dict[str, Callable[[], Awaitable[object]]] = {}

    def every(self, _: float, name: str, tick: Callable[[], Awaitable[object]]) -> None:
        self.known[name] = tick


async def tidied(it: Gateway, *, days: float = 2.0) -> None:
    """As the daemon does hourly, so many days later."""
    later = WallAges(lambda: time.time() + days * DAY)
    config, nobody = Config(retention=Retention(inbox_days=1)), cast("Any", None)
    keeping = Housekeeping(lambda: config, it.store, nobody, cast("Any", later), nobody)
    ticks = Ticks()
    keeping.schedule(cast("Any", ticks), it.webhooks.dead_letters.add_expired)
    await ticks.known["tidy database"]()


async def test_what_was_held_for_too_long_is_delivered_once_and_only_when_it_is_replayed(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(message(1), message(2))
        await until_held(it, 1)
        await tidied(it)
        assert [one.cause for one in await it.dead()] == [Cause.EXPIRED] * 2
        connect(it)
        await it.stored(message(3))
        await receiver.wait_taken(1)
        assert await it.drained()
        assert numbers(receiver.taken(), "_1@") == [3]
        assert await it.webhooks.dead_letters.replay() == 2
        assert await it.drained()
        assert numbers(receiver.taken(), "_1@") == [3, 1, 2]
        assert await it.dead() == []


async def test_what_a_receiver_was_away_for_is_delivered_once_when_it_is_replayed(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.troubles.append(500)
    async with gateway(tmp_path, receiver.url, policy=PATIENT) as it:
        it.put(event(5, "message_status_updated", message_id="true_1@c.us_x"))
        await wait_until(lambda: not receiver.troubles, "it was tried")
        await wait_until(lambda: it.queue().state.is_saved, "the answer was heard")
        await tidied(it)
        assert len(await it.dead()) == 1
        await wait_until(lambda: it.queue().state.count == 0, "the queue has forgotten it")
        assert receiver.taken() == []
        assert await it.webhooks.dead_letters.replay() == 1
        await receiver.wait_taken(1)
        assert await it.drained()
        assert len(receiver.taken()) == 1


async def test_what_was_given_up_before_the_database_went_is_delivered_only_when_it_is_replayed(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        await it.stored(message(0))
        assert await it.drained()
        receiver.free.clear()
        await it.stored(message(1), message(2), message(3))
        await wait_until(lambda: receiver.arrived == 2, "the first of them is in flight")
        give_up, limits = it.store.messages.dead_letter_pending, [2]

        async def once(*given: Any, **more: Any) -> Any:
            if not limits:
                raise DatabaseUnavailableError("gone")
            return await give_up(*given, **more | {"limit": limits.pop()})

        monkeypatch.setattr(it.store.messages, "dead_letter_pending", once)
        await tidied(it)
        assert len(await it.dead()) == 2
        assert any("webhooks_dead" in line and "'count': 2" in line for line in logged)
        receiver.free.set()
        assert await it.drained()
        assert numbers(receiver.taken(), "_1@") == [0, 1, 3], "one was in flight, one is pending"
        assert await it.webhooks.dead_letters.replay() == 2
        assert await it.drained()
        assert numbers(receiver.taken(), "_1@").count(2) == 1


async def test_that_they_are_given_up_is_logged_once(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(message(1), message(2))
        await until_held(it, 1)
        await tidied(it, days=0.5)
        assert await it.dead() == []
        await tidied(it)
        await tidied(it)
    [line] = [line for line in logged if "webhooks_dead" in line]
    assert TOO_LONG in line
    assert "'count': 2" in line


async def test_a_dead_letter_has_no_body_to_deliver(receiver: Receiver, tmp_path: Path) -> None:
    """Another host of a cluster may have given it up."""
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(message(1))
        await until_held(it, 1)
        [item] = await it.pending()
        assert await it.store.messages.body(item.id, item.event_id)
        await tidied(it)
        assert await it.store.messages.body(item.id, item.event_id) is None
        assert await it.store.messages.body(item.id, item.event_id, pending=False)
