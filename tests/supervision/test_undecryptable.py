"""A session's messages that cannot be decrypted yet: looked up, shown, and given up."""

from typing import Any

import pytest

from tests.supervision.bench import PHONE, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.page_care import another, kinds
from tests.supervision.reports import message
from tests.supervision.sessions import heard, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.link import Link
from waguard.core.messages.undecryptable import (
    ADVISE_AFTER,
    AT_ONCE,
    KEPT_FOR,
    MOST,
    RETRY,
    Waiting,
)
from waguard.core.page_care import Kind
from waguard.errors import DatabaseUnavailableError
from waguard.profile import owner_mark
from waguard.wire.calls import Failed, Reread, Value
from waguard.wire.events import Undecryptable

CHAT = "49170@c.us"
HOUR = 3_600.0


def sealed(number: int = 1, **more: Any) -> Undecryptable:
    reported: dict[str, Any] = {
        "id": f"false_{CHAT}_{number}",
        "chat": CHAT,
        "sender": CHAT,
        "timestamp": int(START),
    }
    return Undecryptable(**(reported | more))


def asked(process: FakeProcess) -> list[tuple[str, ...]]:
    return [call.ids for call in process.calls if isinstance(call, Reread)]


async def tick(bench: Bench, seconds: float = 0.0) -> None:
    """Time passes, and the worker was heard all the time."""
    bench.world.clock.advance(seconds)
    session = bench.session()
    heard(session)
    bench.it.watchdog._watched_at = None  # nobody stood still
    await bench.it.watchdog.watch()
    await wait_until(lambda: not session.traffic.undecryptable._busy, "what is due is done")


async def remembers(bench: Bench, *some: Undecryptable) -> FakeProcess:
    """A session that is connected, and was told of them."""
    process = await bench.connected()
    await tick(bench)
    for one in some:
        process.event(one)
    await wait_until(lambda: len(process.stored) == len(some), "they are stored")
    await tick(bench)
    assert bench.session().traffic.undecryptable.count == len(some)
    return process


def answers(process: FakeProcess, found: str) -> None:
    """What the worker says of each."""

    async def answer(call: Any) -> Any:
        if isinstance(call, Reread):
            return Value(found=dict.fromkeys(call.ids, found))
        return Value()

    process.script.answer = answer


async def test_an_undecryptable_message_is_counted_and_searched_hourly_and_at_each_connect(
    empty: Bench, world: World
) -> None:
    process = await remembers(empty, sealed(1), sealed(2))
    ids = (f"false_{CHAT}_1", f"false_{CHAT}_2")
    view = await empty.it.sessions.view("s")
    assert (view.undecryptable, view.undecryptable_since) == (2, world.clock.wall())
    assert (view.status, view.degraded, view.conditions) == ("connected", None, ())
    assert asked(process) == [ids]
    await tick(empty, HOUR - 1)
    assert asked(process) == [ids]
    await tick(empty, 1)
    assert asked(process) == [ids] * 2
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await tick(empty, 2 * HOUR)
    assert asked(process) == [ids] * 2
    process.report(phone=PHONE)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    await tick(empty)
    assert asked(process) == [ids] * 3


async def test_a_restart_of_its_worker_and_another_daemon_search_it(
    empty: Bench, world: World
) -> None:
    first = await remembers(empty, sealed())
    first.exit(1)
    await another(empty, first)
    await tick(empty)
    assert asked(empty.process()) == [(f"false_{CHAT}_1",)]
    assert world.names("message_received") == []


async def test_one_that_can_be_read_is_marked_as_late_and_counted_no_more(
    empty: Bench, world: World
) -> None:
    process = await remembers(empty, sealed(1), sealed(2))
    process.event(message(1))
    await wait_until(lambda: world.names("message_received"), "it is told")
    (reported,) = world.events("message_received")
    assert reported.data["message"]["backfilled"] is True
    await tick(empty)
    assert empty.session().traffic.undecryptable.count == 1
    process.event(message(3))
    await wait_until(lambda: len(world.names("message_received")) == 2, "it is told")
    assert world.events("message_received")[1].data["message"]["backfilled"] is False


async def test_one_that_can_be_read_at_once_is_marked_too(empty: Bench, world: World) -> None:
    process = await empty.connected()
    await tick(empty)
    process.event(sealed(1))
    process.event(message(1))
    await wait_until(lambda: world.names("message_received"), "it is told")
    (reported,) = world.events("message_received")
    assert reported.data["message"]["backfilled"] is True
    await tick(empty)
    assert empty.session().traffic.undecryptable.count == 0


async def test_one_that_waits_for_the_database_is_counted_when_it_is_stored(
    empty: Bench, world: World
) -> None:
    process = await empty.connected()
    world.inbox.free.clear()
    process.event(sealed(1))
    await wait_until(lambda: world.inbox.waiting, "it waits")
    await tick(empty)
    assert empty.session().traffic.undecryptable.count == 0
    world.inbox.store()
    world.inbox.free.set()
    await tick(empty)
    assert empty.session().traffic.undecryptable.count == 1


async def test_what_is_no_message_is_forgotten(empty: Bench, world: World) -> None:
    process = await empty.connected()
    answers(process, "no_message")
    process.event(sealed())
    await wait_until(lambda: process.stored, "it is stored")
    await tick(empty)
    await tick(empty)
    assert empty.session().traffic.undecryptable.count == 0
    assert (world.inbox.undecrypted, world.inbox.given_up) == ({}, [])


async def test_many_are_asked_for_in_parts(empty: Bench, world: World) -> None:
    process = await empty.connected()
    for number in range(AT_ONCE + 1):
        one = Waiting(message_id=f"false_{CHAT}_{number:04}", since=world.clock.wall() + number)
        world.inbox.undecrypted["s", one.message_id] = one
    empty.session().traffic.undecryptable._is_stale = True
    await tick(empty)
    assert [len(ids) for ids in asked(process)] == [AT_ONCE, 1]


async def test_an_undecryptable_message_is_reported_after_a_day_and_when_it_is_over(
    empty: Bench, world: World
) -> None:
    process = await remembers(empty, sealed())
    since = world.clock.wall()
    await tick(empty, ADVISE_AFTER - 1)
    assert kinds(empty) == []
    await tick(empty, 1)
    assert kinds(empty) == [Kind.UNDECRYPTABLE]
    (condition,) = (await empty.it.sessions.view("s")).conditions
    assert condition.since == since
    assert "1 message cannot be decrypted" in condition.message
    assert "phone" in condition.remedy
    assert empty.it.health.read().conditions == (condition,)
    process.event(message(1))
    await wait_until(lambda: world.names("message_received"), "it is told")
    await tick(empty)
    await tick(empty)
    assert kinds(empty) == []
    await empty.until_written()
    (incident,) = fold([e for e in world.store.entries if "undecryptable" in e.kind])
    assert incident.ended is not None


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ("undecryptable", "could not decrypt it within 14 days"),
        ("gone", "does not show it any more"),
    ],
)
async def test_on_day_fifteen_it_is_a_dead_letter_and_an_incident(
    empty: Bench, world: World, found: str, why: str
) -> None:
    process = await empty.connected()
    answers(process, found)
    process.event(sealed())
    await wait_until(lambda: process.stored, "it is stored")
    await tick(empty)
    await tick(empty, KEPT_FOR - 1)
    assert world.inbox.given_up == []
    count = len(asked(process))
    await tick(empty, 1)
    ((message_id, said),) = world.inbox.given_up
    assert message_id == f"false_{CHAT}_1"
    assert said.endswith(why)
    assert empty.session().traffic.undecryptable.count == 0
    await tick(empty, HOUR)
    assert len(asked(process)) == count
    await empty.until_written()
    (entry,) = [e for e in world.store.entries if e.kind == "undecryptable_given_up"]
    assert entry.evidence == {"messages": [message_id]}
    reported = " ".join(sentences(fold([entry])[0]))
    assert "1 message is lost to the application" in reported
    assert "waguard webhooks list --state undecryptable" in reported
    assert [event.data["kind"] for event in world.events("incident")][-1] == entry.kind


async def test_a_session_that_is_down_gives_them_up_too(empty: Bench, world: World) -> None:
    await remembers(empty, sealed())
    await empty.it.sessions.stop("s")
    await tick(empty, KEPT_FOR)
    assert [message_id for message_id, _ in world.inbox.given_up] == [f"false_{CHAT}_1"]


async def test_too_many_are_too_many_and_the_oldest_go(empty: Bench, world: World) -> None:
    await empty.connected()
    for number in range(MOST + 3):
        one = Waiting(message_id=f"false_{CHAT}_{number:04}", since=world.clock.wall() + number)
        world.inbox.undecrypted["s", one.message_id] = one
    empty.session().traffic.undecryptable._is_stale = True
    await tick(empty)
    assert [message_id for message_id, _ in world.inbox.given_up] == [
        f"false_{CHAT}_000{number}" for number in range(3)
    ]
    assert empty.session().traffic.undecryptable.count == MOST
    await empty.until_written()
    assert len(world.audited("undecryptable_given_up")) == 1


async def test_none_from_before_the_pairing_is_remembered(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_mark, "paired_at", lambda _: START + 0.5)
    process = await remembers(empty, sealed(2))
    process.event(sealed(1, timestamp=int(START) - 1))
    seq = process.event(message(3))
    await wait_until(lambda: process.stored[-1:] == [seq], "it is stored")
    await tick(empty)
    assert list(world.inbox.undecrypted) == [("s", f"false_{CHAT}_2")]


async def test_none_is_from_before_a_pairing_that_is_still_to_come(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock was ahead at it."""
    monkeypatch.setattr(owner_mark, "paired_at", lambda _: START + 7 * HOUR)
    process = await remembers(empty, sealed(1))
    assert list(world.inbox.undecrypted) == [("s", f"false_{CHAT}_1")]
    await wait_until(lambda: asked(process), "it is searched")


async def test_after_a_pairing_what_came_since_is_searched_at_once(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statuses, and what is older, only when the quiet after it is over."""
    paired = world.clock.wall() - 5.0
    monkeypatch.setattr(owner_mark, "paired_at", lambda _: paired)
    process = await empty.connected()
    since, older, status = f"false_{CHAT}_1", f"false_{CHAT}_2", "false_status@broadcast_3"
    for message_id, at in ((older, paired - 60.0), (since, paired + 1.0), (status, paired + 2.0)):
        one = Waiting(message_id=message_id, since=at)
        world.inbox.undecrypted["s", message_id] = one
    empty.session().traffic.undecryptable._is_stale = True
    await tick(empty)
    assert asked(process) == [(since,)]
    await tick(empty, 590)
    assert asked(process) == [(since,)]
    await tick(empty, 10)
    assert asked(process)[1:] == [(older, since, status)]
    await tick(empty, HOUR - 1)
    assert len(asked(process)) == 2


async def test_what_was_gone_is_so_until_it_is_searched_again(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only another one is looked up within the quiet after a new pairing."""
    paired: list[float] = []
    monkeypatch.setattr(owner_mark, "paired_at", lambda _: paired[-1] if paired else None)
    process = await empty.connected()
    answers(process, "gone")
    older, since, began = f"false_{CHAT}_1", f"false_{CHAT}_2", world.clock.wall()
    for message_id, at in ((older, began), (since, began + 20.0)):
        one = Waiting(message_id=message_id, since=at)
        world.inbox.undecrypted["s", message_id] = one
    empty.session().traffic.undecryptable._is_stale = True
    await tick(empty, 30.0)
    paired.append(began + 10.0)
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    process.report(phone=PHONE)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    await tick(empty)
    assert asked(process) == [(older, since), (since,)]
    await empty.it.sessions.stop("s")
    await tick(empty, KEPT_FOR)
    assert [message_id for message_id, _ in world.inbox.given_up] == [older, since]
    assert all(why.endswith("does not show it any more") for _, why in world.inbox.given_up)


async def test_what_fails_is_tried_again(empty: Bench, world: World) -> None:
    process = await remembers(empty, sealed())

    async def not_ready(_: Any) -> Any:
        return Failed(kind="not_ready", error="the page is loading")

    process.script.answer = not_ready
    await tick(empty, HOUR)
    assert len(asked(process)) == 2
    answers(process, "undecryptable")
    await tick(empty, RETRY - 1)
    assert len(asked(process)) == 2
    await tick(empty, 1)
    assert len(asked(process)) == 3
    world.inbox.error = DatabaseUnavailableError("down", retry_after=1.0)
    process.event(sealed(2))
    await wait_until(lambda: len(process.stored) == 2, "it is stored")
    await tick(empty)
    assert empty.session().traffic.undecryptable.count == 1
    world.inbox.error = None
    await tick(empty, RETRY)
    assert empty.session().traffic.undecryptable.count == 2
