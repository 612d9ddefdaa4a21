"""What the daemon asks of a linking by passkey, done by the hook that holds the page's request (``passkey.js``).

Nothing of a request or an answer is kept or logged here.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

from waguard.core import passkey_link
from waguard.core.passkey_link import PasskeyStage
from waguard.wire.calls import (
    Failed,
    PasskeyAnswer,
    PasskeyCall,
    PasskeyCancel,
    PasskeyConfirm,
    PasskeyRequest,
    PasskeyStart,
    Value,
)
from waguard.worker.browser.devtools import PageSession
from waguard.worker.page.link_watch import LinkWatch
from waguard.worker.page.values import word

HOOK: Final = (Path(__file__).parent / "passkey.js").read_text()
OPTIONS_LIMIT: Final = 8_192  # characters of JSON
LEFT_LIMIT: Final = 600.0  # s
_REFUSED: Final = {
    "no_prompt": "the page does not show the prompt for a passkey",
    "no_request": "the page did not ask for the passkey after the click on Continue",
    "other_request": "the page asks for something else than a passkey of WhatsApp's",
}


class PasskeyCalls:
    """Does one call after the other: who starts while another starts finds the request held."""

    def __init__(self, watch: LinkWatch, *, timeout: float) -> None:
        self._watch = watch
        self._timeout = timeout
        self._one = asyncio.Lock()

    async def perform(self, session: PageSession, call: PasskeyCall) -> Value | Failed:
        """``Value.flag``: whether the page still waited for it. Raises ``WaguardError`` where the page cannot be
        asked."""
        async with self._one:
            return await self._perform(session, call)

    async def _perform(self, session: PageSession, call: PasskeyCall) -> Value | Failed:
        link, timeout = self._watch.passkey, self._timeout
        match call:
            case PasskeyStart():
                again = link is None or link.stage is not PasskeyStage.ASKED
                most = passkey_link.left(link, LEFT_LIMIT, now=time.time())
                return _request(await _ask(session, "start", again, most, timeout=timeout))
            case PasskeyAnswer(request=request, assertion=assertion):
                done = await _ask(session, "answer", request, assertion, timeout=timeout)
            case PasskeyConfirm(code=code):
                shows = link and link.stage is PasskeyStage.CONFIRM and link.code == code
                done = shows and await _ask(session, "confirm", code, timeout=timeout)
            case PasskeyCancel(request=request):
                done = await _ask(session, "cancel", request, timeout=timeout)
        return Value(flag=done is True)


async def _ask(session: PageSession, name: str, *arguments: Any, timeout: float) -> Any:
    listed = ", ".join(map(json.dumps, arguments))
    return await session.evaluate(f"window.__waguardPasskey?.{name}({listed})", timeout=timeout)


def _request(reported: Any) -> Value | Failed:
    """The request that is held, as the page says it."""
    reported = reported if isinstance(reported, dict) else {}
    name, left = word(reported.get("request")), reported.get("left")
    options = json.dumps(reported.get("options"))
    if name and isinstance(left, int | float) and len(options) <= OPTIONS_LIMIT:
        left = min(max(0.0, left), LEFT_LIMIT)
        return Value(passkey=PasskeyRequest(request=name, options=options, left=left))
    refused = _REFUSED.get(word(reported.get("refused")) or "", "the page cannot be asked for it")
    return Failed(kind="no_passkey", error=refused)
