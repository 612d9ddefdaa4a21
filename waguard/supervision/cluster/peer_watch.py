"""The leases of all hosts as they change: a watch, and reads in its place while it is broken.

This host's own renewals are in the watch too. So one that reports nothing for longer than two of them stalls, and is
begun again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from loguru import logger

from waguard.core.backoff import backoff
from waguard.core.cluster.records import Found
from waguard.errors import WaguardError
from waguard.ports.cluster import HostLeases
from waguard.supervision.cluster.engine_calls import EngineCalls

RENEWALS: Final = 2.5  # that a watch may leave out
AGAIN: Final = 0.5  # s until a watch that broke is begun again, growing up to the renewal interval


class PeerWatch:
    """``seen`` gets all leases, late or twice as they may come. ``renewed_every`` in seconds, ``chance`` in [0, 1)."""

    def __init__(
        self,
        leases: HostLeases,
        calls: EngineCalls,
        seen: Callable[[Sequence[Found]], None],
        *,
        renewed_every: float,
        chance: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._leases = leases
        self._calls = calls
        self._seen = seen
        self._renewed_every = renewed_every
        self._chance = chance
        self._pause = pause
        self._failures = 0

    async def run(self) -> None:
        """Return never."""
        while True:
            why = await self._follow()
            logger.debug("the watch of the hosts broke", why=why, failures=self._failures)
            await self._read()
            longest = self._renewed_every
            pause = backoff(AGAIN, self._failures, longest=longest) * (0.5 + self._chance() / 2)
            self._failures += 1
            await self._pause(pause)

    async def _follow(self) -> str:
        """Why it ended."""
        changes = aiter(self._leases.changes())
        stalled = RENEWALS * self._renewed_every
        try:
            while True:
                async with asyncio.timeout(stalled):
                    found = await anext(changes)
                self._failures = 0
                self._seen(found)
        except StopAsyncIteration:
            return "it ended"
        except TimeoutError:
            return f"it reported nothing for {stalled:.0f} s"
        except WaguardError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 - without a watch nobody is taken over from
            logger.opt(exception=error).critical("a bug in waguard", event="bug", call="watch")
            return repr(error)

    async def _read(self) -> None:
        within = self._renewed_every
        try:
            self._seen(await self._calls.answer(self._leases.hosts(), "hosts", within=within))
        except WaguardError as error:
            logger.debug("the hosts are not read", why=error.message)
        except Exception as error:  # noqa: BLE001 - see above
            logger.opt(exception=error).critical("a bug in waguard", event="bug", call="watch")
