"""Stop a worker: ask, wait, insist."""

import asyncio
import contextlib

from waguard.host.patience import patience
from waguard.ports.process import Process


async def stop(process: Process, *, grace: float) -> int | None:
    """Terminate ``process``; kill its group when it has not exited after ``grace`` seconds, or stands still: a
    stopped process hears nothing."""
    process.terminate()
    ended = asyncio.create_task(process.wait())
    standstill = asyncio.create_task(process.stopped())
    try:
        with contextlib.suppress(TimeoutError):
            async with patience(grace):
                await asyncio.wait((ended, standstill), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.kill()
        return await ended
    finally:
        ended.cancel()
        standstill.cancel()
