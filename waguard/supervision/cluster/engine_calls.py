"""Calls of the engine: each a task of its own, which nobody cuts off, with a deadline after which its answer is unknown."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from loguru import logger

from waguard.errors import EngineUnavailableError, WaguardError

T = TypeVar("T")
END_DEADLINE: Final = 15.0  # s; a call of the database or of the engine ends within that


class EngineCalls:
    """What is cut off leaves a connection open that nobody closes: a call that is late ends by the deadline of its
    adapter, and its answer is dropped."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, call: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Begin it now; what it raises is logged where nobody awaits it."""
        task = asyncio.create_task(call, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def answer(self, call: Coroutine[Any, Any, T], name: str, *, within: float) -> T:
        """The answer. Raises ``EngineUnavailableError`` also where there is none ``within`` so many seconds, and for
        what no adapter should raise: a lease that is renewed no more is lost."""
        task = self.begin(call, name)
        done, _ = await asyncio.wait([task], timeout=within)
        if not done:
            raise EngineUnavailableError(f"no answer within {within:.1f} s")
        try:
            return task.result()
        except EngineUnavailableError:
            raise
        except Exception as error:
            raise EngineUnavailableError(str(error) or repr(error)) from error

    async def end(self, within: float = END_DEADLINE) -> None:
        """Wait for what is under way, for ``within`` seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, WaguardError):
            logger.opt(exception=error).critical(
                "a bug in waguard", event="bug", call=task.get_name()
            )
