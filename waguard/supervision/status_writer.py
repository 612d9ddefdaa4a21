"""What the database stores of one session: its row and its audit log. It never gives up.

The row always gets the newest status and only that: after an hour without a database the truth
is wanted, not the history. The log is written in order, one entry after the other.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from loguru import logger

from waguard.core.replace import replace
from waguard.core.row_status import DerivedStatus
from waguard.errors import DatabaseUnavailableError, OutageLevels, WaguardError, printable
from waguard.ports.clock import Clock
from waguard.ports.store import AuditEntry, SessionRow, Store

TRAIL_LIMIT: Final = 1_000  # entries that wait for the database, per session


class AuditLog:
    """The audit log of a session, or of the fleet (None). ``moved`` is called when all of it is
    written, ``publish`` with each entry at once; ``trail`` is run as a task by the owner. ``retry``: see
    ``Timings.write_retry``."""

    def __init__(
        self,
        session: str | None,
        store: Store,
        clock: Clock,
        *,
        publish: Callable[[AuditEntry], None],
        retry: float,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._store = store
        self.clock = clock
        self._publish = publish
        self._retry = retry
        self._moved = moved
        self._log = logger.bind(session=session) if session else logger
        self._waiting: deque[AuditEntry] = deque()
        self._again = False
        """Whether the first of them may be written already."""
        self._trail_outages = OutageLevels()
        self._to_record = asyncio.Event()
        self._recorded = asyncio.Event()
        self._recorded.set()
        self._ends = asyncio.Event()

    @property
    def unrecorded(self) -> int:
        """Entries that are not written yet."""
        return len(self._waiting)

    def record(
        self,
        kind: str,
        *,
        before: str | None = None,
        after: str | None = None,
        reason: str | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """Append to the audit log."""
        self.append(
            AuditEntry(
                session_id=self._session,
                kind=kind,
                before=before,
                after=after,
                reason=reason and printable(reason),
                evidence=evidence or {},
                at=self.clock.wall(),
            )
        )

    def append(self, entry: AuditEntry) -> None:
        """Append an entry that is made already. Never waits; one beyond ``TRAIL_LIMIT`` is in the log alone."""
        self._publish(entry)
        if len(self._waiting) >= TRAIL_LIMIT:
            self._lose(entry)
            return
        self._waiting.append(entry)
        self._to_record.set()
        self._recorded.clear()

    async def recorded(self) -> None:
        """Wait until all entries are written."""
        await self._recorded.wait()

    async def flush(self, within: float) -> None:
        """As ``recorded``, for so many seconds at most; the log has what is lost then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.recorded()
        self.report_lost()

    async def end(self, within: float) -> None:
        """Try at once, for so many seconds at most; what is refused then is lost, and in the log: no later try follows."""
        self._ends.set()
        await self.flush(within)

    def report_lost(self) -> None:
        """Log the entries that will never be written, because nobody goes on with it."""
        for entry in self._waiting:
            self._lose(entry)

    def _lose(self, entry: AuditEntry, why: Exception | None = None) -> None:
        log = self._log.bind(session=entry.session_id) if entry.session_id else self._log
        log.opt(exception=why).error(
            "an audit entry is lost",
            event="audit_lost",
            kind=entry.kind,
            before=entry.before,
            after=entry.after,
            reason=entry.reason,
            evidence=dict(entry.evidence),
        )

    async def trail(self) -> None:
        """Write the audit log forever; cut off, it may be run again."""
        while True:
            await self._to_record.wait()
            again, self._again = self._again, True  # without an answer it may have been committed
            try:
                await self._store.record(self._waiting[0], again=again)
            except DatabaseUnavailableError as error:
                self._log.log(
                    self._trail_outages.level(error),
                    "an audit entry is not written; trying again",
                    event="audit_waits",
                    why=error.line(),
                )
                if self._ends.is_set():
                    self._recorded.set()  # nobody waits for the rest
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ends.wait(), self._retry)
                continue
            except Exception as error:  # noqa: BLE001 - this entry is lost, not those after it
                self._lose(self._waiting[0], error)
            self._again = self._trail_outages.is_unfit = False
            self._waiting.popleft()
            if not self._waiting:
                self._to_record.clear()
                self._recorded.set()
                self._moved()


class StatusWriter(AuditLog):
    """Row and audit log. ``moved`` is called after each write. ``rows`` is run as a task by the owner too."""

    def __init__(
        self,
        row: SessionRow,
        store: Store,
        clock: Clock,
        *,
        moved: Callable[[], None],
        publish: Callable[[AuditEntry], None],
        retry: float,
    ) -> None:
        super().__init__(row.session_id, store, clock, publish=publish, retry=retry, moved=moved)
        self.row = row
        self._newest: tuple[DerivedStatus, str | None] | None = None
        self._unwritten = asyncio.Event()
        self._row_outages = OutageLevels()

    def write(self, derived: DerivedStatus, phone: str | None) -> None:
        """The row should say this; the newest wins."""
        self._newest = derived, phone
        self._unwritten.set()

    @property
    def row_pending(self) -> bool:
        """Whether the newest status is not in the row yet."""
        return self._unwritten.is_set()

    async def rows(self) -> None:
        """Write the row forever."""
        while True:
            await self._unwritten.wait()
            meant = self._newest
            if meant and not await self._write(*meant):
                await asyncio.sleep(self._retry)
                continue
            if meant is self._newest:
                self._unwritten.clear()
            self._moved()

    async def _write(self, derived: DerivedStatus, phone: str | None) -> bool:
        row = self.row
        try:
            written = await self._store.write_status(
                row.session_id, row.generation, derived, phone_number=phone
            )
        except WaguardError as error:
            status = str(derived.status)
            level, said = self._row_outages.level(error), "the row is not written; trying again"
            self._log.log(level, said, event="row_not_written", status=status, why=error.line())
            return False
        except Exception as error:  # noqa: BLE001 - a row that is never written again is a lie
            self._log.opt(exception=error).critical("a bug in waguard", event="bug", task="row")
            return False
        self._row_outages.is_unfit = False
        if not written:
            self._log.warning(
                "the row did not accept the status",
                event="status_refused",
                status=str(derived.status),
            )
        if written.row is not None and written.row.generation >= self.row.generation:
            self.row = written.row
        return True

    async def touch(self) -> None:
        """The session was active now; not worth a second attempt."""
        try:
            await self._store.touch(self.row.session_id)
        except WaguardError as error:
            self._log.debug("the activity is not recorded", why=error.line())
        else:
            now = datetime.fromtimestamp(self.clock.wall(), UTC)
            self.row = replace(self.row, last_activity=now)
