"""What the owners' keeper asks of the database and of the engine: each call is answered by a fact, whatever happens."""

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

from loguru import logger

from waguard.core.cluster.owner_facts import (
    Claim,
    Claimed,
    ClaimRefused,
    Deleted,
    HolderRead,
    NotAdmitted,
    OwnerFact,
    OwnersRead,
    ReadHolder,
    ReadOwners,
    Unanswered,
)
from waguard.core.cluster.records import Owner
from waguard.errors import WaguardError
from waguard.ports.cluster import Owners
from waguard.supervision.cluster.engine_calls import EngineCalls
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.session_use import SessionUse

DROPPED_EVERY: Final = 5.0  # s; webhooks of a deleted session may wait for their receiver for days
CLAIMS_AT_ONCE: Final = 4  # transactions; each is short, and the database serves other hosts too


_Asked = ReadOwners | ReadHolder | Claim


class Owned(Protocol):
    """Who takes the answers."""

    def post(self, fact: OwnerFact) -> None:
        """Handle a fact."""

    @property
    def claimed(self) -> Mapping[str, int]:
        """The epochs of what this host owns by the database."""


class OwnerCalls:
    """``claimed`` is called with the row before and the new epoch; ``clock`` counts seconds."""

    def __init__(
        self,
        host: HostKeeper,
        owners: Owners,
        use: SessionUse,
        keeper: Owned,
        calls: EngineCalls,
        *,
        claimed: Callable[[Owner, int], None],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._dropped_at = -math.inf
        self._unused: frozenset[str] = frozenset()
        self._host = host
        self._owners = owners
        self._use = use
        self._keeper = keeper
        self._calls = calls
        self._on_claimed = claimed
        self._waiting: list[Claim] = []
        self._together = asyncio.Lock()
        self._claims = asyncio.Semaphore(CLAIMS_AT_ONCE)
        self._without_row: frozenset[str] = frozenset()
        """Owned sessions, when all rows were read last."""
        self.was_read = False
        self.answers = False
        """Whether the database did, at the last reading."""

    def begin(self, it: _Asked) -> None:
        """Begin a call; its answer is posted."""
        match it:
            case ReadOwners():
                call = self._read_owners()
            case ReadHolder(host=host):
                call = self._read_holder(host)
            case Claim():
                self._waiting.append(it)
                if len(self._waiting) == 1:
                    self._calls.begin(self._claim_waiting(), "Claim")
                return
        self._calls.begin(self._answered([it], call), type(it).__name__)

    async def _answered(self, asked: Sequence[_Asked], call: Coroutine[Any, Any, None]) -> None:
        """All that a call has asked for is answered, also where it fails."""
        name = type(asked[0]).__name__
        try:
            await call
        except WaguardError as error:
            logger.debug("a call of the owners failed", call=name, why=error.line())
        except Exception as error:  # noqa: BLE001 - without an answer it would never be asked again
            logger.opt(exception=error).critical("a bug in waguard", event="bug", call=name)
        else:
            return
        for it in asked:
            if isinstance(it, ReadOwners):
                self.answers = False
            self._keeper.post(Unanswered(it))

    async def _read_owners(self) -> None:
        rows = tuple(await self._owners.owners())
        deleted = {it.session for it in rows if it.deleted}
        room = self._use.room(self._keeper.claimed.keys() - deleted)
        self.was_read = self.answers = True
        self._keeper.post(OwnersRead(rows=rows, room=room, idle=self._use.idle()))
        for session in self._use.not_admitted():
            self._keeper.post(NotAdmitted(session))
        self._forget_dropped({it.session for it in rows})
        await self._drop(deleted & self._keeper.claimed.keys())

    def _forget_dropped(self, rows: Collection[str]) -> None:
        """What is owned, and has no row at this reading and the one before, was deleted and has nothing left."""
        without = frozenset(self._keeper.claimed.keys() - rows)
        for session in without & self._without_row:
            if not self._use.knows(session):
                self._keeper.post(Deleted(session))
        self._without_row = without

    async def _drop(self, deleted: Collection[str]) -> None:
        """Drop the rows of what is in nobody's memory at this reading and the one before, where nothing is left of it."""
        unused = frozenset(it for it in deleted if not self._use.knows(it))
        gone, self._unused = unused & self._unused, unused
        now = self._clock()
        if not gone or now < self._dropped_at + DROPPED_EVERY:
            return
        self._dropped_at = now
        try:
            await self._owners.drop(gone)
        except WaguardError as error:  # what was read is answered already
            logger.debug("owners of deleted sessions are not removed", why=error.line())

    async def _read_holder(self, host: str) -> None:
        read = self._host.leases.read(host)
        found = await self._calls.answer(read, "read", within=self._host.within)
        self._keeper.post(HolderRead(host, found))

    async def _claim_waiting(self) -> None:
        """Claim all that came since the last time: after the loss of a host these are hundreds."""
        async with self._together:
            waiting, self._waiting = self._waiting, []
            await self._answered(waiting, self._claim_many(waiting))

    async def _claim_many(self, claims: Sequence[Claim]) -> None:
        epochs: Mapping[str, int] = {}
        if len(claims) > 1:
            incarnation = claims[-1].incarnation
            some = [it.seen for it in claims if it.incarnation == incarnation]
            epochs = await self._owners.claim_free(some, self._host.view.host, incarnation)
        for it in claims:
            if (epoch := epochs.get(it.seen.session)) is not None:
                self._is_ours(it, epoch)
            else:
                self._calls.begin(self._answered([it], self._claim(it)), "Claim")

    async def _claim(self, it: Claim) -> None:
        async with self._claims:
            epoch = await self._owners.claim(it.seen, self._host.view.host, it.incarnation)
        if epoch is None:
            self._keeper.post(ClaimRefused(it))
        else:
            self._is_ours(it, epoch)

    def _is_ours(self, it: Claim, epoch: int) -> None:
        self._keeper.post(Claimed(it, epoch))
        if self._keeper.claimed.get(it.seen.session) == epoch:
            self._on_claimed(it.seen, epoch)
