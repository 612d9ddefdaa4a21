"""Kept files: which are deleted. Pure."""

from collections.abc import Collection, Iterable

from msgspec import Struct


class Held(Struct, frozen=True, kw_only=True):
    """A file that is kept. ``at`` is unix time, ``size`` bytes."""

    name: str
    size: int
    at: float


def expired(
    files: Iterable[Held],
    *,
    now: float,
    keep_for: float,
    size_limit: int,
    spared: Collection[str] = (),
    spared_for: float = 0.0,
) -> list[Held]:
    """The files to delete, oldest first: those that are too old, and as many as exceed ``size_limit`` bytes in
    all. Files with a ``spared`` name stay: somebody waits for them; and those that are no older than ``spared_for`` s."""
    ordered = sorted(files, key=lambda file: (file.at, file.name))
    left, gone = sum(file.size for file in ordered), []
    for file in ordered:
        age = now - file.at
        if (spared_for and age < spared_for) or (age <= keep_for and left <= size_limit):
            break
        if file.name not in spared:
            gone.append(file)
            left -= file.size
    return gone
