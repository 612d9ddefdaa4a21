"""The end in order: what the application handles now, then the sessions, then what they reported last."""

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from loguru import logger
from msgspec import Struct

from waguard.core.shipping import LAST_ONES
from waguard.daemon.restore_loop import RestoreLoop
from waguard.daemon.stop_request import StopRequest
from waguard.host.system.systemd import SystemdNotifier
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.supervision.supervisor import Supervisor

if TYPE_CHECKING:
    from waguard.daemon.cluster import Cluster

FILES: Final = 2.0  # s for small files
DRAIN: Final = 3.0  # s for webhooks at the end; what is left is delivered by the next daemon


class Patience(Struct, frozen=True, kw_only=True):
    """Seconds for what is under way at a stop, before the sessions are closed."""

    sends: float = 5.0
    """For messages on their way; then the next daemon looks."""
    webhooks: float = DRAIN
    """Within which one may still begin."""
    answer: float = 5.0
    """For those in flight: cut off, they would be repeated."""
    releases: float = 12.0
    """For sessions of a cluster to leave for other hosts. What has not left by then is closed; a worker has as long to end,
    from the same moment on."""
    credentials: float = LAST_ONES
    """After the sessions were closed, for what another host is to have of them."""


PATIENT: Final = Patience()
HASTY: Final = Patience(sends=2.0, webhooks=1.0, answer=2.0, releases=4.0, credentials=1.0)
"""For process 1 of a container: its engine kills all of it 10 s after the request, and a Chromium that is killed may leave
a damaged profile."""


def announce(stop: StopRequest, notifier: SystemdNotifier) -> None:
    """Notify the service manager, and log what becomes of the sessions."""
    doing = "the sessions stay connected" if stop.hands_over else "every session is closed in order"
    notifier.stopping()
    notifier.status(f"stopping: {doing}")
    logger.info("stopping: {}", doing, event="daemon_stopping")


async def stop_sessions(
    stop: StopRequest,
    supervisor: Supervisor,
    restore: RestoreLoop,
    outbox: Outbox,
    webhooks: Webhooks,
    cluster: "Cluster | None",
) -> None:
    """After what the application handles now, for it asks meanwhile whether its session is connected. Where the workers do
    not go on, none is left when it returns, also none that the restore did not come to: the lease is released then."""
    if stop.database_lost:
        # its browsers must not fight with the other daemon's, nor is there anything to write
        await asyncio.gather(outbox.close(0), supervisor.stop(write=False, shipping=0))
        await restore.end()
        return
    patience = HASTY if os.getpid() == 1 else PATIENT
    await asyncio.gather(
        outbox.close(patience.sends),
        webhooks.wind_down(begin=patience.webhooks, answer=patience.answer),
    )
    if stop.decide():
        await (supervisor.leave(cluster.lend_on) if cluster else supervisor.leave())
    else:
        if cluster:
            supervisor.begin_stop()
            clock = asyncio.get_running_loop().time
            until = clock() + patience.releases
            await restore.end_unadopted()  # another host starts a session as soon as it is free
            await cluster.release_all(max(0.0, until - clock()))
        await supervisor.stop(shipping=patience.credentials)
        await restore.end()


async def wait_for_files(*writing: asyncio.Task[Any], within: float = FILES) -> None:
    """Until the run's file says how far the daemon was. A disk that hangs must not keep the lease from being released.
    Raises what a writer raised."""
    written, _ = await asyncio.wait(writing, timeout=within)
    for task in written:
        task.result()


async def deliver_last_events(stop: StopRequest, journal: Journal, webhooks: Webhooks) -> None:
    """What became of the sessions at the end, once the bus is closed and all of it is queued."""
    if not stop.database_lost and await journal.flushed(DRAIN):
        await webhooks.drain_sessions(DRAIN)
