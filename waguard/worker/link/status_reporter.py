"""What a worker reports of itself to its daemon."""

from typing import Literal

from waguard.core.link import Link
from waguard.core.passkey_link import PasskeyLink
from waguard.host.system import logs
from waguard.wire.reports import Passkey, Report
from waguard.wire.worker import LogSettings, WorkerSpec
from waguard.worker.browser.forwarder import Forwarder
from waguard.worker.link.daemon_link import DaemonLink
from waguard.worker.page.link_watch import LinkWatch
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.report_gate import ReportGate

Phase = Literal["launching", "loading", "settling", "ready", "closing"]


class StatusReporter:
    """Each part of the worker records here what it knows; ``report`` sends the whole, where it changed."""

    def __init__(
        self,
        spec: WorkerSpec,
        daemon: DaemonLink,
        watch: LinkWatch,
        document: PageDocument,
        gate: ReportGate,
        forwarder: Forwarder | None = None,
        *,
        obeys: bool,
    ) -> None:
        self._spec = spec
        self._daemon = daemon
        self._watch = watch
        self._document = document
        self._gate = gate
        self._forwarder = forwarder
        self._obeys = obeys
        self._log = spec.log
        self._browser_pid: int | None = None
        self._stopped_member: str | None = None
        self._details: str | None = None
        self._exit_code: int | None = None
        self._scripts_ended = 0
        self.phase: Phase = "launching"
        self.waits = spec.waits
        self.loads = 0
        """How often the page was loaded, by itself too."""

    def enter(self, phase: Phase) -> None:
        """From now on it is in this phase; the last one is that it closes."""
        if self.phase != "closing":
            self.phase = phase

    def browser_started(self, pid: int) -> None:
        """Chromium answers."""
        self._browser_pid = pid

    def page_loads(self) -> None:
        """Once more."""
        self.loads += 1

    def script_ended(self) -> None:
        """The page did not answer, so its script was ended."""
        self._scripts_ended += 1

    def browser_stopped(self, member: str | None) -> None:
        """Which of Chromium's processes stands still, in words; None: none is known to."""
        self._stopped_member = member

    def set_log(self, log: LogSettings) -> None:
        """Log like this from now on."""
        logs.configure(log.level, log.format)
        self._log = log

    def ends(self, code: int, why: str | None) -> None:
        """The worker ends with this exit code; ``why``: None where it was asked to."""
        self._exit_code, self._details = code, why

    def level(self, level: str) -> str:
        """The level of a line about what the report says: the daemon logs that, where one is there."""
        return level if self._daemon.alone_since is not None else "DEBUG"

    def report(self) -> None:
        """Report the whole state, when it differs from the last report."""
        ready = self.phase == "ready"
        watch = self._watch
        self._daemon.report(
            Report(
                session=self._spec.session,
                generation=self._spec.generation,
                proxy=self._spec.proxy.mark if self._spec.proxy else None,
                obeys=self._obeys,
                phase=self.phase,
                link=watch.link if ready else Link.UNKNOWN,
                browser_pid=self._browser_pid,
                phone=watch.phone,
                qr=watch.qr if ready else None,
                qr_idle=watch.qr_idle,
                loads=self.loads,
                scripts_ended=self._scripts_ended,
                socket=watch.socket,
                update_offered=watch.update_offered,
                passkey=_passkey(watch.passkey),
                passkey_until=watch.passkey.until if watch.passkey else None,
                covered=watch.covered,
                flooded=self._gate.floods,
                refused=watch.refused,
                refusals=watch.refusals,
                retry_after=watch.retry_after,
                locked_until=watch.locked_until,
                details=self._details or self._of_proxy() or watch.details,
                silence=self._stopped_member,
                version=self._document.version,
                log=self._log,
                waits=self.waits,
                answers=True,
                files=True,
                exit_code=self._exit_code,
            )
        )

    def _of_proxy(self) -> str | None:
        """Why the session is offline, where its own proxy fails."""
        offline = self._watch.link is Link.OFFLINE
        return self._forwarder.failure if self._forwarder and offline else None


def _passkey(link: PasskeyLink | None) -> Passkey | None:
    if link is None:
        return None
    return Passkey(
        stage=link.stage,
        until=link.until,
        unattended_until=link.unattended_until,
        request=link.request,
        code=link.code,
        error=link.error,
    )
