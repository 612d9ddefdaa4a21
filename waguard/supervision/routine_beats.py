"""Heartbeats that only move deadlines away, nearly all that there are: kept until a deadline passes without them, or the
session's next fact comes."""

from msgspec import Struct

from waguard.core.session.deadlines import WhileHeard, next_deadline, while_heard
from waguard.core.session.facts import Beat
from waguard.core.session.state import SessionState
from waguard.core.session.worker import can_wait, heard


class _Due(Struct):
    state: SessionState
    at: float
    while_heard: WhileHeard | None


class RoutineBeats:
    """Those of all sessions, and when each session has its next deadline, read off its state and its heartbeat."""

    def __init__(self) -> None:
        self._kept: dict[str, Beat] = {}
        self._due: dict[str, _Due] = {}

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
        due = self._due.get(state.session)
        if due is None or due.state is not state:
            due = _Due(state, next_deadline(state), while_heard(state))
            self._due[state.session] = due
        if due.at <= now and (beat := self._kept.get(state.session)):
            due.at = _with(beat, due)
        return due.at <= now

    def awaits(self, state: SessionState, now: float) -> bool:
        """Whether its newest heartbeat makes a difference now: a deadline has passed without it, or it does more than move
        deadlines away."""
        due = self._due.get(state.session)
        return due is None or due.state is not state or due.at <= now or due.while_heard is None

    def forget(self, session: str) -> None:
        """Forget a session that is no more."""
        self._kept.pop(session, None)
        self._due.pop(session, None)


def _with(beat: Beat, due: _Due) -> float:
    """The next deadline with this heartbeat."""
    worker = due.state.worker
    if worker is None:
        return due.at
    if due.while_heard is None or beat.page_at is None:
        return next_deadline(heard(due.state, worker, beat))
    heard_at, page_at = max(worker.heard_at, beat.at), max(worker.page_at, beat.page_at)
    return due.while_heard.next_deadline(heard_at, page_at)
