"""What the application's rows of sessions should say, and what is recorded when one was corrected."""

from loguru import logger

from waguard.core.row_status import Status
from waguard.core.webhooks.account_row_gate import Known
from waguard.supervision.fleet.health import HealthReport
from waguard.supervision.fleet.registry import Registry


class AccountRowOwner:
    """Fills ``messaging.webhooks.receiver_table.RowOwner``."""

    def __init__(self, registry: Registry, health: HealthReport) -> None:
        self._registry = registry
        self._health = health

    def known(self, session_id: str) -> Known:
        """What waguard itself knows of it."""
        session = self._registry.get(session_id)
        pending = session is not None and session.publisher.writer.row_pending
        return Known(why_not=self._health.connection(session_id).why_not, row_pending=pending)

    def record_correction(self, session_id: str, before: str) -> None:
        """Record that the session's row said ``before``, and says connected now."""
        logger.warning(
            "the session's row is corrected",
            event="row_corrected",
            session=session_id,
            before=before,
            after=str(Status.CONNECTED),
        )
        if session := self._registry.get(session_id):
            session.publisher.writer.record(
                "row_corrected",
                before=before,
                after=str(Status.CONNECTED),
                reason="the session is connected; a message waited for its row",
            )

    def repeat_ready(self, session_id: str) -> None:
        """Publish its ``session_ready`` again."""
        if session := self._registry.get(session_id):
            data = {"phone_number": session.state.number, "status": str(Status.CONNECTED)}
            session.publisher.publish("session_ready", data)
