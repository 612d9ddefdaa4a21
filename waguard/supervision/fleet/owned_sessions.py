"""Sessions that this host of a cluster comes to own, hands over, or loses, while it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from weakref import WeakValueDictionary

from loguru import logger

from waguard.core.row_status import MOVES, ParkCause
from waguard.core.session.views import parked_for
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.store import SessionRow
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.fleet.restorer import Restorer, record_begun
from waguard.supervision.fleet.run_state import RunState
from waguard.supervision.fleet.starting import start_or_park
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext


class OwnedActors:
    """Fills ``ports.cluster.OwnedSessions`` for what runs here. ``forgotten``: called with each session that does not any
    more."""

    def __init__(
        self,
        ctx: SessionContext,
        registry: Registry,
        state: RunState,
        restorer: Restorer,
        *,
        forgotten: Callable[[str], None],
    ) -> None:
        self._ctx = ctx
        self._registry = registry
        self._ours = registry.ours
        self._state = state
        self._restorer = restorer
        self._forgotten = forgotten
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._dropping: dict[str, asyncio.Task[None]] = {}

    async def acquire(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``. Raises ``UnavailableError`` also until the restore at the start has read its
        rows, and at the end."""
        self._state.require_running()
        self._state.require_loaded()
        for name in sessions:
            self._ours.begin(name)
        async with self._alone(sessions, dropped=True):
            found = await self._ctx.store.sessions()
            rows = [
                row
                for row in found
                if row.session_id in sessions and row.session_id not in self._registry
            ]
            await self._registry.read_kept(rows)
            self._state.require_running()
            self._begin(rows)
            # also of those that came to memory before, where that was cut off
            here = [it for it in self._registry.sessions if it.name in sessions]
            await self._restorer.finish_removals(here)

    def _begin(self, rows: Collection[SessionRow]) -> None:
        """Bring them up."""
        # some may have been lost since they were read
        names = {row.session_id for row in rows if self._ours.has(row.session_id)}
        names -= self._dropping.keys()  # claimed again since: it is acquired again, too
        ours = [row for row in rows if row.session_id in names]
        added = [self._registry.add(row, moved=True) for row in ours]
        for session in added:
            logger.info("session acquired", event="session_acquired", session=session.name)
        record_begun(added)
        self._restorer.begin(added)

    async def release(self, session: str) -> None:
        """See ``ports.cluster.OwnedSessions``. Raises ``UnavailableError`` where it cannot leave now: it goes on here."""
        async with self._alone([session]):
            if (it := self._registry.get(session)) is None:
                self._ours.end(session)
                return
            with self._registry.leaving(session, MOVES):
                await it.stop(daemon_stopping=True, moves=True)
                if it.state.worker and not it.is_forgotten:
                    raise UnavailableError("the session was started meanwhile", retry_after=5)
                with contextlib.suppress(WaguardError):  # nobody uses a profile that is marked
                    if it.row.removed_at is None:
                        await self._registry.finish_logout(it)
                why = None if it.is_forgotten else await it.profile.hand_over()
                if it.is_forgotten:  # it was lost meanwhile
                    return
                if why:
                    if it.row.desired_up:
                        _bring_back(it)
                    raise UnavailableError(
                        f"the session's credentials are not shared: {why}", retry_after=60
                    )
                await self._registry.flush(it)
                self._ours.end(session)
                await self._registry.remove(session)
            await self._forget(session)
            logger.info("session released", event="session_released", session=session)

    async def lose(self, sessions: Collection[str]) -> None:
        """See ``ports.cluster.OwnedSessions``. Their workers are ended before anything is awaited."""
        dropping = []
        for name in sessions:
            self._ours.end(name)
            if session := self._registry.drop(name):
                logger.warning("session lost", event="session_lost", session=name)
                self._dropping[name] = ending = asyncio.create_task(self._drop(session))
                dropping.append(ending)
        if dropping:
            await asyncio.wait(dropping)  # who is cancelled cuts none of them off
        for ending in dropping:
            ending.result()

    async def _drop(self, session: SessionActor) -> None:
        try:
            async with self._alone([session.name]):  # after a release that it has cut off
                await session.dropped()
                await self._forget(session.name)
        finally:
            if self._dropping.get(session.name) is asyncio.current_task():
                del self._dropping[session.name]

    async def _forget(self, session: str) -> None:
        if self._ctx.shipping:
            await self._ctx.shipping.forget(session)
        self._ctx.proxies.forget(session)
        self._forgotten(session)

    @contextlib.asynccontextmanager
    async def _alone(
        self, sessions: Collection[str], *, dropped: bool = False
    ) -> AsyncIterator[None]:
        """What is changed of a session is changed one after the other. ``dropped``: after what was lost has ended, also
        where that has begun to wait later."""
        while True:
            async with contextlib.AsyncExitStack() as stack:
                for name in sorted(sessions):  # always in this order: two never wait for each other
                    lock = self._changing.setdefault(name, asyncio.Lock())
                    await stack.enter_async_context(lock)
                if not dropped or self._dropping.keys().isdisjoint(sessions):
                    yield
                    return
            await asyncio.wait([it for name, it in self._dropping.items() if name in sessions])


def _bring_back(session: SessionActor) -> None:
    """As it was before the stop: one that waits for a person waits on."""
    if parked_for(session.state) in {None, ParkCause.RESTART_BUDGET}:
        start_or_park(session, asked=False)
