"""Which sessions are this host's: performs what ``core/cluster/session_owner.py`` decides, and is the daemon's
``Ownership``."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Protocol, assert_never

from loguru import logger

from waguard.core.cluster import session_owner
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.owner_facts import (
    Acquire,
    Claim,
    Claimed,
    ClaimRefused,
    Created,
    Deleted,
    DrainAsked,
    Ended,
    HolderRead,
    Lose,
    NotAdmitted,
    OwnerEffect,
    OwnerFact,
    OwnersRead,
    ReadHolder,
    ReadOwners,
    Release,
    Unanswered,
)
from waguard.core.cluster.lease_facts import TimerDue
from waguard.core.cluster.records import Owner
from waguard.core.cluster.session_owner import OwnerState, OwnerStep
from waguard.core.session.facts import Moment
from waguard.errors import UnavailableError, WaguardError
from waguard.host.clock import since_boot
from waguard.ports.cluster import OwnedSessions, Owners
from waguard.supervision.cluster.acquiring import Acquiring
from waguard.supervision.cluster.engine_calls import EngineCalls
from waguard.supervision.cluster.host_keeper import HostKeeper

CLAIMS_AT_ONCE: Final = 4  # transactions; each is short, and the database serves other hosts too
SHORTEST_NAP: Final = 0.02  # s
LONGEST_NAP: Final = 1.0  # s; the loop's clock stops in a suspend, the boot clock does not


class SessionUse(Protocol):
    """What is known here of the sessions that run."""

    def room(self, owned: Collection[str]) -> int:
        """How many more sessions fit beside these."""

    def idle(self) -> frozenset[str]:
        """Those that nobody uses now."""

    def not_admitted(self) -> Collection[str]:
        """Those that admission has held back for so long that another host should have them."""

    def knows(self, session: str) -> bool:
        """Whether memory has it."""


class OwnerReports(Protocol):
    """Who reports what changes of the owners."""

    def claimed(self, seen: Owner, epoch: int) -> None:
        """A session is this host's."""

    def released(self, session: str, to_host: str | None) -> None:
        """It is not any more, in order."""

    def lost(self, session: str) -> None:
        """It is another host's, or may be."""


class OwnerKeeper:
    """Fills ``ports.cluster.Ownership``. ``host`` holds the lease, ``sessions`` are what owning one means here. ``clock``
    is CLOCK_BOOTTIME, in seconds."""

    def __init__(
        self,
        host: HostKeeper,
        owners: Owners,
        sessions: OwnedSessions,
        use: SessionUse,
        reports: OwnerReports,
        *,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._host = host
        self._owners = owners
        self._sessions = sessions
        self._use = use
        self._reports = reports
        self._clock = clock
        self._calls = EngineCalls()
        self._claims = asyncio.Semaphore(CLAIMS_AT_ONCE)
        self._acquiring = Acquiring(sessions)
        self._closing: dict[str, int] = {}
        """Sessions that are being ended in order, with their epochs: their last rows are written meanwhile."""
        self._gone: frozenset[str] = frozenset()
        """Owned sessions without a row, when all were read last."""
        self._state: OwnerState | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()
        self._shown: object = None

    def begin(self, adopted: Iterable[str]) -> None:
        """Begin to own. ``adopted``: the sessions whose workers an earlier daemon has left here."""
        self._state = session_owner.begin(self._host.view.host, frozenset(adopted))
        self._post(TimerDue())

    async def end(self, *, releases: bool) -> None:
        """Claim nothing more. ``releases``: end all sessions in order, and leave them to the other hosts."""
        state, self._state = self._state, None
        if self._timer:
            self._timer.cancel()
        await self._acquiring.end()
        if state and releases:
            ends = [Release(session, epoch, None) for session, epoch in state.owned.items()]
            self._closing |= state.owned
            await asyncio.gather(*map(self._release, ends))
        await self._calls.end()

    # ---- ports.cluster.Ownership ----

    def epoch(self, session: str) -> int | None:
        """See ``ports.cluster.Ownership``."""
        return self.owned().get(session)

    def owned(self) -> Mapping[str, int]:
        """See ``ports.cluster.Ownership``; what is being ended in order is still owned."""
        return {**(self._state.owned if self._state else {}), **self._closing}

    def address(self, session: str) -> str | None:
        """See ``ports.cluster.Ownership``."""
        row = self._state.rows.get(session) if self._state else None
        found = self._host.view.peers.get(row.host) if row and row.host else None
        lives = row and found and found.record.alive
        if not found or not row or not lives or found.record.incarnation != row.incarnation:
            return None
        return found.record.address

    # ---- what others ask ----

    def close_all(self) -> None:
        """The lease runs out: end all in order; what is being closed is lent nothing further."""
        for session, epoch in (self._state.owned if self._state else {}).items():
            self._closing[session] = epoch
            self._calls.begin(self._close(session), "close")

    def is_closing(self, session: str) -> bool:
        """Whether it is being ended."""
        return session in self._closing

    def lease_changed(self) -> None:
        """The leases may show something else than before."""
        view = self._host.view
        shown = (
            view.incarnation,
            view.held_since,
            view.newer_format,
            {host: _relevant(it) for host, it in view.peers.items()},
        )
        if shown != self._shown:
            self._shown = shown
            self._post(TimerDue())

    def drain(self, *, on: bool, end: bool) -> None:
        """See ``owner_facts.DrainAsked``."""
        self._post(DrainAsked(on, end))

    @property
    def drains(self) -> bool:
        """Whether this host is being emptied."""
        return self._state is not None and self._state.drain

    # ---- facts and effects ----

    def _post(self, fact: OwnerFact) -> None:
        if self._state is None:
            return
        now = Moment(self._clock(), random.random(), time.time())  # noqa: S311 - no secret
        step = session_owner.advance(self._state, fact, self._host.view, now)
        self._state = step.state
        lost = [it.session for it in step.effects if isinstance(it, Lose)]
        if lost:  # together, and before all else
            self._calls.begin(self._lose(lost), "lose")
        for effect in step.effects:
            self._perform(effect)
        self._wake_up()

    def _wake_up(self) -> None:
        if self._timer:
            self._timer.cancel()
        state = self._state
        if state is None:
            return
        due = LONGEST_NAP if state.reads else session_owner.due_at(state) - self._clock()
        nap = min(max(SHORTEST_NAP, due), LONGEST_NAP)
        self._timer = asyncio.get_running_loop().call_later(nap, self._post, TimerDue())

    def _perform(self, effect: OwnerEffect) -> None:
        match effect:
            case ReadOwners():
                self._calls.begin(self._read_owners(effect), "read owners")
            case ReadHolder():
                self._calls.begin(self._read_holder(effect), "read holder")
            case Claim():
                self._calls.begin(self._claim(effect), "claim")
            case Acquire(session=session):
                self._acquiring.add(session)
            case Release(session=session, epoch=epoch):
                self._closing[session] = epoch
                self._calls.begin(self._release(effect), "release")
            case Lose():
                pass  # begun already
            case _:
                assert_never(effect)

    async def _read_owners(self, it: ReadOwners) -> None:
        try:
            rows = tuple(await self._owners.owners())
        except WaguardError as error:
            logger.debug("the owners are not read", why=error.line())
            self._post(Unanswered(it))
            return
        owned = self.owned()
        room, idle = self._use.room(owned), self._use.idle()
        self._post(OwnersRead(rows=rows, room=room, idle=idle))
        for session in self._use.not_admitted():
            self._post(NotAdmitted(session))
        await self._forget_deleted(rows)

    async def _forget_deleted(self, rows: Iterable[Owner]) -> None:
        """What was owned at this reading and the one before, has no row and is in nobody's memory was deleted."""
        owned = self._state.owned if self._state else {}
        without = owned.keys() - {it.session for it in rows}
        gone = {it for it in without & self._gone if not self._use.knows(it)}
        self._gone = frozenset(without)
        for session in gone:
            self._post(Deleted(session))
        try:
            await self._owners.drop(gone) if gone else None
        except WaguardError as error:
            logger.debug("owners of deleted sessions are not removed", why=error.line())

    async def _read_holder(self, it: ReadHolder) -> None:
        try:
            read = self._host.leases.read(it.host)
            found = await self._calls.answer(read, "read", within=self._host.within)
        except WaguardError as error:
            logger.debug("a host's lease is not read", host=it.host, why=error.line())
            self._post(Unanswered(it))
        else:
            self._post(HolderRead(it.host, found))

    async def _claim(self, it: Claim) -> None:
        seen = it.seen
        try:
            async with self._claims:
                epoch = await self._owners.claim(seen, self._host.view.host, it.incarnation)
        except WaguardError as error:
            logger.debug("a session is not claimed", session=seen.session, why=error.line())
            self._post(Unanswered(it))
            return
        if epoch is None:
            self._post(ClaimRefused(it))
            return
        self._post(Claimed(it, epoch))
        if self.epoch(seen.session) == epoch:
            self._reports.claimed(seen, epoch)

    async def _release(self, it: Release) -> None:
        await self._close_in_order(it.session)
        try:
            await self._owners.release(it.session, it.epoch, to_host=it.to_host)
        except WaguardError as error:
            logger.warning(
                "a session was ended, and its owner's row is not written",
                event="owner_not_written",
                session=it.session,
                why=error.line(),
            )
        else:
            self._reports.released(it.session, it.to_host)
        self._ended(it.session)

    async def _close(self, session: str) -> None:
        await self._close_in_order(session)
        self._ended(session)

    async def _close_in_order(self, session: str) -> None:
        await self._acquiring.drop([session])
        try:
            await self._sessions.release(session)
        except Exception as error:  # noqa: BLE001 - whoever owns it next must not find it running
            why = error.line() if isinstance(error, WaguardError) else repr(error)
            logger.error("a session is not ended in order", event="not_released", session=session, why=why)
            await self._sessions.lose([session])

    async def _lose(self, sessions: Collection[str]) -> None:
        for session in sessions:
            self._reports.lost(session)
        await self._sessions.lose(sessions)
        if await self._acquiring.drop(sessions):
            await self._sessions.lose(sessions)
        for session in sessions:
            self._ended(session)

    def _ended(self, session: str) -> None:
        self._closing.pop(session, None)
        self._post(Ended(session))


def _relevant(it: Found) -> HostRecord:
    """What changes not with each renewal."""
    return replace(it.record, number=0)
