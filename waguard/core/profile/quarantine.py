"""Quarantined profiles: which are deleted in the end. Pure."""

from collections.abc import Sequence

from msgspec import Struct


class Copy(Struct, frozen=True, kw_only=True):
    """A profile in the quarantine.

    ``at`` is unix time, ``size`` bytes. ``only``: the session has neither a paired profile nor an intact snapshot
    beside its quarantined copies.
    """

    name: str
    session: str
    at: float
    size: int
    only: bool


def expired(copies: Sequence[Copy], *, now: float, keep_for: float, size_limit: int) -> list[Copy]:
    """The copies to delete, oldest first: those that are too old, then as many as exceed ``size_limit`` bytes.

    The newest copy of a session that has nothing else always stays.
    """
    ordered = sorted(copies, key=lambda copy: (copy.at, copy.name))
    newest = {copy.session: copy.name for copy in ordered}
    deletable = [c for c in ordered if not (c.only and newest[c.session] == c.name)]
    gone = [copy for copy in deletable if now - copy.at > keep_for]
    left = sum(copy.size for copy in copies) - sum(copy.size for copy in gone)
    for copy in deletable:
        if left <= size_limit:
            break
        if copy not in gone:
            gone.append(copy)
            left -= copy.size
    return sorted(gone, key=lambda copy: (copy.at, copy.name))
