"""The login of the status page by a ticket, and leaving it."""

import pytest

from tests.api.conftest import KEY, Api
from tests.page.browser import REFUSED, Page

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
