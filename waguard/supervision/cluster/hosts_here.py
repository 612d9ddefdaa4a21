"""What people ask of the cluster: how the hosts are, emptying this one, moving a session."""

from collections.abc import Callable, Mapping

from waguard.core.cluster import placement
from waguard.core.cluster.owner_facts import DrainAsked
from waguard.core.cluster.unowned import Unowned, holder, unowned
from waguard.errors import ConflictError, NotFoundError, UnavailableError
from waguard.host.clock import since_boot
from waguard.ports.cluster import HostsView, Owners
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.owner_keeper import OwnerKeeper


class HostsHere:
    """Fills ``ports.cluster.Hosts``."""

    def __init__(
        self,
        host: HostKeeper,
        keeper: OwnerKeeper,
        owners: Owners,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._host = host
        self._keeper = keeper
        self._owners = owners
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

    async def move(self, session: str, to_host: str) -> None:
        """See ``ports.cluster.Hosts``."""
        if session not in self._keeper.owned:
            raise UnavailableError("this host does not own the session now", retry_after=5)
        view = self._host.view
        if to_host == view.host:
            raise ConflictError("the session is on this host already", field="to", value=to_host)
        if (found := view.peers.get(to_host)) is None:
            known = ", ".join(sorted(view.peers)) or "none"
            raise NotFoundError(
                "there is no such host",
                field="to",
                value=to_host,
                remedy=f"the others are: {known}",
            )
        if not placement.takes(placement.load(found.record)):
            it = found.record
            why = "is down" if not it.alive else "is being emptied" if it.drain else "has no room"
            raise ConflictError(f"the host {to_host} {why}", field="to", value=to_host)
        if not await self._owners.ask_for_move(session, to_host):
            raise UnavailableError("the session is being moved or deleted", retry_after=5)
