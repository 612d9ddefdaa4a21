"""Calls things at intervals: APScheduler as a thin ticker, decisions are elsewhere.

APScheduler compares wall times: a clock that is put back an hour would stop every tick for that hour,
one that is put forward a year would have it count 30 million ticks that were missed. So its time zone
is one whose clocks show the monotonic time.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

JITTER: Final = 0.1  # of an interval, so that long ones do not march in step


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """A tick that a stop cut short is nobody's error, and its traceback nobody's evidence."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _for_nobody(record: logging.LogRecord) -> bool:
    """A tick that is left out because the one before still runs is as it is meant: no warning."""
    if record.levelno == logging.WARNING and "skipped" in str(record.msg):
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    return True


logging.getLogger("apscheduler.executors.default").addFilter(_is_worth_logging)
logging.getLogger("apscheduler.scheduler").addFilter(_for_nobody)


class Monotonic(tzinfo):
    """``datetime.now`` in this zone counts from 1970 at the machine's start, and never jumps."""

    def fromutc(self, _: datetime) -> datetime:
        """The monotonic time, whatever the wall clock shows."""
        return datetime.fromtimestamp(time.monotonic(), UTC).replace(tzinfo=self)

    def utcoffset(self, _: datetime | None) -> timedelta:
        """None of its times is another zone's."""
        return timedelta()

    def dst(self, _: datetime | None) -> timedelta:
        """No summer."""
        return timedelta()

    def tzname(self, _: datetime | None) -> str:
        """For logs."""
        return "monotonic"


class _Interval(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Counted from now, not from the tick before: what was missed is not made up for. To the nearest whole second, where
    the interval has one: an idle daemon wakes up once for all ticks that are due, whichever ticker has them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_next_fire_time(self, _: datetime | None, now: datetime) -> datetime:
        """After one interval and a random part of it."""
        jitter = random.uniform(0, self._seconds * JITTER)  # noqa: S311 - no secret
        at = now + timedelta(seconds=self._seconds + jitter)
        if self._seconds < 1:
            return at
        return (at + timedelta(seconds=0.5)).replace(microsecond=0)


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler has no types
    def wakeup(self) -> None:
        """From the loop alone, which APScheduler's own would wake up once more."""
        self._stop_timer()
        self._start_timer(self._process_jobs())


class Ticker:
    """Runs on the event loop; a tick that is late or still running is left out, never piled up."""

    def __init__(self) -> None:
        self._scheduler = _Scheduler(timezone=Monotonic())
        self.under_way: dict[str, float] = {}
        """Monotonic time at which each tick began that has not ended, by its name."""

    def every(self, seconds: float, name: str, tick: Callable[[], Awaitable[object]]) -> None:
        """Call ``tick`` every ``seconds``, at first after one interval and a random part of it."""

        async def timed() -> None:
            self.under_way[name] = time.monotonic()
            try:
                await tick()
            finally:
                del self.under_way[name]

        self._scheduler.add_job(
            timed,
            _Interval(seconds),
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
