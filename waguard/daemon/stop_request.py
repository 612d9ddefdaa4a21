"""Whether the daemon is to end, why, and what becomes of its workers then."""

import asyncio
import signal

from loguru import logger

from waguard.errors import InstanceHeldError, WaguardError


class StopRequest:
    """One value for the whole daemon: the first request ends it, the last one says how."""

    def __init__(self) -> None:
        self._requested = asyncio.Event()
        self.why = "by itself"
        self.hands_over = False
        """The workers go on, for the next daemon."""
        self._is_decided = False
        self.database_lost: InstanceHeldError | None = None
        """Another daemon has the database: nothing here may continue."""
        self._outdated: WaguardError | None = None

    @property
    def error(self) -> WaguardError | None:
        """How the run ends; None: in order."""
        return self.database_lost or (self._outdated if self.hands_over else None)

    @property
    def requested(self) -> bool:
        """There is no way back."""
        return self._requested.is_set()

    async def wait(self) -> None:
        """Until it is requested."""
        await self._requested.wait()

    def by_signal(self, number: signal.Signals) -> None:
        """Every session is closed in order, also where a restart was asked for before, and no session was left yet."""
        if not self._is_decided:
            self.hands_over = False
        self.why = number.name
        self._requested.set()

    def decide(self) -> bool:
        """Whether the workers go on. No later request changes it: they are left now, or closed."""
        self._is_decided = True
        return self.hands_over

    def hand_over(self) -> None:
        """For a restart; a stop that is under way stays what it is."""
        if not self.requested:
            self.hands_over = True
            self.why = "a restart"
            self._requested.set()

    def hand_over_after(self, error: WaguardError) -> None:
        """Hand over to the daemon that the service manager starts, for this one's ``error``."""
        if not self.requested:
            logger.error("waguard ends: {}", error.line(), event="state_replaced")
            self._outdated = error
            self.hand_over()

    def lose_database(self, error: InstanceHeldError, *, had: bool = True) -> None:
        """``error`` is how the run ends. ``had``: this daemon supervised sessions until now."""
        if had:
            logger.critical("waguard ends: {}", error.line(), event="lease_lost")
        else:
            logger.error("waguard ends: {}", error.line(), event="lease_refused")
        self.database_lost = self.database_lost or error
        self.why = "another daemon has the database"
        self._requested.set()
