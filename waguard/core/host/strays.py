"""Which processes are orphans of a dead instance, and which are foreign. Pure.

The mark of a process (WAGUARD_RECORD) names its worker's record, and with it the runtime folder, whose lock only
one instance holds. A process that has our mark and belongs to none of our living workers is an orphan. No process is
identified by a pattern of its command line.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct


class Seen(Struct, frozen=True, kw_only=True):
    """A worker, a Chromium's browser process, or another process of a Chromium."""

    pid: int
    start_time: int
    """Clock ticks since boot."""
    parent: int
    user: str
    command: str
    profile: str | None
    """Chromium's profile; None: it is a worker."""
    record: str | None
    """The worker's record, by its mark; None: it has no mark, or that cannot be read."""
    session: str | None = None
    """By its mark."""
    group: int = 0
    led: bool = True
    """The leader of its process group lives."""
    part: bool = False
    """The process is a part of a browser, not the browser itself: a renderer, a crash handler, … Chromium overwrites
    the environment of most of them, and with it the mark."""


class Stray(Struct, frozen=True):
    """An orphan of a dead instance or a dead worker: it is to be ended."""

    process: Seen


class Foreign(Struct, frozen=True):
    """A foreign Chromium on a profile of ours: it is reported, and never ended."""

    browser: Seen

    def __str__(self) -> str:
        """For a person."""
        seen = self.browser
        return f"{seen.user}'s Chromium {seen.pid} uses {seen.profile}: {seen.command[:200]}"


def classify(
    seen: Iterable[Seen], *, records: str, profiles: str, kept: Collection[int]
) -> list[Stray | Foreign]:
    """The orphans and foreign processes, in the order of ``seen``.

    ``records`` and ``profiles``: a folder, or a single record or profile. ``kept``: pids of our living workers,
    whose browsers are kept too.
    """
    seen = list(seen)
    found: list[Stray | Foreign] = []
    for one in seen:
        if one.pid in kept or one.parent in kept:
            continue
        if one.part:
            if _remains(one, seen) and _is_of(one, records, profiles):
                found.append(Stray(one))
        elif one.record is not None and _within(one.record, records):
            found.append(Stray(one))
        elif one.profile is not None and _within(one.profile, profiles):
            found.append(Foreign(one))
    return found


def _remains(part: Seen, seen: Iterable[Seen]) -> bool:
    """Whether its browser is gone: it serves nobody, whoever started it. A stopped renderer never learns of
    that. A browser leads its group, unless a person started it from a script."""
    browsers = (it for it in seen if it.profile is not None and not it.part)
    if part.profile is None:
        return not any(it.record == part.record for it in browsers)
    return not any(
        it.profile == part.profile and (part.led or it.group == part.group) for it in browsers
    )


def _is_of(part: Seen, records: str, profiles: str) -> bool:
    if part.record is not None and _within(part.record, records):
        return True
    return part.profile is not None and _within(part.profile, profiles)


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
