"""A delivery queue that a test drives fact by fact."""

from collections.abc import Iterable
from typing import Any

from waguard.core.replace import replace
from waguard.core.webhooks.circuit import CircuitPolicy
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.facts import (
    Answered,
    Attempt,
    Effect,
    Fact,
    Load,
    Loaded,
    Now,
    Outcome,
    Poked,
    Save,
    Saved,
    TimerDue,
)
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.pending import Key, Pending
from waguard.core.webhooks.queue import advance
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.state import Queue

POLICY = DeliveryPolicy(circuit=CircuitPolicy(base_pause=1.0, max_pause=1.0))
OK = Answer(status=200)


def item(number: int, chat: str = "1@c.us", session: str = "a", **more: Any) -> Pending:
    known: dict[str, Any] = {
        "event": "message_received",
        "attempts": 0,
        "next_at": 0.0,
        "created_at": float(number),
    }
    return Pending(
        id=number,
        event_id=f"e{number}",
        session_id=session,
        partition=chat,
        **(known | more),
    )


class Driven:
    """The queue, its clock, and what it wants done; loads are answered from ``rows`` at once."""

    def __init__(self, *rows: Pending, **settings: Any) -> None:
        self.rows = list(rows)
        self.at = 1_000.0
        self.can_write = True
        self.chance = 0.5
        self.expired = self.long = float("-inf")
        known: dict[str, Any] = {"policy": POLICY, "window": MemoryWindow()} | settings
        self.queue = Queue(**known)
        self.begun: list[Attempt] = []
        self.effects: list[Effect] = []

    def post(self, fact: Fact) -> tuple[Effect, ...]:
        """What it wants done, without the loads, which were answered."""
        times = {"at": self.at, "wall": self.at, "expired": self.expired, "long": self.long}
        now = Now(**times, chance=self.chance, can_write=self.can_write)
        self.queue, effects = advance(self.queue, fact, now)
        self.effects.extend(effects)
        self.begun.extend(it for it in effects if isinstance(it, Attempt))
        for effect in effects:
            if isinstance(effect, Load):
                found = [it for it in self.rows if it.id > effect.after][: effect.limit]
                self.post(Loaded(found=tuple(found), whole=len(found) < effect.limit))
        return effects

    def poke(self, *rows: Pending) -> None:
        self.rows.extend(rows)
        self.post(Poked())

    def answer(self, number: int, outcome: Outcome = OK) -> None:
        """To the attempt that is in flight."""
        [effect] = [it for it in self.begun if it.item.id == number]
        self.begun.remove(effect)
        self.post(Answered(key=effect.item.key, id=number, outcome=outcome))

    def save(self) -> None:
        """Everything that is to be saved."""
        for effect in [it for it in self.effects if isinstance(it, Save)]:
            self.effects.remove(effect)
            self.post(Saved(key=effect.key, id=effect.result.id))

    def deliver(self, number: int, outcome: Outcome = OK) -> None:
        self.answer(number, outcome)
        self.save()

    def pass_time(self, seconds: float) -> None:
        self.at += seconds
        self.post(TimerDue())

    @property
    def in_flight(self) -> list[int]:
        return [it.item.id for it in self.begun]

    def head(self, key: Key = ("a", "1@c.us")) -> Pending:
        return self.queue.partitions[key].first


def chats(count: int, **more: Any) -> Iterable[Pending]:
    """One message in each of so many chats, of a session each."""
    return (item(n + 1, f"{n}@c.us", session=f"s{n}", **more) for n in range(count))


def with_policy(**changes: Any) -> DeliveryPolicy:
    return replace(POLICY, **changes)
