"""wa-js is injected into a page, until it is ready and finds there what waguard uses of it.

wa-js injected while only some of the page's modules exist says *injected* and never *ready*. So: wait until the
core modules exist (or a deadline), evaluate wa-js and the hook; not ready after a while → evaluate again, which
recovers it.

*Ready* proves little, too: a module may be registered long before it can be had, and wa-js keeps in
mind what it did not find until another one is registered (wa-js#3640). So what waguard uses is resolved
before the page is called ready, and a fresh wa-js looks for what is missing.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from loguru import logger

from waguard.worker.browser.devtools import PageSession
from waguard.worker.page import page_answers, wajs
from waguard.worker.page.page_answers import Unresolved
from waguard.worker.page.page_errors import NAMED_AT_MOST, ExportsMissingError, PageNotReadyError
from waguard.worker.timings import LoadTimings

HOOK: Final = (Path(__file__).parent / "page.js").read_text()
INJECTIONS: Final = 2

_POLL_INTERVAL: Final = 20  # ms, inside the page
_WAIT: Final = """new Promise((done) => {
  const end = Date.now() + %d;
  const look = () => (%s) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, %d);
  look();
})"""
_MODULES: Final = """(() => { try {
  const ids = Object.keys(require('__debug').modulesMap);
  return ['Socket', 'Stream', 'Conn', 'Cmd', 'Msg'].every((word) => ids.some((id) => id.includes(word)));
} catch { return false; } })()"""


class Injection:
    """Injects wa-js into one page. ``report`` is called with "settling" at each injection."""

    def __init__(
        self,
        session: PageSession,
        *,
        bundle: str,
        report: Callable[[str, Any], None],
        timings: LoadTimings,
    ) -> None:
        self._session = session
        self._bundle = bundle
        self._report = report
        self._timings = timings
        self.digest = wajs.digest(bundle)
        """SHA-256 of what is injected."""
        self.missing: tuple[str, ...] = ()
        """What wa-js did not find in the page that is there."""

    async def make_usable(self, url: str) -> None:
        """Inject until wa-js is ready, and has what waguard uses of it. Raises ``PageNotReadyError``."""
        await self._wait(_MODULES, self._timings.modules)
        self.missing = ()
        end = time.monotonic() + self._timings.resolve
        for injection in itertools.count(1):
            is_ready, missing = await self._inject()
            self.missing = missing.all
            if is_ready and not missing.needed and (not missing.further or injection > INJECTIONS):
                if missing.further:
                    logger.warning(
                        "wa-js lacks some exports",
                        event="wajs_exports_missing",
                        names=", ".join(missing.further),
                    )
                return
            logger.warning(
                "wa-js injected but not usable",
                event="wajs_unusable",
                injection=injection,
                ready=is_ready,
                missing=", ".join([*missing.needed, *missing.further][:NAMED_AT_MOST]),
            )
            if injection >= INJECTIONS and (not is_ready or time.monotonic() > end):
                if missing.needed:
                    raise ExportsMissingError(missing.needed)
                raise PageNotReadyError(f"wa-js did not become ready on {url}")
            pauses = self._timings.injection_pauses
            await asyncio.sleep(pauses[min(injection, len(pauses)) - 1])

    async def _inject(self) -> tuple[bool, Unresolved]:
        """Once: whether wa-js is ready, and what it does not find."""
        await self._evaluate(self._bundle)
        await self._evaluate(HOOK)
        self._report("settling", None)
        is_ready = await self._wait("window.WPP && window.WPP.isReady", self._timings.ready)
        if is_ready:
            # again: only a ready wa-js has every part that the hook needs
            await self._evaluate(HOOK)
        reported = await self._evaluate("window.__waguard ? window.__waguard.unresolved() : null")
        return is_ready, page_answers.unresolved(reported)

    async def _evaluate(self, script: str) -> Any:
        return await self._session.evaluate(script, timeout=self._timings.script)

    async def _wait(self, condition: str, deadline: float) -> bool:
        expression = _WAIT % (deadline * 1000, condition, _POLL_INTERVAL)
        timeout = deadline + self._timings.script
        return bool(await self._session.evaluate(expression, timeout=timeout))
