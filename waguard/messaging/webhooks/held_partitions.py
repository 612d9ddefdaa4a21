"""The received messages that wait for their session: until it is connected, and until the message
of it before has been handled."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from waguard.messaging.webhooks.partitions import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A partition that waits for its session, and since when (unix time)."""

    session_id: str
    partition: str
    since: float
    why: str


class HeldPartitions:
    """By session. A receiver that calls back gets one message of a session at a time, so that it is
    known whose questions are answered meanwhile."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Partition, Held]] = {}
        self._handled: set[str] = set()
        self._turns: dict[str, deque[Partition]] = {}

    def __iter__(self) -> Iterator[Held]:
        return (held for partitions in self._held.values() for held in partitions.values())

    def hold(self, partition: Partition, why: str, now: float) -> bool:
        """Let it wait for its session; whether it is the first that does. ``now`` is unix time."""
        session_id = partition.key[0]
        is_first = session_id not in self._held
        partition.held_since = partition.held_since or now
        held = Held(
            session_id=session_id, partition=partition.key[1], since=partition.held_since, why=why
        )
        self._held.setdefault(session_id, {})[partition] = held
        return is_first

    def release(self, session_id: str) -> list[Partition]:
        """Those that waited for this session."""
        return list(self._held.pop(session_id, {}))

    def discard(self, partition: Partition) -> None:
        """What it waited with is gone."""
        partition.held_since, partition.marked = None, False
        if partitions := self._held.get(partition.key[0]):
            partitions.pop(partition, None)
            if not partitions:
                del self._held[partition.key[0]]

    def sessions(self) -> list[str]:
        """Those for which anything waits."""
        return list(self._held)

    def begin(self, partition: Partition) -> bool:
        """Whether it is its turn among the messages of its session; else it waits for that."""
        session_id = partition.key[0]
        if session_id in self._handled:
            self._turns.setdefault(session_id, deque()).append(partition)
            return False
        self._handled.add(session_id)
        return True

    def end(self, session_id: str) -> list[Partition]:
        """The message was handled, or not sent: who waited for its turn may try."""
        self._handled.discard(session_id)
        return self._next(session_id)

    def overdue(self) -> list[Partition]:
        """Those that may go although no other one ended: a partition may vanish while it waits."""
        free = [name for name in self._turns if name not in self._handled]
        return [partition for name in free for partition in self._next(name)]

    def _next(self, session_id: str) -> list[Partition]:
        turns = self._turns.get(session_id, deque())
        while turns:
            partition = turns.popleft()
            if partition.waiting and not partition.busy:
                return [partition]
        self._turns.pop(session_id, None)
        return []
