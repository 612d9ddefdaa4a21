"""A receiver, its application, its database and waguard's, for hours in a second: what a delivery queue
lives in. Seeded; everything happens in virtual time.

The application is as bad as the real one: it stores the row and then fails, says 2xx and stores nothing,
goes on after its reply was not awaited, and dedupes nothing.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from waguard.core.replace import replace
from waguard.core.webhooks.delivery import Answer, Cause
from waguard.core.webhooks.facts import (
    Answered,
    Attempt,
    DeadLettered,
    Effect,
    Fact,
    Failed,
    Later,
    Load,
    Loaded,
    LoadPartition,
    Lookup,
    LookupDone,
    NotYet,
    Now,
    Outcome,
    PartitionLoaded,
    Poked,
    Released,
    Requeued,
    Save,
    Saved,
    SaveLater,
    TimerDue,
)
from waguard.core.webhooks.partition import MemoryWindow, PartitionStage, has_lookup
from waguard.core.webhooks.pending import DeliveryResult, Hold, Pending
from waguard.core.webhooks.queue import advance
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.state import CONCURRENT, Queue

HOUR: Final = 3_600.0
ALIKE: Final = (302, 401, 404, 500, 503, None)
"""What a receiver answers to everybody in a bad spell; None: there is no connection."""


@dataclass
class Message:
    """``poison``: refused each time; ``oversize``: accepted, never stored; ``mute``: stored, and its reply is a
    500."""

    row: Pending
    kind: str = "good"


@dataclass
class Trouble:
    """A spell. ``kind``: alike, read_only, silent, away (a session)."""

    kind: str
    begins: float
    ends: float
    status: int | None = 500
    session: str = ""


@dataclass
class World:
    """``uses_lookup``: what is stored is looked up. After ``quiet`` there is no trouble any more."""

    seed: int
    uses_lookup: bool = True
    messages: int = 150
    chats: int = 8
    sessions: int = 3
    troubles: int = 8
    crashes: int = 2
    length: float = HOUR
    bad: bool = True
    """Some messages are poison, oversize or mute."""
    now: float = 1_000_000.0
    rows: dict[int, Message] = field(default_factory=dict)
    """Pending in waguard's database."""
    dead: dict[int, DeliveryResult] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)
    """The application's table: ids in the order of their commits."""
    tries: dict[int, int] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    """What happened at all: a world without it proves nothing."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.began = self.now
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._run = 0
        self._crashed = self.now
        """Of the daemon: what an earlier one began is heard by nobody."""
        self._flying: dict[tuple[str, str], int] = {}
        self._spells = [self._spell() for _ in range(self.troubles)]
        self.queue = self._new_queue()
        for number in range(1, self.messages + 1):
            self.after(self.chance.uniform(0, self.length), lambda n=number: self._arrive(n))  # type: ignore[misc]
        for minute in range(
            int(HOUR / 60)
        ):  # others write on, so that it can be seen whose fault it is
            self.after(self.length + HOUR + 60.0 * minute, lambda: self._arrive(0, quiet=True))
        for _ in range(self.crashes):
            self.after(self.chance.uniform(0, self.length), self._crash)

    # ---- time ----

    def after(self, delay: float, work: Callable[[], None]) -> None:
        """Of the outside: a crash of the daemon does not end it."""
        heapq.heappush(self._events, (self.now + delay, next(self._order), -1, work))

    def _later(self, delay: float, work: Callable[[], None]) -> None:
        """Of this daemon."""
        heapq.heappush(self._events, (self.now + delay, next(self._order), self._run, work))

    def live(self, until: float) -> None:
        """Up to that many seconds after the beginning, or until nothing is left to do."""
        end = self.began + until
        while True:
            wake = self.queue.wake
            at = self._events[0][0] if self._events else None
            if wake is not None and (at is None or wake < at):
                if wake > end:
                    return
                self.now = max(self.now, wake)
                self.post(TimerDue())
                continue
            if at is None or at > end:
                return
            self.now, _, run, work = heapq.heappop(self._events)
            if run in {-1, self._run}:
                work()

    # ---- the daemon ----

    def _new_queue(self) -> Queue:
        window = MemoryWindow(memory=60, partition=6, read=25)
        return Queue(policy=DeliveryPolicy(), window=window, uses_lookup=self.uses_lookup)

    def post(self, fact: Fact) -> None:
        """The queue handles it, and the world does what it wants done."""
        policy, wall = self.queue.policy, self.now
        now = Now(
            at=self.now,
            wall=wall,
            chance=self.chance.random(),
            expired=wall - policy.give_up_after,
            long=wall - policy.only_chat,
        )
        self.queue, effects = advance(self.queue, fact, now)
        self._require_sound()
        for effect in effects:
            self._perform(effect)

    def _require_sound(self) -> None:
        queue = self.queue
        flying = [it for it in queue.partitions.values() if it.stage is PartitionStage.IN_FLIGHT]
        assert queue.in_flight == len(flying) <= CONCURRENT
        assert queue.unsaved < 2 * CONCURRENT
        assert queue.count == sum(len(it.waiting) for it in queue.partitions.values())
        for key in (*queue.fresh, *queue.failed):
            assert queue.partitions[key].stage is PartitionStage.READY
        for session in queue.turns:
            assert session in queue.handled or session in queue.following

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Attempt():
                self._attempt(effect)
            case Lookup(item=item):
                self._later(0.01, lambda: self.post(self._lookup_done(item)))
            case Load():
                found = self._read(effect.after)[: effect.limit]
                whole = len(found) < effect.limit
                self._later(0.01, lambda: self.post(Loaded(found=tuple(found), whole=whole)))
            case LoadPartition():
                self._later(0.01, lambda: self._load_partition(effect))
            case Save():
                self._later(0.02, lambda: self._save(effect.key, effect.result))
            case SaveLater(result=result):
                self._later(0.05, lambda: self._write(result))
            case Failed() | DeadLettered() as it:
                self.seen.add(type(it).__name__)
            case _:
                raise AssertionError(effect)

    def _read(self, after: int) -> list[Pending]:
        return [self.rows[n].row for n in sorted(self.rows) if n > after]

    def _load_partition(self, effect: LoadPartition) -> None:
        found = [
            it for it in self._read(effect.after) if it.key == effect.key and it.id <= effect.until
        ][: effect.limit]
        whole = len(found) < effect.limit
        fact = PartitionLoaded(key=effect.key, found=tuple(found), until=effect.until, whole=whole)
        self.post(fact)

    def _save(self, key: tuple[str, str], result: DeliveryResult) -> None:
        self._write(result)
        self.post(Saved(key=key, id=result.id))

    def _write(self, result: DeliveryResult | Hold) -> None:
        known = self.rows.get(result.id)
        if known is None:
            return
        if isinstance(result, Hold):
            known.row = replace(known.row, held_since=result.since, tried_since=None)
        elif result.error is None:
            del self.rows[result.id]
        elif result.next_at is None:
            self.dead[result.id] = result
            del self.rows[result.id]
        else:
            known.row = replace(
                known.row,
                attempts=result.attempts,
                next_at=result.next_at,
                tried_since=result.tried_since,
                held_since=None,
            )

    def _crash(self) -> None:
        """The next daemon knows what the database knows."""
        self.seen.add("crash")
        self._crashed = self.now
        self._run += 1
        self._flying.clear()
        self.queue = self._new_queue()
        self.post(Poked())

    # ---- the world ----

    def _spell(self) -> Trouble:
        begins = self.began + self.chance.uniform(0, self.length)
        kind = self.chance.choice(("alike", "read_only", "silent", "away", "flaky"))
        if not self.uses_lookup and kind == "read_only":
            kind = "alike"
        return Trouble(
            kind=kind,
            begins=begins,
            # a receiver that refuses every second request for minutes cannot be told from a bad message
            ends=begins
            + self.chance.choice((3.0, 20.0, *((45.0,) if kind == "flaky" else (120.0, 600.0)))),
            status=self.chance.choice(ALIKE),
            session=f"s{self.chance.randrange(self.sessions)}",
        )

    def _troubles(self) -> Iterator[Trouble]:
        return (it for it in self._spells if it.begins <= self.now < it.ends)

    def _arrive(self, number: int, *, quiet: bool = False) -> None:
        session = f"s{self.chance.randrange(self.sessions)}"
        chat = "quiet@c.us" if quiet else f"{self.chance.randrange(self.chats)}@c.us"
        number = max((*self.rows, *self.kinds, 0)) + 1  # ids grow in the order of the writes
        row = Pending(
            id=number,
            event="message_received",
            event_id=str(number),
            session_id=session,
            partition=chat,
            attempts=0,
            next_at=self.now,
            created_at=self.now,
        )
        draw = self.chance.random()
        kind = "good"
        if self.bad and draw < 0.06 and not quiet:
            kinds = ("poison", "oversize", "mute") if self.uses_lookup else ("poison",)
            kind = self.chance.choice(kinds)
        self.rows[number] = Message(row, kind)
        self.kinds[number] = kind
        self.post(Poked())

    def _is_away(self, session: str) -> bool:
        return any(it.kind == "away" and it.session == session for it in self._troubles())

    def _attempt(self, effect: Attempt) -> None:
        item = effect.item
        assert item.key not in self._flying, "two of a partition are in flight"
        if effect.lookup_first and item.id in self.stored:
            self._answer(effect, 0.01, lambda: Answer(stored=True))
        elif effect.lookup_first and self.now < self._crashed + 3.0:
            self._answer(effect, 0.01, lambda: Later(0.5))
        elif self._is_away(item.session_id):
            self.seen.add("held")
            ends = max(it.ends for it in self._troubles() if it.session == item.session_id)
            self._answer(effect, 0.0, lambda: NotYet("away"))
            session = item.session_id
            self.after(ends - self.now + 0.5, lambda: self.post(Released(session=session)))
        else:
            self._send(effect)

    def _send(self, effect: Attempt) -> None:
        item, message = effect.item, self.rows[effect.item.id]
        self._flying[item.key] = item.id
        self.tries[item.id] = self.tries.get(item.id, 0) + 1
        trouble = next((it for it in self._troubles() if it.kind != "away"), None)
        status, stores, work = self._handled(message, trouble)
        if stores:
            self.after(work, lambda: self.stored.append(item.id))
        if status == -1:  # its reply is not awaited for ever
            self._answer(effect, 30.0, lambda: self._seen(item, Answer(error="no answer in time")))
        elif status is None:
            refused = Answer(error="no connection", reached=False)
            self._answer(effect, 0.01, lambda: refused)
        else:
            self._answer(effect, work + 0.01, lambda: self._seen(item, Answer(status=status)))

    def _handled(self, message: Message, trouble: Trouble | None) -> tuple[int | None, bool, float]:
        """The answer (-1: none), whether a row is made, and after how long."""
        work = self.chance.uniform(0.01, 0.3)
        if trouble:
            self.seen.add(trouble.kind)
        match trouble:
            case Trouble(kind="alike", status=status):
                return status, False, work
            case Trouble(kind="flaky") if self.chance.random() < 0.5:
                return self.chance.choice(ALIKE), False, work
            case Trouble(kind="read_only"):
                return 200, False, work
            case Trouble(kind="silent") if self.uses_lookup:
                return -1, self.chance.random() < 0.5, self.chance.uniform(1.0, 80.0)
        match message.kind:
            case "poison":
                return 422, False, work
            case "oversize":
                return 200, False, work
            case "mute":
                return 500, True, work
            case _:
                return 200, True, work

    def _seen(self, item: Pending, answer: Answer) -> Answer:
        if not self.uses_lookup or not has_lookup(item):
            return answer
        return replace(answer, stored=item.id in self.stored, content="a chat of 9 characters")

    def _answer(self, effect: Attempt, delay: float, outcome: Callable[[], Outcome]) -> None:
        item = effect.item

        def heard() -> None:
            self._flying.pop(item.key, None)
            self.post(Answered(key=item.key, id=item.id, outcome=outcome()))

        self._later(delay, heard)

    def _lookup_done(self, item: Pending) -> LookupDone:
        self.seen.add("looked")
        return LookupDone(key=item.key, id=item.id, found=item.id in self.stored)

    def replay(self) -> None:
        """A person replays what is dead and can be."""
        for number in sorted(self.dead):
            result = self.dead[number]
            if result.cause is not Cause.STORED:
                del self.dead[number]
                self.kinds[number] = "good"

    # ---- what came of it ----

    def lost(self) -> list[int]:
        """Good messages that are neither stored, nor pending, nor listed."""
        gone = set(self.kinds) - set(self.stored) - set(self.rows) - set(self.dead)
        return sorted(gone)

    def given_up(self) -> list[int]:
        """Good messages that are dead letters."""
        return [n for n in self.dead if self.kinds[n] == "good"]

    def doubled(self) -> list[int]:
        return sorted({n for n in self.stored if self.stored.count(n) > 1})

    def out_of_order(self, chat_of: dict[int, Any]) -> list[int]:
        """Those that came before an older one of their chat."""
        newest: dict[Any, int] = {}
        found = []
        for number in dict.fromkeys(self.stored):
            if number < newest.get(chat_of[number], 0):
                found.append(number)
            newest[chat_of[number]] = max(number, newest.get(chat_of[number], 0))
        return found


__all__ = ["HOUR", "Requeued", "World"]
