"""Every view at both widths and in both themes: what axe finds, what overflows, what the keyboard reaches."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.api.conftest import Api
from tests.api.test_webhooks import LID
from tests.page import scene
from tests.page.browser import PHONE, WIDE, Page
from tests.worker.browser_fixtures import LONG

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

VIEWS: Final = {
    "fleet": ("#/", "shop_bandung"),
    "why": (f"#/session/{scene.REAL}", "Nothing is wrong."),
    "parked": (f"#/session/{scene.PARKED}", "WhatsApp blocks this session"),
    "scan": (f"#/session/{scene.SCAN}", "comes by itself"),
    "passkey": (f"#/session/{scene.KEYED}", "Start when its owner is here"),
    "timeline": (f"#/session/{scene.PARKED}/timeline", "parked"),
    "messages": (f"#/session/{scene.REAL}/messages", "uncertain"),
    "webhook": (f"#/session/{scene.REAL}/webhook", "none of its own"),
    "picture": (f"#/session/{scene.REAL}/picture", "Take a picture"),
    "queues": ("#/queues", LID),
    "versions": ("#/versions", "held back"),
    "new": ("#/new", "Workspace"),
    "missing": ("#/session/nobody", "There is no such session"),
}
SCHEMES: Final = ("light", "dark")
CHEAP: Final = (PHONE, "dark")


@pytest.mark.timeout(900)  # s; axe reads each of them
@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        pytest.param(size, scheme, marks=() if (size, scheme) == CHEAP else pytest.mark.long)
        for size in (WIDE, PHONE)
        for scheme in SCHEMES
    ],
)
async def test_every_view_can_be_read_and_reached(
    api: Api, shown: Page, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    scene.fleet(api, odd=True)
    await scene.past(api, odd=True)
    await shown.size(*size)
    await shown.scheme(scheme)
    found = []
    for name, (fragment, words) in VIEWS.items():
        await view(shown, fragment, words)
        await shown.picture(tmp_path / f"{name}.png")
        found += [f"{name}: {it}" for it in await shown.axe()]
        if overflow := await shown.overflow():
            found.append(f"{name}: {overflow} px are to be scrolled to the side")
        reached, wanted = await shown.order()
        found += [f"{name}: Tab does not reach {it}" for it in wanted if it not in reached]
    assert not found, "\n".join(found)


async def view(shown: Page, fragment: str, words: str) -> None:
    """Another view of the page, which is loaded once."""
    if await shown.value("document.body?.dataset.phase") != "live":
        await shown.show(fragment)
    else:
        await shown.value(f"(location.hash = {fragment!r}, 0)")
    await shown.says(words)


async def test_a_dialog_can_be_read_and_closed_by_escape(api: Api, shown: Page) -> None:
    scene.fleet(api)
    await shown.size(*PHONE)
    await shown.show(f"#/session/{scene.REAL}")
    await shown.enter("Log out")
    await shown.says("a phone has to scan a new code")
    assert await shown.axe() == []
    assert await shown.overflow() == 0
    await shown.key("Escape")
    await shown.until("!$('dialog')", "it is closed")
    assert api.sessions.begun == []


PICTURES: Final = {
    "fleet-light": ("fleet", WIDE, "light"),
    "fleet-dark": ("fleet", WIDE, "dark"),
    "scan": ("scan", WIDE, "light"),
    "phone": ("fleet", PHONE, "dark"),
}


@pytest.mark.long
async def test_pictures_for_the_documents(api: Api, shown: Page, tmp_path: Path) -> None:
    """``make screenshots`` keeps them in docs/page."""
    folder = Path(os.environ.get("WAGUARD_PICTURES", tmp_path))
    folder.mkdir(exist_ok=True)
    scene.fleet(api)
    await scene.past(api)
    await shown.session.send("Emulation.setScrollbarsHidden", {"hidden": True}, timeout=LONG)
    for name, (which, size, scheme) in PICTURES.items():
        await shown.size(*size)
        await shown.scheme(scheme)
        await view(shown, *VIEWS[which])
        await shown.until("[...document.images].every((it) => it.complete)", "images are there")
        await shown.picture(folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size < 300_000, "it is part of each clone"
