"""A worker whose end was requested: what it answers, and when it is killed. Pure.

Whoever closes has the whole grace: its browser writes the profile. Whoever does not answer has nothing to lose by a
kill, unless it only waits for a core or for a disk.
"""

from waguard.core.backoff import NEVER
from waguard.core.replace import replace
from waguard.core.session import worker as workers
from waguard.core.session.deadlines import Due
from waguard.core.session.effects import CheckAnswer
from waguard.core.session.facts import Moment, Stopped, Unanswered
from waguard.core.session.out import Out
from waguard.core.session.state import SessionState, Worker


def on_due(state: SessionState, worker: Worker, passed: Due, now: Moment, out: Out) -> SessionState:
    """A deadline of the end has passed."""
    match passed:
        case Due.KILL:
            return workers.kill(replace(state, worker=replace(worker, since=now.at)), out)
        case Due.ANSWER:
            out(CheckAnswer(worker.number))
            return replace(state, worker=replace(worker, answer_at=NEVER))
        case _:
            return state


def on_no_answer(
    state: SessionState, worker: Worker, fact: Stopped | Unanswered, now: Moment, out: Out
) -> SessionState:
    """Kill a worker that cannot close, or does not want to."""
    if worker.closing:
        return state
    answer = state.rules.answer
    if isinstance(fact, Stopped) or fact.rests or fact.ran >= answer:
        return workers.kill(state, out)
    return replace(state, worker=replace(worker, answer_at=now.at + answer))
