"""A database that was put back to an older state of itself while the daemon runs: webhooks are read again.

Ids begin anew below those that were read, so what comes would be read by nobody. What this daemon has delivered and not yet
recorded is recorded first, which spares its second delivery: results name their event, so none is written to another row.
What the older state has as pending, and was delivered and recorded since it was copied, is known to nobody here: it is
delivered again, under the same event id, and looked up first where the receiver's table can be asked.
"""

import asyncio
from collections.abc import Callable

from loguru import logger

from waguard.messaging.journal import Journal
from waguard.messaging.webhooks.endpoint_queues import EndpointQueues


class Rewinding:
    """``begin_again`` reads which endpoints there are, and pokes them."""

    def __init__(
        self, journal: Journal, queues: EndpointQueues, begin_again: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._queues = queues
        self._begin_again = begin_again
        self._due = False
        """Noticed, and the queues have not read again."""

    async def check(self) -> None:
        """Ask the database. Raises ``WaguardError``; it goes on at the next call."""
        if await self._journal.store.rewound():
            self._due = True
            logger.error(
                "the database is older than before: somebody put a copy of it back. Webhooks are read from it again",
                event="database_older",
            )
        if self._due:
            await self._journal.caught_up()
            self._due = False
            await asyncio.gather(*(queue.lose(None) for queue in self._queues))
            self._begin_again()
