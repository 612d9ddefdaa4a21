"""An operator's own Chromium, with a virtual authenticator for the account's passkey and a hand that clicks."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from waguard.core.passkey import RP_ID
from waguard.worker.browser.arguments import ChromiumSpec, arguments
from waguard.worker.browser.chromium import Chromium, find_executable
from waguard.worker.browser.devtools import DevTools, DevToolsClosedError, DevToolsError
from waguard.worker.browser.identity import user_agent
from waguard.worker.browser.page import PageSession
from waguard.worker.browser.process import BrowserProcess, version_of

LONG: Final = 60.0  # s; for what works, on a machine that is busy with other things
WHATSAPP: Final = "https://web.whatsapp.com"
Result = TypeVar("Result")
SIGN, CANCEL = "Use my passkey", "Cancel"


async def plug_in(page: PageSession, passkey: Mapping[str, str], **changes: Any) -> None:
    """From now on the page's requests reach a virtual authenticator. ``passkey``: of whatsapp.com, as
    ``Credential.to_json`` makes it."""
    await page.send("WebAuthn.enable", {}, timeout=LONG)
    options = {
        "protocol": "ctap2",
        "ctap2Version": "ctap2_1",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = await page.send(
        "WebAuthn.addVirtualAuthenticator", {"options": options | changes}, timeout=LONG
    )
    credential = {"isResidentCredential": True, "rpId": RP_ID, "signCount": 1, **passkey}
    given = {"authenticatorId": made["authenticatorId"], "credential": credential}
    await page.send("WebAuthn.addCredential", given, timeout=LONG)


async def eventually(ask: Callable[[], Awaitable[Result | None]], what: str) -> Result:
    """Its first value that is true."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONG):
            while not (value := await ask()):
                await asyncio.sleep(0.05)
            return value
    raise AssertionError(f"never: {what}")


async def _document(page: PageSession) -> dict[str, Any]:
    """Closed shadow roots too."""
    found = await page.send("DOM.getDocument", {"depth": -1, "pierce": True}, timeout=LONG)
    root: dict[str, Any] = found["root"]
    return root


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in (*node.get("shadowRoots", []), *node.get("children", [])):
        yield from _below(child)


def _words(node: dict[str, Any]) -> str:
    if node["nodeName"] == "STYLE":
        return ""
    inner = (_words(child) for child in node.get("children", []))
    return node["nodeValue"] or " ".join(filter(None, inner))


async def card(page: PageSession) -> str:
    """What the card says; empty where there is none."""
    for node in _below(await _document(page)):
        if "waguard-passkey" in node.get("attributes", []) and node.get("shadowRoots"):
            return _words(node["shadowRoots"][0])
    return ""


_SHOWN: Final = "new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(() => d(1))))"


async def press(page: PageSession, words: str) -> None:
    """Click the button with these words, as a person's mouse does."""

    async def place() -> tuple[float, float] | None:
        for node in _below(await _document(page)):
            if node["nodeName"] == "BUTTON" and _words(node) == words:
                one = {"backendNodeId": node["backendNodeId"]}
                # it may not be laid out yet, and a tab that was just opened gets another document
                with contextlib.suppress(DevToolsError):
                    # a page that has not shown itself yet takes no clicks
                    await page.evaluate(_SHOWN, timeout=LONG)
                    await page.send("DOM.scrollIntoViewIfNeeded", one, timeout=LONG)
                    box = await page.send("DOM.getBoxModel", one, timeout=LONG)
                    quad = box["model"]["content"]
                    return (quad[0] + quad[4]) / 2, (quad[1] + quad[5]) / 2
        return None

    x, y = await eventually(place, f"a button {words!r}")
    with contextlib.suppress(DevToolsClosedError):  # the click may close the page
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            await page.send("Input.dispatchMouseEvent", event, timeout=LONG)


@contextlib.asynccontextmanager
async def operators_chromium(
    folder: Path, extra: Sequence[str], *, extensions: Sequence[Path] = ()
) -> AsyncIterator[Chromium]:
    """As `launch` starts one, but that it may have extensions."""
    executable = find_executable(None, "chromium")
    switches = (*extra, "--enable-unsafe-extension-debugging")
    spec = ChromiumSpec(
        executable=executable,
        profile=folder / "profile",
        tmpdir=folder / "t",
        extra_args=switches,
        sandbox=os.geteuid() != 0,
    )
    for path in (spec.profile, spec.tmpdir):
        path.mkdir(parents=True, mode=0o700)
    identity = user_agent(await version_of(executable, LONG) or "")
    argv = [it for it in arguments(spec, user_agent=identity.text) if it != "--disable-extensions"]
    process, read, write = BrowserProcess.spawn(argv, marks={}, tmpdir=spec.tmpdir)
    devtools = await DevTools.connect(read, write, identity, timeout=LONG)
    chromium = Chromium(process, devtools, spec)
    try:
        for path in extensions:
            await devtools.send("Extensions.loadUnpacked", {"path": str(path)}, timeout=LONG)
        yield chromium
    finally:
        await chromium.close()


async def signing_tab(chromium: Chromium) -> PageSession:
    """The tab at WhatsApp's origin that somebody opened."""

    async def find() -> dict[str, Any] | None:
        targets = await chromium.devtools.send("Target.getTargets", {}, timeout=LONG)
        pages = [it for it in targets["targetInfos"] if it["type"] == "page"]
        return next((it for it in pages if it["url"].startswith(WHATSAPP)), None)

    found = await eventually(find, "a tab at WhatsApp's origin")
    session = await chromium.devtools.browser._connection.createSession(found)
    return PageSession(session, found["targetId"])
