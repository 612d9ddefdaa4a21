"""The daemon's ``Ownership``: what is this host's, as its keeper believes now."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from waguard.core.cluster.owner_facts import CreateAsked
from waguard.core.cluster.records import Owner
from waguard.core.cluster.unowned import holder
from waguard.errors import UnavailableError
from waguard.ports.cluster import Owners
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.owner_keeper import OwnerKeeper

BROUGHT_UP_WITHIN: Final = 10.0  # s


class HostOwnership:
    """Fills ``ports.cluster.Ownership``."""

    def __init__(self, host: HostKeeper, keeper: OwnerKeeper, owners: Owners) -> None:
        self._host = host
        self._keeper = keeper
        self._owners = owners

    def epoch(self, session: str) -> int | None:
        """See ``ports.cluster.Ownership``."""
        return self._keeper.epoch(session)

    def owned(self) -> Mapping[str, int]:
        """See ``ports.cluster.Ownership``."""
        return self._keeper.owned

    def address(self, session: str) -> str | None:
        """See ``ports.cluster.Ownership``."""
        found = holder(self._keeper.state, self._host.view, session)
        return found.address if found else None

    def epoch_seen(self, session: str) -> int | None:
        """The epoch of a session that nobody living owns, as it was read last; None: somebody does, or it is not
        known."""
        state, row = self._keeper.state, self._row(session)
        return row.epoch if row and state and session in state.free_since else None

    async def create(self, session: str) -> None:
        """See ``ports.cluster.Ownership``."""
        if self.epoch(session) is None and await self._claim(session) is False:
            await self._owners.drop([session])  # the row of one that was deleted a moment ago
            await self._claim(session)
        # what is sent and delivered for it is this host's too, before it runs
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BROUGHT_UP_WITHIN):
                await self._keeper.brought_up(session)
                self._require(session)
                return
        raise UnavailableError("what is kept of the session is not read yet", retry_after=5)

    def _require(self, session: str) -> None:
        if self._keeper.state is None or session not in self._keeper.state.owned:
            raise UnavailableError(self._why_not(session), retry_after=5)

    async def _claim(self, session: str) -> bool | None:
        """False: there is an owner's row without a session; None: nothing was tried."""
        row = self._row(session)
        nobody = Owner(session=session, host=None, incarnation=None, epoch=0)
        self._keeper.post(CreateAsked(row or nobody))
        state = self._keeper.state
        claim = state.claiming.get(session) if state else None
        if claim is None:
            return None
        while (state := self._keeper.state) and state.claiming.get(session) is claim:
            await self._keeper.moved()
        return row is not None or (state is not None and session in state.owned)

    def _row(self, session: str) -> Owner | None:
        state = self._keeper.state
        return state.rows.get(session) if state else None

    def _why_not(self, session: str) -> str:
        state = self._keeper.state
        if state is None or not self._host.is_held:
            return "this host is without its lease, and may own no session"
        if state.drain:
            return "this host is being emptied, and owns no new session"
        if self.address(session):
            return "another host owns the session"
        return "the session's next host is being found"
