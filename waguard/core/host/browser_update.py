"""Chromium's executable was replaced while sessions run: who gets the new one, and when. Pure.

One idle session is the canary. The others follow one by one when it has been connected for a while; where it fails,
they keep what they run.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from waguard.core.recycle import IDLE
from waguard.core.replace import replace

SCRIPT: Final = ""
"""The build of a script: what it starts is unknown, and nothing is compared."""
UNPACKED: Final = (
    60.0  # s without a change of the executable: its package is unpacked, and so are its libraries
)
PROVEN: Final = 300.0  # s for which a session is connected with a Chromium that works
FAILURES: Final = 2  # ends of the canary's worker, or doubtful canaries: one may have any cause
TRIED_FOR: Final = (
    300.0  # s from a replacement to the connection; a start and a load have their limits at 55 each
)


class Browser(Struct, frozen=True, kw_only=True):
    """What one session that should be up runs."""

    build: str | None = None
    """The executable of its Chromium (see ``ports.process.BrowserFile``); None: none runs, or it cannot be read."""
    connected: float | None = None
    """Seconds since it is connected; None: it is not."""
    idle: float | None = None
    """Seconds without a message; None: a call is under way."""
    restarts: int = 0
    """Unplanned restarts of its worker so far."""
    parked: bool = False
    """The session spent its restarts."""
    doubtful: bool = False
    """WhatsApp was reached, and shows a QR code, a block, a refusal: that is hardly Chromium's fault."""
    excused: bool = False
    """The session's own proxy fails, or its start waits: that says nothing of Chromium."""


class Seen(Struct, frozen=True, kw_only=True):
    """What was read at one moment."""

    installed: str | None = None
    """The executable that the next Chromium is started from; None: unknown."""
    refused: str | None = None
    """Why that cannot be run; None: it can, or was not asked."""
    broken: str | None = None
    """Why Chromium starts on no profile."""
    kept: str | None = None
    """A copy that worked before."""
    sessions: Mapping[str, Browser] = {}
    calm: bool = True
    """Neither the network nor WhatsApp is away, and the breaker is closed."""
    busy: bool = False
    """A session starts, or waits for its start."""


class Bad(Struct, frozen=True, kw_only=True):
    """An executable that fails."""

    build: str
    why: str
    refused: bool = False
    """The executable does not even run. That is asked again: its libraries may come later."""


class Replacement(Struct, frozen=True):
    """A session is being replaced."""

    session: str
    at: float
    """Monotonic time. While the network or WhatsApp is away it begins again."""
    restarts: int
    """Unplanned restarts of its worker before."""


class UpdateState(Struct, frozen=True, kw_only=True):
    """What is known of the executable; only ``bad`` outlives the daemon. Monotonic seconds."""

    installed: str | None = None
    since: float = 0.0
    """When the installed one was first seen."""
    good: str | None = None
    """The last one with which a session was connected for ``PROVEN`` seconds."""
    bad: Bad | None = None
    replacement: Replacement | None = None
    doubts: tuple[str, ...] = ()
    """Canaries of the installed one that were ``doubtful``."""


class Step(NamedTuple):
    """The state afterwards, and who is replaced now, with the reason."""

    state: UpdateState
    session: str | None = None
    why: str = ""


def is_bad(state: UpdateState) -> bool:
    """Whether the installed one fails."""
    return state.bad is not None and state.bad.build == state.installed


def wanted(state: UpdateState, kept: str | None) -> str | None:
    """What the next Chromium is to run: the kept one while the installed one fails."""
    return kept if kept and is_bad(state) else state.installed


def outdated(state: UpdateState, sessions: Mapping[str, Browser]) -> list[str]:
    """Sessions that run another one than the installed one."""
    if state.installed is None:
        return []
    return [name for name, it in sessions.items() if it.build not in {None, state.installed}]


def asks(state: UpdateState, installed: str, sessions: Mapping[str, Browser]) -> bool:
    """Whether ``installed`` is to be run with ``--version``: before a session depends on it."""
    if installed == SCRIPT:
        return False
    if state.bad and state.bad.build == installed:
        return state.bad.refused
    others = any(it.build != installed for it in sessions.values())
    return installed != state.good and others


def advance(state: UpdateState, seen: Seen, now: float) -> Step:
    """Take what was read. Never raises."""
    if seen.installed is None:
        return Step(state)  # it is being unpacked, or is missing: starts wait for it
    if seen.installed == SCRIPT:
        return Step(UpdateState())
    if seen.installed != state.installed:
        # what failed before says nothing of another one
        bad = state.bad if state.bad and state.bad.build == seen.installed else None
        state = UpdateState(installed=seen.installed, since=now, good=state.good, bad=bad)
    state = _prove(state, seen, seen.installed)
    step = _follow(state, state.replacement, seen, now) if state.replacement else Step(state)
    return step if step.session else _next(step.state, seen, now)


def _prove(state: UpdateState, seen: Seen, installed: str) -> UpdateState:
    running = [it for it in seen.sessions.values() if it.build == installed]
    if any(it.connected is not None and it.connected >= PROVEN for it in running):
        return replace(state, good=installed, bad=None, doubts=())
    if is_bad(state):
        answers = state.bad is not None and state.bad.refused and seen.refused is None
        return replace(state, bad=None) if answers else state
    if state.good == installed:
        return state
    if seen.refused:
        bad = Bad(build=installed, why=seen.refused, refused=True)
        return replace(state, bad=bad, replacement=None)
    earlier = seen.kept not in {None, installed} or outdated(state, seen.sessions)
    if seen.broken and earlier:
        return replace(state, bad=Bad(build=installed, why=seen.broken), replacement=None)
    return state


def _follow(state: UpdateState, replacement: Replacement, seen: Seen, now: float) -> Step:
    """Wait for the session that was replaced last."""
    it = seen.sessions.get(replacement.session)
    if it is None:
        return Step(replace(state, replacement=None))  # it was stopped or removed
    on_trial = state.good != state.installed and not is_bad(state)
    if it.connected is not None and it.build == wanted(state, seen.kept):
        return Step(replace(state, replacement=replace(replacement, at=now) if on_trial else None))
    if not seen.calm:
        return Step(replace(state, replacement=Replacement(replacement.session, now, it.restarts)))
    late = now - replacement.at > TRIED_FOR
    if it.connected is not None:  # its worker has not ended yet: it waits for its slot
        return Step(replace(state, replacement=None) if late and not seen.busy else state)
    failed = it.parked or it.restarts >= replacement.restarts + FAILURES
    if not (late or failed):
        return Step(state)
    if not on_trial or (it.excused and not failed):
        return Step(replace(state, replacement=None))  # its own failure, or the old one's
    how = f"failed {FAILURES} times" if failed else f"was not connected within {TRIED_FOR:g} s"
    why = f"session {replacement.session} {how} with it"
    if it.doubtful:
        state = replace(state, doubts=(*state.doubts, replacement.session))
        if _is_undecided(state, seen):
            return Step(replace(state, replacement=None))  # another one is the canary
        named = " and ".join(state.doubts)
        why = f"sessions {named} were not connected with it" if len(state.doubts) > 1 else why
    state = replace(state, bad=Bad(build=state.installed or "", why=why))
    ends = it.parked or (it.doubtful and it.build is None)
    if ends or seen.kept in {None, state.installed}:
        return Step(replace(state, replacement=None))  # its next worker gets the kept one
    return _replace(state, replacement.session, why, seen, now)


def _next(state: UpdateState, seen: Seen, now: float) -> Step:
    """Replace one session, where none is being replaced."""
    if state.replacement or seen.busy or not seen.calm or now - state.since < UNPACKED:
        return Step(state)
    if is_bad(state):
        return _return_to_kept(state, seen, now)
    if state.good != state.installed and any(
        it.build == state.installed and it.connected is not None for it in seen.sessions.values()
    ):
        return Step(state)  # one that was started anyway is the canary
    idle = {
        name: it.idle
        for name in outdated(state, seen.sessions)
        if (it := seen.sessions[name]).connected is not None and it.idle and it.idle >= IDLE
    }
    if not idle:
        return Step(state)
    longest = max(idle, key=lambda name: (idle[name], name))
    return _replace(state, longest, "another Chromium is installed", seen, now)


def _is_undecided(state: UpdateState, seen: Seen) -> bool:
    """Whether the doubtful canaries were too few, and another session could be one."""
    left = set(outdated(state, seen.sessions)).difference(state.doubts)
    others = any(seen.sessions[name].connected is not None for name in left)
    return len(state.doubts) < FAILURES and others


def _return_to_kept(state: UpdateState, seen: Seen, now: float) -> Step:
    """Have an earlier canary, which was doubtful, get the kept one, once."""
    if seen.kept in {None, state.installed}:
        return Step(state)
    for name in state.doubts:
        it = seen.sessions.get(name)
        if it and it.build == state.installed and it.connected is None:
            state = replace(state, doubts=tuple(one for one in state.doubts if one != name))
            return _replace(state, name, "it gets back the Chromium before", seen, now)
    return Step(state)


def _replace(state: UpdateState, session: str, why: str, seen: Seen, now: float) -> Step:
    replacement = Replacement(session, now, seen.sessions[session].restarts)
    return Step(replace(state, replacement=replacement), session, why)
