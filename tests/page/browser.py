"""What a person does with the status page in a real browser, and sees."""

import asyncio
import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from tests.api.conftest import KEY
from tests.worker.browser_fixtures import LONG
from waguard.worker.browser.devtools import DevToolsError, PageSession

WIDE: Final = (1280, 800)
PHONE: Final = (390, 844)
AXE: Final = Path(__file__).parent / "axe/node_modules/axe-core/axe.min.js"
REFUSED: Final = "status of 401"
"""What the console has of a key that is refused, which is meant to be."""


@dataclass
class Page:
    """One tab. In its expressions ``$`` finds the first element of a selector, ``$$`` all of them."""

    session: PageSession
    base: str
    expected: Sequence[str] = ()
    """Parts of lines of the console that are no error in this test."""
    _reported: list[dict[str, Any]] = field(default_factory=list)

    async def open(self, fragment: str = "", *, key: str | None = None) -> None:
        """Load the page; with a key it is logged in already."""
        self.session.on("Runtime.exceptionThrown", self._reported.append)
        self.session.on("Log.entryAdded", self._reported.append)
        await self.session.send("Log.enable", timeout=LONG)
        # a tab in the background draws nothing
        await self.session.send("Page.bringToFront", timeout=LONG)
        if key is not None:
            await self.before(
                f"sessionStorage.getItem('waguard-key') ?? sessionStorage.setItem('waguard-key', {json.dumps(key)})"
            )
        await self.session.navigate(f"{self.base}/{fragment}", timeout=LONG)

    async def before(self, source: str) -> None:
        """Run a script in each document, before those of the page."""
        await self.session.send(
            "Page.addScriptToEvaluateOnNewDocument", {"source": source}, timeout=LONG
        )

    async def answers(self, path: str, answer: str) -> None:
        """What a call of a path that contains ``path`` gives in the page, from its next document on: an expression, with
        ``real()`` for the daemon's answer, and the call's ``method`` and ``signal``."""
        await self.before(
            f"{{ const before = fetch; window.fetch = async (path, given) => {{ const real = () => before(path, given);"
            f" const {{ method, signal }} = given; return path.includes({json.dumps(path)}) ? ({answer}) : real(); }}; }}"
        )

    def errors(self) -> list[str]:
        """What the console has beside advice and what is expected."""
        expected = (*self.expected, '"source": "recommendation"')
        lines = [json.dumps(entry) for entry in self._reported]
        return [line for line in lines if not any(part in line for part in expected)]

    async def value(self, expression: str) -> Any:
        ways = "const $ = (it) => document.querySelector(it); const $$ = (it) => [...document.querySelectorAll(it)];"
        return await self.session.evaluate(
            f"(async () => {{ {ways} return ({expression}); }})()", timeout=LONG
        )

    async def text(self) -> str:
        return str(await self.value("document.body.innerText"))

    async def until(self, condition: str, what: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONG):
                # a part that is not drawn yet is null
                seen = f"await (async () => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"
                while not await self._is_so(seen):
                    await asyncio.sleep(0.02)
                return
        pytest.fail(f"never: {what}; the page says:\n{await self.text()}\n{self.errors()}")

    async def _is_so(self, seen: str) -> bool:
        try:
            return bool(await self.value(seen))
        except DevToolsError as error:
            if "navigated" not in str(error):
                raise
            return False  # of a document that another one just replaces nothing is known

    async def says(self, words: str) -> None:
        """Wait for words that can be seen."""
        await self.until(f"document.body.innerText.includes({json.dumps(words)})", words)

    async def press(self, words: str) -> None:
        """Click the button or link of that text, or of that name, as soon as it is there."""
        found = (
            f"$$('button, a').find((it) => [it.textContent, it.ariaLabel].includes({json.dumps(words)})"
            " && it.checkVisibility() && it.ariaBusy !== 'true')"
        )
        await self.until(found, f"a button {words!r}")
        await self.value(f"{found}.click()")

    async def key(self, name: str, text: str = "") -> None:
        """Press a key where the focus is."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "/": 191}
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            await self.session.send(
                "Input.dispatchKeyEvent",
                {"type": kind, "key": name, "windowsVirtualKeyCode": codes.get(name, 0)} | more,
                timeout=LONG,
            )

    async def write(self, text: str) -> None:
        """Type a text where the focus is."""
        await self.session.send("Input.insertText", {"text": text}, timeout=LONG)

    async def log_in(self, key: str) -> None:
        await self.until("$('#login')", "it asks for the key")
        await self.value(f"($('#key').value = {json.dumps(key)}, $('#login').requestSubmit())")

    async def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        await self.session.send("Emulation.setEmulatedMedia", {"features": features}, timeout=LONG)

    async def size(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        await self.session.send("Emulation.setDeviceMetricsOverride", size, timeout=LONG)

    async def offline(self, *, away: bool) -> None:
        """Cut the browser off from the network, or no longer."""
        conditions = {
            "offline": away,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": -1,
        }
        await self.session.send("Network.enable", timeout=LONG)
        await self.session.send("Network.emulateNetworkConditions", conditions, timeout=LONG)

    async def picture(self, path: Path) -> None:
        content = await self.session.screenshot(LONG)
        Image.open(io.BytesIO(content)).save(path)

    async def show(self, fragment: str, key: str = KEY) -> None:
        """Open a view, logged in, and wait until the sessions are known."""
        await self.open(fragment, key=key)
        await self.until("document.body.dataset.phase === 'live'", "the sessions are there")

    async def enter(self, words: str, within: str = "body") -> None:
        """Bring the keyboard to the button or link with these words, and press Enter."""
        found = self._control(words, within)
        await self.until(found, f"a button {words!r} in {within}")
        await self.value(f"{found}.focus()")
        await self.key("Enter", "\r")

    async def has(self, words: str) -> bool:
        """Whether there is such a button or link."""
        return bool(await self.value(f"Boolean({self._control(words, 'body')})"))

    @staticmethod
    def _control(words: str, within: str) -> str:
        selector = ", ".join(f"{within} {it}" for it in ("button", "a", "summary"))
        return (
            f"$$({json.dumps(selector)}).find((it) => it.textContent.trim() === {json.dumps(words)}"
            " && it.checkVisibility() && it.ariaBusy !== 'true')"
        )

    async def fill(self, selector: str, text: str) -> None:
        """Type into a field, in place of what it has."""
        field = f"$({json.dumps(selector)})"
        await self.until(field, selector)
        await self.value(f"({field}.focus(), {field}.select())")
        await self.write(text)

    async def choose(self, selector: str, value: str) -> None:
        """Take another option of a list."""
        await self.value(
            f"((it) => {{ it.value = {json.dumps(value)}; it.dispatchEvent(new Event('change')); }})"
            f"($({json.dumps(selector)}))"
        )

    async def confirm(self, name: str) -> None:
        """Type the name that the dialog asks for, and Enter."""
        await self.fill("#confirm-name", name)
        await self.key("Enter", "\r")

    async def overflow(self) -> int:
        """Pixels that are to be scrolled to the side."""
        root = "document.documentElement"
        return int(await self.value(f"{root}.scrollWidth - {root}.clientWidth"))

    async def axe(self) -> list[str]:
        """What axe finds: rule, element, why."""
        assert AXE.is_file(), f"{AXE} is missing: `make axe` installs it"
        await self.session.evaluate(f"{AXE.read_text()};0", timeout=LONG)
        found = await self.value(
            "(await axe.run(document)).violations.flatMap((one) => one.nodes.map((node) =>"
            " `${one.id}: ${node.html.slice(0, 120)} ${node.any[0]?.message ?? ''}`))"
        )
        return [str(it) for it in found]

    async def order(self) -> tuple[list[str], list[str]]:
        """What Tab reaches, and what it should: every link, button and field that is seen."""
        name = "((it) => `${it.tagName} ${it.id || it.textContent.trim().slice(0, 40)}`)"
        wanted = await self.value(
            "$$('a[href], button, input, select, summary, [tabindex=\"0\"]')"
            f".filter((it) => it.checkVisibility()).map({name})"
        )
        await self.value("$('.skip').focus()")
        reached = wanted[:1]
        for _ in wanted[1:]:
            await self.key("Tab")
            reached.append(await self.value(f"{name}(document.activeElement)"))
        return reached, wanted
