"""Many questions to the database as one: what is asked while one is under way is the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Batch(Generic[K, V]):
    """``ask`` answers for all of them; None: that is not known."""

    def __init__(self, ask: Callable[[Collection[K]], Awaitable[Mapping[K, V] | None]]) -> None:
        self._ask = ask
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """The answer for one; None: it is not known, or there is none."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="webhook batch")
        return await asyncio.shield(future)

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # whoever asks in this turn of the loop is answered with it
            asked, self._waiting = self._waiting, {}
            found: Mapping[K, V] | None = None
            try:
                found = await self._ask(tuple(asked))
            finally:
                for key, future in asked.items():
                    if not future.done():
                        future.set_result(None if found is None else found.get(key))
