"""A page that is loaded again and again, by itself or because its script had to be ended, is not healthy however
well it looks between two loads. Pure.

A load that nobody asked for is a restart of the page, and is counted by the policy of restarts: more of them than
``intensity`` within ``period`` end the worker, after a backoff; where the next worker's page does the same the session
is parked. Where most pages of the fleet do it, it is the build: WhatsApp's, and nobody is replaced.
"""

from typing import Final

from waguard.core.backoff import backoff
from waguard.core.blame import Blame, Failure
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.replace import replace
from waguard.core.session.care import find
from waguard.core.session.effects import PageRestarts
from waguard.core.session.facts import Moment, Reported
from waguard.core.session.out import Out
from waguard.core.session.restart import RestartPolicy, recent
from waguard.core.session.state import SessionState, Stage, Worker

SIGN: Final = 3  # loads; WhatsApp Web reloads itself now and then
APART: Final = (
    3.0  # s; a load that waguard requests is reported when it is requested, and when it has ended
)
REASON: Final = "page_restarts"
_CAUSE: Final = "its page is loaded again and again"
_NO_USE: Final = frozenset({Link.UNKNOWN, Link.OFFLINE})


def in_use(worker: Worker, said: Reported) -> bool:
    """Whether the page that is there has shown a link: its next load is counted, unless it is asked for. While there is
    no way to WhatsApp each try is a load."""
    if said.phase == "ready" and said.link not in _NO_USE:
        return True
    return worker.in_use and said.loads == worker.loads


def load_asked(state: SessionState) -> SessionState:
    """Do not count the load that comes."""
    if state.worker is None or not state.worker.in_use:
        return state
    return replace(state, worker=replace(state.worker, in_use=False))


def count(
    state: SessionState, before: Worker, said: Reported, now: Moment, out: Out
) -> SessionState:
    """Count the load that this report shows, if nobody asked for it. ``before``: the worker as it was."""
    if said.scripts_ended > before.scripts_ended:  # the load follows
        state = replace(state, care=replace(state.care, scripts=state.care.scripts + 1))
    ready = state.worker is not None and state.worker.stage is Stage.READY
    if not (ready and before.in_use and said.loads > before.loads):
        return state
    care, period = state.care, state.rules.restart.period
    if care.loads and now.at - care.loads[-1] < APART:
        return state
    loads = (*recent(care.loads, now=now.at, period=period), now.at)
    state = replace(state, care=replace(care, loads=loads))
    if len(loads) < SIGN:
        return state
    out(PageRestarts(len(loads)))
    return find(state, Kind.PAGE_RESTARTS, _words(state, now), now, out)


def _words(state: SessionState, now: Moment) -> str:
    loads, scripts = state.care.loads, min(state.care.scripts, len(state.care.loads))
    words = f"its page was loaded again {len(loads)} times within {now.at - loads[0]:.0f} s"
    if scripts:
        return f"{words}, {scripts} times because its script did not end"
    return f"{words}, by itself"


def failure(state: SessionState, now: Moment) -> Failure | None:
    """Why the worker is ended for it; None: there is no reason, or it is not this session's."""
    policy, care = state.rules.restart, state.care
    loads = recent(care.loads, now=now.at, period=policy.period)
    if state.fleet.pages_restart or len(loads) <= policy.intensity:
        return None
    return Failure(Blame.SESSION, REASON, _CAUSE, _words(state, now))


def on_calm(state: SessionState, now: Moment, out: Out) -> SessionState:
    """No load for a whole period, or what was loaded is another account's page now."""
    out(PageRestarts(0))
    return forget(find(state, Kind.PAGE_RESTARTS, None, now, out))


def forget(state: SessionState) -> SessionState:
    """Begin a new count."""
    return replace(state, care=replace(state.care, loads=(), scripts=0, page_ends=0))


def ended(state: SessionState) -> SessionState:
    """The worker was ended for it: the next one's page is counted by itself."""
    care = state.care
    return replace(state, care=replace(care, loads=(), scripts=0, page_ends=care.page_ends + 1))


def pause(policy: RestartPolicy, *, jitter: float) -> float:
    """Seconds until the next worker: as many restarts of the page count as the policy allows."""
    return backoff(policy.base_delay, policy.intensity - 1, longest=policy.max_delay) * jitter
