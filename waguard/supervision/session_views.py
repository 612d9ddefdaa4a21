"""Sessions as the API shows them."""

from typing import Final

from waguard.core.blame import Condition
from waguard.core.link import Link
from waguard.core.phone_number import number_of
from waguard.core.row_status import SWITCHED_OFF, understood
from waguard.core.session import views
from waguard.ports.sessions import SessionView
from waguard.ports.store import SessionRow
from waguard.supervision.session.actor import SessionActor

ELSEWHERE: Final = "elsewhere"
"""The lifecycle of a session that this host does not own."""


def view_of(session: SessionActor, conditions: tuple[Condition, ...]) -> SessionView:
    """One of this host."""
    state, row, runner = session.state, session.row, session.runner
    derived, report, worker = state.status, runner.report, state.worker
    return SessionView(
        session_id=row.session_id,
        workspace_id=row.workspace_id,
        status=str(derived.status),
        phone_number=state.number,
        connected_at=row.connected_at,
        last_activity=row.last_activity,
        phone_used_at=session.traffic.intake.phone_used_at,
        disconnect_reason=str(derived.reason) if derived.reason else None,
        disconnect_details=_switched_off(row)
        or derived.details
        or (worker.unresponsive if worker else None),
        account_id=row.account_id,
        priority=row.priority,
        desired_up=row.desired_up,
        lifecycle="adopting" if views.is_adopting(state) else str(session.lifecycle),
        link=str(session.link),
        worker_pid=session.runner.process.pid if session.runner.process else None,
        browser_pid=report.browser_pid if report else None,
        restarts=session.state.restarts,
        waiting=state.held_back.words if state.held_back else None,
        conditions=conditions,
        undecryptable=session.traffic.undecryptable.count,
        undecryptable_since=session.traffic.undecryptable.since,
        sentinel=session.traffic.sentinel.result,
        version=report.version if report else None,
        usage=session.runner.usage,
        removed_at=row.removed_at,
    )


def view_of_row(row: SessionRow, address: str | None) -> SessionView:
    """One of another host, as its row says; ``address``: see ``SessionView``."""
    said = understood(row.status, row.disconnect_reason, row.disconnect_details)
    return SessionView(
        session_id=row.session_id,
        workspace_id=row.workspace_id,
        status=str(said.status),
        phone_number=number_of(row.phone_number),
        connected_at=row.connected_at,
        last_activity=row.last_activity,
        disconnect_reason=str(said.reason) if said.reason else None,
        disconnect_details=_switched_off(row) or said.details,
        account_id=row.account_id,
        priority=row.priority,
        desired_up=row.desired_up,
        lifecycle=ELSEWHERE,
        link=str(Link.UNKNOWN),
        worker_pid=None,
        browser_pid=None,
        restarts=0,
        removed_at=row.removed_at,
        elsewhere=True,
        address=address,
    )


def _switched_off(row: SessionRow) -> str | None:
    return SWITCHED_OFF if row.switched_off else None
