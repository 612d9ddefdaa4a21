"""What a delivery queue promises, fact by fact."""

from itertools import pairwise

import pytest

from tests.core.webhooks.queues import Driven, chats, item, with_policy
from waguard.core.replace import replace
from waguard.core.webhooks.circuit import Circuit
from waguard.core.webhooks.delivery import Answer, Cause
from waguard.core.webhooks.facts import (
    Answered,
    Closed,
    DeadLettered,
    Dropped,
    Ending,
    Expired,
    Fact,
    GivenUp,
    Load,
    Loaded,
    LoadPartition,
    Lookup,
    LookupDone,
    NotYet,
    PartitionLoaded,
    Poked,
    ReadyExpected,
    Released,
    Repaired,
    Requeued,
    Save,
    Saved,
    SaveLater,
)
from waguard.core.webhooks.partition import MemoryWindow, PartitionStage
from waguard.core.webhooks.pending import DeliveryResult, Hold, Pending
from waguard.core.webhooks.receiver import Receiver
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.state import CONCURRENT, Reading

BAD = Answer(status=500)
BUG = Answer(error="a bug in waguard", bug=True)
UNSTORED = Answer(status=200, stored=False, content="a chat of 9 characters")
SILENT = Answer(error="no answer in time", stored=False)


def saved(driven: Driven) -> list[DeliveryResult | Hold]:
    return [it.result for it in driven.effects if isinstance(it, Save | SaveLater)]


# ---- the order in which partitions are tried ----


def test_the_newest_and_the_oldest_in_turn() -> None:
    driven = Driven(*chats(20))
    driven.poke()
    assert driven.in_flight == [20, 1, 19, 2, 18, 3, 17, 4]


def test_one_that_has_failed_before_has_every_third_place() -> None:
    driven = Driven(*chats(12), *chats_failed(12, 4))
    driven.poke()
    assert [n for n in driven.in_flight if n > 12] == [13, 14]
    assert driven.in_flight[2] == 13


def chats_failed(after: int, count: int) -> list[Pending]:
    return [
        item(after + n + 1, f"{after + n}@c.us", session=f"s{after + n}", attempts=1)
        for n in range(count)
    ]


def test_a_chat_is_in_order_and_one_at_a_time() -> None:
    driven = Driven(*(item(n) for n in range(1, 5)))
    driven.poke()
    for number in range(1, 5):
        assert driven.in_flight == [number]
        driven.answer(number)
        assert driven.in_flight == [], "the next one waits until the database knows"
        driven.save()
    assert driven.queue.idle


def test_few_are_delivered_without_being_saved() -> None:
    driven = Driven(*chats(50))
    driven.poke()
    while driven.begun:
        driven.answer(driven.in_flight[0])
    assert driven.queue.unsaved == 2 * CONCURRENT - 1
    driven.save()
    assert driven.queue.unsaved == 0
    assert len(driven.begun) == CONCURRENT


def test_nothing_is_begun_while_results_cannot_be_written() -> None:
    driven = Driven(*chats(5))
    driven.can_write = False
    driven.poke()
    assert driven.in_flight == []
    driven.can_write = True
    driven.post(Poked())
    assert len(driven.in_flight) == 5


# ---- one message of a session at a time ----


def test_nothing_waits_for_a_turn_that_nobody_else_has() -> None:
    driven = Driven(*(item(n, f"{n}@c.us") for n in range(1, 5)))
    driven.poke()
    assert len(driven.in_flight) == 1
    [first] = driven.in_flight
    others = [key for key, it in driven.queue.partitions.items() if it.stage is PartitionStage.TURN]
    assert len(others) == 3
    # the one whose turn would be next vanishes, and then the one in flight ends
    driven.post(Dropped(session="a", before=2.5))
    driven.deliver(first)
    while driven.begun:
        driven.deliver(driven.in_flight[0])
    assert driven.queue.idle
    assert not driven.queue.turns
    assert not driven.queue.following


def test_nothing_waits_for_a_turn_once_its_session_is_known_to_be_away() -> None:
    driven = Driven(*(item(n, f"{n}@c.us") for n in range(1, 5)))
    driven.poke()
    driven.answer(driven.in_flight[0], NotYet("not connected"))
    assert {it.stage for it in driven.queue.partitions.values()} == {PartitionStage.HELD}


def test_sessions_do_not_wait_for_each_other() -> None:
    driven = Driven(*(item(n, f"{n}@c.us", session="ab"[n % 2]) for n in range(1, 7)))
    driven.poke()
    assert {it.item.session_id for it in driven.begun} == {"a", "b"}
    assert len(driven.begun) == 2


def test_with_lookups_a_session_has_all_places() -> None:
    driven = Driven(*(item(n, f"{n}@c.us") for n in range(1, 20)), uses_lookup=True)
    driven.poke()
    assert len(driven.in_flight) == CONCURRENT


# ---- what waits for its session ----


def test_the_first_of_a_session_is_noted_and_the_others_are_not() -> None:
    driven = Driven(item(1), item(2, "2@c.us"), item(3, "2@c.us"))
    driven.poke()
    driven.answer(driven.in_flight[0], NotYet("it is away"))
    assert driven.in_flight == []
    [note] = saved(driven)
    assert isinstance(note, Hold)
    assert note.since == driven.at
    held = {it.key[1]: it.why for it in driven.queue.all_held()}
    assert held == {"1@c.us": "it is away", "2@c.us": "it is away"}
    driven.effects.clear()
    driven.post(Released(session="a"))
    assert saved(driven) == [Hold(note.id, note.event_id, None)]
    assert len(driven.in_flight) == 1


def test_a_moment_is_not_noted() -> None:
    driven = Driven(item(1))
    driven.poke()
    driven.answer(1, NotYet("a moment", brief=True))
    assert saved(driven) == []
    driven.post(Released(session="a"))
    assert driven.in_flight == [1]


def test_messages_wait_for_a_session_ready_that_is_to_come() -> None:
    driven = Driven()
    driven.poke()
    driven.post(ReadyExpected(session="a"))
    driven.poke(item(1))
    assert driven.in_flight == []
    ready = item(2, "", event="session_ready")
    driven.poke(ready)
    assert driven.in_flight == [2]
    driven.deliver(2)
    assert driven.in_flight == [1]


def test_a_hold_of_an_earlier_daemon_is_kept_until_it_ends() -> None:
    driven = Driven(item(1, held_since=7.0))
    driven.poke()
    driven.answer(1, NotYet("away"))
    assert [it.held_since for it in driven.queue.all_held()] == [7.0]
    assert saved(driven) == []


# ---- memory ----


def test_what_follows_is_read_by_its_partition() -> None:
    rows = [item(n) for n in range(1, 31)]
    driven = Driven(*rows, window=MemoryWindow(memory=100, partition=5, read=10))
    driven.poke()
    assert driven.queue.count == 5
    for number in range(1, 6):
        driven.deliver(number)
    [read] = [it for it in driven.effects if isinstance(it, LoadPartition)]
    assert (read.after, read.until) == (5, 30)
    found = tuple(rows[5:10])
    driven.post(PartitionLoaded(key=read.key, found=found, until=30, whole=False))
    assert driven.in_flight == [6]


def test_what_was_dead_is_before_what_waits() -> None:
    driven = Driven(item(5), item(6))
    driven.poke()
    assert driven.in_flight == [5]
    driven.post(Requeued(key=("a", "1@c.us"), newest=2))
    driven.deliver(5)
    [read] = [it for it in driven.effects if isinstance(it, LoadPartition)]
    assert (read.after, read.until) == (0, 6)
    rows = (item(2), item(6))
    driven.post(PartitionLoaded(key=read.key, found=rows, until=6, whole=True))
    assert driven.in_flight == [2]
    driven.deliver(2)
    assert driven.in_flight == [6]


def test_a_partition_that_is_not_known_is_read_when_it_is_queued_again() -> None:
    driven = Driven(item(9, "9@c.us"))
    driven.poke()
    driven.post(Requeued(key=("b", "2@c.us"), newest=3))
    [read] = [it for it in driven.effects if isinstance(it, LoadPartition)]
    assert (read.key, read.after, read.until) == (("b", "2@c.us"), 0, 3)


@pytest.mark.parametrize(
    ("fact", "reading"),
    [
        (Poked(), []),
        (Loaded(found=(), whole=True), [Load(after=0, limit=MemoryWindow().read)]),
    ],
    ids=["it is being read", "what came meanwhile is read next"],
)
def test_one_reads_at_a_time(fact: Fact, reading: list[Load]) -> None:
    driven = Driven()
    driven.queue = replace(driven.queue, reading=Reading(loading=True, more=True))
    driven.post(fact)
    assert [it for it in driven.effects if isinstance(it, Load)] == reading


@pytest.mark.parametrize("attempts", [0, 1])
def test_what_waits_for_the_circuit_begins_when_it_lets_one_through(attempts: int) -> None:
    driven = Driven()
    driven.poke()
    circuit = Circuit(opened_until=driven.at + 10.0, trips=1)
    driven.queue = replace(driven.queue, receiver=Receiver(circuit=circuit))
    driven.post(Poked())
    nothing_waits = driven.queue
    assert nothing_waits.wake is None
    driven.poke(item(1, attempts=attempts), item(2, "2@c.us", session="b", attempts=attempts))
    assert (driven.in_flight, driven.queue.wake) == ([], driven.at + 10.0)
    driven.pass_time(10.0)
    assert len(driven.in_flight) == 1
    assert driven.queue.wake is None, "the other one waits for an answer"


# ---- whose fault it is ----


def test_one_message_alone_is_its_own_fault_after_three_refusals() -> None:
    driven = Driven(item(1), item(2, "2@c.us", session="b"), item(3, "2@c.us", session="b"))
    driven.poke()
    driven.answer(1, BAD)
    driven.deliver(2)
    driven.pass_time(100.0)
    driven.answer(1, BAD)
    driven.deliver(3)
    driven.pass_time(100.0)
    driven.answer(1, BAD)
    [dead] = [it for it in saved(driven) if isinstance(it, DeliveryResult) and it.cause]
    assert (dead.id, dead.cause, dead.attempts) == (1, Cause.REFUSED, 3)


def test_what_is_refused_alike_is_nobodys_fault_but_the_receivers() -> None:
    driven = Driven(*chats(12))
    driven.poke()
    tried = set()
    for _ in range(200):
        while driven.begun:
            tried.add(driven.in_flight[0])
            driven.answer(driven.in_flight[0], BAD)
        driven.pass_time(1.0)
    assert tried == set(range(1, 13)), "the heads of different chats are tried in turn"
    assert driven.queue.down
    assert not any(isinstance(it, DeliveryResult) and it.cause for it in saved(driven))
    driven.deliver(driven.in_flight[0])
    assert not driven.queue.down
    while driven.begun:
        driven.deliver(driven.in_flight[0])
        driven.pass_time(0.0)
    assert driven.queue.idle, "what was refused meanwhile has no pause left"


def tries(driven: Driven, seconds: float) -> list[float]:
    """When each began, for so long, while nobody listens."""
    end, found = driven.at + seconds, [driven.at]
    while True:
        while driven.in_flight:
            found.append(driven.at)
            driven.answer(driven.in_flight[0], Answer(error="connection refused", reached=False))
        wake = driven.queue.wake
        if wake is None or wake > end:
            return [*found, end]
        driven.pass_time(max(0.0, wake - driven.at))


def longest_gap(moments: list[float]) -> float:
    return max(later - one for one, later in pairwise(moments))


@pytest.mark.parametrize("count", [1, 3])
def test_a_receiver_that_is_away_is_tried_each_minute_also_after_a_restart(count: int) -> None:
    before = Driven(*chats(count), policy=DeliveryPolicy())
    before.poke()
    assert longest_gap(tries(before, 3_600.0)) <= 60.0
    assert before.queue.down
    after = Driven(*(it.first for it in before.queue.partitions.values()), policy=DeliveryPolicy())
    after.at = before.at
    after.poke()
    assert longest_gap(tries(after, 3_600.0)) <= 60.0
    assert after.queue.down


def test_the_only_chat_that_writes_while_the_receiver_is_away_waits_no_longer() -> None:
    driven = Driven(item(1, "1@c.us"), item(2, "2@c.us", session="b"), policy=DeliveryPolicy())
    driven.poke()
    driven.deliver(1)
    driven.deliver(2)
    driven.poke(item(3, "1@c.us"))
    assert longest_gap(tries(driven, 3_600.0)) <= 60.0


def test_what_was_refused_is_tried_at_once_when_the_settings_were_read_again() -> None:
    driven = Driven(item(1))
    driven.poke()
    driven.answer(1, Answer(status=401))
    assert driven.in_flight == []
    driven.post(Repaired())
    assert driven.in_flight == [1]


def test_the_only_chat_is_given_up_after_its_time() -> None:
    driven = Driven(item(1), policy=with_policy(only_chat=100.0))
    driven.poke()
    driven.answer(1, Answer(status=404))
    driven.pass_time(99.0)
    assert driven.in_flight == [1]


def test_what_is_behind_the_message_of_the_only_chat_has_a_time_of_its_own() -> None:
    driven = Driven(item(1), item(2))
    driven.poke()
    driven.pass_time(3_600.0)
    driven.long = driven.at - 3_600.0
    driven.deliver(1, BAD)
    driven.answer(2, BAD)
    dead = [it.item.id for it in driven.effects if isinstance(it, DeadLettered)]
    assert dead == [1], "the second was refused once"
    driven.pass_time(3_600.0)
    driven.long = driven.at - 3_600.0
    driven.answer(2, BAD)
    assert [it.item.id for it in driven.effects if isinstance(it, DeadLettered)] == [1, 2]


def test_what_is_behind_a_message_that_expired_was_tried_as_long() -> None:
    driven = Driven(item(1, tried_since=500.0), item(2))
    driven.poke()
    driven.expired = 500.0
    driven.answer(1, BAD)
    assert driven.queue.partitions["a", "1@c.us"].tried_since == 500.0


def test_bugs_of_ours_open_no_circuit_end_no_pause_and_have_nothing_expire() -> None:
    driven = Driven(*chats(9))
    driven.poke()
    for number in range(1, 10):
        driven.answer(number, BUG)
    assert driven.queue.receiver == Receiver()
    assert driven.in_flight == []
    driven.post(Repaired())
    assert driven.in_flight == [], "each keeps its own pause"
    driven.pass_time(1.0)
    assert len(driven.in_flight) == CONCURRENT
    driven.expired = driven.at
    driven.answer(driven.in_flight[0], BUG)
    assert sum(isinstance(it, DeadLettered) for it in driven.effects) == 1


# ---- accepted is not stored ----


def test_accepted_and_not_stored_is_tried_five_times_over_ten_minutes() -> None:
    driven = Driven(item(1), item(2, "2@c.us", session="b"), uses_lookup=True)
    driven.poke()
    began = driven.at
    driven.deliver(2, Answer(status=200, stored=True))
    for _ in range(4):
        driven.answer(1, UNSTORED)
        assert driven.in_flight == []
        while not driven.in_flight:
            driven.pass_time(5.0)
    driven.answer(1, UNSTORED)
    assert driven.at - began >= 600.0
    dead = saved(driven)[-1]
    assert isinstance(dead, DeliveryResult)
    assert dead.cause is Cause.UNSTORED
    assert "a chat of 9 characters" in (dead.error or "")


def test_where_nothing_is_stored_nothing_is_given_up() -> None:
    driven = Driven(*chats(10), uses_lookup=True)
    driven.poke()
    for _ in range(2_000):
        while driven.begun:
            driven.answer(driven.in_flight[0], UNSTORED)
        driven.pass_time(5.0)
    assert driven.queue.down
    assert not any(isinstance(it, DeliveryResult) and it.cause for it in saved(driven))


def test_a_2xx_to_something_else_does_not_end_a_spell_in_which_nothing_is_stored() -> None:
    ack = item(99, "99@c.us", session="z", event="message_read")
    driven = Driven(*chats(6), ack, uses_lookup=True)
    driven.poke()
    for number in range(1, 7):
        driven.answer(number, UNSTORED)
    driven.deliver(99)
    assert driven.queue.down


def test_stored_and_answered_with_an_error_is_listed_and_not_sent_again() -> None:
    driven = Driven(item(1), item(2), uses_lookup=True)
    driven.poke()
    driven.deliver(1, Answer(status=500, stored=True))
    [listed] = [it for it in driven.effects if isinstance(it, DeadLettered)]
    assert (listed.item.id, listed.stored) == (1, True)
    assert driven.in_flight == [2]


def test_no_reply_is_searched_before_it_is_sent_again() -> None:
    driven = Driven(item(1), uses_lookup=True)
    driven.poke()
    driven.answer(1, SILENT)
    lookups, began = 0, driven.at
    while not driven.in_flight:
        driven.pass_time(1.0)
        for it in [it for it in driven.effects if isinstance(it, Lookup)]:
            driven.effects.remove(it)
            lookups += 1
            driven.post(LookupDone(key=it.item.key, id=1, found=False))
    assert (lookups, driven.at - began) == (7, 60.0)


def test_what_is_being_searched_is_not_searched_twice() -> None:
    driven = Driven(item(1), uses_lookup=True)
    driven.poke()
    driven.answer(1, SILENT)
    driven.pass_time(100.0)
    driven.pass_time(100.0)
    assert sum(isinstance(it, Lookup) for it in driven.effects) == 1


def test_found_after_no_reply_is_delivered() -> None:
    driven = Driven(item(1), item(2), uses_lookup=True)
    driven.poke()
    driven.answer(1, SILENT)
    driven.pass_time(1.0)
    driven.post(LookupDone(key=("a", "1@c.us"), id=1, found=True))
    driven.save()
    assert driven.in_flight == [2]


def test_what_is_being_searched_is_neither_dropped_nor_read_again() -> None:
    driven = Driven(item(1), uses_lookup=True)
    driven.poke()
    driven.answer(1, SILENT)
    driven.post(Dropped(session="a", before=9.0))
    assert driven.post(Requeued(key=("a", "1@c.us"), newest=1)) == ()
    assert driven.queue.partitions["a", "1@c.us"].stage is PartitionStage.LOOKUP


def test_what_an_earlier_daemon_may_have_delivered_is_searched_first() -> None:
    ack = item(4, "4@c.us", event="message_read")
    driven = Driven(item(1), item(2), item(3, "status@broadcast"), ack, uses_lookup=True)
    driven.poke()
    assert {it.item.id: it.lookup_first for it in driven.begun} == {1: True, 3: False, 4: False}
    driven.deliver(1)
    assert [it.lookup_first for it in driven.begun if it.item.id == 2] == [False]


# ---- facts that come twice, late or out of turn ----


@pytest.mark.parametrize(
    "fact",
    [
        Answered(key=("a", "1@c.us"), id=2, outcome=BAD),
        Answered(key=("x", "1@c.us"), id=1, outcome=BAD),
        LookupDone(key=("a", "1@c.us"), id=1, found=True),
        Saved(key=("a", "1@c.us"), id=1),
        PartitionLoaded(key=("a", "1@c.us"), found=(), until=9, whole=True),
        PartitionLoaded(key=("x", "1@c.us"), found=(), until=9, whole=True),
        Released(session="a"),
        Dropped(session="a", before=1e9),
        Expired(before=1e9),
        GivenUp(ids=frozenset((1, 9))),
        ReadyExpected(session="a", comes=False),
    ],
    ids=lambda fact: repr(fact)[:40],
)
def test_a_fact_out_of_turn_does_no_harm(fact: object) -> None:
    driven = Driven(item(1))
    driven.poke()
    before = driven.queue
    driven.post(fact)  # type: ignore[arg-type]
    assert driven.queue == before


def test_a_commit_of_another_one_ends_nothing() -> None:
    driven = Driven(item(1))
    driven.poke()
    driven.answer(1)
    before = driven.queue
    driven.post(Saved(key=("a", "1@c.us"), id=2))
    assert driven.queue == before


def test_the_value_before_stays_as_it_was() -> None:
    driven = Driven(*(item(n, f"{n % 3}@c.us", session="ab"[n % 2]) for n in range(1, 30)))
    driven.poke()
    before, shown = driven.queue, repr(driven.queue)
    driven.answer(driven.in_flight[0], NotYet("away"))
    driven.post(Released(session="a"))
    driven.deliver(driven.in_flight[0])
    assert repr(before) == shown


def test_at_the_end_only_what_says_how_sessions_stand_is_begun() -> None:
    driven = Driven()
    driven.poke()
    driven.post(Ending())
    driven.poke(item(1), item(2, "", event="session_disconnected"))
    assert driven.in_flight == [2]
    driven.post(Closed())
    driven.poke(item(3, "", session="b", event="session_disconnected"))
    assert driven.in_flight == [2]


def test_with_one_that_is_given_up_all_that_were_tried_as_long_are() -> None:
    """At the end of a long outage, and the queue goes on with what came later."""
    driven = Driven(*chats(20, attempts=3, tried_since=500.0))
    driven.poke()
    flying = driven.in_flight
    driven.expired = 500.0
    driven.answer(flying[0], BAD)
    given_up = {it.id for it in saved(driven) if isinstance(it, DeliveryResult) and it.error}
    assert given_up == set(range(1, 21)) - set(flying[1:])
    assert driven.queue.in_flight == len(flying) - 1
    assert driven.queue.partitions.keys() >= {it.item.key for it in driven.begun}


# ---- what the daemon before a restore may have delivered ----


def test_what_may_have_been_delivered_before_a_restore_leaves_after_a_lookup() -> None:
    restored = [item(n, cause=Cause.RESTORED) for n in (2, 3)]
    driven = Driven(item(1), *restored, item(4), uses_lookup=True)
    driven.poke()
    firsts = []
    for number in (1, 2, 3, 4):
        firsts += [it.lookup_first for it in driven.begun]
        driven.deliver(number)
    assert firsts == [True, True, True, False]  # the first of a chat is looked up after each start


def test_without_a_lookup_it_waits_and_others_go() -> None:
    driven = Driven(item(1, cause=Cause.RESTORED), item(2, "2@c.us"))
    driven.poke()
    assert driven.in_flight == [2]
    driven.pass_time(60.0)
    assert driven.in_flight == [2]
    driven.rows[0] = item(1)  # a person has released it
    driven.post(Requeued(key=("a", "1@c.us"), newest=1))
    driven.post(PartitionLoaded(key=("a", "1@c.us"), found=(item(1),), whole=True, until=1))
    driven.deliver(2)
    assert driven.in_flight == [1]
