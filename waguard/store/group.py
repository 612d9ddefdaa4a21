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

_Waiting = tuple[Item, asyncio.Future[Result | None], asyncio.Timeout]


class Group(Generic[Item, Result]):
    """``together`` has a result for each item, in their order; None: this one is done by ``alone``, as are all
    of them after a failure. Without ``alone`` it is ``together``, with one item. ``most``: items a call."""

    def __init__(
        self,
        database: Database,
        together: Callable[[Sequence[Item]], Awaitable[Sequence[Result | None]]],
        alone: Callable[[Item], Awaitable[Result]] | None = None,
        *,
        most: int = MOST,
    ) -> None:
        self._database = database
        self._together = together
        self._alone = alone or self._again
        self._most = most
        self._waiting: list[_Waiting[Item, Result]] = []
        self._working: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """Raises what ``alone`` raises, and ``DatabaseUnavailableError`` where the item waits for its call longer
        than a call may take: then nothing is done of it. The call itself has a deadline of its own."""
        async with self._database.answering() as deadline:
            done: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, done, deadline))
            if self._working is None or self._working.done():
                self._working = asyncio.create_task(self._work(), name="group")
            result = await done
            return await self._alone(item) if result is None else result

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            # who was cancelled, or waited for too long, does not want it any more
            if some := [it for it in taken if not it[1].done()]:
                for _, _, deadline in some:  # it may be committed: nothing else is reported
                    deadline.reschedule(None)
                results = await self._done([item for item, _, _ in some])
                for (_, done, _), result in zip(some, results, strict=True):
                    if not done.done():
                        done.set_result(result)

    async def _done(self, items: Sequence[Item]) -> Sequence[Result | None]:
        try:
            return await self._call(items)
        except Exception as error:  # noqa: BLE001 - each has its own error
            logger.debug("a call for several failed", count=len(items), why=type(error).__name__)
            return [None] * len(items)

    async def _again(self, item: Item) -> Result:
        [result] = await self._call([item])
        assert result is not None  # noqa: S101 - else there is an ``alone``
        return result

    async def _call(self, items: Sequence[Item]) -> Sequence[Result | None]:
        async with self._database.answering():
            return await self._together(items)
