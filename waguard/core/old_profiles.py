"""Profiles that whatsapp-web.js left: whose they are by their path, and which one of several is used. Pure.

LocalAuth writes ``<dataPath>/session-<id>``, RemoteAuth ``<dataPath>/RemoteAuth-<id>`` and an archive of that
name; the service that waguard replaces had ``workspace_<n>`` for its data path when it created a session, and
``<n>/<id>`` when it restored one. A profile in its place is one of waguard's own layout.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ARCHIVE: Final = ".zip"
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PREFIXES: Final = ("session-", "RemoteAuth-")
NAMELESS: Final = frozenset({"session", "RemoteAuth"})  # without a clientId
_WORKSPACE: Final = re.compile(r"workspace_([0-9]{1,10})")
_NUMBER: Final = re.compile(r"[0-9]{1,7}")  # a date has 8
_SPEAKING: Final = re.compile(r"webjs_([0-9]{1,10})_.+")  # the old service's own ids


class Credentials(StrEnum):
    """Whether a profile connects without a scan, as far as its files tell."""

    PAIRED = "paired"
    UNPAIRED = "not paired"
    DAMAGED = "damaged"
    """Chromium would throw what it holds away."""
    UNKNOWN = "unknown"
    """It could not be read."""


_RANK: Final = {
    Credentials.UNPAIRED: 0,
    Credentials.DAMAGED: 1,
    Credentials.UNKNOWN: 2,
    Credentials.PAIRED: 3,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a profile is; None: its path does not say."""

    session: str | None
    workspace: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One that was found. ``used_at`` is unix time, ``size`` bytes, ``why`` belongs to ``credentials``."""

    path: str
    credentials: Credentials
    used_at: float = 0.0
    size: int = 0
    why: str | None = None
    in_use: str | None = None
    """By whom; None: by nobody."""


# ---- names ----


def identify(parts: Sequence[str]) -> Identity:
    """Whose the profile at the end of this path is. ``parts``: its last names, one at least."""
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
    """What the folder of a workspace says; a mere number says less than the old service's own ids."""
    if found := _WORKSPACE.fullmatch(folder) or _SPEAKING.fullmatch(session):
        return int(found[1])
    return int(folder) if _NUMBER.fullmatch(folder) else None


def _identity(session: str, folder: str, *, plain: bool = False) -> Identity:
    """``plain``: any folder may have such a name, so only a known workspace makes it a session's."""
    workspace = _workspace(session, folder)
    if not _SESSION.fullmatch(session) or (plain and workspace is None):
        return Identity(None, workspace)
    return Identity(session, workspace)


def places(workspace: int, session: str, *, known: bool) -> tuple[str, ...]:
    """Where an old profile of this session may lie below the folder of all profiles, but for its own
    place; folders alone.

    ``known``: the session was there before, so a path that names no workspace is its own too. For a
    new session it may be another customer's.
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
    """Where RemoteAuth's archive of it may lie below the folder of all profiles."""
    names = (f"session-{session}", f"RemoteAuth-{session}")
    roots = (f"workspace_{workspace}/", f"{workspace}/", "")
    folders = ("", f"{session}/")
    found = dict.fromkeys(
        f"{root}{folder}{name}{ARCHIVE}" for root in roots for folder in folders for name in names
    )
    return tuple(found)


# ---- one of several ----


def best(profiles: Iterable[Profile]) -> Profile | None:
    """The newest paired one, else the newest of those that may be; of equal ones the first."""
    return max(profiles, key=lambda it: (_RANK[it.credentials], it.used_at), default=None)


def at_start(own: Profile | None, old: Sequence[Profile]) -> Profile | None:
    """The old one that takes its place before a start; None: what is there is used.

    Only a paired one takes the place of another, never that of one which could not be read.
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
    """It should be taken, and cannot."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``why`` is a sentence for a person."""

    profile: Profile
    outcome: Outcome
    why: str


def decide(old: Sequence[Profile], own: Profile | None, *, kept: str | None) -> list[Decision]:
    """What an import does with each old profile of one session.

    ``own`` is what lies in its place. ``kept`` says why nothing may take that place whatever it holds.
    """
    chosen = best(old)
    if chosen is None:
        return []
    held = kept or _held(own)
    return [
        _of_chosen(one, held)
        if one is chosen
        else Decision(one, Outcome.LEFT, _passed(one, chosen))
        for one in old
    ]


def _held(own: Profile | None) -> str | None:
    if own is None:
        return None
    if own.credentials is Credentials.PAIRED:
        return f"a paired profile is in its place, {own.path}"
    if own.credentials is Credentials.UNKNOWN:
        return f"the profile in its place, {own.path}, cannot be read: {own.why}"
    return None


def _of_chosen(chosen: Profile, held: str | None) -> Decision:
    if held:
        return Decision(chosen, Outcome.LEFT, held)
    if chosen.credentials is Credentials.UNPAIRED:
        return Decision(chosen, Outcome.LEFT, f"it is not paired: {chosen.why}")
    if chosen.credentials is Credentials.DAMAGED:
        return Decision(chosen, Outcome.LEFT, f"it is damaged: {chosen.why}")
    if chosen.in_use:
        return Decision(chosen, Outcome.FAILED, f"{chosen.in_use} uses it: stop the old service")
    if chosen.credentials is Credentials.UNKNOWN:
        why = f"it could not be read ({chosen.why}), and no paired one was found"
        return Decision(chosen, Outcome.TAKEN, why)
    return Decision(chosen, Outcome.TAKEN, "it is paired")


def _passed(one: Profile, chosen: Profile) -> str:
    if one.credentials is not Credentials.PAIRED:
        return f"it is {one.credentials}: {one.why}"
    return f"{chosen.path} was used later"
