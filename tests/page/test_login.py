"""The login of the status page by a ticket, and leaving it."""

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.page.browser import REFUSED, Page
from tests.waiting import wait_until

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]
KEPT = "sessionStorage.getItem('waguard-key')"


async def ticket(api: Api) -> str:
    answer = await api.call("POST", "/api/keys/ticket", {})
    return str(answer.json()["ticket"])


async def test_a_ticket_logs_in_once_and_leaves_the_address(api: Api, shown: Page) -> None:
    await shown.open(f"#ticket={await ticket(api)}")
    await shown.until("$$('#rows tr').length === 1", "the sessions are shown")
    assert await shown.value("location.hash") == "#/"
    key = await shown.value(KEPT)
    current = (await api.call("GET", "/api/keys/current", key=key)).json()
    assert (current["right"], current["name"].startswith("page-")) == ("operate", True)

    shown.expected = (REFUSED,)  # what was asked before the key ended
    await shown.press("Leave")
    await shown.until("$('#login')", "it asks for the key")
    assert await shown.value("sessionStorage.length") == 0
    assert (await api.call("GET", "/api/keys/current", key=key)).status == 401, "it has ended"


async def test_a_ticket_that_was_used_is_refused_with_what_to_do(api: Api, shown: Page) -> None:
    used = await ticket(api)
    await api.call("POST", "/api/keys/exchange", key=None, headers={"X-Ticket": used})
    shown.expected = (REFUSED,)
    await shown.open(f"#ticket={used}")
    await shown.says("run `waguard page` again")
    assert await shown.value("location.hash") == "#/"
    assert await shown.value("sessionStorage.length") == 0


async def test_a_key_that_is_there_outlives_a_bad_ticket_and_leaving(api: Api, shown: Page) -> None:
    shown.expected = (REFUSED,)
    await shown.open("#ticket=none", key=KEY)
    await shown.until("$$('#rows tr').length === 1", "the sessions are shown")
    assert await shown.value(KEPT) == KEY
    made = await api.call("POST", "/api/keys", {"name": "ani", "right": "operate"})
    key = made.json()["key"]
    await shown.value(f"(sessionStorage.setItem('waguard-key', '{key}'), location.reload())")
    await shown.until("$('#leave')?.checkVisibility()", "it is logged in")
    await shown.press("Leave")
    await shown.until(f"{KEPT} === '{KEY}'", "the page was loaded again")
    assert (await api.call("GET", "/api/keys/current", key=key)).status == 200, "it is the person's"


async def test_a_ticket_that_is_pasted_into_an_open_page_logs_in(api: Api, shown: Page) -> None:
    await shown.show("#/queues")
    await shown.value(f"(location.hash = '#ticket={await ticket(api)}', 0)")
    await shown.until(f"{KEPT} && {KEPT} !== '{KEY}'", "it has a key of its own")
    await shown.until("$$('#rows tr').length === 1", "the sessions are shown")
    assert await shown.value("[location.hash, document.body.dataset.view]") == ["#/", "fleet"]
    shown.expected = (REFUSED,)
    await shown.value("(location.hash = '#ticket=no/ticket%', 0)")
    await shown.until("location.hash === '#/' && $$('#rows tr').length === 1", "it was loaded")
    assert await shown.value("document.body.dataset.view") == "fleet"


async def test_a_ticket_without_an_answer_may_be_used_up(api: Api, shown: Page) -> None:
    await shown.answers("/exchange", "Promise.reject(new TypeError('lost'))")
    await shown.open(f"#ticket={await ticket(api)}")
    await shown.says("waguard does not answer: the ticket may be used up. Run `waguard page` again")


async def test_a_refused_key_leaves_the_login_alone(api: Api, shown: Page) -> None:
    made = (await api.call("POST", "/api/keys", {"name": "ani", "right": "operate"})).json()
    await shown.before("window.gate = null")
    await shown.answers(
        "/health/detailed", "real().then(async (it) => (window.isRead = gate, await gate, it))"
    )
    await shown.show(f"#/session/{SESSION}", key=made["key"])
    await shown.enter("Delete")
    await shown.until("$('dialog')?.open", "it asks for the name")
    await wait_until(lambda: api.bus._listeners, "the page listens")
    state = "(await import('/page/state.js')).state"
    known = f"{state}.health"
    gate = "window.gate = new Promise((done) => { window.release = done; })"
    await shown.value(f"({gate}, window.before = {known}, 0)")
    api.bus.publish("incident", None, None, {"kind": "webhooks_down"})
    await shown.until("window.isRead", "it is read")
    shown.expected = (REFUSED,)
    await api.call("DELETE", f"/api/keys/{made['about']['id']}")
    await shown.says("This key is not accepted: it is wrong, or it has ended.")
    await shown.until("!$('dialog') && document.activeElement === $('#key')", "only the login")
    await shown.value("(release(), 0)")
    await shown.until(f"{known} !== before", "what was held back has come")
    assert await shown.value(f"{state}.phase") == "refused"
    await shown.until("$('#counts').textContent === 'Needs a key'", "the header says so, too")


async def test_the_right_of_the_key_is_asked_for_again(api: Api, shown: Page) -> None:
    made = await api.call("POST", "/api/keys", {"name": "eyes", "right": "read"})
    await shown.answers(
        "/api/keys/current",
        "window.asked ? real() : (window.asked = true, new Response('{}', { status: 503 }))",
    )
    await shown.show("", key=made.json()["key"])
    await shown.says("read only")


@pytest.mark.parametrize("fragment", ["#/%", "#/constructor", "#/toString/x"])
async def test_an_address_of_no_view_shows_the_sessions(shown: Page, fragment: str) -> None:
    await shown.show(fragment)
    await shown.until("$$('#rows tr').length === 1", "the sessions are shown")
    assert await shown.value("document.body.dataset.view") == "fleet"


async def test_a_call_without_an_end_is_given_up(api: Api, shown: Page) -> None:
    await shown.before(
        "window.deadlines = []; AbortSignal.timeout = (time) => {"
        " const it = new AbortController(); deadlines.push([time, it]); return it.signal; };"
    )
    await shown.answers(
        "/health/detailed",
        "window.dead ? new Promise((_, no) => (window.hung = signal, signal.addEventListener('abort', no))) : real()",
    )
    await shown.show("")
    await wait_until(lambda: api.bus._listeners, "the page listens")
    state = "(await import('/page/state.js')).state"
    await shown.value(f"(window.dead = true, window.before = {state}.health, 0)")
    api.bus.publish("incident", None, None, {"kind": "webhooks_down"})
    await shown.until("window.hung", "it is read")
    found = "deadlines.find(([, it]) => it.signal === hung)"
    assert await shown.value(f"{found}[0]") == 30_000
    await shown.value(f"(window.dead = false, {found}[1].abort(), 0)")
    api.bus.publish("incident", None, None, {"kind": "webhooks_down"})
    await shown.until(f"{state}.health !== before && {state}.phase === 'live'", "it goes on")


async def test_a_key_that_no_header_can_carry_is_refused(shown: Page) -> None:
    odd = "wk_abc\u2013def\u200b"  # what a word processor makes of two hyphens
    await shown.open(key=odd)
    await shown.log_in(odd)
    await shown.says("This key is not accepted: no key has such characters.")
    assert await shown.value("sessionStorage.length") == 0
    await shown.log_in(KEY)
    await shown.until("$$('#rows tr').length === 1", "the sessions are shown")


async def test_leaving_says_where_the_key_was_not_ended(api: Api, shown: Page) -> None:
    lost = "Promise.reject(new TypeError('lost'))"
    await shown.answers("/api/keys/current", f"method === 'DELETE' ? {lost} : real()")
    await shown.open(f"#ticket={await ticket(api)}")
    await shown.until("$$('#rows tr').length === 1", "the sessions are shown")
    shown.expected = (REFUSED,)  # what was asked between the key's end here and the new document
    await shown.press("Leave")
    await shown.says("The key of this page was not ended")
    assert await shown.value("[sessionStorage.length, $('#leave').checkVisibility()]") == [0, False]
    await shown.value("(location.reload(), 0)")
    await shown.until("$('#login-error').textContent === ''", "it is said once")
