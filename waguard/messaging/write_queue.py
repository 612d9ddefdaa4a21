"""What waits for the database, and which of it is the next transaction.

The outbox comes first, for somebody waits for it. After a write that failed for a reason of its own
each one of its batch is tried alone.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct, field

from waguard.core.messages.inbox import InboxRecord
from waguard.core.webhooks.pending import DeliveryResult, Hold
from waguard.errors import DatabaseUnavailableError, NotOwnedError
from waguard.ports.inbox import Stored
from waguard.ports.messages import Written
from waguard.ports.outbox import NewMessage, StateUpdate, Withdrawal

BATCH: Final = 500  # rows a transaction, fewer of the rest after one that failed; and …
BATCH_BYTES: Final = 32 << 20  # … no more of events and files, but for a single one
_NOT_WRITTEN: Final = "it is not written: this host does not own the session, or no more"


def _future() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


def _fail(done: "asyncio.Future[Any]", error: Exception) -> None:
    """Set the error; the writer logs it, so that nobody retrieves it is no bug."""
    if not done.done():
        done.set_exception(error)
        done.exception()


class Put(Struct, eq=False):
    """Records for the inbox; ``stored`` is called after the commit."""

    records: tuple[InboxRecord, ...]
    stored: Stored
    size: int
    """As ``size_of`` has it."""
    after: str | None = None
    """As ``ports.inbox.Inbox.put`` has it."""
    since: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        """How much there is to write: people's numbers are rows, too."""
        return sum(1 + len(one.pairs) + len(one.asked) for one in self.records)


class Save(Struct, eq=False):
    """What became of a webhook."""

    result: DeliveryResult | Hold
    done: "asyncio.Future[None]" = field(default_factory=_future)
    since: float = field(default_factory=time.monotonic)


class Keep(Struct, eq=False):
    """Writes to the outbox, all in one transaction; ``done`` has what ``Written.kept`` says of them."""

    items: Sequence[NewMessage | StateUpdate | Withdrawal]
    urgent: bool
    """Whether the write is to fail, not to wait, when the database is gone."""
    done: "asyncio.Future[tuple[int, ...]]" = field(default_factory=_future)

    @property
    def size(self) -> int:
        """Bytes of bodies and files."""
        new = [item for item in self.items if isinstance(item, NewMessage)]
        return sum(len(message.body) + len(message.content or b"") for message in new)


class Batch(Struct):
    """What is written in one transaction."""

    keeps: list[Keep] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keeps) + len(self.puts) + len(self.saves)

    @property
    def rows(self) -> int:
        """How much there is to write."""
        return len(self.outgoing) + sum(put.rows for put in self.puts) + len(self.saves)

    @property
    def outgoing(self) -> list[NewMessage | StateUpdate | Withdrawal]:
        """What the outbox gets."""
        return [item for keep in self.keeps for item in keep.items]

    def succeed(self, written: Written) -> None:
        """Those who wait for keeps and saves have their results, or hear that this host does not own the session."""
        kept = iter(written.kept)
        for keep in self.keeps:
            numbers = list(itertools.islice(kept, len(keep.items)))
            if None in numbers:
                _fail(keep.done, NotOwnedError(_NOT_WRITTEN))
            elif not keep.done.done():
                keep.done.set_result(tuple(number for number in numbers if number is not None))
        for save in self.saves:
            if save.result.id in written.unrecorded:
                _fail(save.done, NotOwnedError(_NOT_WRITTEN))
            elif not save.done.done():
                save.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Those who wait for keeps and saves have this error."""
        waits: list[asyncio.Future[Any]] = [keep.done for keep in self.keeps]
        for done in (*waits, *(save.done for save in self.saves)):
            _fail(done, error)


class WriteQueue:
    """``bytes``: of all puts, as ``size_of`` has it."""

    def __init__(self) -> None:
        self._keeps: deque[Keep] = deque()
        self._rest: deque[Put | Save] = deque()
        self._alone = 0  # so many of the first are to be tried one by one
        self._limit = BATCH  # rows, but for keeps: one that takes longer than the database's deadline is not retried as it was
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._keeps) + len(self._rest)

    @property
    def keeps(self) -> int:
        """Writes to the outbox that wait."""
        return len(self._keeps)

    @property
    def rest(self) -> int:
        """Puts and saves that wait."""
        return len(self._rest)

    @property
    def received(self) -> Sequence[InboxRecord]:
        """What was received and waits."""
        return [one for item in self._rest if isinstance(item, Put) for one in item.records]

    @property
    def since(self) -> float | None:
        """When the oldest put or save came (monotonic); None: there is none."""
        return self._rest[0].since if self._rest else None

    @property
    def urgent(self) -> bool:
        """Whether somebody waits who wants to know at once."""
        return any(keep.urgent for keep in self._keeps)

    def add(self, item: Keep | Put | Save) -> None:
        """Behind those of its kind."""
        if isinstance(item, Keep):
            self._keeps.append(item)
            return
        self._rest.append(item)
        if isinstance(item, Put):
            self.bytes += item.size

    def next(self) -> Batch:
        """The first of those that wait, as far as they go into one transaction; they stay."""
        batch, rows, size = Batch(), 0, 0
        for keep in self._keeps:
            if batch.keeps and size + keep.size > BATCH_BYTES:
                break
            batch.keeps.append(keep)
            rows += len(keep.items)
            size += keep.size
            if rows >= BATCH or self._alone:  # not fewer: all who want to know at once are in it
                return batch
        for item in self._rest:
            if isinstance(item, Save):
                batch.saves.append(item)
                rows += 1
            else:
                if batch and size + item.size > BATCH_BYTES:
                    break
                batch.puts.append(item)
                rows += item.rows
                size += item.size
            if rows >= self._limit or self._alone:
                break
        return batch

    def remove(self, batch: Batch) -> None:
        """Remove a batch that was written, or never will be."""
        for _ in batch.keeps:
            self._keeps.popleft()
        for _ in range(len(batch.puts) + len(batch.saves)):
            self._rest.popleft()
        self._alone = max(0, self._alone - len(batch))
        self._limit = min(BATCH, 2 * self._limit)
        self.bytes -= sum(put.size for put in batch.puts)

    def refuse(self, batch: Batch, error: DatabaseUnavailableError) -> None:
        """Those of a batch who do not wait get the error; what else there is waits on, for a smaller batch."""
        self._limit = max(1, min(self._limit, batch.rows) // 2)
        for keep in [keep for keep in batch.keeps if keep.urgent]:
            self._keeps.remove(keep)
            _fail(keep.done, error)

    def try_alone(self, batch: Batch) -> None:
        """One of a batch is to blame."""
        self._alone = len(batch)

    def cancel(self) -> int:
        """The end: nobody waits any more. How many are not written."""
        for item in (*self._keeps, *self._rest):
            if not isinstance(item, Put):
                item.done.cancel()
        return len(self)
