"""What a delivery queue hears, and what it wants done. Pure.

Facts are in the past tense. One about a webhook has its id: a late one about an earlier webhook is dropped.
"""

from msgspec import Struct

from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.pending import DeliveryResult, Hold, Key, Pending
from waguard.core.webhooks.retry_decision import Dead
from waguard.core.webhooks.retry_policy import DeliveryPolicy


class Now(Struct, frozen=True, kw_only=True):
    """The time of a decision, and chance. ``at``: monotonic seconds; ``wall``: unix time."""

    at: float
    wall: float
    chance: float = 0.5
    """Uniform in [0, 1)."""
    can_write: bool = True
    """Whether the database takes results: what is delivered meanwhile would be delivered again after a crash."""
    expired: float = float("-inf")
    """Unix time: what is tried since then has been tried for ``give_up_after`` in which a daemon lived."""
    long: float = float("-inf")
    """Unix time: what is tried since then has been tried for ``only_chat``."""


# ---- what an attempt came to ----


class NotYet(Struct, frozen=True):
    """The webhook was not sent, or the receiver dropped it: it waits for its session. ``works``: the receiver answered;
    ``brief``: for a moment, of which the database need not know."""

    why: str
    works: bool = False
    brief: bool = False


class Later(Struct, frozen=True):
    """The webhook was not sent: its time comes in ``delay`` seconds."""

    delay: float


class Outdated(Struct, frozen=True):
    """The webhook is not so any more, and what says so follows."""


class Gone(Struct, frozen=True):
    """There is no such webhook any more."""


Outcome = Answer | NotYet | Later | Outdated | Gone | Dead


# ---- facts ----


class Fact(Struct, frozen=True, kw_only=True):
    """Something that happened."""


class Configured(Fact, frozen=True, kw_only=True):
    """The settings are these. ``holds``: the receiver calls back while it handles a received message;
    ``uses_lookup``: what it stored is looked up; ``gets_ready``: it gets ``session_ready``, so one may be expected;
    ``url``: its address, None: it has none, or that is not known yet."""

    policy: DeliveryPolicy
    holds: bool
    uses_lookup: bool
    gets_ready: bool
    url: str | None = None


class Poked(Fact, frozen=True):
    """The database has more, or can be written again."""


class Loaded(Fact, frozen=True, kw_only=True):
    """The next webhooks of all partitions were read; ``whole``: there are no more."""

    found: tuple[Pending, ...]
    whole: bool


class PartitionLoaded(Fact, frozen=True, kw_only=True):
    """The next webhooks of a partition up to the id ``until`` were read; ``whole``: that was all."""

    key: Key
    found: tuple[Pending, ...]
    until: int
    whole: bool


class Answered(Fact, frozen=True, kw_only=True):
    """An attempt has ended."""

    key: Key
    id: int
    outcome: Outcome


class LookupDone(Fact, frozen=True, kw_only=True):
    """The receiver's table was searched for a message. ``found`` None: it could not be."""

    key: Key
    id: int
    found: bool | None


class Saved(Fact, frozen=True, kw_only=True):
    """The database knows what became of a webhook, or never will: then it is delivered again after a restart."""

    key: Key
    id: int


class Released(Fact, frozen=True, kw_only=True):
    """A session may be connected now, and the receiver know it."""

    session: str


class ReadyExpected(Fact, frozen=True, kw_only=True):
    """A ``session_ready`` of a session will come from the database; or ``comes`` is False, and it will not."""

    session: str
    comes: bool = True


class Dropped(Fact, frozen=True, kw_only=True):
    """The received messages of a session that were queued before then (unix time) are dead letters."""

    session: str
    before: float


class Expired(Fact, frozen=True, kw_only=True):
    """All that was queued before then (unix time) is dead letters."""

    before: float

    def includes(self, item: Pending) -> bool:
        """Whether it is a dead letter."""
        return item.created_at < self.before


class GivenUp(Fact, frozen=True, kw_only=True):
    """These are dead letters."""

    ids: frozenset[int]

    def includes(self, item: Pending) -> bool:
        """Whether it is a dead letter."""
        return item.id in self.ids


class Requeued(Fact, frozen=True, kw_only=True):
    """Dead letters of a partition are pending again, before what follows them; ``newest``: their highest id."""

    key: Key
    newest: int


class Acquired(Fact, frozen=True, kw_only=True):
    """A session is this host's now: what its owner before left is to be read."""

    session: str


class SessionLoaded(Fact, frozen=True, kw_only=True):
    """The webhooks of a session after the id ``after`` were read; ``whole``: there were no more."""

    session: str
    after: int
    found: tuple[Pending, ...]
    whole: bool


class Leaving(Fact, frozen=True, kw_only=True):
    """A session is being released: nothing of it is begun any more."""

    session: str


class Lost(Fact, frozen=True, kw_only=True):
    """A session is this host's no more: what is pending of it is its next owner's."""

    session: str


class Repaired(Fact, frozen=True):
    """The settings were read again: what was refused may be accepted now."""


class Rewound(Fact, frozen=True):
    """The database is an older state of itself: its ids begin below those that were read, and what was read may be in
    it no more. What was under way, but for writes, is cut off."""


class TimerDue(Fact, frozen=True):
    """The time of ``Queue.wake`` has come."""


class Ending(Fact, frozen=True):
    """Only what says how sessions stand is begun from now on."""


class Closed(Fact, frozen=True):
    """Nothing is begun any more."""


# ---- effects ----


class Effect(Struct, frozen=True, kw_only=True):
    """Something that the shell does."""


class Load(Effect, frozen=True, kw_only=True):
    """Read the next webhooks of all partitions: ``Loaded``."""

    after: int
    limit: int


class LoadPartition(Effect, frozen=True, kw_only=True):
    """Read the next webhooks of one partition: ``PartitionLoaded``."""

    key: Key
    after: int
    until: int
    limit: int


class LoadSession(Effect, frozen=True, kw_only=True):
    """Read the next webhooks of one session: ``SessionLoaded``."""

    session: str
    after: int
    limit: int


class Attempt(Effect, frozen=True, kw_only=True):
    """Deliver it: ``Answered``. ``lookup_first``: unless the receiver's table has it already."""

    item: Pending
    calls_back: bool
    lookup_first: bool


class Lookup(Effect, frozen=True, kw_only=True):
    """Search the receiver's table for it: ``LookupDone``."""

    item: Pending


class Save(Effect, frozen=True, kw_only=True):
    """Write what became of it: ``Saved``."""

    key: Key
    result: DeliveryResult


class SaveLater(Effect, frozen=True, kw_only=True):
    """Write it with the next commit; nothing waits for it."""

    result: DeliveryResult | Hold


class Failed(Effect, frozen=True, kw_only=True):
    """Log that an attempt (from 1) failed."""

    item: Pending
    why: str
    attempt: int


class DeadLettered(Effect, frozen=True, kw_only=True):
    """Log that it is a dead letter; ``stored``: the receiver has it, and a person should check it."""

    item: Pending
    why: str
    stored: bool = False
