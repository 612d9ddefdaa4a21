"""Heartbeats that only move deadlines away, nearly all facts that there are: kept until the session's next fact."""

from waguard.core.session.deadlines import next_deadline
from waguard.core.session.facts import Beat
from waguard.core.session.state import SessionState
from waguard.core.session.worker import can_wait, heard


class RoutineBeats:
    """Those of all sessions, and when each session has its next deadline, read off its state and its heartbeat."""

    def __init__(self) -> None:
        self._kept: dict[str, Beat] = {}
        self._due: dict[str, tuple[SessionState, float]] = {}

    def keep(self, state: SessionState | None, beat: Beat) -> bool:
        """Whether it is kept, in place of an earlier one; else it has to be handled now."""
        if state is None or not can_wait(state, beat):
            return False
        self._kept[state.session] = beat
        return True

    def pop(self, session: str) -> Beat | None:
        """What is kept of it: it is to be handled before anything else."""
        return self._kept.pop(session, None)

    def is_due(self, state: SessionState | None, now: float) -> bool:
        """Whether a deadline of it has passed. None: what was due for another session has ended this one."""
        if state is None:
            return False
        known = self._due.get(state.session)
        if known is None or known[0] is not state:
            known = state, next_deadline(state)
        if known[1] <= now and state.worker and (beat := self._kept.get(state.session)):
            known = state, next_deadline(heard(state, state.worker, beat))
        self._due[state.session] = known
        return known[1] <= now

    def forget(self, session: str) -> None:
        """Forget a session that is no more."""
        self._kept.pop(session, None)
        self._due.pop(session, None)
