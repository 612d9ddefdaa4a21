"""What the page shows while the daemon, or one of its answers, is away, and after that."""

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION, a_view
from tests.page.browser import Page
from tests.waiting import wait_until
from waguard.ports.store import AuditEntry

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

WHOLE = "/health/detailed"
STATE = "(await import('/page/state.js')).state"
IS_STALE = f"{STATE}.phase === 'stale'"
IS_LIVE = f"{STATE}.phase === 'live'"


async def open_view(shown: Page, api: Api, fragment: str = "") -> None:
    """Open a view, and wait until its stream is there."""
    await shown.show(fragment)
    await wait_until(lambda: api.bus._listeners, "the page listens")


def read(api: Api) -> None:
    """Have the page read everything."""
    api.bus.publish("x", None, None, {})


async def hide(shown: Page, *, hidden: bool) -> None:
    """As if another tab were shown, or this one again."""
    await shown.value(
        f"(Object.defineProperty(document, 'hidden', {{ configurable: true, value: {str(hidden).lower()} }}),"
        " document.dispatchEvent(new Event('visibilitychange')))"
    )


async def test_what_could_not_be_read_stays_old_however_the_stream_lives(
    api: Api, shown: Page
) -> None:
    shown.expected = ("status of 503",)
    await shown.before(
        "window.pauses = 0; const wait = setTimeout;"
        " window.setTimeout = (run, time) => wait(() => { run(); if (time >= 500) pauses += 1; }, time);"
    )
    await shown.answers(
        WHOLE, "window.odd ? (window.then = pauses, new Response('{}', { status: 503 })) : real()"
    )
    await open_view(shown, api)
    await shown.value("(window.odd = true, 0)")
    read(api)
    await shown.until(IS_STALE, "it could not be read")
    await shown.until("pauses > then", "nothing is being read")
    api.bus.publish("message_received", None, None, {})
    await shown.until(f"{STATE}.events[0].event === 'message_received'", "the stream lives")
    assert await shown.value(IS_STALE)
    await shown.value("(window.odd = false, 0)")
    read(api)
    await shown.until(IS_LIVE, "it was read")


async def test_an_answer_that_is_not_the_daemons_ends_no_reading(api: Api, shown: Page) -> None:
    html = "new Response('<p>One moment', { headers: { 'Content-Type': 'text/html' } })"
    await shown.answers(WHOLE, f"window.odd ? {html} : real()")
    await open_view(shown, api)
    await shown.value("(window.odd = true, 0)")
    read(api)
    await shown.until(IS_STALE, "it could not be read")
    await shown.value("(window.odd = false, 0)")
    read(api)
    await shown.until(IS_LIVE, "it was read")


async def test_a_view_that_fails_ends_no_reading(api: Api, shown: Page) -> None:
    shown.expected = ("an odd view",)
    await open_view(shown, api)
    await shown.value(
        "((await import('/page/state.js')).onRead(() => {"
        " if (!window.failed) { window.failed = true; throw new Error('an odd view'); } }), 0)"
    )
    read(api)
    await shown.until("failed", "a view failed")
    api.sessions.known["shop_2"] = a_view(session_id="shop_2")
    read(api)
    await shown.until("$$('#rows tr').length === 2", "it was read again")


async def test_a_hidden_tab_leaves_its_connection_to_others(api: Api, shown: Page) -> None:
    await shown.before(
        "const wait = setTimeout; window.setTimeout = (run, time) => wait(run, time === 60000 ? 20 : time);"
    )
    await open_view(shown, api)
    await hide(shown, hidden=True)
    await wait_until(lambda: not api.bus._listeners, "the stream has ended")
    assert await shown.value(IS_LIVE)
    api.sessions.known["shop_2"] = a_view(session_id="shop_2")
    await shown.until(f"{STATE}.sessions.size === 2", "its title is right")
    api.sessions.known["shop_3"] = a_view(session_id="shop_3")
    await hide(shown, hidden=False)
    await wait_until(lambda: api.bus._listeners, "the page listens again")
    await shown.until("$$('#rows tr').length === 3", "it has read everything")


@pytest.mark.parametrize(
    ("fragment", "path", "words"),
    [
        ("#/queues", "/api/webhooks/held", "No chat waits for its session."),
        ("#/versions", "/api/wajs", "came with waguard"),
        (f"#/session/{SESSION}", "/incidents", "No incidents recorded."),
        (f"#/session/{SESSION}/webhook", "/receivers", "It has none of its own."),
    ],
)
async def test_what_a_view_could_not_read_is_read_with_everything(
    api: Api, shown: Page, fragment: str, path: str, words: str
) -> None:
    await shown.before("window.odd = true")
    await shown.answers(path, "window.odd ? Promise.reject(new TypeError('lost')) : real()")
    await open_view(shown, api, fragment)
    await shown.says("waguard does not answer")
    await shown.value("(window.odd = false, 0)")
    read(api)  # which concerns none of these views
    await shown.says(words)
    assert "does not answer" not in await shown.text()


async def test_a_past_that_could_not_be_read_is_read_with_everything(api: Api, shown: Page) -> None:
    entry = AuditEntry(session_id=SESSION, kind="parked", reason="page", at=2.0)
    await api.store.record(entry)
    await shown.before("window.odd = true")
    await shown.answers(
        "/api/timeline",
        "window.odd ? (window.asked = true, new Response('', { status: 503 })) : real()",
    )
    await open_view(shown, api)
    await shown.until("window.asked", "it was asked for")
    await shown.value("(window.odd = false, 0)")
    read(api)
    await shown.says("it was parked (page)")


async def test_the_alert_is_the_same_as_long_as_its_reason_is(api: Api, shown: Page) -> None:
    await shown.answers(WHOLE, "window.odd ? Promise.reject(new TypeError('lost')) : real()")
    await open_view(shown, api)
    await shown.value("(window.odd = true, 0)")
    read(api)
    await shown.says("waguard does not answer")
    await shown.value(
        "(window.words = $('#stale').innerText, window.changes = 0,"
        " $$('[role=alert]').forEach((it) => new MutationObserver(() => { changes += 1; })"
        ".observe(it, { characterData: true, childList: true, subtree: true })), 0)"
    )
    await shown.until("$('#stale').innerText !== words", "the seconds go on")
    assert await shown.value("changes") == 0
