"""A session's status: in a cluster with the host that has it, or why none has."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from waguard.api.deps import Cluster
from waguard.api.session_view import Session, shown
from waguard.core.replace import replace
from waguard.ports.sessions import SessionView

if TYPE_CHECKING:  # one host alone imports nothing of it
    from waguard.core.cluster.unowned import Unowned

SOON: Final = "a host has still to take it over"


def seating(cluster: Cluster | None) -> Callable[[SessionView], Session]:
    """How each session is shown now. ``cluster`` None: there is one host."""
    if cluster is None:
        return shown
    unowned = cluster.hosts.unowned() or {}

    def seated(view: SessionView) -> Session:
        host = cluster.hosts.owner(view.session_id)
        if host is None and view.elsewhere:
            return shown(without_owner(unowned, view), host=None)
        return shown(view, host=host or UNSET)  # it comes or goes

    return seated


def without_owner(unowned: "Mapping[str, Unowned]", view: SessionView) -> SessionView:
    """What its row says is of the host that had it: it is connected nowhere."""
    found = unowned.get(view.session_id)
    return replace(
        view, status="disconnected", waiting=view.waiting or (found.why if found else SOON)
    )
