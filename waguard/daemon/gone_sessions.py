"""Received messages whose session's row is gone: nobody can connect it again, so they are dead letters."""

import time
from functools import partial
from typing import Final

from loguru import logger

from waguard.errors import WaguardError
from waguard.host.ticker import Ticker
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.sessions import REMOVED
from waguard.supervision.fleet.registry import Registry

INTERVAL: Final = 10.0  # s


def schedule(ticker: Ticker, webhooks: Webhooks, registry: Registry) -> None:
    """From now on, by ``ticker``."""
    ticker.every(INTERVAL, "gone sessions", partial(give_up, webhooks, registry))


async def give_up(webhooks: Webhooks, registry: Registry) -> None:
    """A tick. What cannot be asked or written now is tried at the next one."""
    before = time.time()
    for session_id in sorted({it.session_id for it in webhooks.queues.held()}):
        if session_id in registry or not await registry.row_is_gone(session_id):
            continue
        try:
            await webhooks.dead_letters.add_session(session_id, REMOVED, before=before)
        except WaguardError as error:
            logger.debug("not made dead letters, trying again", why=error.line())
