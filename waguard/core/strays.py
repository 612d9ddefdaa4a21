"""Which processes a dead instance has left, and which are other people's.

The mark names the worker's record, and with it the runtime folder, whose lock only one instance holds:
whoever bears it and serves none of our workers is left over. Nothing is known by a pattern.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A worker, or a Chromium's browser process."""

    pid: int
    start_time: int
    """Clock ticks since boot."""
    parent: int
    user: str
    command: str
    profile: str | None
    """Chromium's profile; None: it is a worker."""
    record: str | None
    """The worker's record by its mark; None: no mark, or not ours to read."""
    session: str | None = None
    """By its mark."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Left by a dead instance, or by a dead worker: to be ended."""

    process: Seen


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's Chromium on a profile of ours: to be told of, never to be touched."""

    browser: Seen

    def __str__(self) -> str:
        """For a person."""
        seen = self.browser
        return f"{seen.user}'s Chromium {seen.pid} uses {seen.profile}: {seen.command[:200]}"


def classify(
    seen: Iterable[Seen], *, records: str, profiles: str, kept: Collection[int]
) -> list[Stray | Foreign]:
    """In the order of ``seen``.

    ``records`` and ``profiles``: a folder, or the one file or profile that it is about. ``kept``: pids
    of living workers of ours, whose browsers are kept too.
    """
    found: list[Stray | Foreign] = []
    for one in seen:
        if one.pid in kept or one.parent in kept:
            continue
        if one.record is not None and _within(one.record, records):
            found.append(Stray(one))
        elif one.profile is not None and _within(one.profile, profiles):
            found.append(Foreign(one))
    return found


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
