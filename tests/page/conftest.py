"""One browser for each file of tests, and for each test an API on scripted sessions and a tab."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.conftest import Api, serving
from tests.page.browser import Page
from tests.worker.browser_fixtures import LONG
from waguard.api.timings import Limits, Timings
from waguard.messaging.timings import BOUNDS
from waguard.worker.browser.chromium import Chromium, ChromiumSpec, Flavour, find_executable, launch


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    # a page is the same in both, and a tab without a window around it takes a third less
    params=["headless-shell", pytest.param("chromium", marks=pytest.mark.long)],
)
async def chromium(request: pytest.FixtureRequest) -> AsyncIterator[Chromium]:
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
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="module")
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, Timings(), Limits(), BOUNDS) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def shown(api: Api, chromium: Chromium) -> AsyncIterator[Page]:
    """A tab that has loaded nothing yet; at its end its console has no error."""
    await chromium.devtools.open_blank(timeout=LONG)  # the browser ends with its last page
    session = await chromium.devtools.open_page(LONG)
    page = Page(session, api.base)
    yield page
    found = page.errors()
    await chromium.devtools.close_page(session)
    assert found == []
