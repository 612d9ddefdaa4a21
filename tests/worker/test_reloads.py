"""A running worker whose page is loaded again: whatever comes of that, it is no reason to end."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.running_worker import RunningWorker, worker  # noqa: F401  # a fixture
from waguard.core.link import Link
from waguard.lab.standin.server import RETRY_AFTER
from waguard.profile import owner_mark
from waguard.worker import page_host
from waguard.worker.browser.devtools import ElsewhereError
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.page_answers import Reading
from waguard.worker.page.page_loader import PageLoader

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]


@pytest.fixture
def error_pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read in the place of WhatsApp's page."""
    shown: list[str] = []
    read = WhatsAppPage.read

    async def recorded(page: WhatsAppPage, *, timeout: float) -> Reading:
        try:
            return await read(page, timeout=timeout)
        except ElsewhereError as error:
            shown.append(error.text)
            raise

    monkeypatch.setattr(WhatsAppPage, "read", recorded)
    return shown


async def test_a_reload_while_there_is_no_way_to_the_page_is_waited_for(
    worker: RunningWorker,  # noqa: F811  # a fixture
    error_pages: list[str],
) -> None:
    """Chromium shows a page of its own meanwhile, and it is read at each heartbeat."""
    worker.standin.policy.page = "away"
    await worker.reload()
    await worker.until(lambda: len(error_pages) > 1, "Chromium's own page is read")
    assert set(error_pages) == {"null"}
    await worker.shows(Link.OFFLINE)
    assert worker.watch.details == f"cannot open {worker.spec.url}: net::ERR_EMPTY_RESPONSE"
    worker.standin.policy.page = "ok"
    await worker.shows_a_code()


async def test_a_page_that_reloads_itself_and_finds_no_way_is_loaded_again(
    worker: RunningWorker,  # noqa: F811  # a fixture
) -> None:
    worker.standin.policy.page = "away"
    worker.session.post("Runtime.evaluate", {"expression": "location.reload()"})
    await worker.shows(Link.OFFLINE)
    assert worker.watch.details == f"cannot open {worker.spec.url}: net::ERR_EMPTY_RESPONSE"
    worker.standin.policy.page = "ok"
    await worker.shows_a_code()


async def test_a_refusal_without_a_body_is_one(
    worker: RunningWorker,  # noqa: F811  # a fixture
    error_pages: list[str],
) -> None:
    """WhatsApp says how long it is to be left alone."""
    worker.standin.policy.page = "too_often_empty"
    await worker.reload()
    await worker.shows(Link.OFFLINE)
    assert (worker.watch.refused, worker.watch.retry_after) == (True, RETRY_AFTER)
    error_pages.clear()
    await worker.until(lambda: len(error_pages) > 1, "Chromium's own page is read")
    assert worker.watch.refusals == 1
    worker.standin.policy.page = "ok"
    await worker.reload()
    await worker.shows_a_code()


@pytest.mark.parametrize("step", ["flush_storage", "first_page"])
async def test_a_reload_while_new_credentials_are_written_is_answered_by_the_page_that_comes(
    worker: RunningWorker,  # noqa: F811  # a fixture
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """The page that is there is closed for that, and loads no more."""
    loads: list[PageLoader] = []
    load, done = PageLoader.load, getattr(page_host, step)

    async def recorded(loader: PageLoader) -> None:
        loads.append(loader)
        await load(loader)

    async def and_asked(*arguments: Any) -> Any:
        made = await done(*arguments)
        await worker.reload()
        return made

    monkeypatch.setattr(PageLoader, "load", recorded)
    monkeypatch.setattr(page_host, step, and_asked)
    worker.standin.phone.scan(await worker.shows_a_code(), phone="6281180001")
    await worker.shows(Link.CONNECTED)
    assert owner_mark.paired_at(Path(worker.spec.profile))
    assert len(loads) == 1
