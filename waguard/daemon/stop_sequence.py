"""The end in order: what the application handles now, then the sessions, then what they reported last."""

import asyncio
from typing import Final

from loguru import logger

from waguard.daemon.stop_request import StopRequest
from waguard.host.system.systemd import SystemdNotifier
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.supervision.supervisor import Supervisor

SEND_GRACE: Final = 5.0  # s for messages on their way at the end; then the next daemon looks
DRAIN: Final = 3.0  # s for webhooks at the end; what is left is delivered by the next daemon
LAST_ANSWER: Final = 5.0  # s for those in flight: cut off, they would be repeated


def announce(stop: StopRequest, notifier: SystemdNotifier) -> None:
    """Notify the service manager, and log what becomes of the sessions."""
    doing = "the sessions stay connected" if stop.hands_over else "every session is closed in order"
    notifier.stopping()
    notifier.status(f"stopping: {doing}")
    logger.info("stopping: {}", doing, event="daemon_stopping")


async def stop_sessions(
    stop: StopRequest, supervisor: Supervisor, outbox: Outbox, webhooks: Webhooks
) -> None:
    """After what the application handles now, for it asks meanwhile whether its session is connected."""
    if stop.database_lost:
        # its browsers must not fight with the other daemon's, nor is there anything to write
        await asyncio.gather(outbox.close(0), supervisor.stop(write=False))
        return
    await asyncio.gather(
        outbox.close(SEND_GRACE), webhooks.wind_down(begin=DRAIN, answer=LAST_ANSWER)
    )
    await (supervisor.leave() if stop.hands_over else supervisor.stop())


async def deliver_last_events(stop: StopRequest, journal: Journal, webhooks: Webhooks) -> None:
    """What became of the sessions at the end, once the bus is closed and all of it is queued."""
    if not stop.database_lost and await journal.flushed(DRAIN):
        await webhooks.drain_sessions(DRAIN)
