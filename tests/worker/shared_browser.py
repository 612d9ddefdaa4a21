"""One browser for a file of tests, and for each test a page that nobody has used."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.worker.browser_fixtures import LONG, Web, live_processes, reporting, serving
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, Flavour, find_executable, launch
from waguard.worker.browser.devtools import PageSession

__all__ = ["chromium", "page", "reports", "web"]  # pytest finds fixtures by name


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["chromium", pytest.param("headless-shell", marks=pytest.mark.long)],
)
async def chromium(request: pytest.FixtureRequest) -> AsyncIterator[Chromium]:
    """It leaves nothing behind."""
    flavour: Flavour = request.param
    folder = Path(tempfile.mkdtemp(prefix="wg-"))
    spec = ChromiumSpec(
        executable=find_executable(None, flavour),
        flavour=flavour,
        profile=folder / "profile",
        tmpdir=folder / "t",
        sandbox=os.geteuid() != 0,
        marks={"WAGUARD_SESSION": "test"},
    )
    running = await launch(spec, timeout=LONG)
    yield running
    await running.close()
    assert live_processes(spec.profile, spec.tmpdir) == []
    assert not spec.tmpdir.exists()
    shutil.rmtree(folder)


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Chromium) -> AsyncIterator[PageSession]:
    await chromium.devtools.open_blank(timeout=LONG)  # the browser ends with its last page
    opened = await chromium.devtools.open_page(LONG)
    yield opened
    if not opened.ended.is_set():
        await chromium.devtools.close_page(opened, timeout=LONG)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def reports() -> AsyncIterator[list[dict[str, Any]]]:
    with reporting() as reported:
        yield reported


@pytest_asyncio.fixture(loop_scope="module")
async def web() -> AsyncIterator[Web]:
    async with serving() as served:
        yield served
