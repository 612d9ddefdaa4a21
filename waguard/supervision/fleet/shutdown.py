"""Stop a worker: ask, wait, insist."""

from waguard.host.patience import patience
from waguard.ports.process import Process


async def stop(process: Process, *, grace: float) -> int | None:
    """Terminate ``process``; kill its group when it has not exited after ``grace`` seconds."""
    process.terminate()
    try:
        async with patience(grace):
            return await process.wait()
    except TimeoutError:
        process.kill()
    return await process.wait()
