"""What this host's lease means for what runs here, and for people; and the sweep, which is repeated until it works."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from loguru import logger

from waguard.core.backoff import backoff
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.records import Found, HostRecord
from waguard.errors import WaguardError, one_line

SWEPT_AGAIN: Final = 0.5  # s after a sweep that failed, growing …
SWEPT_AT_LEAST_EACH: Final = 5.0  # … up to so many


class HostDuties(Protocol):
    """What the lease means for what runs on this host."""

    def record(self, incarnation: str, number: int) -> HostRecord:
        """What this host says of itself now, alive."""

    def settings(self) -> Mapping[str, str]:
        """``HostRecord.settings`` of this host."""

    def lend(self, until: float) -> None:
        """Have each worker that is not being closed live until then, seconds by CLOCK_BOOTTIME."""

    def close_all(self) -> None:
        """Begin to close all sessions in order; what is being closed is lent nothing further."""

    def kill_all(self) -> None:
        """SIGKILL all workers, and what they started."""

    async def sweep(self) -> str:
        """The name of the next incarnation, which is kept, when nothing of an earlier one runs here. Raises
        ``WaguardError``, ``OSError``."""

    def exit(self, why: str) -> None:
        """End the daemon: two machines have this host's name."""


class HostReports(Protocol):
    """Who reports what changes of the leases."""

    def answered(self, why_not: str | None) -> None:
        """A call of the engine was answered; ``why_not``: it was not."""

    def changed(self, view: LeaseView) -> None:
        """Called after each fact."""

    def declared_dead(self, found: Found) -> None:
        """This host declares another one dead."""


async def sweep(duties: HostDuties, swept: Callable[[str], None]) -> None:
    """``swept`` gets the name of the next incarnation."""
    failures = 0
    while True:
        try:
            incarnation = await duties.sweep()
        except (WaguardError, OSError) as error:
            level = "DEBUG" if failures else "ERROR"
            what = "what an earlier incarnation left is not ended"
            logger.log(level, what, event="not_swept", why=one_line(error))
        except Exception as error:  # noqa: BLE001 - without a sweep this host would own nothing ever again
            logger.opt(exception=error).critical("a bug in waguard", event="bug", call="sweep")
        else:
            swept(incarnation)
            return
        await asyncio.sleep(backoff(SWEPT_AGAIN, failures, longest=SWEPT_AT_LEAST_EACH))
        failures += 1
