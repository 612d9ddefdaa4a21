"""What waguard itself could not do for one session: a condition of that session, and of no other."""

import contextlib
from collections.abc import Callable, Iterator

from loguru import logger

from waguard.errors import DatabaseUnavailableError

FAILED = "supervision_failed"
OVER = "supervision_goes_on"


class Faults:
    """``note`` puts an entry on the session's trail: of the first failure, and of its end."""

    def __init__(self, session: str, note: Callable[..., None]) -> None:
        self._log = logger.bind(session=session)
        self._note = note
        self._open: dict[str, str] = {}

    @property
    def words(self) -> str | None:
        """What fails now; None: nothing."""
        return "; ".join(self._open.values()) or None

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """An exception inside ends here. A database that is down concerns all, and goes on up."""
        try:
            yield
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other sessions go on
            self._begin(what, error)
        else:
            self.end(what)

    def _begin(self, what: str, error: Exception) -> None:
        if what in self._open:
            return  # a tick comes each second
        # its text may quote a message
        self._open[what] = f"waguard failed to {what} it: {type(error).__name__}"
        self._log.opt(exception=error).critical("a bug in waguard", event=FAILED, task=what)
        self._note(FAILED, reason=self._open[what])

    def end(self, what: str) -> None:
        """It was done, or need not be done any more."""
        if self._open.pop(what, None) and not self._open:
            self._note(OVER)
