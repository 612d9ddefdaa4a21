"""What a failure costs a session, and when it is tried again. Pure."""

import datetime as dt

from waguard.core.blame import NOT_STARTED, Blame, Failure
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.core.session import page_restarts
from waguard.core.session.effects import Record
from waguard.core.session.facts import Moment
from waguard.core.session.out import Out
from waguard.core.session.page_load import pause
from waguard.core.session.restart import GiveUp, Retries, decide, recent, retry_delay
from waguard.core.session.state import SessionState


def of_others(state: SessionState, failure: Failure, now: Moment, out: Out) -> SessionState:
    """No budget is spent, and the session is not given up: it is tried at growing intervals."""
    delay = 0.0
    if failure.blame is not Blame.OPERATOR or state.spared:
        delay = pause(state.spared, retry_after=None, jitter=now.chance)
    out(_restart(failure, delay))
    return replace(
        state,
        spared=state.spared + 1,
        restarts=state.restarts + 1,
        retries=Retries(state.retries.tries),
        not_before=now.at + delay,
    )


def of_its_own(state: SessionState, failure: Failure, now: Moment, out: Out) -> SessionState:
    """A restart is spent; after the last one the session is parked."""
    while_broken = state.fleet.browser_broken and failure.reason == NOT_STARTED
    if state.fleet.breaker or while_broken:
        # many sessions fail alike, or Chromium answered again during this try: the failure is not
        # counted, and the session waits for a slot
        retries = Retries(state.retries.tries)
        return replace(state, retries=retries, uncounted=True)
    policy = state.rules.restart
    if state.retries.running:
        return _give_up(state, "another try did not help", failure, now, out)
    answer = decide(policy, state.counted, now=now.at, jitter=now.chance)
    if isinstance(answer, GiveUp):
        why = f"{answer.restarts} restarts did not help"
        return _give_up(state, why, failure, now, out)
    delay = answer.delay
    if failure.reason == page_restarts.REASON:
        if state.care.page_ends > 1:
            return _give_up(state, "another worker did not help", failure, now, out)
        delay = page_restarts.pause(policy, jitter=now.chance)
    out(_restart(failure, delay))
    return replace(
        state,
        counted=(*recent(state.counted, now=now.at, period=policy.period), now.at),
        restarts=state.restarts + 1,
        not_before=now.at + delay,
    )


def _restart(failure: Failure, delay: float) -> Record:
    evidence = {"delay": delay, "blame": str(failure.blame)}
    return Record("restart", reason=str(failure), evidence=evidence)


def _give_up(
    state: SessionState, why: str, failure: Failure, now: Moment, out: Out
) -> SessionState:
    """The session spent its restarts: it is tried again at growing intervals."""
    tries = state.retries.tries
    delay = retry_delay(tries, first=state.rules.retry_parked, jitter=now.chance)
    at = dt.datetime.fromtimestamp(now.wall + delay, dt.UTC)
    words = f"{why}: {failure}; it is tried again at {at:%H:%M} UTC"
    cause = ParkCause.RESTART_BUDGET
    out(Record("parked", reason=str(cause), evidence={"details": words}))
    return replace(
        state,
        failure=replace(failure, message=words),
        retries=Retries(tries, now.at + delay),
        not_before=now.at + delay,
    )
