"""Why a worker ends by itself: the exit code says it to the daemon, and the details say what was seen."""

from waguard.core.exits import EXIT_EXPORTS_MISSING, EXIT_PAGE_NOT_READY
from waguard.errors import WaguardError
from waguard.worker.page.page_errors import ExportsMissingError


class WorkerEndError(Exception):
    """The worker must end with this exit code."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code


def not_ready(error: WaguardError) -> WorkerEndError:
    """The end of a worker whose page did not become usable."""
    missing = isinstance(error, ExportsMissingError)
    return WorkerEndError(EXIT_EXPORTS_MISSING if missing else EXIT_PAGE_NOT_READY, error.line())
