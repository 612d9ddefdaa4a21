"""A person's own Chrome for one passkey: a window with a throw-away profile, driven through a pipe, at a path of
https://web.whatsapp.com that runs no script. The card that asks is in a world of its own."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from waguard.cli.context import Desk
from waguard.errors import WaguardError
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, find_executable, launch
from waguard.worker.browser.errors import DevToolsError, DevToolsTimeoutError, NavigationError
from waguard.worker.browser.page import PageSession

PLACE: Final = "https://web.whatsapp.com/robots.txt"
CARD: Final = (Path(__file__).parent / "passkey_card.js").read_text()
LAUNCH: Final = 60.0  # s
REACH: Final = 30.0  # s


class NotSignedError(WaguardError):
    """No passkey signed. Says why, and nothing of what would have been signed."""


class DeclinedToSignError(NotSignedError):
    """The person refused on the card."""


class Window:
    """The window at WhatsApp's origin."""

    def __init__(self, chromium: Chromium, page: PageSession) -> None:
        self._chromium = chromium
        self._page = page

    async def ask(self, options: Any, *, origin: str, session: str, within: float) -> Any:
        """What the person's passkey signed. ``origin``: who asks, as the card says; ``within``: seconds.

        Raises ``NotSignedError``."""
        tree = await self._page.send("Page.getFrameTree", timeout=REACH)
        frame = {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "waguard"}
        world = await self._page.send("Page.createIsolatedWorld", frame, timeout=REACH)
        given = json.dumps({"options": options, "from": origin, "session": session})
        expression = f"{CARD}\nwaguardCard({given})"
        try:
            result = await self._page.send(
                "Runtime.evaluate",
                {
                    "expression": expression,
                    "contextId": world["executionContextId"],
                    "awaitPromise": True,
                    "returnByValue": True,
                },
                timeout=within,
            )
        except DevToolsTimeoutError:
            why = self._ended(f"nobody used a passkey within {within:.0f} s")
            raise NotSignedError(why, remedy=_AGAIN) from None
        except DevToolsError:
            why = self._ended("the card's page was left")
            raise NotSignedError(why, remedy=_AGAIN) from None
        answer = result["result"].get("value") or {}
        if "assertion" not in answer:
            why = answer.get("error", "the card could not be shown")
            kind = DeclinedToSignError if why == "cancelled" else NotSignedError
            raise kind(f"nothing was signed: {why}", remedy=_AGAIN)
        return answer["assertion"]

    def _ended(self, why: str) -> str:
        gone = self._chromium.exited.done() or self._page.ended.is_set()
        return f"nothing was signed: {'the window was closed' if gone else why}"


_AGAIN: Final = "run the command again when the owner of the passkey is here"


@contextlib.asynccontextmanager
async def window(executable: str | None, desk: Desk) -> AsyncIterator[Window]:
    """Chrome, open where it can sign; nothing of it is left afterwards. ``executable``: None finds an installed one.

    Raises ``WaguardError``."""
    _require_desk(desk)
    found = find_executable(executable, "chromium")
    with tempfile.TemporaryDirectory(prefix="waguard-", ignore_cleanup_errors=True) as folder:
        spec = ChromiumSpec(
            executable=found,
            profile=Path(folder, "profile"),
            tmpdir=Path(folder, "t"),
            extra_args=desk.arguments,
            visible=desk.visible,
            sandbox=desk.sandbox,
        )
        chromium = await launch(spec, timeout=LAUNCH)
        try:
            page = await chromium.devtools.open_page(LAUNCH)
            try:
                await page.navigate(PLACE, timeout=REACH)
            except NavigationError as error:
                raise NotSignedError(
                    f"Chrome does not reach {PLACE}: {error}",
                    remedy="see whether web.whatsapp.com can be opened on this machine",
                ) from None
            if desk.opened:
                await desk.opened(chromium, page)
            yield Window(chromium, page)
        finally:
            await asyncio.shield(chromium.close())


def _require_desk(desk: Desk) -> None:
    if desk.sandbox and os.geteuid() == 0:
        raise NotSignedError(
            "as root Chrome has no sandbox", remedy="run this command as the user of the desktop"
        )
    if desk.visible and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NotSignedError(
            "there is no display here, and a passkey is where a person is",
            remedy="run this command on your own desk: --daemon and --key-file lead to this daemon,"
            " through an SSH tunnel too; or use the status page with the extension (docs/passkey.md)",
        )
