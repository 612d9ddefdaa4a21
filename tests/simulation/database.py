"""Rows: written late, read late, changed by others."""

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.faults import ANOTHER
from tests.simulation.page import Page
from waguard.core import installation
from waguard.core.installation import Found, Marker, Unknown
from waguard.core.row_status import DerivedStatus
from waguard.core.session.facts import RowRead

if TYPE_CHECKING:
    from tests.simulation.world import World


OURS = Marker(installation="ours", database="the database")


class Database:
    """Of all sessions."""

    def __init__(self, world: "World") -> None:
        self._world = world

    @property
    def ours(self) -> bool:
        """Whether it is the one that has the rows, as nobody but the world can know."""
        return not any(self._world.active[kind] for kind in ANOTHER)

    def used(self) -> bool:
        """Whether it answers, and the daemon believes that it is ours."""
        world = self._world
        if world.active["database"]:
            return False
        if self.ours:  # nothing else is to be decided, and this is asked after each step
            return True
        alive = sum(page.alive for page in world.pages.values())
        begins, away = world.engine is None, world.active["volume_away"]
        if begins and away and not alive:
            return False  # the unit waits for the mount
        folder = None if begins and away else OURS  # a daemon that runs remembers it
        rows = 0 if begins else None
        found = Found(name="the database", installation=self._marker(), rows=rows)
        it = installation.identify(folder, found, workers=alive if begins else 0)
        return not isinstance(it, Unknown)

    def _marker(self) -> str | None:
        return "another" if self._world.active["database_other"] else None

    def write(self, page: Page, status: DerivedStatus, phone: str | None, epoch: int) -> None:
        """The newest row wins; without a database it waits. ``epoch``: of the daemon that writes."""
        world, state = self._world, self._world.state(page)
        if state is None or not page.exists or (state.status != status and epoch == world.epoch):
            return
        if not self.used() or world.frozen_at is not None:
            world.after(1.0, partial(self.write, page, status, phone, epoch))
        elif state.status == status:
            page.row, page.phone = status, phone

    def reconcile(self, page: Page) -> None:
        """Compare the row."""
        world, state = self._world, self._world.state(page)
        if state is None or world.stopping or not page.exists:
            return
        if not self.used():
            world.after(30.0, partial(self.reconcile, page))
        elif page.row.status is not state.status.status:
            known = page.phone is not None
            world.post(page.name, RowRead(said=str(page.row.status), knows_number=known))
        elif state.phone and page.phone is None:
            world.post(page.name, RowRead(said=str(page.row.status), number_only=True))
