"""The backfill that runs now, if one does."""

import asyncio

from waguard.wire.calls import CatchUp, Failed, Value
from waguard.worker.messages.backfill import Backfill
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.worker_context import WorkerContext


class RunningBackfill:
    """One at a time."""

    def __init__(self, ctx: WorkerContext) -> None:
        self._ctx = ctx
        self._running: tuple[CatchUp, asyncio.Task[None]] | None = None
        """The last one; None: there was none yet."""

    async def run(self, page: WhatsAppPage, call: CatchUp) -> Value | Failed:
        """A daemon that asks again waits for what is being done. Another one asks for less, but for what is owed."""
        asked, task = self._running or (None, None)
        if task is None or task.done() or asked != call:
            self.end()
            task = asyncio.create_task(self._backfill(page, call), name="backfill")
            self._running = call, task
        await asyncio.wait([task])
        if task.cancelled():
            return Failed(
                kind="not_ready", error="the page is reloaded, or another daemon connects"
            )
        task.result()
        return Value()

    async def _backfill(self, page: WhatsAppPage, call: CatchUp) -> None:
        ctx = self._ctx
        backfill = Backfill(
            ctx.inbound,
            gap=ctx.daemon.event,
            room=ctx.daemon.room,
            people=ctx.people,
            pauses=ctx.timings.backfill_pauses,
            fresh_pause=ctx.timings.fresh_pause,
        )
        await backfill.run(page, call, ctx.spec.left_out)

    def end(self) -> None:
        """Read no more: another page, or another daemon, begins again."""
        if self._running:
            self._running[1].cancel()
