"""End everything of an earlier incarnation on this host: nothing that another host may run now is left here."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from waguard.errors import UnavailableError
from waguard.host.process.children import read_records
from waguard.ports.process import Process, Spawn

ENDS_WITHIN: Final = 10.0  # s after SIGKILL; longer takes only who waits for a disk


async def end_all(
    spawn: Spawn,
    started: Iterable[Process],
    *,
    runtime: Path,
    sessions: Path,
    within: float = ENDS_WITHIN,
) -> None:
    """Return when none of it runs. ``started``: workers of this daemon, which a sweep leaves alone. ``within``: seconds
    after SIGKILL. Raises ``UnavailableError``, and can then be repeated."""
    records = runtime / "workers"
    processes = list(started)
    for process in processes:
        process.kill()
    for _, record in read_records(records):
        if left := spawn.adopt(record):
            left.kill()
            processes.append(left)
    ends = [asyncio.ensure_future(process.wait()) for process in processes]
    if ends:
        _, pending = await asyncio.wait(ends, timeout=within)
        for end in pending:
            end.cancel()
        if pending:
            pids = ", ".join(str(it.pid) for it in processes)
            raise UnavailableError(f"{len(pending)} of the workers {pids} do not end")
    await spawn.sweep(records=str(records), profiles=str(sessions))
