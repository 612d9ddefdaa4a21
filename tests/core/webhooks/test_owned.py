"""Sessions of a cluster come to a delivery queue and leave it, while it reads, delivers and saves."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.core.webhooks.queues import OK, POLICY, item
from waguard.core.webhooks.delivery import READY, Answer
from waguard.core.webhooks.facts import (
    Acquired,
    Answered,
    Attempt,
    Effect,
    Fact,
    Leaving,
    Load,
    Loaded,
    LoadPartition,
    LoadSession,
    Lost,
    NotYet,
    Now,
    PartitionLoaded,
    Poked,
    ReadyExpected,
    Released,
    Requeued,
    Save,
    Saved,
    SessionLoaded,
    TimerDue,
)
from waguard.core.webhooks.owned import all_here
from waguard.core.webhooks.partition import MemoryWindow, PartitionStage
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.queue import advance
from waguard.core.webhooks.state import NOT_ANNOUNCED, Owned, Queue


@dataclass
class Host:
    """A queue, and what it wants done, which a test does when it likes."""

    rows: dict[int, Pending] = field(default_factory=dict)
    queue: Queue = field(
        default_factory=lambda: Queue(
            policy=POLICY, window=MemoryWindow(memory=6, partition=3, read=4), owned=all_here(())
        )
    )
    open: list[Effect] = field(default_factory=list)
    sent: list[Pending] = field(default_factory=list)
    """What the receiver has taken, in order."""
    at: float = 1_000.0

    def post(self, fact: Fact) -> None:
        now = Now(at=self.at, wall=self.at)
        self.queue, effects = advance(self.queue, fact, now)
        wanted = (Attempt, Load, LoadPartition, LoadSession, Save)
        self.open.extend(it for it in effects if isinstance(it, wanted))
        self.consistent()

    def insert(self, *rows: Pending) -> None:
        self.rows |= {row.id: row for row in rows}

    def acquire(self, *sessions: str) -> None:
        for session in sessions:
            self.post(Acquired(session=session))
        self.post(Poked())

    def lose(self, session: str) -> None:
        """As the shell: what was under way for it is cut off, but for writes."""
        self.post(Lost(session=session))
        self.open = [it for it in self.open if isinstance(it, Save) or _session(it) != session]

    def _found(self, after: int, limit: int, **which: Any) -> tuple[Pending, ...]:
        ids = sorted(it for it in self.rows if it > after)
        rows = (self.rows[it] for it in ids)
        fits = [row for row in rows if all(getattr(row, name) == it for name, it in which.items())]
        return tuple(fits[:limit])

    def answer(self, effect: Effect, outcome: Any = OK) -> None:
        """One of the open ones ends."""
        self.open.remove(effect)
        match effect:
            case Load(after=after, limit=limit):
                found = self._found(after, limit)
                self.post(Loaded(found=found, whole=len(found) < limit))
            case LoadSession(session=session, after=after, limit=limit):
                found = self._found(after, limit, session_id=session)
                whole = len(found) < limit
                self.post(SessionLoaded(session=session, after=after, found=found, whole=whole))
            case LoadPartition(key=key, after=after, until=until, limit=limit):
                found = self._found(after, limit, key=key)
                found = tuple(it for it in found if it.id <= until)
                whole = len(found) < limit
                self.post(PartitionLoaded(key=key, found=found, until=until, whole=whole))
            case Attempt(item=it):
                if isinstance(outcome, Answer) and outcome.accepted:
                    self.sent.append(it)
                self.post(Answered(key=it.key, id=it.id, outcome=outcome))
            case Save(key=key, result=result):
                if result.error is None:
                    self.rows.pop(result.id, None)
                self.post(Saved(key=key, id=result.id))
            case _:
                raise AssertionError(effect)

    def run(self) -> None:
        """Until nothing is to be done."""
        while self.open:
            self.answer(self.open[0])

    def consistent(self) -> None:
        """What is counted is what there is."""
        queue, stages = self.queue, [it.stage for it in self.queue.partitions.values()]
        assert queue.count == sum(len(it.waiting) for it in queue.partitions.values())
        assert queue.in_flight == stages.count(PartitionStage.IN_FLIGHT)
        assert queue.unsaved == stages.count(PartitionStage.SAVING)
        assert queue.reading.partitions == stages.count(PartitionStage.READING)
        assert queue.owned is not None
        sessions = {key[0] for key in queue.partitions}
        for some in (queue.held, queue.turns, queue.handled, queue.announced, queue.following):
            sessions |= set(some)
        assert sessions <= set(queue.owned), "nothing is left of a session that is lost"


def _session(effect: Effect) -> str | None:
    match effect:
        case LoadSession(session=session):
            return session
        case LoadPartition(key=key):
            return key[0]
        case Attempt(item=it):
            return it.session_id
        case _:
            return None


def numbers(rows: list[Pending]) -> list[int]:
    return [it.id for it in rows]


def test_a_session_is_read_from_its_first_webhook_on_whatever_was_read_before() -> None:
    host = Host()
    host.insert(item(5, session="b"))
    host.acquire("b")
    host.run()
    assert numbers(host.sent) == [5]
    host.insert(*(item(number) for number in (1, 2, 3)), item(7))
    host.acquire("a")
    host.run()
    assert numbers(host.sent) == [5, 1, 2, 3, 7]
    assert host.queue.idle


def test_what_the_common_reading_meets_meanwhile_waits_for_what_is_older() -> None:
    host = Host()
    host.acquire("b")
    host.run()
    host.insert(item(1))
    host.acquire("a")
    assert not host.queue.idle
    assert not host.queue.quiet
    [by_itself, common] = sorted(host.open, key=lambda it: isinstance(it, Load))
    host.answer(by_itself)  # the last one as far as this reading sees
    host.insert(item(2))
    host.run()
    host.post(Poked())
    host.run()
    assert numbers(host.sent) == [1, 2]
    assert isinstance(common, Load)


def test_what_came_after_its_own_reading_and_was_met_by_the_common_one_is_not_left_out() -> None:
    host = Host()
    host.acquire("b")
    host.run()
    host.post(Acquired(session="a"))
    [by_itself] = host.open
    assert isinstance(by_itself, LoadSession)
    found = SessionLoaded(session="a", after=0, found=(), whole=True)  # read, and not said yet
    host.insert(item(1))
    host.post(Poked())
    host.answer(next(it for it in host.open if isinstance(it, Load)))
    host.open.remove(by_itself)
    assert not host.queue.idle
    assert not host.queue.quiet
    host.post(found)
    host.run()
    assert numbers(host.sent) == [1]


@pytest.mark.parametrize("has_read", [True, False])
def test_what_its_own_reading_has_taken_is_not_taken_again_from_a_common_one_that_is_late(
    *, has_read: bool
) -> None:
    host = Host()
    if has_read:
        host.post(Poked())
        host.run()
    host.insert(item(1))
    host.post(Acquired(session="a"))
    host.post(Poked())
    [common] = [it for it in host.open if isinstance(it, Load)]
    host.open.remove(common)
    late = Loaded(found=(host.rows[1],), whole=True)  # read, and not said yet
    host.run()
    assert numbers(host.sent) == ([1] if has_read else []), "the first common reading is awaited"
    host.post(late)
    host.insert(item(2))
    host.post(Poked())
    host.run()
    assert numbers(host.sent) == [1, 2]


def test_nothing_of_a_session_begins_before_its_session_ready_is_known() -> None:
    host = Host()
    host.insert(*(item(number, chat=f"{number}@c.us") for number in range(1, 9)))
    host.insert(item(9, "", event=READY))
    host.acquire("a")
    host.run()
    assert numbers(host.sent)[0] == 9
    assert sorted(numbers(host.sent)) == list(range(1, 10))


def test_holds_and_attempts_of_the_owner_before_count_on() -> None:
    host = Host()
    host.queue = Queue(policy=POLICY, owned=all_here(()), uses_lookup=True)
    host.acquire("b")
    host.run()
    host.insert(item(1, held_since=7.0), item(2, "2@c.us", attempts=3, next_at=2_000.0))
    host.acquire("a")
    host.answer(next(it for it in host.open if isinstance(it, LoadSession)))
    first, second = host.queue.partitions["a", "1@c.us"], host.queue.partitions["a", "2@c.us"]
    assert first.stage is PartitionStage.IN_FLIGHT
    assert second.stage is PartitionStage.PAUSED
    assert second.due == 2_000.0
    [attempt] = [it for it in host.open if isinstance(it, Attempt)]
    assert attempt.lookup_first, "its owner before may have delivered it"
    host.answer(attempt, NotYet("it is disconnected"))
    assert host.queue.partitions["a", "1@c.us"].held_since is not None


@pytest.mark.parametrize("after", [Attempt, Save, LoadPartition])
def test_a_lost_session_leaves_nothing_and_holds_up_nobody(after: type[Effect]) -> None:
    host = Host()
    host.insert(*(item(number) for number in range(1, 9)), item(9, session="b"))
    host.acquire("a", "b")
    while not (some := [it for it in host.open if isinstance(it, after)]):
        host.answer(host.open[0])
    assert some
    host.lose("a")
    host.run()
    assert 9 in numbers(host.sent)
    assert host.queue.idle
    host.post(ReadyExpected(session="a"))
    host.post(Released(session="a"))
    host.post(Requeued(key=("a", "1@c.us"), newest=8))
    host.insert(item(20))
    host.post(Poked())
    host.run()
    assert 20 not in numbers(host.sent), "another host delivers it"
    assert host.queue.idle


def test_what_is_in_flight_at_a_release_is_awaited_and_the_rest_left() -> None:
    host = Host()
    host.insert(item(1), item(2), item(3, "3@c.us"), item(4, session="b"))
    host.acquire("a", "b")
    while not [it for it in host.open if isinstance(it, Attempt) and it.item.session_id == "a"]:
        host.answer(host.open[0])
    host.post(Leaving(session="a"))
    assert not host.queue.is_saved_of("a")
    host.run()
    assert host.queue.is_saved_of("a")
    assert host.queue.is_saved_of("b")
    assert sorted(numbers(host.sent)) in ([1, 4], [3, 4])
    host.lose("a")
    assert host.queue.idle


def test_a_session_ready_that_is_expected_while_it_is_read_goes_first() -> None:
    host = Host()
    host.insert(item(1))
    host.acquire("a")
    host.post(ReadyExpected(session="a"))
    host.run()
    assert host.sent == []
    [held] = host.queue.all_held()
    assert held.why == NOT_ANNOUNCED
    host.insert(item(2, "", event=READY))
    host.post(Poked())
    host.run()
    assert numbers(host.sent) == [2, 1]


def test_an_acquisition_that_is_repeated_changes_nothing() -> None:
    host = Host()
    host.insert(item(1))
    host.acquire("a")
    host.acquire("a")
    host.run()
    host.acquire("a")
    host.run()
    assert numbers(host.sent) == [1]
    assert host.queue.owned is not None
    assert host.queue.owned["a"] is Owned.HERE


def test_one_host_alone_hears_nothing_of_it() -> None:
    host = Host()
    queue = Queue(policy=POLICY)
    for fact in (
        Acquired(session="a"),
        SessionLoaded(session="a", after=0, found=(item(1),), whole=True),
        Leaving(session="a"),
        Lost(session="a"),
    ):
        queue, effects = advance(queue, fact, Now(at=1.0, wall=1.0))
        assert effects == ()
        assert queue.owned is None
        assert queue.idle
    assert host.queue.idle


@pytest.mark.parametrize(
    "seed", [*range(60), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(60, 200))]
)
def test_whatever_comes_and_goes_nothing_is_lost_or_overtaken(seed: int) -> None:
    """Each chat's webhooks are taken in their order, and those of a session that stays once."""
    chance, host = random.Random(seed), Host()
    sessions = ("stays", "a", "b")
    host.acquire("stays")
    count = _happens(host, chance, sessions)
    while saves := [it for it in host.open if isinstance(it, Save)]:
        host.answer(saves[0])
    host.acquire(*sessions)
    for _ in range(3):
        host.run()
        for session in sessions:
            host.post(Released(session=session))
        host.at += 1_000.0
        host.post(TimerDue())
    host.run()
    assert host.rows == {}
    assert host.queue.idle
    taken: dict[tuple[str, str], list[int]] = {}
    for it in host.sent:
        taken.setdefault(it.key, []).append(it.id)
    for key, ids in taken.items():
        assert list(dict.fromkeys(ids)) == sorted(set(ids)), key
        assert key[0] != "stays" or len(ids) == len(set(ids))
    assert {it.id for it in host.sent} == set(range(1, count + 1))


def _happens(host: Host, chance: random.Random, sessions: tuple[str, ...]) -> int:
    """How many webhooks there were."""
    last = 0
    for _ in range(300):
        host.at += chance.random() * 5
        match chance.randrange(8):
            case 0 | 1:
                last += 1
                chat = chance.choice(("1@c.us", "2@c.us"))
                host.insert(item(last, chat, chance.choice(sessions), next_at=0.0))
                host.post(Poked())
            case 2:
                host.acquire(chance.choice(sessions[1:]))
            case 3:
                host.lose(chance.choice(sessions[1:]))
            case 4:
                host.post(TimerDue())
            case _ if host.open:
                failed = NotYet("not now", brief=True) if chance.random() < 0.1 else OK
                # writes go in order, as the journal has them
                saves = [it for it in host.open if isinstance(it, Save)][:1]
                some = [it for it in host.open if not isinstance(it, Save)] + saves
                host.answer(chance.choice(some), failed)
            case _:
                host.post(Released(session=chance.choice(sessions)))
    return last
