"""Snapshots: when a session's credentials are copied, and which copies are kept. Pure."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

# s connected; Chromium writes localStorage to the disk up to 60 s late (measured: 60.1)
STORED_AFTER: Final = 65.0


class Snapshot(Struct, frozen=True, kw_only=True):
    """A copy of the credentials. ``taken_at`` is unix time; ``pairing`` the owner token."""

    id: str
    taken_at: float
    pairing: str
    intact: bool = True
    order: float | None = None
    """Where it comes among the others; None: by ``taken_at``."""
    unread: str | None = None
    """Why the system does not let it be read now, which says nothing of its content; None: it does."""


def age_order(snapshot: Snapshot) -> tuple[float, str]:
    """Sort the older one first."""
    return (_place(snapshot), snapshot.id)


def _place(snapshot: Snapshot) -> float:
    return snapshot.taken_at if snapshot.order is None else snapshot.order


def next_order(known: Iterable[Snapshot], *, now: float) -> float | None:
    """The ``order`` of one that is taken at that unix time, by a clock that may have been ahead when ``known`` were."""
    newest = max(map(_place, known), default=0.0)
    return None if newest < now else newest + 1.0


def due_in(*, connected_for: float, last_taken_ago: float | None, every: float) -> float:
    """Seconds until the next snapshot of a connected session; 0: now.

    There is one in each connection, and then one every ``every`` seconds. ``connected_for`` counts from the last
    time that this page became connected. After a pairing the page is opened again, so that Chromium writes, and
    ``connected_for`` begins again.
    """
    wait = STORED_AFTER - connected_for
    if last_taken_ago is not None and last_taken_ago < connected_for:
        wait = max(wait, every - last_taken_ago)
    return max(0.0, wait)


def superfluous(
    snapshots: Iterable[Snapshot], *, pairing: str | None, generations: int
) -> list[Snapshot]:
    """The snapshots to delete, oldest first: of this pairing the newest ``generations`` stay.

    While no snapshot of this pairing is intact, all stay. So does one that cannot be read now.
    """
    ordered = sorted(snapshots, key=age_order)
    current = [s for s in ordered if s.pairing == pairing and s.intact]
    if not current:
        return []
    kept = {snapshot.id for snapshot in current[-max(1, generations) :]}
    return [snapshot for snapshot in ordered if snapshot.id not in kept and not snapshot.unread]
