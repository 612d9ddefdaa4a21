"""What a delivery queue keeps from one fact to the next."""

from tests.core.webhooks.queues import POLICY, Driven, chats, item
from waguard.core.webhooks.delivery import SENT, Answer
from waguard.core.webhooks.facts import (
    Answered,
    Configured,
    LoadPartition,
    NotYet,
    PartitionLoaded,
    Released,
    Requeued,
    SaveLater,
)
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.pending import Hold, delivered
from waguard.core.webhooks.state import NOT_ANNOUNCED

KEY = ("a", "1@c.us")
AWAY = NotYet("not connected")


def notes(driven: Driven) -> list[Hold]:
    saved = [it.result for it in driven.effects if isinstance(it, SaveLater)]
    return [it for it in saved if isinstance(it, Hold)]


def test_old_ones_have_their_turn_also_one_at_a_time() -> None:
    driven = Driven(*chats(20))
    driven.poke()
    before = set(driven.in_flight)
    for number in list(driven.in_flight)[:4]:
        driven.deliver(number)
    assert 5 in set(driven.in_flight) - before


def test_what_may_be_tried_is_late_after_a_while() -> None:
    driven = Driven(item(1))
    driven.poke()
    assert (driven.queue.late(driven.at - 1.0), driven.queue.late(driven.at)) == (0, 1)


def test_what_was_queued_again_in_flight_is_read_when_it_is_refused() -> None:
    driven = Driven(item(2))
    driven.poke()
    driven.post(Requeued(key=KEY, newest=2))
    effects = driven.post(Answered(key=KEY, id=2, outcome=Answer(status=500)))
    assert [it.after for it in effects if isinstance(it, LoadPartition)] == [0]


def test_the_row_of_what_was_sent_is_searched_at_once() -> None:
    sent = item(1, event=SENT, next_at=1_003.0)
    for uses_lookup, begun in ((True, [1]), (False, [])):
        driven = Driven(sent, uses_lookup=uses_lookup)
        driven.poke()
        assert driven.in_flight == begun


def test_a_queue_that_reads_a_partition_is_not_quiet() -> None:
    driven = Driven(item(1), item(2), window=MemoryWindow(partition=1))
    driven.poke()
    driven.deliver(1)
    assert not driven.queue.quiet
    driven.post(PartitionLoaded(key=KEY, found=(item(2),), until=2, whole=True))
    driven.deliver(2)
    assert driven.queue.quiet


def test_what_is_held_is_known_by_its_first_alone() -> None:
    driven = Driven(item(1), item(2), item(3, "2@c.us"))
    driven.poke()
    first = driven.in_flight[0]
    driven.answer(first, AWAY)
    held = {it.key: it for it in driven.queue.all_held()}
    assert {it.held_since for it in held.values()} == {driven.at}
    assert [it.id for it in held[KEY].waiting] == [1]
    assert notes(driven) == [Hold(first, f"e{first}", driven.at)], "the first of a session alone"
    assert driven.queue.count == 2


def test_a_hold_that_has_ended_is_noted_again_when_it_begins_again() -> None:
    driven = Driven(item(1))
    driven.poke()
    driven.answer(1, AWAY)
    driven.post(Released(session="a"))
    assert driven.queue.partitions[KEY].held_since is None
    driven.at += 5.0
    driven.answer(1, AWAY)
    assert notes(driven) == [Hold(1, "e1", 1_000.0), Hold(1, "e1", None), Hold(1, "e1", 1_005.0)]


def test_what_waits_for_its_session_ready_waits_since_the_first_moment() -> None:
    """Each second its session, which is connected, is released."""
    driven = Driven(item(1, "", event="session_ready"), item(2))
    driven.poke()
    driven.answer(1, Answer(status=500))
    for _ in range(3):
        driven.at += 1.0
        driven.post(Released(session="a"))
    assert [it.held_since for it in driven.queue.all_held()] == [1_000.0]
    assert notes(driven) == [Hold(2, "e2", 1_000.0)]
    driven.pass_time(60.0)
    driven.deliver(1)
    assert driven.in_flight == [2]
    assert notes(driven) == [Hold(2, "e2", 1_000.0), Hold(2, "e2", None)]


def test_it_says_so_once_its_session_is_connected() -> None:
    driven = Driven(item(2))
    driven.poke()
    driven.answer(2, AWAY)
    driven.poke(item(3, "", event="session_ready"))
    driven.post(Released(session="a"))
    assert [it.why for it in driven.queue.all_held()] == [NOT_ANNOUNCED]


def test_where_no_receiver_calls_back_any_more_nothing_waits_for_a_session_ready() -> None:
    driven = Driven(item(1, "", event="session_ready"), item(2))
    driven.poke()
    driven.post(Configured(policy=POLICY, holds=False, uses_lookup=False, gets_ready=True))
    driven.post(Released(session="a"))
    assert driven.in_flight == [1, 2]


def test_what_a_newer_event_of_its_session_outdates_is_saved_as_left_out() -> None:
    codes = [item(number, "", event="qr_code_generated") for number in (1, 2, 3)]
    driven = Driven(*codes)
    driven.poke()
    saved = [it.result for it in driven.effects if isinstance(it, SaveLater)]
    assert saved == [delivered(item(1)), delivered(item(2))]
    assert driven.in_flight == [3]
