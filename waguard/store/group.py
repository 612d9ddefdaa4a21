"""Group calls: what comes while one call runs is done by the next one, all together.

A call that fails is repeated for each of its items alone, so that what one of them is refused for costs its
neighbours nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Generic, TypeVar

from loguru import logger

from waguard.errors import DatabaseUnavailableError
from waguard.store.database import Database

Item = TypeVar("Item")
Result = TypeVar("Result")
Waiting = tuple[Item, asyncio.Future[Result]]

MOST: Final = 500  # items a call


class Group(Generic[Item, Result]):
    """``together`` has a result for each item, in their order; None: that one is done by ``alone``, beside the
    calls that follow. Without ``alone`` one that failed is asked ``together`` once more, by itself."""

    def __init__(
        self,
        database: Database,
        together: Callable[[Sequence[Item]], Awaitable[Sequence[Result | None]]],
        alone: Callable[[Item], Awaitable[Result]] | None = None,
    ) -> None:
        self._database = database
        self._together = together
        self._alone = alone or self._repeat
        self._waiting: list[Waiting[Item, Result]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = False

    async def do(self, item: Item) -> Result:
        """Its result, or its error. Raises ``DatabaseUnavailableError`` in the time of any other call, for
        which it waits too."""
        async with self._database.answering():
            done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, done))
            if not self._busy:
                self._busy = True
                self._begin(self._work())
            return await done

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="group")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                # who was cancelled, or waited for too long, does not want it any more
                if some := [one for one in some if not one[1].done()]:
                    await self._do(some)
        finally:
            self._busy = False

    async def _do(self, some: Sequence[Waiting[Item, Result]]) -> None:
        results: Sequence[Result | None]
        try:
            results = await self._together([item for item, _ in some])
        except Exception as error:  # noqa: BLE001 - each has its own error
            if len(some) == 1 and isinstance(error, DatabaseUnavailableError):
                _fail(some[0][1], error)
                return
            logger.debug("a call for several failed; each is done alone", count=len(some))
            results = [None] * len(some)
        for (item, done), result in zip(some, results, strict=True):
            if result is None:
                self._begin(self._do_alone(item, done))
            elif not done.done():
                done.set_result(result)

    async def _do_alone(self, item: Item, done: asyncio.Future[Result]) -> None:
        if done.done():
            return
        try:
            result = await self._alone(item)
        except Exception as error:  # noqa: BLE001 - the caller's
            _fail(done, error)
        else:
            if not done.done():
                done.set_result(result)

    async def _repeat(self, item: Item) -> Result:
        [result] = await self._together((item,))
        assert result is not None  # noqa: S101 - then there is an ``alone``
        return result


def _fail(done: asyncio.Future[Any], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
