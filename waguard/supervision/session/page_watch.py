"""What the decision about versions has to know of a session, read off its state and its worker's report."""

from collections.abc import Callable
from typing import Final

from waguard.core.link import Link
from waguard.core.session.state import Intent, SessionState, Stage
from waguard.core.versions.page_facts import Page, Seen
from waguard.supervision.session.ack_watch import AckWatch
from waguard.supervision.session.deaf_watch import DeafWatch
from waguard.supervision.session.throw_watch import ThrowWatch
from waguard.supervision.versions.observer import VersionObserver
from waguard.wire.reports import PageVersion, Report

_LIVING: Final = frozenset({Stage.ADOPTING, Stage.STARTING, Stage.READY})


def seen(
    state: SessionState,
    report: Report | None,
    acks: AckWatch,
    throws: ThrowWatch,
    deaf: DeafWatch,
    *,
    meant: int | None,
) -> Seen:
    """``report``: the newest of the living worker. ``meant``: the stored revision that it was to
    serve."""
    worker = state.worker
    lives = worker is not None and worker.stage in _LIVING
    number = worker.number if worker else state.workers
    page = page_of(number, report, meant=meant) if lives and report else None
    refused = report is not None and report.refused
    return Seen(
        wanted=state.intent is Intent.UP and not state.left,
        worker=number,
        lives=lives,
        failed=state.failure.reason if state.failure else None,
        page=page,
        closing=report is not None and report.phase == "closing",
        missing=report.version.missing if page and report and report.version else (),
        link=report.link if lives and report and report.phase == "ready" else Link.UNKNOWN,
        unreachable=refused or state.network_down is not None,
        threw_at=throws.threw_at,
        unacked_at=acks.confirmed_at,
        deaf_at=deaf.deaf_at,
        heard_at=deaf.heard_at,
        acked_at=acks.proved_at,
        acked_from=acks.proved_from,
        loads=state.care.loads,
    )


def page_of(worker: int, report: Report, *, meant: int | None) -> Page | None:
    """The page that its worker reports; None: nothing can be said of it."""
    it = report.version
    if it is None:
        return None
    # a page without any module does not say which version it is, its document does
    revision = it.document if it.page is None else it.page
    if revision is None or it.wajs is None:
        return None
    return Page(
        worker=worker,
        loads=report.loads,
        revision=revision,
        wajs=it.wajs,
        stored=it.served_by == "store",
        spent=meant if it.spent is not None else None,
    )


class PageWatch:
    """Reports what a session's page shows to the decision about versions. ``state`` and ``report`` are the newest."""

    def __init__(
        self,
        versions: VersionObserver,
        watches: tuple[AckWatch, ThrowWatch, DeafWatch],
        *,
        state: Callable[[], SessionState],
        report: Callable[[], Report | None],
        publish: Callable[[PageVersion], None],
    ) -> None:
        self._versions = versions
        self._watches = watches
        self._state = state
        self._report = report
        self._publish = publish

    def check(self) -> None:
        """Another version than before is published."""
        state, report = self._state(), self._report()
        meant = self._versions.given(state.session)
        found = seen(state, report, *self._watches, meant=meant)
        adopted = state.worker is not None and state.worker.adopted
        other = self._versions.watch(state.session, found, adopted=adopted)
        if other and report and report.version:
            self._publish(report.version)
