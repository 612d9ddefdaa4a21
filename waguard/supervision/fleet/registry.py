"""The sessions in memory, by id, and which of them are being logged out or deleted."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from waguard.core.session.restart import Remembered
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.sessions import REMOVED
from waguard.ports.store import SessionRow
from waguard.profile import leaving_mark
from waguard.supervision.fleet import leaving
from waguard.supervision.fleet.ours import Ours
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import is_paired

LEAVES: Final = "the session is being logged out or deleted"


class Changes:
    """Rows that are being made to want their session up. Who takes a session down waits for that, which would undo it."""

    def __init__(self, require_staying: Callable[[str], None]) -> None:
        self._require_staying = require_staying
        self._under_way: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextlib.contextmanager
    def begin(self, session_id: str) -> Iterator[None]:
        """While the body runs its row is changed. Raises ``UnavailableError`` while it is leaving."""
        self._require_staying(session_id)
        over = asyncio.Event()
        self._under_way[session_id].add(over)
        try:
            yield
        finally:
            over.set()
            self._under_way[session_id].discard(over)
            if not self._under_way[session_id]:
                del self._under_way[session_id]

    async def ended(self, session_id: str) -> None:
        """Wait until none is under way; the caller has the session ``leaving``, so none begins."""
        for over in tuple(self._under_way.get(session_id, ())):
            await over.wait()


class Registry:
    """Knows every session that has a row, in a cluster those that are this host's."""

    def __init__(self, ctx: SessionContext) -> None:
        self._ctx = ctx
        self._sessions: dict[str, SessionActor] = {}
        self._leaving: dict[str, str] = {}
        """By session: why nobody may change it."""
        self._lost: dict[str, Remembered] = {}
        """What was known of those that were lost: they may come back, and nobody had them since."""
        self.changes = Changes(self.require_staying)
        self.ours = Ours(ctx.ownership)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._sessions

    def __getitem__(self, session_id: str) -> SessionActor:
        return self._sessions[session_id]

    def get(self, session_id: str) -> SessionActor | None:
        """The session, where memory has it."""
        return self._sessions.get(session_id)

    @property
    def sessions(self) -> list[SessionActor]:
        """Those of this moment, in the order in which they came."""
        return list(self._sessions.values())

    @property
    def by_id(self) -> list[SessionActor]:
        """The sessions, by id."""
        return [session for _, session in sorted(self._sessions.items())]

    @property
    def any_paired(self) -> bool:
        """Whether one that should run was ever paired."""
        return any(
            session.profile.paired and session.row.desired_up for session in self._sessions.values()
        )

    def unpaired_profiles(self) -> Collection[Path]:
        """Profiles, made or not, of those that have nothing to miss."""
        return {it.profile.at.profile for it in self._sessions.values() if not it.profile.paired}

    async def read_kept(self, rows: Collection[SessionRow], new: str | None = None) -> None:
        """Read what memory keeps of sessions beside their rows, before they come to it; ``new``: one without a row. Raises
        ``DatabaseUnavailableError``."""
        names = None
        if self.ours.in_cluster:
            names = {row.session_id for row in rows} | ({new} if new else set())
        await self._ctx.proxies.load(names)
        if self._ctx.shipping:
            paired = [row.session_id for row in rows if is_paired(row)]
            await self._ctx.shipping.load(paired, names)

    def add(self, row: SessionRow, *, moved: bool = False) -> SessionActor:
        """The session of a row, which may have come to memory a moment ago. ``moved``: from another host, so what the daemon
        before this one knew of it is old."""
        name = row.session_id
        if name not in self._sessions:
            lost = self._lost.pop(name, None)
            remembered = lost if moved else self._ctx.remembered().get(name)
            self._sessions[name] = SessionActor(row, self._ctx, remembered)
        return self._sessions[name]

    async def remove(self, session_id: str) -> None:
        """Forget a stopped session; harmless where it is gone."""
        if session := self._sessions.pop(session_id, None):
            await session.forget()

    def drop(self, session_id: str) -> SessionActor | None:
        """Forget a session that is another host's, and end its worker now. Whoever calls awaits
        ``SessionActor.dropped``."""
        if session := self._sessions.pop(session_id, None):
            self._lost[session_id] = session.remember()
            session.detach(lost=True)
            session.runner.drop()
            if self._ctx.shipping:
                self._ctx.shipping.stop(session_id)
        return session

    def require_here(self, session: SessionActor) -> None:
        """Raises ``NotOwnedError`` where it was forgotten meanwhile because another host has it."""
        if self.ours.in_cluster and session.is_forgotten and not session.state.left:
            raise self.ours.refusal(session.name)

    async def flush(self, *sessions: SessionActor) -> None:
        """Wait until the database has all of them, for ``Timings.last_write`` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ctx.timings.last_write):
                await asyncio.gather(*(session.written() for session in sessions))

    async def row_is_gone(self, session_id: str) -> bool:
        """Whether it has no row any more; unknown is not gone."""
        try:
            return await self._ctx.store.session(session_id) is None
        except WaguardError:
            return False

    # ---- who leaves ----

    def is_leaving(self, session_id: str) -> bool:
        """Whether it is being logged out, deleted or moved now."""
        return session_id in self._leaving

    def require_staying(self, session_id: str) -> None:
        """Raises ``UnavailableError`` while it is leaving."""
        if why := self._leaving.get(session_id):
            raise UnavailableError(why, remedy="try again", retry_after=5)

    @contextlib.contextmanager
    def leaving(self, session_id: str, why: str = LEAVES) -> Iterator[None]:
        """While it is taken down for good nobody else may start it, or take it down too."""
        self.require_staying(session_id)
        self._leaving[session_id] = why
        try:
            yield
        finally:
            del self._leaving[session_id]

    async def finish_removal(self, session: SessionActor) -> None:
        """End a deletion or logout that was cut off, as by the end of a daemon; its pairing never comes back, and what
        waited for one that was deleted fails. Raises as ``finish_logout`` and ``Outbox.abandon``."""
        if self.is_leaving(session.name):
            return
        with self.leaving(session.name):
            if session.row.removed_at is None:
                await self.finish_logout(session)
                return
            await self._ctx.abandon(session.name, REMOVED)
            with leaving.refusing():
                await leaving.finish(session)

    async def finish_logout(self, session: SessionActor) -> None:
        """End a logout that was cut off, of one that is ``leaving``. What waited for it fails with its row, on whatever host.
        Raises ``UnavailableError`` where its profile cannot be read now, and as ``leaving.finish``."""
        with leaving.refusing():
            if leaving_mark.read(session.profile.at.profile):
                # memory may not know of a commit whose answer was lost
                row = await self._ctx.store.session(session.name)
                session.update_row(row or session.row)
                await leaving.finish(session)
