"""WhatsApp, or the way to it, does not serve its page: that is said as it is, and at once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import asdict

from tests.waiting import wait_until
from tests.worker.browser_session import BrowserSession
from waguard.core.session.page_load import PORTAL
from waguard.lab.standin import Policy, StandIn
from waguard.worker.page.page_errors import PageNotReadyError, PageUnreachableError
from waguard.worker.timings import TIMINGS, LoadTimings

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]

SCRIPTS = "WhatsApp's scripts"
NEVER = 3_600.0  # s
PATIENT = LoadTimings(navigation=NEVER, modules=NEVER, ready=NEVER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[BrowserSession]:
    """Not linked."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=Policy()) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            yield made
            standin.policy.page = "ok"
            await made.close()


@pytest.fixture
def browser(shared: BrowserSession) -> BrowserSession:
    """It has reported nothing, and WhatsApp serves what is asked for."""
    shared.standin.policy.update(asdict(Policy()))
    shared.reports.clear()
    return shared


@pytest.mark.parametrize(
    ("page", "words", "retry_after"),
    [
        ("error", "WhatsApp answers with HTTP status 500", None),
        ("too_often", "WhatsApp answers with HTTP status 429", 120.0),
        # Chromium shows a page of its own then
        ("too_often_empty", "WhatsApp answers with HTTP status 429", 120.0),
        ("hang", "WhatsApp does not answer: no page arrives", None),
        ("silent", f"{SCRIPTS} are not served (", None),
    ],
)
async def test_a_page_that_is_refused_says_whose_fault_it_is(
    browser: BrowserSession, page: str, words: str, retry_after: float | None
) -> None:
    # some answer, however long a busy machine takes for that
    navigation = 3.0 if page in {"hang", "silent"} else TIMINGS.load.navigation
    browser.standin.policy.update({"page": page})
    with pytest.raises(PageUnreachableError, match=r".") as raised:
        await browser.load_again(timings=LoadTimings(navigation=navigation, modules=1.0, ready=1.0))
    assert raised.value.message.startswith(words)
    assert raised.value.refusal
    assert raised.value.refusal.retry_after == retry_after
    browser.standin.policy.page = "ok"
    await browser.load_again(timings=TIMINGS.load)
    assert await browser.link()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("cdn_away", r"\(static\.whatsapp\.net: (\d+) of \1, ERR_[A-Z_]+\)"),
        ("broken", r"\(static\.whatsapp\.net: (\d+) of \1, HTTP 404\)"),
    ],
)
async def test_without_any_of_its_scripts_it_is_said_at_once(
    browser: BrowserSession, page: str, words: str
) -> None:
    """By what the network answers: no deadline passes."""
    await browser.load_again(timings=PATIENT)
    browser.standin.policy.update({"page": page})
    with pytest.raises(PageUnreachableError, match=words) as raised:
        async with asyncio.timeout(60.0):
            await browser.loader.load()
    assert raised.value.refusal
    assert raised.value.refusal.retry_after is None
    assert raised.value.message.startswith(f"{SCRIPTS} cannot be loaded")
    browser.standin.policy.page = "ok"
    await browser.loader.load()
    assert await browser.link()
    assert "unusable" not in {kind for kind, _ in browser.reports}


async def test_a_captive_portal_is_not_a_newer_version_of_whatsapps_page(
    browser: BrowserSession,
) -> None:
    browser.standin.policy.update({"page": "portal"})
    with pytest.raises(PageUnreachableError) as raised:
        await browser.load_again(timings=LoadTimings(modules=1.0, ready=1.0, resolve=1.0))
    assert raised.value.message == f"{PORTAL}: Hotel login"
    assert raised.value.refusal is None, "WhatsApp was not asked"
    browser.standin.policy.page = "ok"
    await browser.loader.load()
    assert await browser.link()


@pytest.mark.parametrize("page", ["error", "too_often", "too_often_empty"])
async def test_the_page_of_a_refusal_is_no_reason_to_ask_again(
    browser: BrowserSession, page: str
) -> None:
    """It is a document, too, into which wa-js is injected: that it is of no use is no news."""
    browser.standin.policy.update({"page": page})
    loads = browser.reports.count(("loaded", None))
    with pytest.raises(PageUnreachableError):
        await browser.load_again(timings=LoadTimings(modules=0.2, ready=0.2))
    await wait_until(lambda: browser.reports.count(("loaded", None)) > loads, "it is a document")
    # none, where it has ended already
    injections = [task for task in asyncio.all_tasks() if task.get_name() == "inject"]
    await asyncio.gather(*injections, return_exceptions=True)
    assert "unusable" not in {kind for kind, _ in browser.reports}


async def test_a_page_that_is_served_and_not_ready_is_its_own_fault(
    browser: BrowserSession,
) -> None:
    browser.standin.policy.slow_modules = 60.0
    with pytest.raises(PageNotReadyError):
        await browser.load_again(timings=LoadTimings(modules=0.5, ready=0.5))
