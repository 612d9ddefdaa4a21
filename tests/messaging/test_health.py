"""What is wrong with messages on their way, as far as the database and the journal say."""

from pathlib import Path

import pytest

from tests.messaging.gateway import QUICK, Gateway, gateway
from tests.messaging.receiver import Receiver, event
from tests.waiting import wait_until
from waguard.core.conditions import LATE_AFTER
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import Cause
from waguard.core.webhooks.session_gate import Connection
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.database_backlog import Backlog, JournalLimits
from waguard.messaging.health import FAILING_FOR, MessageHealth
from waguard.ports.clock import WallAges
from waguard.ports.webhooks import GLOBAL, Queued

AWAY = Connection(why_not="it is disconnected")


def health(it: Gateway, wall: float = 1_000.0) -> MessageHealth:
    return MessageHealth(
        it.webhooks, it.journal, hold_limit=lambda: 900.0, ages=WallAges(lambda: wall)
    )


def types(it: MessageHealth) -> list[str]:
    return [one.type for one in it.conditions()]


async def test_what_the_database_counted_stays_while_it_is_away(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.troubles.append(404)
    policy = replace(QUICK, only_chat=0.0)
    async with gateway(tmp_path, receiver.url, policy=policy) as it:
        await it.stored(event(1))
        assert await it.drained()
        report = health(it)
        assert (types(report), report.queued) == ([], None), "nobody has asked yet"
        await report.count()
        assert (types(report), report.dead) == (["dead_letters"], 1)

        async def down() -> Queued:
            raise DatabaseUnavailableError("it is away")

        monkeypatch.setattr(it.store.messages, "queued", down)
        await report.count()
        assert types(report) == ["dead_letters"]
        assert report.queued is None, "the number may be another one by now"
        monkeypatch.undo()
        await it.store.messages.discard((await it.dead())[0].id)
        await report.count()
        assert types(report) == []


async def test_a_queue_is_counted_beyond_what_is_in_memory(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(*(event(number) for number in range(20)))
        await wait_until(it.webhooks.queues.held, "they wait")
        report = health(it)
        assert [one.waiting for one in report.receivers] == [1], "what is held takes no memory"
        await report.count()
        [one] = report.receivers
        assert (one.session, one.waiting, one.late, one.oldest) == (None, 20, 0, None)


@pytest.mark.parametrize(
    ("refusal", "age", "expected"),
    [
        ("it is full", FAILING_FOR - 1, []),
        ("it is full", FAILING_FOR + 1, ["database_behind"]),
        (None, FAILING_FOR + 1, []),
        (None, JournalLimits().behind_age + 1, ["database_behind"]),
    ],
)
async def test_a_database_is_behind_when_it_fails_for_long_or_much_waits(
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: str | None,
    age: float,
    expected: list[str],
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.journal._writer.refusal = refusal
        monkeypatch.setattr(Backlog, "count", property(lambda _: 3))
        monkeypatch.setattr(Backlog, "age", property(lambda _: age))
        found = health(it).conditions()
        assert [one.type for one in found] == expected
        assert [one.since for one in found] == [1_000.0 - age] * len(expected)
        assert all((refusal or "") in one.message for one in found)


async def test_one_chat_that_the_receiver_cannot_digest_is_late_alone(
    receiver: Receiver, tmp_path: Path
) -> None:
    now = [1_000.0]
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url, wall=lambda: now[0]) as it:
        await it.stored(event(1))
        await wait_until(lambda: receiver.arrived, "it is on its way")
        now[0] += 301.0
        await it.stored(event(2, session="b"))
        report = health(it, wall=now[0])
        [one] = report.receivers
        assert (one.late, one.oldest, one.down_since) == (1, 1_000.0, None)
        assert types(report) == ["webhooks_late"]
        receiver.free.set()
        assert await it.drained()
        assert types(report) == []


async def test_what_was_decided_is_counted_and_is_no_condition(
    receiver: Receiver, tmp_path: Path
) -> None:
    async with gateway(tmp_path, receiver.url) as it:
        it.connections["a"] = AWAY
        await it.stored(event(1))
        await it.store.messages.dead_letter_pending(
            "by hand", Cause.REMOVED, endpoint=GLOBAL, limit=9
        )
        report = health(it)
        await report.count()
        assert (types(report), report.dead) == ([], 1)


async def test_what_the_database_alone_has_is_late(receiver: Receiver, tmp_path: Path) -> None:
    """Whatever the reason: a queue reads what comes behind the last id that it has read."""
    now = [1_000.0]
    async with gateway(tmp_path, receiver.url) as it:
        await it.stored(event(1), event(2))
        assert await it.drained()
        queue = it.queue()
        queue.state = replace(queue.state, reading=replace(queue.state.reading, tail=1_000))
        await it.stored(event(3))
        assert await it.webhooks.drain(10.0)
        report = MessageHealth(
            it.webhooks, it.journal, hold_limit=lambda: 900.0, ages=WallAges(lambda: now[0])
        )
        await report.count()
        now[0] += LATE_AFTER - 1.0
        await report.count()
        assert types(report) == [], "it may be read yet"
        now[0] += 1.0
        [found] = report.conditions()
        assert (found.type, found.since) == ("webhooks_late", 1_000.0)
        assert "in the database" in found.message
        assert "restart waguard" in found.remedy
        await queue.lose(None)
        assert await it.drained()
        await report.count()
        assert types(report) == []


async def test_what_is_held_or_follows_is_read_when_its_turn_comes(
    receiver: Receiver, tmp_path: Path
) -> None:
    now = [1_000.0]
    async with gateway(tmp_path, receiver.url, hold_limit=9_000.0) as it:
        it.connections["a"] = AWAY
        await it.stored(*(event(number) for number in range(20)))
        await wait_until(it.webhooks.queues.held, "they wait")
        report = MessageHealth(
            it.webhooks, it.journal, hold_limit=lambda: 9_000.0, ages=WallAges(lambda: now[0])
        )
        await report.count()
        now[0] += LATE_AFTER
        await report.count()
        assert [one.unread_since for one in report.receivers] == [None]
