"""What a page may report, and how much of it: the shell of ``core/session/report_quota.py``."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from loguru import logger

from waguard.core.session import report_quota
from waguard.core.session.report_quota import Counted, Quota, Sort
from waguard.worker.page.page_reports import KINDS

QUOTA: Final = Quota()

LARGEST: Final = 4 << 20
"""Characters of a report. A message's two longest texts in JSON have at most 1.6 million, its content 0.6 million."""
CHAT_STATE: Final = "standing"
SORTS: Final[Mapping[str, Sort]] = {
    **dict.fromkeys(KINDS, Sort.BESIDE),
    "message": Sort.MESSAGE,
    "people": Sort.BESIDE,
    CHAT_STATE: Sort.BESIDE,
    **dict.fromkeys(
        ("changed", "qr_idle", "logout", "logout_reason", "storage_closed", "passkey"), Sort.SIGNAL
    ),
}
"""What ``page.js`` and ``early.js`` report; a page that reports anything else is not ours."""


class ReportGate:
    """Bounds what one worker reports, whichever page it has. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = Counted()

    @property
    def floods(self) -> bool:
        """Whether the page reports more than it may."""
        return report_quota.floods(self._counted, now=self._clock())

    def wait(self, kind: str, size: int) -> float | None:
        """Seconds for which the page is not to be read after a report of so many characters; None: it is
        refused."""
        if (sort := SORTS.get(kind)) is None:
            self.refuse(size)
            return None
        return self._count(sort, size)

    def refuse(self, size: int) -> None:
        """Count what no page of ours reports."""
        if self._count(Sort.SIGNAL, size) is not None:  # else there is no end of these lines
            logger.error("the page reported something invalid", event="page_odd", characters=size)

    def _count(self, sort: Sort, size: int) -> float | None:
        now = self._clock()
        self._counted, wait = report_quota.report(QUOTA, self._counted, sort, size, now=now)
        return wait
