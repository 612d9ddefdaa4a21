"""A delivery queue as a value, and what others ask it. Pure; ``queue`` says how it moves."""

from collections.abc import Container, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

from msgspec import Struct, field

from waguard.core.webhooks.facts import Effect
from waguard.core.webhooks.partition import MemoryWindow, Partition, PartitionStage
from waguard.core.webhooks.pending import Key
from waguard.core.webhooks.persistent_map import PersistentMap
from waguard.core.webhooks.receiver import Receiver
from waguard.core.webhooks.retry_policy import DeliveryPolicy

CONCURRENT: Final = 8  # deliveries at a time, and as many that are delivered and not saved yet
EXPECTED: Final = 0  # no id of the database's
NOT_ANNOUNCED: Final = "its session_ready is not delivered yet"
SESSION_PARTITION: Final = ""


def is_announced(announced: Container[str], key: Key) -> bool:
    """Whether a message of this partition follows no pending ``session_ready``; in the session's own
    partition it would wait for what is behind it."""
    return key[1] == SESSION_PARTITION or key[0] not in announced


class Reading(Struct, frozen=True, kw_only=True):
    """How far the queue is read: up to ``tail``, and ``more`` is known to follow."""

    tail: int = 0
    more: bool = False
    loading: bool = False
    once: bool = False
    """All was read once."""
    partitions: int = 0
    """Partitions of which more is being read."""


class Owned(Enum):
    """What is done with a session's webhooks; of one that has no such word nothing is."""

    READING = auto()
    """They are being read, from the first one on."""
    BEHIND = auto()
    """They are being read, and more have come meanwhile."""
    HERE = auto()
    """They are delivered."""
    LEAVING = auto()
    """Those in flight are awaited."""


class Queue(Struct, frozen=True, kw_only=True):
    """A value: nothing in it ever changes. ``fresh`` and ``failed`` are in order of their coming."""

    policy: DeliveryPolicy
    window: MemoryWindow = MemoryWindow()
    holds: bool = True
    uses_lookup: bool = False
    url: str | None = None
    partitions: PersistentMap[Key, Partition] = field(default_factory=PersistentMap)
    count: int = 0
    """Webhooks in memory."""
    fresh: PersistentMap[Key, None] = field(default_factory=PersistentMap)
    """Partitions that may be tried now."""
    failed: PersistentMap[Key, None] = field(default_factory=PersistentMap)
    """Those of them whose first has failed before."""
    picks: int = 0
    due: PersistentMap[Key, float] = field(default_factory=PersistentMap)
    """When something is to be done for a partition; monotonic."""
    held: PersistentMap[str, PersistentMap[Key, None]] = field(default_factory=PersistentMap)
    """Partitions that wait for their session."""
    announced: PersistentMap[str, int] = field(default_factory=PersistentMap)
    """The pending ``session_ready`` of each session."""
    handled: PersistentMap[str, Key] = field(default_factory=PersistentMap)
    """Whose message is at a receiver that calls back: one of a session at a time, so that it is known
    about which one it asks."""
    turns: PersistentMap[str, PersistentMap[Key, None]] = field(default_factory=PersistentMap)
    """Who waits for that, by session."""
    following: PersistentMap[str, Key] = field(default_factory=PersistentMap)
    """Who of them may go now."""
    owned: PersistentMap[str, Owned] | None = None
    """In a cluster the sessions of this host. Ids of different hosts are not committed in their order, so each is read by
    itself when it comes. None: there is no cluster."""
    read_to: PersistentMap[str, int] = field(default_factory=PersistentMap)
    """The id up to which each of those was read by itself."""
    reading: Reading = Reading()
    receiver: Receiver = Receiver()
    in_flight: int = 0
    unsaved: int = 0
    """Results that the database does not have yet."""
    ending: bool = False
    closed: bool = False
    wake: float | None = None
    """When ``TimerDue`` is wanted, at the latest; monotonic."""

    # ---- what others ask ----

    def waiting_for_receiver(self) -> Iterator[Partition]:
        """Those that have something to deliver and do not wait for their session."""
        return (it for it in self.partitions.values() if it.waiting and it.held_since is None)

    @property
    def oldest(self) -> float | None:
        """When the first of these was queued (unix time)."""
        return min((it.first.created_at for it in self.waiting_for_receiver()), default=None)

    def late(self, before: float) -> int:
        """How many of them have been tried, or could have been, since before then (unix time)."""
        since = (it.tried_since for it in self.waiting_for_receiver())
        return sum(it <= before for it in since if it is not None)

    def all_held(self) -> Iterator[Partition]:
        """Those that wait for their session."""
        return (self.partitions[key] for keys in self.held.values() for key in keys)

    def has(self, number: int) -> bool:
        """Whether a webhook that is pending is in memory, or is read when its turn comes; also where that is unknown, for
        it may be another host's."""
        reading = self.reading
        if self.owned is not None or reading.more or reading.loading or reading.partitions:
            return True
        return any(
            it.requeued
            or it.loaded < number <= it.newest
            or any(one.id == number for one in it.waiting)
            for it in self.partitions.values()
        )

    @property
    def idle(self) -> bool:
        """Everything is delivered, as far as is known."""
        reading = self.reading.more or self.reading.loading or self._reads_sessions
        return not self.partitions and not reading

    @property
    def quiet(self) -> bool:
        """Nothing is to be done now: what is left waits for its time, or for its session."""
        reading = self.reading.more or self.reading.loading or self.reading.partitions
        reading = reading or self._reads_sessions
        return not (self.in_flight or self.unsaved or reading or self.fresh or self.failed)

    @property
    def _reads_sessions(self) -> bool:
        stages = () if self.owned is None else self.owned.values()
        return any(it in {Owned.READING, Owned.BEHIND} for it in stages)

    @property
    def is_saved(self) -> bool:
        """Whether nothing is in flight, and the database has all results."""
        return not self.in_flight and not self.unsaved

    @property
    def down(self) -> bool:
        """Whether its receiver takes nothing of what waits, as far as is known."""
        failing = self.receiver.failing_since is not None
        return failing and self.receiver.circuit.trips > 0 and not self.idle

    def is_saved_of(self, session: str) -> bool:
        """As ``is_saved``, of one session."""
        stages = (it.stage for it in self.partitions.values() if it.key[0] == session)
        return not any(it in {PartitionStage.IN_FLIGHT, PartitionStage.SAVING} for it in stages)

    def is_announced(self, key: Key) -> bool:
        """Whether the receiver knows that the session of this partition is ready, or need not."""
        return is_announced(self.announced, key)


class Step(NamedTuple):
    """What follows from a fact."""

    queue: Queue
    effects: tuple[Effect, ...]
