"""What one session reports: to its row, to its audit log, to the event stream, to the log."""

from collections.abc import Callable
from typing import Any, Final

from loguru import logger

from waguard.core.blame import Failure
from waguard.core.host.admission import Cause
from waguard.core.incidents.folding import incident_event
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.passkey import Entry
from waguard.core.session.effects import Held, Record, ResponsivenessChanged
from waguard.core.webhooks.delivery import QR_CODE
from waguard.ports.store import AuditEntry, SessionRow
from waguard.supervision.session import application_events as translate
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.status_writer import StatusWriter
from waguard.wire.reports import PageVersion, QrCode

_OVER: Final = {f"{kind}_over": str(kind) for kind in Kind}
LEVELS: Final = {
    "status": "INFO",
    "start_requested": "INFO",
    "start_waited": "INFO",
    "parked": "ERROR",
    **dict.fromkeys(_OVER, "INFO"),
    **{str(entry): "INFO" for entry in Entry if entry is not Entry.REFUSED},
}
"""Levels of the log, by kinds of entries; all others are warnings."""
UNLOGGED: Final = frozenset({"adopted"})
"""Kinds of entries whose line is another one's: ``worker_adopted``."""
_CONDITIONS: Final = {
    "parked": "parked",
    "unlinked": "unlinked",
    **{str(kind): str(kind) for kind in Kind},
    **_OVER,
}
"""By kinds of entries: which condition begins or ends, as it is called in a status."""
_LINES: Final = {
    "restart": "restarting",
    "parked": "session parked",
    "retried": "session is tried again",
    "recycled": "session recycled",
    "reloaded": "page reloaded",
    Entry.STARTED: "the request for the account's passkey is asked for",
    Entry.ANSWERED: "an answer of the account's passkey goes to the page",
    Entry.CONFIRMED: "the code of a linking by passkey is confirmed",
    Entry.CANCELLED: "the request for the account's passkey is refused",
    Entry.REFUSED: "what was sent for a linking by passkey is refused",
    "taken_over": "another client uses the session; taking it back",
}


class StatusPublisher:
    """``changed`` is called after each write. ``ledger.rows`` and ``ledger.trail`` are run as tasks by the
    owner."""

    def __init__(self, row: SessionRow, ctx: SessionContext, changed: Callable[[], None]) -> None:
        self._ctx = ctx
        self._log = logger.bind(session=row.session_id)
        self.writer = StatusWriter(
            row,
            ctx.store,
            ctx.clock,
            moved=changed,
            publish=self._publish_incident,
            retry=ctx.timings.write_retry,
        )

    def publish(self, event: str, data: Any) -> None:
        """For the stream and the webhooks."""
        row = self.writer.row
        self._ctx.bus.publish(event, row.session_id, row.workspace_id, data)

    def publish_code(self, code: QrCode | None) -> None:
        """There is a new one on the screen."""
        if code:
            self.publish(QR_CODE, translate.qr_code(code, self._ctx.clock.wall()))

    def publish_version(self, it: PageVersion) -> None:
        """The page is loaded with another version."""
        about = {
            "page": it.page,
            "document": it.document,
            "served_by": it.served_by,
            "wajs": it.wajs,
            "wajs_version": it.wajs_version,
        }
        self._log.info("the page has another version", event="page_version", **about)
        self.publish("page_version", about)
        whose = "the store" if it.served_by == "store" else "WhatsApp"
        self.writer.record("page_version", reason=f"WhatsApp Web {it.page}, from {whose}")

    def record(self, it: Record) -> None:
        """An entry of the trail, and a line of the log."""
        about = {"before": it.before, "after": it.after, "why": it.reason, **it.evidence}
        said = {key: value for key, value in about.items() if value is not None}
        if condition := _CONDITIONS.get(it.kind):
            said["condition"] = condition
        if it.kind not in UNLOGGED:
            level, line = LEVELS.get(it.kind, "WARNING"), it.kind.replace("_", " ")
            if it.kind == "status":
                line = "{after}: {why}" if it.reason else "{after}"
            self._log.log(level, _LINES.get(it.kind, line), event=it.kind, every=True, **said)
        self.writer.record(
            it.kind,
            before=it.before,
            after=it.after,
            reason=it.reason,
            evidence=dict(it.evidence),
        )

    def log(self, it: Held | ResponsivenessChanged) -> None:
        """What only the log has."""
        match it:
            case Held(wait) if wait.cause is Cause.PLACE:  # a place comes by itself
                self._log.info(
                    "start waits", event="start_waits", condition="start", why=wait.words
                )
            case Held(wait):
                self._log.error(
                    "the start is held back", event="start_held", condition="start", why=wait.words
                )
            case ResponsivenessChanged(None):
                self._log.info("the page answers again", event="page_answers", condition="page")
            case ResponsivenessChanged(why, evidence):
                seen = {"evidence": evidence} if evidence else {}
                self._log.warning(
                    "the page does not answer",
                    event="page_silent",
                    condition="page",
                    why=why,
                    **seen,
                )

    def log_unhealthy(self, why: Failure | None) -> None:
        """Log that the worker is replaced: it hangs, or did not become ready."""
        if why:
            self._log.error(
                "the session is unhealthy",
                event="session_unhealthy",
                why=str(why),
                blame=str(why.blame),
            )

    def log_link(self, before: Link, after: Link) -> None:
        """Log that the connection to WhatsApp changed."""
        self._log.debug("link", before=str(before), after=str(after))

    def _publish_incident(self, entry: AuditEntry) -> None:
        if event := incident_event(entry):
            self.publish("incident", event)
