"""What people ask of the cluster: how the hosts are, emptying this one, moving a session."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from waguard.core.cluster import placement
from waguard.core.cluster.owner_facts import DrainAsked, MoveAsked
from waguard.core.cluster.unowned import Unowned, holder, unowned
from waguard.errors import ConflictError, NotFoundError, UnavailableError
from waguard.host.clock import since_boot
from waguard.ports.cluster import HostsView
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.owner_keeper import OwnerKeeper


class HostsHere:
    """Fills ``ports.cluster.Hosts``. ``keep_drain`` keeps for the next daemon whether this host is being emptied, and raises
    ``OSError``."""

    def __init__(
        self,
        host: HostKeeper,
        keeper: OwnerKeeper,
        *,
        keep_drain: Callable[[bool], Awaitable[None]],
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._keep_drain = keep_drain
        self._keeping = asyncio.Lock()
        self._host = host
        self._keeper = keeper
        self._clock = clock

    def view(self) -> HostsView:
        """See ``ports.cluster.Hosts``."""
        return HostsView(
            host=self._host.view.host,
            hosts=self._host.seen(),
            without_owner=self._keeper.without_owner,
        )

    def owner(self, session: str) -> str | None:
        """See ``ports.cluster.Hosts``."""
        if self._keeper.epoch(session) is not None:
            return self._host.view.host
        found = holder(self._keeper.state, self._host.view, session)
        return found.host if found else None

    def unowned(self) -> Mapping[str, Unowned] | None:
        """See ``ports.cluster.Hosts``."""
        state = self._keeper.state
        if state is None or self._keeper.without_owner is None:
            return None
        return unowned(state, self._host.view, self._clock())

    async def drain(self, *, end: bool) -> None:
        """See ``ports.cluster.Hosts``."""
        if self._keeper.state is None:
            raise UnavailableError("this host owns no session yet", retry_after=5)
        self._keeper.post(DrainAsked(drain=not end))
        async with self._keeping:
            try:
                await self._keep_drain(not end)
            except OSError as error:
                lasts = "it takes sessions again" if end else "it is being emptied"
                raise UnavailableError(
                    f"{lasts}, until this daemon ends: it cannot be kept ({error})", retry_after=5
                ) from None

    async def forget(self, host: str) -> None:
        """See ``ports.cluster.Hosts``."""
        leases = self._host.leases
        found = await leases.read(host)
        if found is None:
            raise _unknown("host", host, self._host.view.peers)
        lives = host == self._host.view.host or found.record.alive
        # since it was read, it may have come back
        if lives or not await leases.delete(host, found.revision):
            raise ConflictError(
                f"the host {host} lives",
                field="host",
                value=host,
                remedy="a host that does not run any more is declared dead by the others: wait for that",
            )

    async def move(self, session: str, to_host: str) -> None:
        """See ``ports.cluster.Hosts``."""
        if session not in self._keeper.owned:
            raise UnavailableError("this host does not own the session now", retry_after=5)
        view = self._host.view
        if to_host == view.host:
            raise ConflictError("the session is on this host already", field="to", value=to_host)
        if (found := view.peers.get(to_host)) is None:
            raise _unknown("to", to_host, view.peers)
        if not placement.takes(placement.load(found.record)):
            it = found.record
            why = "is down" if not it.alive else "is being emptied" if it.drain else "has no room"
            raise ConflictError(f"the host {to_host} {why}", field="to", value=to_host)
        if self._keeper.without_owner is None:
            raise UnavailableError("the database does not answer", retry_after=5)
        self._keeper.post(MoveAsked(session, to_host))
        state = self._keeper.state
        ending = state.ending.get(session) if state else None
        if ending is None or ending.to_host != to_host:
            raise UnavailableError("the session is being moved or deleted", retry_after=5)


def _unknown(field: str, host: str, others: Collection[str]) -> NotFoundError:
    known = ", ".join(sorted(others)) or "none"
    return NotFoundError(
        "there is no such host", field=field, value=host, remedy=f"the others are: {known}"
    )
