"""What comes while older messages are read back waits for them, however long that takes."""

import asyncio
from pathlib import Path
from typing import cast

from tests.host.processes import worker_spec
from waguard.wire.protocol import CatchUp
from waguard.worker.main import SessionWorker
from waguard.worker.page import WhatsAppPage


class Page:
    """Takes longer than the worker waits for a daemon that asks for nothing."""

    def __init__(self, worker: SessionWorker) -> None:
        self._worker = worker
        self.held: dict[str, object] | None = None

    async def missed(self, since: dict[str, int], floor: int, left_out: tuple[str, ...]) -> int:
        due = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.call_later(0, due.set)
        await due.wait()
        self.held = cast("dict[str, object] | None", self._worker._inbound._held)
        return 0


async def test_the_wait_for_the_daemon_does_not_end_in_the_middle_of_it(tmp_path: Path) -> None:
    worker = SessionWorker(worker_spec(tmp_path))
    worker._inbound.hold()
    worker._release = asyncio.get_running_loop().call_later(0, worker._inbound.release)
    page = Page(worker)
    await worker._catch_up(cast("WhatsAppPage", page), CatchUp(since={}, floor=0))
    assert page.held is not None
    assert worker._inbound._held is None
