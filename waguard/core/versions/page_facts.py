"""From readings of a session to the facts about its page that decisions about versions need. Pure.

The session is read at intervals: only a change becomes a fact. Times are monotonic seconds.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.versions.facts import (
    Acked,
    Evidence,
    Heard,
    Left,
    Loaded,
    Refused,
    Spent,
    Unhealthy,
    Unreachable,
    VersionFact,
    Well,
)
from waguard.core.versions.page_loops import Chain, Version, follow, stays, well_from

_NEVER_READY: Final = frozenset({"page_not_ready", "not_ready", "link_unknown"})
_ENDS: Final = {
    "exports_missing": Evidence.EXPORTS_MISSING,
    **dict.fromkeys(_NEVER_READY, Evidence.NEVER_READY),
}
"""The evidence about its page, by the reason for which a worker ended."""
_OF_ENDS: Final = frozenset(_ENDS.values())
_AWAY: Final = frozenset({Link.OFFLINE, Link.BLOCKED})


class Page(Struct, frozen=True, kw_only=True):
    """A loaded page, as it describes itself."""

    worker: int
    """The number of its worker."""
    loads: int
    revision: int
    wajs: str
    stored: bool
    """The document came from the store."""
    spent: int | None = None
    """The stored revision that should have been loaded, and whose scripts the CDN does not have any more."""


class Seen(Struct, frozen=True, kw_only=True):
    """A session at one moment."""

    wanted: bool
    """Up, and neither parked nor logged out."""
    worker: int
    """The number of the newest one."""
    lives: bool
    """That worker runs, and is not ending."""
    failed: str | None = None
    """The reason for which the last worker ended, while it still counts."""
    page: Page | None = None
    """None also while it loads: what is seen then is of no known version."""
    closing: bool = False
    """The worker ends, and says nothing more of its page."""
    missing: tuple[str, ...] = ()
    """Functions that waguard calls, the last good version had, and this page lacks."""
    link: Link = Link.UNKNOWN
    """The link of a ready page."""
    unreachable: bool = False
    """WhatsApp does not serve it, or the network is away."""
    threw_at: float | None = None
    """When its page last threw at a send; None: never, or a later send was acknowledged."""
    unacked_at: float | None = None
    """When the page last confirmed that sends are late; None: none is."""
    deaf_at: float | None = None
    """When its chats last had messages for which no event came; None: they have none."""
    heard_at: float | None = None
    """When an event came for a message last."""
    acked_at: float | None = None
    """When the server last acknowledged one of its sends."""
    acked_from: float = float("-inf")
    """When the newest of the acknowledged sends began."""
    loads: tuple[float, ...] = ()
    """When its page was loaded of late although nobody asked for that."""


class Watched(Struct, frozen=True, kw_only=True):
    """What the decision about versions knows of the session so far."""

    page: Page | None = None
    """None: it has left, or there was none."""
    page_at: float = 0.0
    gone: bool = False
    """The session has no page now, and ``Left`` was reported."""
    loading: bool = False
    """``page`` is the one before: the next has not reported its version yet."""
    sign: Evidence | str | None = None
    """What was last reported of this page: evidence, ``WELL`` or ``AWAY``."""
    sign_at: float = 0.0
    acked: bool = False
    """An ack was reported, and no evidence since."""
    heard: bool = False
    """An event for a message was reported, and no evidence since."""
    chain: Chain = Chain()


WELL: Final = "well"
AWAY: Final = "away"


class Read(NamedTuple):
    """What is known afterwards, and the facts to report."""

    watched: Watched
    facts: tuple[VersionFact, ...] = ()


def read(session: str, watched: Watched, seen: Seen, now: float) -> Read:
    """Compare the session with what was reported of it."""
    facts: list[VersionFact] = []
    if not seen.wanted:
        if watched.page and not watched.gone:
            facts.append(Left(session))
        return Read(Watched(chain=watched.chain), tuple(facts))
    if seen.page:
        watched = _with_page(session, watched, seen.page, seen, now, facts)
    page = watched.page
    if page is None:
        return Read(watched)
    if seen.lives and seen.worker == page.worker:
        watched = (
            _while_loading(session, watched, seen, now, facts)
            if seen.page is None
            else _of_page(session, watched, page, seen, now, facts)
        )
    else:
        watched = _without_page(session, watched, seen, now, facts)
    return Read(watched, tuple(facts))


def _with_page(
    session: str, watched: Watched, page: Page, seen: Seen, now: float, facts: list[VersionFact]
) -> Watched:
    """The page may be another one than before."""
    version = Version(page.worker, page.revision, page.wajs)
    chain = follow(watched.chain, version, seen.loads, now)
    if chain is not watched.chain:
        watched = replace(watched, chain=chain)
    if page == watched.page:
        return watched
    if chain.loops:  # one more load of it is no news
        return replace(watched, page=page, page_at=now, loading=False)
    facts += _loaded(session, page)
    return Watched(page=page, page_at=now, chain=chain)


def _loaded(session: str, page: Page) -> list[VersionFact]:
    facts: list[VersionFact] = []
    if page.spent is not None:
        facts.append(Spent(page.spent))
    facts.append(Loaded(session, page.revision, page.wajs, "store" if page.stored else "network"))
    return facts


def _of_page(
    session: str, watched: Watched, page: Page, seen: Seen, now: float, facts: list[VersionFact]
) -> Watched:
    chain = stays(watched.chain, watched.page_at, now)
    if chain is not watched.chain:
        watched = replace(watched, chain=chain)
    well = now >= well_from(chain, watched.page_at)
    if well and _is_acked(watched, seen):
        facts.append(Acked(session))
        watched = replace(watched, acked=True)
    if _is_heard(watched, seen):
        facts.append(Heard(session))
        watched = replace(watched, heard=True)
    sign = _sign(watched, seen)
    if sign is None or sign == watched.sign or (sign == WELL and not well):
        return watched
    if isinstance(sign, Evidence):
        if sign is Evidence.TOO_OLD:
            facts.append(Refused(page.revision))
        facts.append(Unhealthy(session, sign))
        return replace(watched, sign=sign, sign_at=now, acked=False, heard=False)
    facts.append(Well(session) if sign == WELL else Unreachable(session))
    return replace(watched, sign=sign, sign_at=now)


def _while_loading(
    session: str, watched: Watched, seen: Seen, now: float, facts: list[VersionFact]
) -> Watched:
    """What is seen now is not of the last page, and of no known version."""
    if seen.closing:
        return watched
    if not watched.loading:
        watched = replace(watched, loading=True)
    if not seen.unreachable or watched.sign == AWAY:
        return watched
    facts.append(Unreachable(session))
    return replace(watched, sign=AWAY, sign_at=now)


def _is_acked(watched: Watched, seen: Seen) -> bool:
    """Whether a send of this page was acknowledged, after the last evidence against it."""
    if watched.acked or seen.acked_at is None or seen.acked_from <= watched.page_at:
        return False
    return not isinstance(watched.sign, Evidence) or seen.acked_at > watched.sign_at


def _is_heard(watched: Watched, seen: Seen) -> bool:
    """An event that this page raised, after whatever was wrong with it."""
    if watched.heard or seen.heard_at is None or seen.heard_at <= watched.page_at:
        return False
    return not isinstance(watched.sign, Evidence) or seen.heard_at > watched.sign_at


def _sign(watched: Watched, seen: Seen) -> Evidence | str | None:
    """The sign of the page's health; None: it is unknown now."""
    if seen.link is Link.NEEDS_UPDATE:
        return Evidence.TOO_OLD
    if seen.missing:
        return Evidence.EXPORTS_MISSING
    if seen.unreachable:
        return AWAY
    if watched.chain.loops:
        return Evidence.NEVER_READY
    if seen.link in _AWAY:
        return AWAY
    if seen.threw_at is not None and seen.threw_at > watched.page_at:
        return Evidence.SEND_THROWS
    if seen.unacked_at is not None and seen.unacked_at > watched.page_at:
        return Evidence.UNACKED
    if seen.deaf_at is not None and seen.deaf_at > watched.page_at:
        return Evidence.DEAF
    return WELL if seen.link is Link.CONNECTED else None


def _without_page(
    session: str, watched: Watched, seen: Seen, now: float, facts: list[VersionFact]
) -> Watched:
    """The worker ended. A page that never became ready stays unhealthy until the next page is loaded."""
    if watched.gone or watched.sign in _OF_ENDS:
        return watched
    unhealthy = None if watched.loading else _ENDS.get(seen.failed or "")
    if unhealthy:
        facts.append(Unhealthy(session, unhealthy))
        return replace(watched, sign=unhealthy, sign_at=now, acked=False)
    facts.append(Left(session))
    return replace(watched, gone=True)
