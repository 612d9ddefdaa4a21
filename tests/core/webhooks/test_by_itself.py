"""Whose fault it is where more than one message is refused for its own sake."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.core.webhooks.queues import Driven, item
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import Answer, Cause
from waguard.core.webhooks.facts import Save, SaveLater
from waguard.core.webhooks.pending import DeliveryResult, Key, Pending
from waguard.core.webhooks.retry_policy import DeliveryPolicy

STORED = Answer(status=200, stored=True)
UNSTORED = Answer(status=200, stored=False, content="a chat of 70000 characters")
MINUTE = 60.0
LASTS = 615.0  # s, see ``unstored_pauses``


class Receiver:
    """Answers as ``manner`` says, a row at a time; others write every ``every`` seconds while ``busy``."""

    def __init__(self, manner: Callable[[Pending], Answer], *rows: Pending) -> None:
        self.manner = manner
        self.dead: dict[int, DeliveryResult] = {}
        self.busy, self.every = True, 3.0
        self._ids = itertools.count(1_000)
        self._others = itertools.cycle(f"{n}@g.us" for n in range(7))
        self._rows = {row.id: row for row in rows}
        self.queue = self._new(0.0)

    def _new(self, at: float) -> Driven:
        queue = Driven(*self._rows.values(), policy=DeliveryPolicy(), uses_lookup=True)
        queue.at += at
        queue.poke()
        return queue

    def live(self, seconds: float) -> None:
        step = 1 if self.busy else 5
        for second in range(0, int(seconds), step):
            if self.busy and second % self.every == 0:
                row = item(
                    next(self._ids), next(self._others), session="o", created_at=self.queue.at
                )
                self._rows[row.id] = row
                self.queue.poke(row)
            while begun := list(self.queue.begun):
                for effect in begun:
                    self.queue.answer(effect.item.id, self.manner(effect.item))
                self._write()
                if self.queue.begun == begun:
                    break
            self.queue.pass_time(float(step))

    def _write(self) -> None:
        for effect in [it for it in self.queue.effects if isinstance(it, Save | SaveLater)]:
            result = effect.result
            assert isinstance(result, DeliveryResult)
            row = self._rows.pop(result.id)
            if result.next_at is not None:
                self._rows[row.id] = self._as_read(row, result)
            elif result.error is not None:
                self.dead[row.id] = result
        self.queue.save()
        self.queue.effects.clear()

    @staticmethod
    def _as_read(row: Pending, result: DeliveryResult) -> Pending:
        changes: dict[str, Any] = {
            "attempts": result.attempts,
            "next_at": result.next_at,
            "tried_since": result.tried_since,
            "cause": result.cause,
        }
        return replace(row, **changes)

    def restart(self) -> None:
        """The next daemon knows what the database knows."""
        self._rows = dict(sorted(self._rows.items()))
        self.queue = self._new(self.queue.at - 1_000.0)

    def waits(self, key: Key) -> bool:
        return key in self.queue.queue.partitions


def rows_of(*chats: str) -> Iterator[Pending]:
    """Two messages in each of these chats, the first of which no column holds."""
    for number, chat in enumerate(chats):
        yield item(10 * number + 1, chat, created_at=1_000.0)
        yield item(10 * number + 2, chat, created_at=1_000.0)


def none_of(*bad: int) -> Callable[[Pending], Answer]:
    return lambda row: UNSTORED if row.id in bad else STORED


TWO = ("1@c.us", "2@c.us")


def test_two_that_no_column_holds_do_not_excuse_each_other() -> None:
    world = Receiver(none_of(1, 11), *rows_of(*TWO))
    world.live(2 * MINUTE)
    world.busy = False  # from now on there is nobody whose success tells
    world.live(15 * MINUTE)
    assert {n: it.cause for n, it in world.dead.items()} == {1: Cause.UNSTORED, 11: Cause.UNSTORED}
    assert not world.waits(("a", "1@c.us")), "what is behind it goes on"
    assert not world.waits(("a", "2@c.us"))


def test_nor_do_four() -> None:
    chats = ("1@c.us", "2@c.us", "3@c.us", "4@c.us")
    world = Receiver(none_of(1, 11, 21, 31), *rows_of(*chats))
    world.live(3 * MINUTE)
    world.busy = False
    world.live(15 * MINUTE)
    assert sorted(world.dead) == [1, 11, 21, 31]


@pytest.mark.parametrize("every", [45.0, 120.0, 300.0])
def test_restarts_do_not_let_them_wait(every: float) -> None:
    world = Receiver(none_of(1, 11), *rows_of(*TWO))
    for _ in range(int(20 * MINUTE / every)):
        world.live(every)
        world.restart()
    assert sorted(world.dead) == [1, 11]


def test_what_is_known_survives_a_restart() -> None:
    world = Receiver(none_of(1, 11), *rows_of(*TWO))
    world.live(2 * MINUTE)
    world.busy = False
    for _ in range(6):
        world.restart()
        world.live(3 * MINUTE)
    assert sorted(world.dead) == [1, 11], "nobody was served by any of these daemons"


def test_not_before_ten_minutes() -> None:
    world = Receiver(none_of(1, 11), *rows_of(*TWO))
    world.live(LASTS - 15.0)
    assert not world.dead


def test_a_receiver_that_stores_nothing_is_not_taken_for_bad_messages() -> None:
    """It was well, and others were served, when the first of each chat was refused."""
    rows = [item(n, f"{n}@c.us", created_at=1_000.0) for n in range(1, 9)]
    world = Receiver(none_of(), *rows)
    world.live(MINUTE)
    world.manner = lambda _: UNSTORED
    world.live(60 * MINUTE)
    assert not world.dead
    world.manner = none_of()
    world.live(2 * MINUTE)
    assert not world.queue.queue.down


def test_a_spell_that_comes_and_goes_before_a_long_one_makes_no_bad_messages() -> None:
    """Every second one is refused for two minutes, then everything; and nobody writes any more."""
    turns = itertools.count()
    rows = [item(n, f"{n}@c.us", created_at=1_000.0) for n in range(1, 9)]
    world = Receiver(lambda _: UNSTORED if next(turns) % 2 else STORED, *rows)
    world.live(2 * MINUTE)
    world.manner, world.busy = (lambda _: UNSTORED), False
    world.live(40 * MINUTE)
    assert not world.dead


def test_bad_messages_are_not_given_up_while_others_are_refused_too() -> None:
    world = Receiver(none_of(1, 11), *rows_of(*TWO))
    world.live(2 * MINUTE)
    world.manner = lambda _: UNSTORED
    world.live(30 * MINUTE)
    assert not world.dead
    world.manner = none_of(1, 11)
    world.live(15 * MINUTE)
    assert sorted(world.dead) == [1, 11]


def test_two_that_are_refused_as_they_are_do_not_excuse_each_other_either() -> None:
    bad = Answer(status=422)
    world = Receiver(lambda row: bad if row.id in {1, 11} else STORED, *rows_of(*TWO))
    world.live(2 * MINUTE)
    assert {n: it.cause for n, it in world.dead.items()} == {1: Cause.REFUSED, 11: Cause.REFUSED}


@pytest.mark.parametrize("status", [302, 401, 500, 503])
def test_what_may_pass_is_not_held_against_a_message(status: int) -> None:
    """One in ten is refused for a minute, then everything; and nobody writes any more."""
    turns = itertools.count()
    bad = Answer(status=status)
    rows = [item(n, f"{n}@c.us", created_at=1_000.0) for n in range(1, 9)]
    world = Receiver(lambda _: bad if next(turns) % 10 == 0 else STORED, *rows)
    world.live(MINUTE)
    world.manner, world.busy = (lambda _: bad), False
    world.live(40 * MINUTE)
    assert not world.dead


@pytest.mark.parametrize("status", [302, 401, 500, 503])
def test_who_was_served_between_two_spells_condemns_nobody(status: int) -> None:
    """One message is refused in a short spell and again in a long one, in which nobody else writes."""
    bad = Answer(status=status)
    world = Receiver(lambda row: bad if row.id == 1 else STORED, *rows_of("1@c.us"))
    world.live(MINUTE)
    world.busy = False
    world.live(50 * MINUTE)
    assert not world.dead
    world.manner = none_of()
    world.live(70 * MINUTE)
    assert not world.waits(("a", "1@c.us"))


@pytest.mark.parametrize(
    ("every", "within"), [(3.0, 4), (20.0, 4), (300.0, 20)], ids=["often", "at times", "seldom"]
)
def test_a_message_that_alone_is_refused_ends_soon_after_others_are_served(
    every: float, within: int
) -> None:
    bad = Answer(status=500)
    world = Receiver(lambda row: bad if row.id == 1 else STORED, *rows_of("1@c.us"))
    world.every = every
    world.live(within * MINUTE)
    assert {n: it.cause for n, it in world.dead.items()} == {1: Cause.REFUSED}
    assert not world.waits(("a", "1@c.us")), "what is behind it goes on"


@pytest.mark.parametrize(
    ("refusal", "within"),
    [(UNSTORED, 2 * MINUTE), (Answer(status=422), 0.0)],
    ids=["accepted, not stored", "422"],
)
def test_attempts_of_an_outage_are_no_refusals_of_the_message(
    refusal: Answer, within: float
) -> None:
    """A receiver whose own queue catches up after an outage says this of good messages for a while."""
    away, refused = True, list[int]()

    def manner(row: Pending) -> Answer:
        if away:
            return Answer(error="connection refused")
        if row.id != 1:
            return STORED
        refused.append(row.id)
        return refusal

    world = Receiver(manner, *rows_of("1@c.us"))
    world.live(12 * MINUTE)
    away = False
    while not refused:
        world.live(5.0)
    world.live(within)
    assert world.dead == {}
