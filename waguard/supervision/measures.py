"""What happens to sessions, added to the metrics: their states are compared, one after the other."""

from waguard.core.metrics.session_times import Begun, Change, compare
from waguard.core.metrics.tally import Tally


class Measures:
    """The sessions of one daemon. What is counted lies in ``tally``."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._begun: dict[str, Begun] = {}

    def add(self, change: Change) -> None:
        """A session has another state."""
        begun = self._begun.get(change.after.session, Begun())
        self._begun[change.after.session], found = compare(begun, change)
        for metric, value, label in found:
            self._tally.add(metric, value, *label)

    def forget(self, session: str) -> None:
        """The session is no more."""
        self._begun.pop(session, None)
