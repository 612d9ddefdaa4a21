"""What the parts of a worker need of it."""

from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from waguard.core.messages.people import People
from waguard.wire.events import BackfillGap, Event
from waguard.wire.protocol import PROTOCOL, Hello
from waguard.wire.worker import WorkerSpec
from waguard.worker.browser.forwarder import Forwarder
from waguard.worker.lease_end import Deadline
from waguard.worker.link.daemon_link import DaemonLink
from waguard.worker.link.heartbeat_slot import HeartbeatSlot
from waguard.worker.link.status_reporter import StatusReporter
from waguard.worker.messages.inbound import Inbound
from waguard.worker.page.link_watch import LinkWatch
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.report_gate import ReportGate
from waguard.worker.timings import TIMINGS, Timings


class WorkerContext(Struct, frozen=True, kw_only=True):
    """All that is there before Chromium is, and as long as the worker."""

    spec: WorkerSpec
    timings: Timings
    deadline: Deadline
    daemon: DaemonLink
    watch: LinkWatch
    document: PageDocument
    people: People
    inbound: Inbound
    reporter: StatusReporter
    gate: ReportGate
    forwarder: Forwarder | None
    """The way to the session's own proxy; None: it has none."""

    @classmethod
    def of(
        cls, spec: WorkerSpec, earlier: Sequence[Event] = (), timings: Timings = TIMINGS
    ) -> Self:
        """Make the context of a worker that begins; ``earlier``: events of the worker before."""
        hello = Hello(
            protocol=PROTOCOL,
            instance=spec.instance,
            session=spec.session,
            generation=spec.generation,
        )
        deadline = Deadline()
        write = HeartbeatSlot(spec, deadline).write
        daemon = DaemonLink(hello, earlier, lend=deadline.move, write=write, timings=timings)
        watch, people, gate = LinkWatch(), People(), ReportGate()
        forwarder = Forwarder(spec.proxy) if spec.proxy else None
        document = PageDocument(spec.url, serve=spec.document, folder=spec.documents)
        inbound = Inbound(
            daemon.event,
            spec.left_out,
            people,
            inline_limit=spec.inline_limit,
            file_limit=spec.file_limit,
        )
        daemon.owe = inbound.owe
        for event in earlier:
            if isinstance(event.body, BackfillGap):
                inbound.owe(event.body)
        return cls(
            spec=spec,
            timings=timings,
            deadline=deadline,
            daemon=daemon,
            watch=watch,
            document=document,
            people=people,
            inbound=inbound,
            reporter=StatusReporter(
                spec, daemon, watch, document, gate, forwarder, obeys=deadline.works
            ),
            gate=gate,
            forwarder=forwarder,
        )
