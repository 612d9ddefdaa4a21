"""One partition of a delivery queue: a chat, or a session's own events. Pure.

The database is the queue. Every partition that has something pending is known by its first webhook; what
follows is in memory as far as there is room, and read by its partition otherwise. So one that its receiver
cannot digest, or that waits for its session, takes no room from the others.
"""

from enum import Enum, auto

from msgspec import Struct

from waguard.core.webhooks.delivery import HELD, SESSION_EVENTS
from waguard.core.webhooks.pending import Key, Pending
from waguard.core.webhooks.retry_decision import Head


class PartitionStage(Enum):
    """What a partition waits for."""

    READY = auto()
    """For a place: its first may be tried now."""
    PAUSED = auto()
    """For its time."""
    HELD = auto()
    """For its session."""
    TURN = auto()
    """For the message of its session that its receiver handles now."""
    EARLY = auto()
    """Until all is read once: a ``session_ready`` may be among it."""
    IN_FLIGHT = auto()
    """For an answer."""
    LOOKUP = auto()
    """For the receiver, which may still store its first; it has a time, or the look is on its way."""
    SAVING = auto()
    """Until the database knows what became of its first."""
    READING = auto()
    """For what follows, from the database."""


# the first is not to be taken away, or there is none
BUSY = frozenset(
    {PartitionStage.IN_FLIGHT, PartitionStage.LOOKUP, PartitionStage.SAVING, PartitionStage.READING}
)


class MemoryWindow(Struct, frozen=True, kw_only=True):
    """How much of an endpoint's queue is in memory, in webhooks: beside the first of each partition, at most
    of one partition, and read at a time."""

    memory: int = 10_000
    partition: int = 50
    read: int = 500


class Partition(Struct, frozen=True, kw_only=True):
    """``waiting`` is empty only while it is read. ``due`` is monotonic, the other times are unix time."""

    key: Key
    stage: PartitionStage = PartitionStage.READING
    waiting: tuple[Pending, ...] = ()
    newest: int = 0
    """The highest id that the database is known to have for it."""
    loaded: int = 0
    """The highest id that is, or was, in memory."""
    head: Head = Head()
    due: float | None = None
    asked: bool = False
    """The receiver named that time."""
    held_since: float | None = None
    why: str = ""
    """What it is held for."""
    marked: bool = False
    """The row says that the partition is held."""
    tried_since: float | None = None
    """Since when it may be tried, without a hold, a success or a dead letter in between, but of one that
    expired."""
    expire_before: float | None = None
    """What was queued by then is given up."""
    requeued: bool = False
    """The partition is to be read from its beginning."""

    @property
    def more(self) -> bool:
        """Whether the database has more than is in memory."""
        return self.requeued or self.newest > self.loaded

    @property
    def busy(self) -> bool:
        """Whether its first is being dealt with, or is being read."""
        return self.stage in BUSY

    @property
    def of_session(self) -> bool:
        """Whether its first says how a session stands."""
        return bool(self.waiting) and self.waiting[0].event in SESSION_EVENTS

    @property
    def first(self) -> Pending:
        """Only where there is one."""
        return self.waiting[0]


def has_lookup(item: Pending) -> bool:
    """Whether the application stores this one as a message of its own: it stores no status updates."""
    return item.event == HELD and not item.partition.startswith("status@")
