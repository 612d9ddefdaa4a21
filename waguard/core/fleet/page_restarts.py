"""Pages that are loaded again and again: where most of the fleet's are, it is the build, and WhatsApp's. Pure."""

from typing import Final

from waguard.core.fleet.state import FleetState, Report, report_outage
from waguard.core.lifecycle import State
from waguard.core.replace import replace
from waguard.core.session.effects import PageRestarts

EVERYWHERE: Final = "pages_restart_everywhere"
_DOWN: Final = frozenset({State.STOPPED, State.PARKED})
_WHY: Final = "the pages of most sessions are loaded again and again"


def on_restarts(fleet: FleetState, session: str, it: PageRestarts) -> FleetState:
    """A session's page restarts, or does not any more."""
    rest = fleet.restarting - {session}
    return replace(fleet, restarting=rest | {session} if it.count else rest)


def report_restarts(fleet: FleetState, report: Report) -> FleetState:
    """Begin or end the outage. One session alone proves nothing about a build."""
    if not fleet.restarting and EVERYWHERE not in fleet.outages:
        return fleet
    up = {name for name, it in fleet.members.items() if it.state is State.RUNNING}
    restarting = {
        name
        for name in fleet.restarting
        if (it := fleet.members.get(name)) and it.state not in _DOWN
    }
    most = len(restarting) > fleet.rules.threshold * len(up | restarting)
    return report_outage(fleet, EVERYWHERE, _WHY if most and len(restarting) > 1 else None, report)
