"""Calls things at intervals: APScheduler as a thin ticker, decisions are elsewhere."""

from collections.abc import Awaitable, Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler


class Ticker:
    """Runs on the event loop; a tick that is late or still running is left out, never piled up."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def every(self, seconds: float, name: str, tick: Callable[[], Awaitable[object]]) -> None:
        """Call ``tick`` every ``seconds``, at first after one interval and a random part of it."""
        self._scheduler.add_job(
            tick,
            "interval",
            seconds=seconds,
            jitter=seconds / 10,
            id=name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            replace_existing=True,
        )

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()

    def stop(self) -> None:
        """Tick no more; a tick that runs is not waited for."""
        self._scheduler.shutdown(wait=False)
