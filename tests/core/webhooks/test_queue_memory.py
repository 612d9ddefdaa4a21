"""What of a delivery queue is in memory: admitted, read, dropped, read again, given up."""

from tests.core.webhooks.queues import Driven, item
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.facts import (
    Configured,
    Dropped,
    Expired,
    LoadPartition,
    NotYet,
    PartitionLoaded,
    ReadyExpected,
    Requeued,
    Save,
    Saved,
    SaveLater,
)
from waguard.core.webhooks.partition import MemoryWindow, PartitionStage
from waguard.core.webhooks.pending import Hold, Pending
from waguard.core.webhooks.retry_decision import Head
from waguard.core.webhooks.state import NOT_ANNOUNCED

KEY = ("a", "1@c.us")
AWAY = NotYet("away")


def read_on(count: int) -> tuple[Driven, list[Pending]]:
    """One chat with so many messages: the first five are delivered, what follows is being read."""
    rows = [item(n) for n in range(1, count + 1)]
    driven = Driven(*rows, window=MemoryWindow(partition=5))
    driven.poke()
    for number in range(1, 6):
        driven.deliver(number)
    assert driven.queue.partitions[KEY].stage is PartitionStage.READING
    return driven, rows


def reads(driven: Driven) -> list[tuple[int, int]]:
    """From which id to which one."""
    return [(it.after, it.until) for it in driven.effects if isinstance(it, LoadPartition)]


def notes(driven: Driven) -> list[int]:
    """Of which messages the database is to know that they are held."""
    saved = [it.result for it in driven.effects if isinstance(it, Save | SaveLater)]
    return [it.id for it in saved if isinstance(it, Hold) and it.since is not None]


def test_what_comes_while_its_partition_is_read_waits_behind_that() -> None:
    driven, rows = read_on(8)
    driven.poke(item(9))
    assert (reads(driven), driven.in_flight) == ([(5, 8)], [])
    driven.post(PartitionLoaded(key=KEY, found=tuple(rows[5:8]), until=8, whole=True))
    for number in range(6, 9):
        driven.deliver(number)
    assert reads(driven) == [(5, 8), (8, 9)]
    assert driven.queue.count == 0


def test_what_is_queued_again_while_it_is_read_is_read_from_its_beginning() -> None:
    driven, rows = read_on(8)
    driven.post(Requeued(key=KEY, newest=3))
    driven.post(PartitionLoaded(key=KEY, found=tuple(rows[5:8]), until=8, whole=True))
    assert (reads(driven), driven.in_flight) == ([(5, 8), (0, 8)], [])


def test_a_newer_event_of_a_session_leaves_out_the_older_ones_alone() -> None:
    driven = Driven()
    driven.poke(item(1, "", event="session_authenticated"))
    driven.poke(item(2, "", event="other"), item(3, "", event="qr_code_generated"))
    driven.poke(item(4, "", event="session_ready"))
    partition = driven.queue.partitions["a", ""]
    assert [it.id for it in partition.waiting] == [1, 2, 4]
    assert driven.in_flight == [1]


def test_what_follows_is_read_part_by_part() -> None:
    driven, rows = read_on(12)
    driven.post(PartitionLoaded(key=KEY, found=tuple(rows[5:10]), until=12, whole=False))
    for number in range(6, 11):
        driven.deliver(number)
    assert reads(driven) == [(5, 12), (10, 12)]


def test_where_nothing_follows_the_partition_is_gone() -> None:
    driven, _ = read_on(8)
    driven.post(PartitionLoaded(key=KEY, found=(), until=8, whole=True))
    assert driven.queue.idle
    assert reads(driven) == [(5, 8)]


def test_a_message_after_the_first_reading_has_no_past() -> None:
    driven = Driven(uses_lookup=True)
    driven.poke()
    driven.poke(item(1))
    assert [it.lookup_first for it in driven.begun] == [False]
    assert driven.queue.partitions[KEY].head == Head()


# ---- dropped ----


def test_what_was_queued_before_is_dropped_and_counted_no_more() -> None:
    driven = Driven(item(1, "2@c.us"), *(item(n) for n in range(2, 6)), item(6, "", event="x"))
    driven.poke()
    assert driven.queue.count == 6
    driven.post(Dropped(session="a", before=4.0))
    kept = [it.id for partition in driven.queue.partitions.values() for it in partition.waiting]
    assert sorted({*kept} - {*driven.in_flight}) == [4, 5]
    assert driven.queue.count == len(kept)


def test_the_next_one_of_a_partition_whose_first_was_dropped_is_held_and_noted_again() -> None:
    driven = Driven(item(1), item(2))
    driven.poke()
    driven.answer(1, AWAY)
    driven.post(Dropped(session="a", before=2.0))
    driven.post(PartitionLoaded(key=KEY, found=(item(2),), until=2, whole=True))
    driven.answer(2, AWAY)
    assert notes(driven) == [1, 2]


def test_all_that_has_expired_is_dropped_but_for_what_is_in_flight() -> None:
    driven = Driven(*(item(n, event="message_sent") for n in range(1, 4)), item(4, "", event="x"))
    driven.poke()
    driven.post(Expired(before=3.0))
    assert [it.id for it in driven.queue.partitions[KEY].waiting] == [1, 3]
    driven.deliver(1)
    assert driven.queue.partitions[KEY].first.id == 3


def test_a_ready_that_has_expired_holds_no_message() -> None:
    driven = Driven(item(1, "", event="session_ready"), item(2))
    driven.poke()
    driven.answer(1, Answer(status=500))
    assert [it.why for it in driven.queue.all_held()] == [NOT_ANNOUNCED]
    driven.post(Expired(before=2.0))
    assert driven.in_flight == [2]
    assert not driven.queue.announced


# ---- read again ----


def test_a_held_partition_that_is_read_again_is_held_and_noted_again() -> None:
    driven = Driven(item(3))
    driven.poke()
    driven.answer(3, AWAY)
    driven.post(Requeued(key=KEY, newest=2))
    driven.post(PartitionLoaded(key=KEY, found=(item(2), item(3)), until=3, whole=True))
    driven.answer(2, AWAY)
    assert notes(driven) == [3, 2]


def test_what_was_sent_waits_too_until_its_partition_is_read_again() -> None:
    driven = Driven(item(5), item(6, event="message_sent"), uses_lookup=True)
    driven.poke()
    driven.post(Requeued(key=KEY, newest=2))
    driven.deliver(5, Answer(status=200, stored=True))
    assert (reads(driven), driven.in_flight) == ([(0, 6)], [])


def test_only_received_messages_are_dropped_and_never_the_one_in_flight() -> None:
    driven = Driven(*(item(n) for n in (1, 2)), item(3, event="message_sent"), item(4))
    driven.poke()
    driven.post(Dropped(session="a", before=100.0))
    assert [it.id for it in driven.queue.partitions[KEY].waiting] == [1, 3]
    assert driven.queue.count == 2
    driven.deliver(1)
    assert driven.in_flight == [3]


def test_what_was_held_begins_again_when_it_is_queued() -> None:
    driven = Driven(item(1))
    driven.poke()
    driven.answer(1, AWAY)
    assert driven.queue.partitions[KEY].held_since is not None
    driven.post(Requeued(key=KEY, newest=1))
    partition = driven.queue.partitions[KEY]
    assert (partition.held_since, partition.marked) == (None, False)


def test_a_ready_that_is_queued_is_not_called_off_with_one_that_was_expected() -> None:
    driven = Driven(item(1, "", event="session_ready"), item(2))
    driven.post(ReadyExpected(session="a", comes=True))
    driven.poke()
    driven.post(ReadyExpected(session="a", comes=False))
    assert driven.in_flight == [1], "the message waits for what is queued"
    driven.deliver(1)
    assert driven.in_flight == [2], "and goes when that is done"


def test_who_gets_no_session_ready_any_more_waits_for_none_but_one_that_is_queued() -> None:
    driven = Driven(item(1, "", "b", event="session_ready"), item(2, session="b"))
    driven.poke()
    driven.post(ReadyExpected(session="a"))
    driven.poke(item(3))
    assert driven.in_flight == [1]
    policy = driven.queue.policy
    driven.post(Configured(policy=policy, holds=True, uses_lookup=False, gets_ready=False))
    assert driven.in_flight == [1, 3]
    driven.deliver(1)
    assert sorted(driven.in_flight) == [2, 3]


def test_what_is_saved_of_a_partition_that_is_gone_does_no_harm() -> None:
    driven = Driven(item(1))
    driven.poke()
    driven.deliver(1)
    driven.post(Saved(key=KEY, id=1))
    assert driven.queue.idle


def test_outdated_events_leave_the_count_of_what_is_in_memory_right() -> None:
    driven = Driven()
    driven.poke(item(1, "", event="session_authenticated"))
    driven.poke(item(2, "", event="qr_code_generated"))
    driven.poke(item(3, "", event="session_ready"))
    waiting = sum(len(it.waiting) for it in driven.queue.partitions.values())
    assert driven.queue.count == waiting == 2


def test_a_changed_configuration_counts_from_the_next_attempt_on() -> None:
    driven = Driven(item(1), item(2, "2@c.us"))
    driven.poke()
    assert driven.in_flight == [2], "one of a session at a time, as it calls back"
    driven.post(
        Configured(policy=driven.queue.policy, holds=False, uses_lookup=False, gets_ready=True)
    )
    driven.poke(item(3, "3@c.us"))
    assert driven.in_flight == [2, 3]
