"""A phone is paired on the status page alone: by the QR code that it shows, and by a code that is typed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from tests.desk import LONG, operators_chromium
from tests.e2e.conftest import World
from tests.page.browser import Page
from waguard.lab.standin.phone import PHONE

pytestmark = [pytest.mark.chromium, pytest.mark.e2e, pytest.mark.long]


@dataclass
class Desk:
    """An operator at the status page, with a phone at hand."""

    world: World
    page: Page

    async def create(self, session: str) -> None:
        await self.page.size(1280, 900)
        await self.page.show("#/new", key=self.world.daemon.key)
        await self.page.fill("#new-name", session)
        await self.page.enter("Create and pair")
        await self.page.until("$('.qr img')?.naturalWidth && $('.qr').checkVisibility()", "a code")

    async def ends_connected(self, session: str) -> None:
        await self.page.says("Connected")
        await self.page.says("Nothing is wrong.")
        await self.page.until("!$('.pairing').checkVisibility()", "there is nothing to scan")
        reported: dict[str, Any] = await self.world.daemon.status(session)
        assert (reported["status"], reported["phone_number"]) == ("connected", PHONE)
        assert self.page.errors() == []


@pytest.fixture
async def desk(world: World, short_path: Path) -> AsyncIterator[Desk]:
    await world.daemon.start()
    async with operators_chromium(short_path, world.standin.browser_args) as chromium:
        session = await chromium.devtools.open_page(LONG)
        yield Desk(world, Page(session, world.daemon.base))


async def test_by_the_code_that_is_scanned(desk: Desk, tmp_path: Path) -> None:
    await desk.create("sales")
    await desk.page.picture(tmp_path / "code.png")
    [code] = zxingcpp.read_barcodes(Image.open(tmp_path / "code.png"))
    desk.world.standin.phone.scan(code.text, phone=PHONE)
    await desk.ends_connected("sales")


async def test_by_the_code_that_is_typed(desk: Desk) -> None:
    await desk.create("sales")
    await desk.page.fill("#pair-phone", f"+{PHONE}")
    await desk.page.enter("Get a code to type")
    await desk.page.until("$('.pairing output.code')?.textContent", "a code to type")
    code = await desk.page.value("$('.pairing output.code').textContent")
    desk.world.standin.phone.pair(PHONE, code)
    await desk.ends_connected("sales")
