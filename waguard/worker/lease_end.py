"""Until when this worker may live: a timer of the kernel's, which ends a stopped process too.

SIGALRM would not: a stopped process handles no signal. Chromium follows by its death signal. The timer is of this
process alone: neither a fork nor Chromium has it.
"""

import asyncio
import contextlib
import ctypes
import math
import os
import signal
import struct
from typing import Final

from loguru import logger

from waguard.host.clock import since_boot

_CLOCK_BOOTTIME: Final = 7  # <linux/time.h>: it counts a suspend, too
_SIGEV_SIGNAL: Final = 0
_TIMER_ABSTIME: Final = 1
_NANO: Final = 10**9


# <signal.h>: value, signal, how to notify, and room for the rest of its 64 bytes
_EVENT: Final = struct.pack("@Pii48x", 0, signal.SIGKILL, _SIGEV_SIGNAL)
_SETTING: Final = struct.Struct("@llll")  # ``itimerspec``: interval, value; s and ns of each
CLOSES: Final = (
    10.0  # s for Chromium to close and for events to be written, before the kernel ends all
)
SHARE: Final = 4  # of the time that was lent; at most so much of it is for closing


class Deadline:
    """Not armed until it is moved for the first time."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._moved = asyncio.Event()
        self._closes_at: float | None = None
        self.until: float | None = None
        """As ``move`` was called last; None also where there is no timer."""
        self._timer: ctypes.c_void_p | None = None
        try:
            self._timer = self._create()
        except OSError as error:
            logger.error("the kernel gives no timer", event="no_timer", why=str(error))

    @property
    def works(self) -> bool:
        """Whether the kernel gave it a timer."""
        return self._timer is not None

    def move(self, until: float | None) -> None:
        """At ``until``, seconds by CLOCK_BOOTTIME, the kernel ends this process; None: it does not. One that is
        over ends it now. Raises ``OSError``."""
        if self._timer is None:
            return
        # 0 disarms it
        nanoseconds = 0 if until is None else max(1, math.floor(until * _NANO))
        setting = _SETTING.pack(0, 0, *divmod(nanoseconds, _NANO))
        self._require(self._libc.timer_settime(self._timer, _TIMER_ABSTIME, setting, None))
        self.until = until
        left = None if until is None else until - since_boot()
        self._closes_at = (
            None if until is None or left is None else until - min(CLOSES, left / SHARE)
        )
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def near(self) -> None:
        """Return when it is time to close in order."""
        while (at := self._closes_at) is None or since_boot() < at:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if at is None else at - since_boot()):
                    await self._moved.wait()

    def _create(self) -> ctypes.c_void_p:
        timer = ctypes.c_void_p()
        self._require(self._libc.timer_create(_CLOCK_BOOTTIME, _EVENT, ctypes.byref(timer)))
        return timer

    @staticmethod
    def _require(result: int) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
