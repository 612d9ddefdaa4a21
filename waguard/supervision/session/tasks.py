"""The tasks of one owner: none is lost, and one that fails says so."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from loguru import logger

Begin = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
"""Runs the work as a task of this name."""


class Tasks:
    """``owner`` is in their names."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run it."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._running.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def end(self) -> None:
        """Cancel all of them."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log = logger.bind(session=self._owner)
            log.opt(exception=error).critical("a bug in waguard", event="bug", task=task.get_name())
