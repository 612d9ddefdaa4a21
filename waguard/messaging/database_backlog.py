"""How much waits for the database, and what that allows."""

import time

from msgspec import Struct

from waguard.errors import UnavailableError
from waguard.messaging.file_stage import DEADLINE, FileStage
from waguard.messaging.write_queue import WriteQueue


class JournalLimits(Struct, frozen=True, kw_only=True):
    """``waiting``: puts that wait for the database; a worker keeps 10,000. ``waiting_bytes``: of
    events and files; beyond, files come later. Above any of the ``behind`` limits no new work is
    begun, for it would have to be stored too: writes, bytes, age of the oldest in s.
    ``file_deadline``: s for the disk to take a file."""

    waiting: int = 50_000
    waiting_bytes: int = 128 << 20
    behind_count: int = 5_000
    behind_bytes: int = 64 << 20
    behind_age: float = 60.0
    file_deadline: float = DEADLINE


class Backlog:
    """How much waits in a queue, and of the files that are written before it."""

    def __init__(self, queue: WriteQueue, stage: FileStage, limits: JournalLimits) -> None:
        self._queue = queue
        self._stage = stage
        self._limits = limits

    @property
    def count(self) -> int:
        """Writes that wait."""
        return len(self._queue) + len(self._stage)

    @property
    def age(self) -> float:
        """Seconds for which the first put or webhook waits."""
        since = self._queue.since if self._queue.rest else self._stage.since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def bytes(self) -> int:
        """Bytes of the events and files that wait."""
        return self._queue.bytes + self._stage.bytes

    @property
    def full(self) -> bool:
        """Whether a put would be refused."""
        return self._queue.rest + len(self._stage) >= self._limits.waiting

    @property
    def behind(self) -> bool:
        """Whether the database is too far behind for new work."""
        most = self._limits
        return (
            self.count >= most.behind_count
            or self.bytes >= most.behind_bytes
            or self.age >= most.behind_age
        )

    def has_room_for(self, size: int) -> bool:
        """Whether a file of so many bytes may wait too."""
        return size <= self._limits.waiting_bytes - self.bytes

    def require_room(self) -> None:
        """Raises ``UnavailableError`` while the database is too far behind for new work."""
        if self.behind:
            raise UnavailableError(
                f"the database is behind: {self.count} writes wait, the first for {self.age:.0f} s",
                field="database",
                remedy="try again; check why the database is slow or unreachable",
                retry_after=10,
            )
