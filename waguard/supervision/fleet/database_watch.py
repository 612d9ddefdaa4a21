"""Whether the database answers, asked every ``ASKED_EVERY`` s: what is said of it is never older than that.

A file in its place answers: as long as it is the one that answered last, one ``stat`` is the question.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from waguard.errors import WaguardError
from waguard.ports.store import Store
from waguard.supervision.fleet.run_state import RunState

ASKED_EVERY: Final = 2.0  # s


class DatabaseWatch:
    """Until the rows are loaded the restore reports it, so nothing is asked before."""

    def __init__(self, store: Store, state: RunState, *, file: Callable[[], object]) -> None:
        """``file``: which file the database is; None where that is not known."""
        self._store = store
        self._file = file
        self._state = state
        self._answered: object = None
        """The file that answered last."""
        self._asking: asyncio.Task[None] | None = None

    async def tick(self) -> None:
        """Begin to ask. A task of its own: a call of the database that the ticker cuts off leaves a connection open."""
        idle = self._asking is None or self._asking.done()
        if not idle or not self._state.loaded or self._state.stopping:
            return
        file = self._file()
        if file is None or file != self._answered or not self._state.database:
            self._asking = asyncio.create_task(self._ask(file), name="does the database answer")

    async def asked(self) -> None:
        """Wait until no question is under way; the store ends each within its deadline."""
        if self._asking:
            await asyncio.wait([self._asking])

    async def _ask(self, file: object) -> None:
        self._answered = None
        try:
            await self._store.ping()
        except WaguardError as error:
            self._state.database_failed(error)
        else:
            self._answered = file
            self._state.database_answered()
