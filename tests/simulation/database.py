"""Rows: written late, read late, changed by others."""

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.page import Page
from waguard.core.session.facts import RowRead
from waguard.core.status import DerivedStatus

if TYPE_CHECKING:
    from tests.simulation.world import World


class Database:
    """Of all sessions."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def write(self, page: Page, status: DerivedStatus, phone: str | None, epoch: int) -> None:
        """The newest row wins; without a database it waits. ``epoch``: of the daemon that writes."""
        world, state = self._world, self._world.state(page)
        if state is None or not page.exists or (state.status != status and epoch == world.epoch):
            return
        if world.active["database"] or world.frozen_at is not None:
            world.after(1.0, partial(self.write, page, status, phone, epoch))
        elif state.status == status:
            page.row, page.phone = status, phone

    def reconcile(self, page: Page) -> None:
        """Compare the row."""
        world, state = self._world, self._world.state(page)
        if state is None or world.stopping or not page.exists:
            return
        if world.active["database"]:
            world.after(30.0, partial(self.reconcile, page))
        elif page.row.status is not state.status.status:
            known = page.phone is not None
            world.post(page.name, RowRead(said=str(page.row.status), knows_number=known))
        elif state.phone and page.phone is None:
            world.post(page.name, RowRead(said=str(page.row.status), number_only=True))
