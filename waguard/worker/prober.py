"""Browser and page are asked each second whether they answer; a page that does not is helped."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from loguru import logger

from waguard.core.replace import replace
from waguard.core.session.probe import PageLiveness, observe, should_end_script
from waguard.host.system.pressure import cpu_is_saturated
from waguard.wire.reports import Heartbeat
from waguard.worker.browser.chromium import Chromium
from waguard.worker.browser.devtools import DevToolsError, EvaluationError
from waguard.worker.page_host import PageHost
from waguard.worker.worker_context import WorkerContext

Ask = Callable[..., Awaitable[object]]


class Prober:
    """``to_reload`` is set where the page answers again after its script was ended."""

    def __init__(
        self, ctx: WorkerContext, chromium: Chromium, host: PageHost, to_reload: asyncio.Event
    ) -> None:
        self._ctx = ctx
        self._chromium = chromium
        self._host = host
        self._to_reload = to_reload

    async def run(self) -> None:
        """Return never. Report each second which layer answers. A slow layer is asked once, not again and
        again, and its late answer counts: on a busy host a page may need more than a heartbeat."""
        asked: dict[str, asyncio.Task[float | None]] = {}
        began = time.monotonic()
        liveness = PageLiveness(heard_at=began, sampled_at=began)
        layers: dict[str, Ask] = {
            "devtools": self._chromium.devtools.version,
            "page": self._ping_page,
        }
        heartbeat, deadline = self._ctx.spec.heartbeat, self._ctx.timings.probe
        unrecoverable = False
        try:
            while True:
                for name, ask in layers.items():
                    if name not in asked:
                        asked[name] = asyncio.create_task(
                            _round_trip(ask, deadline), name=f"probe {name}"
                        )
                began = time.monotonic()
                await asyncio.wait(asked.values(), timeout=heartbeat)
                reported = {name: asked.pop(name).result() for name in layers if asked[name].done()}
                self._ctx.daemon.heartbeat(
                    Heartbeat(
                        devtools=reported.get("devtools"),
                        page=reported.get("page"),
                        hopeless=unrecoverable,
                    )
                )
                liveness = self._observe(liveness, answered=reported.get("page") is not None)
                stopped = self._stopped_member(liveness)
                if stopped is None and self._is_caught(liveness, reported.get("devtools")):
                    await self._end_script(liveness.silent)
                    liveness = replace(liveness, helped=True)
                unrecoverable = liveness.helped or stopped is not None
                self._ctx.reporter.report()
                await asyncio.sleep(max(0.0, heartbeat - (time.monotonic() - began)))
        finally:
            for task in asked.values():
                task.cancel()

    def _observe(self, before: PageLiveness, *, answered: bool) -> PageLiveness:
        if answered and before.helped:
            logger.debug("the page answers again")
            self._to_reload.set()
        return observe(before, now=time.monotonic(), answered=answered)

    def _stopped_member(self, liveness: PageLiveness) -> str | None:
        """Evidence for the daemon of why the page does not answer."""
        found = None
        if liveness.silent > self._ctx.timings.evidence_after:
            found = self._chromium.stopped_member()
        self._ctx.reporter.browser_stopped(found)
        return found

    def _is_caught(self, liveness: PageLiveness, devtools: float | None) -> bool:
        """Whether the script that the page runs is to be ended."""
        return self._ctx.reporter.phase == "ready" and should_end_script(
            liveness, devtools=devtools, cpu_saturated=cpu_is_saturated()
        )

    async def _end_script(self, seconds: float) -> None:
        logger.warning(
            "the page does not answer; its script is terminated",
            event="script_ended",
            silent=seconds,
        )
        self._ctx.reporter.script_ended()
        end = self._host.session.terminate_execution
        await _round_trip(end, self._ctx.timings.end_script)

    async def _ping_page(self, *, timeout: float) -> None:
        await self._host.session.ping(timeout=timeout)


async def _round_trip(ask: Ask, timeout: float) -> float | None:
    """Seconds until the layer answered; None: not before its deadline."""
    began = time.monotonic()
    try:
        await ask(timeout=timeout)
    except (DevToolsError, EvaluationError):
        return None
    return time.monotonic() - began
