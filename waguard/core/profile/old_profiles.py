"""Profiles of whatsapp-web.js: which session a path belongs to, and which one of several is used. Pure.

LocalAuth writes ``<dataPath>/session-<id>``, RemoteAuth ``<dataPath>/RemoteAuth-<id>`` and an archive of that
name; the service that waguard replaces had ``workspace_<n>`` for its data path when it created a session, and
``<n>/<id>`` when it restored one. A profile in its place is one of waguard's own layout.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

OWNER_MARK: Final = "waguard-owner.json"
"""The file of a profile that waguard has connected."""
ARCHIVE: Final = ".zip"
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PREFIXES: Final = ("session-", "RemoteAuth-")
NAMELESS: Final = frozenset({"session", "RemoteAuth"})  # without a clientId
_WORKSPACE: Final = re.compile(r"workspace_([0-9]{1,10})")
_PRECISION: Final = 2.0  # s; of the times that any file system keeps
_NUMBER: Final = re.compile(r"[0-9]{1,7}")  # a date has 8
_SPEAKING: Final = re.compile(r"webjs_([0-9]{1,10})_.+")  # the old service's own ids


class Credentials(StrEnum):
    """Whether a profile connects without a scan, as far as its files show."""

    PAIRED = "paired"
    UNPAIRED = "not paired"
    DAMAGED = "damaged"
    """Chromium would discard its data."""
    UNKNOWN = "unknown"
    """The profile could not be read."""


_RANK: Final = {
    Credentials.UNPAIRED: 0,
    Credentials.DAMAGED: 1,
    Credentials.UNKNOWN: 2,
    Credentials.PAIRED: 3,
}


class Identity(Struct, frozen=True):
    """The session and workspace of a profile; None: its path does not say."""

    session: str | None
    workspace: int | None


class Profile(Struct, frozen=True, kw_only=True):
    """One that was found. ``used_at`` is unix time, ``size`` bytes, ``why`` belongs to ``credentials``."""

    path: str
    credentials: Credentials
    used_at: float = 0.0
    size: int = 0
    why: str | None = None
    in_use: str | None = None
    """Who uses it, in words; None: nobody."""


# ---- names ----


def identify(parts: Sequence[str]) -> Identity:
    """The session of the profile at this path. ``parts``: the last names of the path, at least one."""
    name, *above = reversed(parts)
    name = name.removesuffix(ARCHIVE)
    above = [*above, "", ""]
    if name == "Default":
        return identify(parts[:-1]) if len(parts) > 1 else Identity(None, None)
    if name in NAMELESS:
        return _identity(above[0], above[1], plain=True)
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            session = name.removeprefix(prefix)
            # nested; a session's name may be a number too
            nested = above[0] in {session, name} and _workspace(session, above[1]) is not None
            return _identity(session, above[1] if nested else above[0])
    return _identity(name, above[0], plain=True)


def _workspace(session: str, folder: str) -> int | None:
    """The workspace that the folder's name or the session's id shows; a plain number counts last."""
    if found := _WORKSPACE.fullmatch(folder) or _SPEAKING.fullmatch(session):
        return int(found[1])
    return int(folder) if _NUMBER.fullmatch(folder) else None


def _identity(session: str, folder: str, *, plain: bool = False) -> Identity:
    """``plain``: any folder may have such a name; it is a session's only where the workspace is known."""
    workspace = _workspace(session, folder)
    if not _SESSION.fullmatch(session) or (plain and workspace is None):
        return Identity(None, workspace)
    return Identity(session, workspace)


def places(workspace: int, session: str, *, known: bool) -> tuple[str, ...]:
    """The folders below the folder of all profiles that may be an old profile of this session; without its own
    place in the layout.

    ``known``: the session existed before, so a path without a workspace belongs to it too. For a new session
    such a profile may be another customer's.
    """
    names = (f"session-{session}", f"RemoteAuth-{session}")
    inside = tuple(
        f"{folder}/{name}"
        for folder in (session, f"session-{session}")
        for name in (*names, "session")
    )
    roots = (f"workspace_{workspace}/", f"{workspace}/", "")
    own = f"workspace_{workspace}/session-{session}"
    whose = {Identity(session, workspace)} | ({Identity(session, None)} if known else set())
    found = dict.fromkeys(f"{root}{name}" for root in roots for name in (*names, session, *inside))
    return tuple(place for place in found if place != own and identify(place.split("/")) in whose)


def archives(workspace: int, session: str) -> tuple[str, ...]:
    """The paths below the folder of all profiles that may be RemoteAuth's archive of this session."""
    names = (f"session-{session}", f"RemoteAuth-{session}")
    roots = (f"workspace_{workspace}/", f"{workspace}/", "")
    folders = ("", f"{session}/")
    found = dict.fromkeys(
        f"{root}{folder}{name}{ARCHIVE}" for root in roots for folder in folders for name in names
    )
    return tuple(found)


# ---- one of several ----


def best(profiles: Iterable[Profile]) -> Profile | None:
    """The newest paired profile, else the newest of the next best; of equal ones the first."""
    return max(profiles, key=lambda it: (_RANK[it.credentials], it.used_at), default=None)


def at_start(own: Profile | None, old: Sequence[Profile]) -> Profile | None:
    """The old profile that replaces the session's own before a start; None: its own is used.

    Only a paired profile replaces another one, and never one that could not be read.
    """
    if own is None:
        return best(old)
    if own.credentials is Credentials.UNKNOWN:
        return None
    chosen = best((own, *old))
    return chosen if chosen is not own and _is_paired(chosen) else None


def _is_paired(profile: Profile | None) -> bool:
    return profile is not None and profile.credentials is Credentials.PAIRED


class Outcome(StrEnum):
    """What an import does with a profile that it found."""

    TAKEN = "taken"
    LEFT = "left"
    FAILED = "failed"
    """The profile should be imported, and cannot be."""


class Decision(Struct, frozen=True):
    """``why`` is a sentence for a person. ``held``: only because waguard had the session before the old service used it."""

    profile: Profile
    outcome: Outcome
    why: str
    held: bool = False


class Kept(Struct, frozen=True, kw_only=True):
    """Why an import must not take the session's place by itself: waguard had the session, until ``used_at``, unix
    time. ``remedy`` lets a person give the place to another profile."""

    why: str
    used_at: float
    remedy: str


def decide(old: Sequence[Profile], own: Profile | None, *, kept: Kept | None) -> list[Decision]:
    """What an import does with each old profile of one session.

    ``own`` is the profile in the session's place. ``kept`` None: waguard never had the session, and its profile
    is a copy at most.
    """
    chosen = best(old)
    if chosen is None:
        return []
    return [
        _of_chosen(one, own, kept)
        if one is chosen
        else Decision(one, Outcome.LEFT, _passed(one, chosen))
        for one in old
    ]


def _of_chosen(chosen: Profile, own: Profile | None, kept: Kept | None) -> Decision:
    if held := _held(chosen, own, kept):
        return held
    if chosen.credentials is Credentials.UNPAIRED:
        return Decision(chosen, Outcome.LEFT, f"it is not paired: {chosen.why}")
    if chosen.credentials is Credentials.DAMAGED:
        return Decision(chosen, Outcome.LEFT, f"it is damaged: {chosen.why}")
    if chosen.in_use:
        return Decision(chosen, Outcome.FAILED, f"{chosen.in_use} uses it: stop the old service")
    if chosen.credentials is Credentials.UNKNOWN:
        why = f"it cannot be checked ({chosen.why}), and no paired one was found"
        return Decision(chosen, Outcome.FAILED, why)
    why = "it is paired"
    if own and _is_paired(own):
        why = f"it was used later than {own.path}, which waguard never connected"
    return Decision(chosen, Outcome.TAKEN, why)


def _held(chosen: Profile, own: Profile | None, kept: Kept | None) -> Decision | None:
    """Where the profile in its place stays; None: it may go to the quarantine."""
    if kept and _is_later(chosen, kept.used_at):
        why = (
            f"it was used until {_second(chosen.used_at)}, waguard's until {_second(kept.used_at)}, and {kept.why}: only if"
            f" the old service ran after that (the times of a copy made without -a say nothing), {kept.remedy}"
        )
        return Decision(chosen, Outcome.FAILED, why, held=True)
    if kept:
        return Decision(chosen, Outcome.LEFT, kept.why)
    if own and own.credentials is Credentials.UNKNOWN:
        why = f"the profile in its place, {own.path}, cannot be read: {own.why}"
        return Decision(chosen, Outcome.LEFT, why)
    if own and _is_paired(own) and not _is_later(chosen, own.used_at):
        return Decision(chosen, Outcome.LEFT, f"a paired profile is in its place, {own.path}")
    return None


def _second(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _is_later(chosen: Profile, used_at: float) -> bool:
    """Whether its credentials may be newer: those of a session that went on elsewhere."""
    return _is_paired(chosen) and chosen.used_at >= used_at + _PRECISION


def _passed(one: Profile, chosen: Profile) -> str:
    if one.credentials is not Credentials.PAIRED:
        return f"it is {one.credentials}: {one.why}"
    return f"{chosen.path} was used later"
