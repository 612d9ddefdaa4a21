"""Whether a process stands still: SIGSTOP, Ctrl-Z. It does nothing then and hears no SIGTERM.

The kernel notifies the parent within 0.2 ms, with SIGCHLD; another process's child has to be polled.
"""

import asyncio
import contextlib
import os
from typing import Final

from msgspec import Struct

from waguard.host.patience import patience
from waguard.host.process import procfs


class Timings(Struct, frozen=True, kw_only=True):
    """Seconds."""

    grace: float = 1.0
    """A shell's Ctrl-Z and fg, or a whole tree that is stopped and goes on."""
    hastened: float = 0.1
    """Where it is to end: longer than a debugger's look."""
    late: float = 0.25
    """This process stood still itself, or was not let run: it has seen nothing."""
    poll: float = 1.0
    """Between two checks of a process that is not our child."""


TIMINGS: Final = Timings()


class Standstill:
    """Whether one process stands still. Made on the loop that waits for it."""

    def __init__(self, pid: int, pidfd: int, *, child: bool) -> None:
        """``child``: ``check`` is called at each SIGCHLD; else it is polled."""
        self._pid = pid
        self._pidfd = pidfd
        self._child = child
        self._hastened = False
        self.begun = asyncio.Event()
        """Set when the process stands still."""
        self._over = asyncio.Event()

    def check(self) -> None:
        """Read the kernel's news. Exits are left to whoever reaps."""
        if not self._child:
            self._set(stopped=procfs.is_stopped(self._pid))
            return
        with contextlib.suppress(ChildProcessError):
            while news := os.waitid(
                os.P_PIDFD, self._pidfd, os.WSTOPPED | os.WCONTINUED | os.WNOHANG
            ):
                self._set(stopped=news.si_code in {os.CLD_STOPPED, os.CLD_TRAPPED})

    def _set(self, *, stopped: bool) -> None:
        now, before = (self.begun, self._over) if stopped else (self._over, self.begun)
        now.set()
        before.clear()

    def hasten(self) -> None:
        """From now on a short standstill is enough: the process is to end."""
        self._hastened = True
        self._over.set()  # wakes ``lasting``, which begins again
        self._set(stopped=procfs.is_stopped(self._pid))

    async def lasting(self, timings: Timings = TIMINGS) -> None:
        """Return when it has stood still for the grace on end, seen by one who did not."""
        while True:
            await self._beginning(timings.poll)
            with contextlib.suppress(TimeoutError):
                grace = timings.hastened if self._hastened else timings.grace
                async with patience(grace, late=timings.late):
                    await self._over.wait()
                    continue
            if procfs.is_stopped(self._pid):
                return
            self.check()

    async def _beginning(self, poll: float) -> None:
        while not self._child and not self.begun.is_set():
            self.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll):
                    await self.begun.wait()
        await self.begun.wait()
