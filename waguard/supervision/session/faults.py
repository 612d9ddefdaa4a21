"""What waguard itself could not do for one session: a condition of that session, and of no other."""

from collections.abc import Callable

from loguru import logger

from waguard.core.blame import Condition
from waguard.core.conditions import fault
from waguard.errors import is_outage

FAILED = "supervision_failed"
OVER = "supervision_goes_on"


class Faults:
    """``note`` puts an entry on the session's trail: of the first failure, and of its end; ``wall`` is
    unix time."""

    def __init__(self, session: str, note: Callable[..., None], wall: Callable[[], float]) -> None:
        self._session = session
        self._log = logger.bind(session=session)
        self._note = note
        self._wall = wall
        self._open: dict[str, str] = {}
        self._since = 0.0

    @property
    def words(self) -> str | None:
        """What fails now; None: nothing."""
        return "; ".join(self._open.values()) or None

    @property
    def condition(self) -> Condition | None:
        """The fault, as people see it."""
        words = self.words if self._open else None
        return fault(self._session, words, since=self._since) if words else None

    def alone(self, what: str) -> "Alone":
        """An exception inside ends here. A database that is down concerns all, and goes on up."""
        return Alone(self, what)

    def begin(self, what: str, error: Exception) -> None:
        """A fault begins, where it is a new one."""
        if what in self._open:
            return  # a tick comes each second
        self._since = self._since if self._open else self._wall()
        # its text may quote a message
        self._open[what] = f"waguard failed to {what} it: {type(error).__name__}"
        self._log.opt(exception=error).critical("a bug in waguard", event=FAILED, task=what)
        self._note(FAILED, reason=self._open[what])

    def end(self, what: str) -> None:
        """End a fault: what failed was done, or need not be done any more."""
        if self._open.pop(what, None) and not self._open:
            self._note(OVER)


class Alone:
    """What ``Faults.alone`` gives. A class: several are made of each session each second."""

    __slots__ = ("_faults", "_what")

    def __init__(self, faults: Faults, what: str) -> None:
        self._faults = faults
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is None:
            self._faults.end(self._what)
        elif is_outage(error) or not isinstance(error, Exception):
            return False
        else:
            self._faults.begin(self._what, error)
        return True
