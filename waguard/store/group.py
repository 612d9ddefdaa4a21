"""Group calls: what comes while one call runs is done by the next one, all together.

What a call for several fails for may be the fault of one, so each is repeated alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from loguru import logger

from waguard.store.database import Database

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST: Final = 500  # items a call


class Group(Generic[Item, Result]):
    """``together`` has a result for each item, in their order; None: this one is done by ``alone``, as are all
    of them after a failure. Without ``alone`` it is ``together``, with one item."""

    def __init__(
        self,
        database: Database,
        together: Callable[[Sequence[Item]], Awaitable[Sequence[Result | None]]],
        alone: Callable[[Item], Awaitable[Result]] | None = None,
    ) -> None:
        self._database = database
        self._together = together
        self._alone = alone or self._again
        self._waiting: list[tuple[Item, asyncio.Future[Result | None]]] = []
        self._working: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """Raises what ``alone`` raises, and ``DatabaseUnavailableError`` where all of it takes longer than a
        call may take."""
        async with self._database.answering():
            done: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, done))
            if self._working is None or self._working.done():
                self._working = asyncio.create_task(self._work(), name="group")
            result = await done
            return await self._alone(item) if result is None else result

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            # who was cancelled, or waited for too long, does not want it any more
            if some := [(item, done) for item, done in taken if not done.done()]:
                results = await self._done([item for item, _ in some])
                for (_, done), result in zip(some, results, strict=True):
                    if not done.done():
                        done.set_result(result)

    async def _done(self, items: Sequence[Item]) -> Sequence[Result | None]:
        try:
            return await self._together(items)
        except Exception as error:  # noqa: BLE001 - each has its own error
            logger.debug("a call for several failed", count=len(items), why=type(error).__name__)
            return [None] * len(items)

    async def _again(self, item: Item) -> Result:
        [result] = await self._together([item])
        assert result is not None  # noqa: S101 - else there is an ``alone``
        return result
