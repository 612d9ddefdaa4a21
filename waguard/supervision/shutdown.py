"""Stop a worker: ask, wait, insist."""

import asyncio

from waguard.ports import Process


async def stop(process: Process, *, grace: float) -> int | None:
    """Terminate ``process``; kill its group when it has not exited after ``grace`` seconds."""
    process.terminate()
    try:
        async with asyncio.timeout(grace):
            return await process.wait()
    except TimeoutError:
        process.kill()
    return await process.wait()
