"""Keys that waguard issues, ``wg_<id>_<secret>``: what each may do, until when, and who may make it. Pure.

Only their SHA-256 is kept: the text is random enough that nobody guesses it from that.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

from waguard.core.keys import Caller, Right
from waguard.core.replace import replace

VERSION: Final = 1
"""The version of what is kept of a key. A field that limits a key is a new version: an older waguard must not ignore a limit."""
MOST: Final = 500  # keys that are valid
SCOPE_LIMIT: Final = 100  # workspaces of a key, and sessions
LONGEST: Final = 3650 * 86_400  # s that a key may be valid, where it expires at all
PAGES: Final = 50  # valid keys of the status page that a maker has, and ended ones of all; ``MOST`` is without them
PAGE_LASTS: Final = 12 * 3_600.0  # s
KEPT: Final = 30 * 86_400.0  # s for which a key that has ended is listed
STEP: Final = 1.0  # s by which the wall clock may run behind the other one
_ID: Final = "[0-9a-f]{8}"
_NAME: Final = rf"(?!wg_)(?!{_ID}\Z)[A-Za-z0-9][A-Za-z0-9._@-]{{0,63}}"
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._@-]+")
_TEXT: Final = re.compile(rf"wg_{_ID}_[A-Za-z0-9_-]{{43}}")


_LATEST: Final = 2**37
Time = Annotated[float, Meta(ge=0, lt=_LATEST)]
"""Unix seconds, to the year 6325: later ones are no time to Python."""


class IssuedKey(Struct, frozen=True, kw_only=True):
    """What ``state/keys.json`` says of a key. Times are unix seconds. A limit has no default: where one is missing, the
    file is damaged."""

    id: Annotated[str, Meta(pattern=rf"^{_ID}\Z")]
    name: Annotated[str, Meta(pattern=rf"^{_NAME}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    right: Right
    workspaces: tuple[int, ...] | None
    sessions: tuple[str, ...] | None
    expires_at: Time | None
    created_at: Time
    created_by: str
    """The name of its maker."""
    made_with: str | None = None
    """The id of its maker's key; None: a key of ``api.key_file``, or the local socket."""
    used_at: Time | None = None
    """To the minute."""
    ended_at: Time | None = None
    """From then on the key is never valid again, whatever the clock says."""
    ended_by: str | None = None
    """Who revoked it; None: it has expired."""
    for_page: bool = False
    """Whether a ticket of the status page was exchanged for it."""

    @property
    def caller(self) -> Caller:
        """Who shows it."""
        return Caller(
            name=self.name,
            right=self.right,
            workspaces=None if self.workspaces is None else frozenset(self.workspaces),
            sessions=None if self.sessions is None else frozenset(self.sessions),
            key=self.id,
            expires_at=self.expires_at,
        )


class Wanted(Struct, frozen=True, kw_only=True):
    """What a new key is asked to be. Without a scope or an end of its own it has its maker's."""

    name: str
    right: Right
    workspaces: tuple[int, ...] | None = None
    sessions: tuple[str, ...] | None = None
    lasts: float | None = None
    """Seconds."""
    for_page: bool = False


Workspaces = Mapping[str, int]
"""The workspace of each session. Only a caller with a scope needs them."""


def is_name(text: str) -> bool:
    """Whether a key may be called so. Without spaces no name reads like "the application" in the audit log, and none is an
    id or a key."""
    return re.fullmatch(_NAME, text) is not None


def is_time(value: float) -> bool:
    """Whether the file of keys may have it."""
    return 0 <= value < _LATEST


def is_key(text: str) -> bool:
    """Whether it has the form of an issued key."""
    return _TEXT.fullmatch(text) is not None


def text_of(key_id: str, secret: str) -> str:
    """The key itself, which is shown once."""
    return f"wg_{key_id}_{secret}"


def digest(text: str) -> str:
    """SHA-256 in hex, by which a key is found. A request may show half a surrogate pair."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def has_twins(keys: Sequence[IssuedKey]) -> bool:
    """Whether two of them have the same id, or the same text."""
    return min(len({it.id for it in keys}), len({it.sha256 for it in keys})) < len(keys)


def excess(maker: Caller, wanted: Wanted, *, now: float, workspaces: Workspaces) -> str | None:
    """What the new key would be that its maker's is not; None: it may be made. ``now`` is unix time."""
    if not maker.right.includes(wanted.right):
        return f"the right {wanted.right}, and yours is {maker.right}"
    for workspace in wanted.workspaces or ():
        if not maker.sees_all and workspace not in (maker.workspaces or ()):
            return f"workspace {workspace}, which is not in your scope"
    for session in wanted.sessions or ():
        if not maker.sees_all and not maker.sees(session, workspaces.get(session)):
            return f"session {session}, which is not in your scope"
    if maker.expires_at is not None and now + (wanted.lasts or 0.0) > maker.expires_at:
        return "a later end than yours"
    return None


def issue(maker: Caller, wanted: Wanted, *, key_id: str, text: str, now: float) -> IssuedKey:
    """The new key, where nothing is in ``excess``."""
    workspaces, sessions = wanted.workspaces, wanted.sessions
    if workspaces is None and sessions is None and not maker.sees_all:
        workspaces = tuple(sorted(maker.workspaces)) if maker.workspaces is not None else None
        sessions = tuple(sorted(maker.sessions)) if maker.sessions is not None else None
    return IssuedKey(
        id=key_id,
        name=wanted.name,
        sha256=digest(text),
        right=wanted.right,
        workspaces=workspaces,
        sessions=sessions,
        expires_at=maker.expires_at if wanted.lasts is None else now + wanted.lasts,
        created_at=now,
        created_by=maker.name,
        made_with=maker.key,
        for_page=wanted.for_page,
    )


def for_page(maker: Caller, right: Right, *, now: float) -> Wanted:
    """The key that a ticket of this maker is exchanged for. ``now`` is unix time."""
    who = _NO_NAME.sub("-", maker.name.removeprefix("the ").removesuffix(" by the socket"))[:32]
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    ends_before = maker.expires_at is not None and maker.expires_at < now + PAGE_LASTS
    return Wanted(
        name=f"page-{who}-{_NO_NAME.sub('', at.removesuffix('+00:00')).replace('-', '')}",
        right=right,
        lasts=None if ends_before else PAGE_LASTS,
        for_page=True,
    )


def excess_pages(keys: Mapping[str, IssuedKey], maker: Caller) -> Sequence[IssuedKey]:
    """The oldest valid keys of the status page that end where the maker has a new one: its own, and those that its keys
    have made, so that more makers are not more keys. Those of others stay."""
    mine = _first_maker(keys, maker.key)
    pages = [
        it
        for it in keys.values()
        if it.for_page and it.ended_at is None and _first_maker(keys, it.made_with) == mine
    ]
    return sorted(pages, key=lambda it: it.created_at)[: max(0, len(pages) + 1 - PAGES)]


def _first_maker(keys: Mapping[str, IssuedKey], made_with: str | None) -> str | None:
    """The key from which this one comes, as far as that is known."""
    for _ in keys:  # a damaged file may go round in a circle
        earlier = keys.get(made_with or "")
        if earlier is None or earlier.made_with is None:
            break
        made_with = earlier.made_with
    return made_with


def governs(caller: Caller, key: IssuedKey, workspaces: Workspaces) -> bool:
    """Whether the caller may see and revoke the key: all that it reaches is in the caller's scope."""
    if caller.sees_all:
        return True
    if key.caller.sees_all:
        return False
    return all(it in (caller.workspaces or ()) for it in key.workspaces or ()) and all(
        caller.sees(it, workspaces.get(it)) for it in key.sessions or ()
    )


def left(key: IssuedKey, *, now: float, by_monotonic: float) -> float | None:
    """Seconds that it is valid for; None: it does not expire. ``now`` is unix time, ``by_monotonic`` what the clock that
    never jumps leaves it: where the wall clock is set back, it lives no longer for it."""
    if key.expires_at is None:
        return None
    return min(key.expires_at - now, by_monotonic)


def corrected(key: IssuedKey, *, now: float, left: float) -> IssuedKey:
    """With an earlier end where the wall clock was set back: a restart knows nothing of that."""
    if key.expires_at is None or key.expires_at <= now + left + STEP:
        return key
    return replace(key, expires_at=now + left)


def merged(known: Mapping[str, IssuedKey], read: Iterable[IssuedKey]) -> dict[str, IssuedKey]:
    """What was read from the file, by id. A key that has ended in memory stays so, and a use is never undone."""
    return {it.id: _renewed(it, known.get(it.id)) for it in read}


def completed(known: Mapping[str, IssuedKey], read: Iterable[IssuedKey]) -> dict[str, IssuedKey]:
    """What is known, by id, and what was read from a file that may be older. A key that has ended in one of them has."""
    of_file = {it.sha256: it for it in read}
    kept = {it.id: _same(of_file.pop(it.sha256, it), it) for it in known.values()}
    return {it.id: it for it in of_file.values()} | kept


def _same(read: IssuedKey, known: IssuedKey) -> IssuedKey:
    return replace(_renewed(read, known), id=known.id)


def _renewed(read: IssuedKey, known: IssuedKey | None) -> IssuedKey:
    if known is None:
        return read
    used = max((it for it in (read.used_at, known.used_at) if it is not None), default=None)
    if known.ended_at is None:
        return replace(read, used_at=used)
    return replace(read, used_at=used, ended_at=known.ended_at, ended_by=known.ended_by)


def worth_keeping(keys: Iterable[IssuedKey], *, now: float) -> tuple[IssuedKey, ...]:
    """Those that are valid, and as many that have ended since ``KEPT``, the last ones; those of pages crowd out no
    others."""
    some = list(keys)
    since = {for_page: _since(some, for_page=for_page, now=now) for for_page in (False, True)}
    return tuple(it for it in some if it.ended_at is None or it.ended_at > since[it.for_page])


def _since(keys: Iterable[IssuedKey], *, for_page: bool, now: float) -> float:
    most = PAGES if for_page else MOST
    ended = sorted(
        it.ended_at for it in keys if it.ended_at is not None and it.for_page is for_page
    )
    return max([now - KEPT, *ended[-most - 1 : -most]])
