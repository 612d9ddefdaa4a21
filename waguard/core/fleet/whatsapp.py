"""WhatsApp does not serve its page: one session tries for all, at growing intervals; the sessions take turns. Pure.

A session whose page was refused does not request it again by itself. Starts that nobody requested wait as well,
because each would be one more request, and so do planned replacements, which would end a worker that works. As soon as
one session is served the others try, a few at a time. A session that is refused while others are served has a cause of
its own: it is tried by the same schedule, and delays nobody.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from waguard.core.backoff import NEVER
from waguard.core.blame import Blame, Failure
from waguard.core.fleet.state import (
    FleetState,
    Post,
    Refused,
    Release,
    Report,
    WhatsApp,
    connected,
    report_outage,
)
from waguard.core.host.admission import Cause, Wait
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.session.effects import RefusalChanged
from waguard.core.session.facts import Moment, ReloadRequested
from waguard.core.session.page_load import pause

RELEASE_APART: Final = 5.0  # s between two groups that try after one session was served
RELEASE_ENDS: Final = 60.0  # s in which the last group gets its answers
KIND: Final = "whatsapp_refuses"
OPINIONS: Final = 3  # starts that are tried early, as second opinions
# s; so long a start that is refused while others are served is taken for one with a cause of its own
RELEASE_LIMIT: Final = 600.0
# refusals during a release, and more than were served: WhatsApp refuses all again
FALSE_DAWN: Final = 3
_NOT_SERVED: Final = frozenset({Link.UNKNOWN, Link.OFFLINE})
_MAY_ASK: Final = frozenset({State.STARTING, State.RUNNING, State.RECYCLING})
_COMES: Final = frozenset({State.BACKOFF, State.STARTING, State.RECYCLING})

V = TypeVar("V")


# ---- facts ----


def on_refusal(fleet: FleetState, session: str, news: RefusalChanged, now: Moment) -> FleetState:
    """A session's page was refused, or is not refused any more."""
    it = fleet.whatsapp
    known = it.refused.get(session)
    if news.why is None:
        if known is None:
            return fleet
        # it was served, or the network is away: its link will show which
        rest = _without(it.refused, session)
        return replace(fleet, whatsapp=replace(it, refused=rest, asking=it.asking | {session}))
    own = session in fleet.proxied or (known is not None and known.own)
    if it.release and session in it.asking:
        seen = replace(it.release, refused=it.release.refused + 1)
        it = replace(it, release=seen)
        own = True
        if seen.refused >= FALSE_DAWN and seen.refused > seen.served:
            others = {name: replace(one, own=False) for name, one in it.refused.items()}
            it, own = replace(it, refused=others), False
    refused = {**it.refused, session: Refused(news.why, own)}
    it = replace(it, refused=refused)
    return replace(fleet, whatsapp=_refused(it, session, news, now, own=own))


def on_failure(fleet: FleetState, session: str, failure: Failure, now: Moment) -> FleetState:
    """A worker ended. Where what WhatsApp served is to blame, that counts as a refusal."""
    it = fleet.whatsapp
    if failure.blame is Blame.WHATSAPP:
        it = _refused(it, session, RefusalChanged(str(failure)), now, own=False)
    elif session in it.asking:
        # it ended before the answer: a try of the schedule does not count then
        turn = it.asked_at.get(session) == it.asked_last
        tries = max(0, it.tries - 1) if turn else it.tries
        it = replace(it, asking=it.asking - {session}, tries=tries)
    return fleet if it is fleet.whatsapp else replace(fleet, whatsapp=it)


def _refused(
    it: WhatsApp, session: str, news: RefusalChanged, now: Moment, *, own: bool
) -> WhatsApp:
    asked = pause(0, retry_after=news.retry_after, jitter=now.chance) if news.retry_after else 0.0
    it = replace(
        it,
        asking=it.asking - {session},
        asked_at={**it.asked_at, session: now.at},
        asked_last=now.at,
        jitter=now.chance,
        retry_at=max(it.retry_at, now.at + asked),
    )
    if own:
        return it
    if it.why is None and it.release is None:
        # answers from before this refusal prove nothing, and that of one session has come to long pauses
        it = replace(it, asking=frozenset(), tries=0)
    return replace(it, why=it.why or news.why, release=None)


def on_member(fleet: FleetState, session: str, state: State, link: Link, now: Moment) -> FleetState:
    """A session without a page does not try any more; a known link shows that WhatsApp served the page."""
    it = fleet.whatsapp
    if session in it.refused and state is not State.RUNNING:
        it = replace(it, refused=_without(it.refused, session))
    if session in it.asking:
        if link not in _NOT_SERVED:
            it = _served(it, session, now, waiting=bool(_unasked(fleet)))
        elif state not in _MAY_ASK:
            it = replace(it, asking=it.asking - {session})
    return fleet if it is fleet.whatsapp else replace(fleet, whatsapp=it)


def _served(it: WhatsApp, session: str, now: Moment, *, waiting: bool) -> WhatsApp:
    """``waiting``: whether others wait to start."""
    it = replace(
        it,
        why=None,
        asking=it.asking - {session},
        asked_at=_without(it.asked_at, session),
        opinions=0,
    )
    if it.release:
        return replace(it, release=replace(it.release, served=it.release.served + 1))
    if not it.refused and not waiting:
        return WhatsApp()
    left = tuple(_in_turn(it.refused, it.asked_at))
    return replace(it, release=Release(left, now.at + RELEASE_APART, now.at + RELEASE_LIMIT))


def forget(fleet: FleetState, session: str) -> FleetState:
    """The session was removed."""
    it = fleet.whatsapp
    return replace(
        fleet,
        whatsapp=replace(
            it,
            refused=_without(it.refused, session),
            asked_at=_without(it.asked_at, session),
            asking=it.asking - {session},
        ),
    )


def on_admitted(fleet: FleetState, admitted: tuple[str, ...], now: Moment) -> FleetState:
    """Sessions got a start slot although WhatsApp refuses, or did until now: the answer to their page is evidence."""
    it = fleet.whatsapp
    if (it.why is None and it.release is None) or not admitted:
        return fleet
    asking = it.asking.union(admitted)
    if it.canary in admitted:  # it may have waited for its slot: the pause counts from now
        asked_at = {**it.asked_at, it.canary: now.at}
        it = replace(it, canary=None, asked_at=asked_at, asked_last=now.at)
    return replace(fleet, whatsapp=replace(it, asking=asking))


# ---- decisions ----


def starts_held(fleet: FleetState) -> dict[str, Wait]:
    """Why unrequested starts and planned replacements wait while WhatsApp refuses; all but the canary of the schedule."""
    it = fleet.whatsapp
    if it.why is None:
        return {}
    wait = Wait(Cause.WHATSAPP, f"{it.why}; one session tries for all")
    held = [*_unasked(fleet), *_replacements(fleet)]
    return {name: wait for name in held if name != it.canary}


def ask_whatsapp(fleet: FleetState, now: Moment, post: Post, report: Report) -> FleetState:
    """Let the next session request its page when the schedule says so."""
    it = fleet.whatsapp
    over = (it.release or it.why) and not _others_come(fleet)
    if over and not it.refused:
        fleet = replace(fleet, whatsapp=WhatsApp())
    elif now.at >= next_try(fleet):
        fleet = _go_on(fleet, it.release, now, post) if it.release else _try(fleet, now, post)
    return report_outage(fleet, KIND, _outage(fleet), report)


def _outage(fleet: FleetState) -> str | None:
    """Why it is an outage of all; one refused session while others are connected is none."""
    it = fleet.whatsapp
    answered = it.asked_at.keys() - it.asking - {it.canary}
    of_all = KIND in fleet.outages or len(answered) > 1 or not connected(fleet)
    return it.why if of_all else None


def next_try(fleet: FleetState) -> float:
    """When the next session is to request its page."""
    it = fleet.whatsapp
    if it.release:
        return it.release.next_at
    if not it.refused and not _starts(fleet):
        return NEVER
    wait = pause(it.tries, retry_after=None, jitter=it.jitter)
    if _opinions(fleet):
        wait = min(wait, pause(it.opinions, retry_after=None, jitter=it.jitter))
    return max(it.asked_last + wait, it.retry_at)


def _try(fleet: FleetState, now: Moment, post: Post) -> FleetState:
    it, opinions = fleet.whatsapp, _opinions(fleet)
    if opinions:
        it, canary = replace(it, opinions=it.opinions + 1), opinions[0]
    else:
        starts = _starts(fleet)
        since = {name: fleet.waiting[name].at for name in starts}
        canary = _in_turn([*starts, *it.refused], {**since, **it.asked_at})[0]
    if canary in it.refused:
        post((canary, ReloadRequested(why="it is the next session to ask WhatsApp for its page")))
        it = replace(it, asking=it.asking | {canary}, canary=None)
    else:
        it = replace(it, canary=canary)
    asked_at = {**it.asked_at, canary: now.at}
    it = replace(it, asked_at=asked_at, asked_last=now.at, jitter=now.chance, tries=it.tries + 1)
    return replace(fleet, whatsapp=it)


def _go_on(fleet: FleetState, release: Release, now: Moment, post: Post) -> FleetState:
    it, places = fleet.whatsapp, fleet.rules.limits.places
    if not release.left and now.at < release.ends_at and _unasked(fleet):
        release = replace(release, next_at=min(now.at + RELEASE_ENDS, release.ends_at))
        return replace(fleet, whatsapp=replace(it, release=release))
    if not release.left:
        ended = WhatsApp(refused=it.refused, asking=it.asking, asked_at=it.asked_at)
        if it.refused:
            ended = replace(ended, asked_last=now.at, jitter=now.chance, retry_at=it.retry_at)
        return replace(fleet, whatsapp=ended)
    group, left = release.left[:places], release.left[places:]
    asked = tuple(name for name in group if name in it.refused)
    for name in asked:
        post((name, ReloadRequested(why="WhatsApp serves its page again")))
    wait = RELEASE_APART * (1 + now.chance / 2) if left else RELEASE_ENDS
    return replace(
        fleet,
        whatsapp=replace(
            it,
            asking=it.asking.union(asked),
            asked_at={**it.asked_at, **dict.fromkeys(asked, now.at)},
            release=replace(release, left=left, next_at=now.at + wait),
        ),
    )


def _unasked(fleet: FleetState) -> list[str]:
    return [name for name, request in fleet.waiting.items() if not request.asked_for.asked]


def _replacements(fleet: FleetState) -> list[str]:
    """Those that wait and are not urgent."""
    waiting = fleet.waiting.items()
    return [name for name, it in waiting if it.asked_for.planned and not it.asked_for.urgent]


def _starts(fleet: FleetState) -> list[str]:
    """Starts that may be tried, the longest waiting first; those that spent their restarts only if there are no others."""
    if fleet.whatsapp.why is None:
        return []
    waiting = sorted(_unasked(fleet), key=lambda name: (fleet.waiting[name].at, name))
    return [it for it in waiting if not fleet.waiting[it].asked_for.slow] or waiting[:1]


def _opinions(fleet: FleetState) -> list[str]:
    """Starts that have not requested their page yet, else, where it is no outage of all, the replacement that waits the
    longest. The refused sessions may have causes of their own, and would keep the others down meanwhile."""
    it = fleet.whatsapp
    if it.opinions >= OPINIONS or it.why is None:
        return []
    found = [name for name in _starts(fleet) if name not in it.asked_at]
    if found or _outage(fleet):
        return found
    return sorted(_replacements(fleet), key=lambda name: (fleet.waiting[name].at, name))[:1]


def _others_come(fleet: FleetState) -> bool:
    """Whether any session waits to start, or is starting. A replacement that is held shows nothing."""
    if fleet.starting or len(fleet.waiting) > len(_replacements(fleet)):
        return True
    return any(
        it.state in _COMES or (it.state is State.RUNNING and it.link is Link.UNKNOWN)
        for it in fleet.members.values()
    )


def _in_turn(names: Iterable[str], asked_at: Mapping[str, float]) -> list[str]:
    """The session whose last request is the oldest comes first."""
    return sorted(names, key=lambda name: (asked_at.get(name, 0.0), name))


def _without(mapping: Mapping[str, V], name: str) -> dict[str, V]:
    return {known: it for known, it in mapping.items() if known != name}
