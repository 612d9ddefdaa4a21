"""A ticket of the status page: made, exchanged once, audited, and worth nothing afterwards."""

from typing import Any

import pytest

from tests.api.conftest import KEY, Answer, Api
from tests.api.test_audit import rows
from tests.api.test_raw_requests import sent
from tests.clocks import Clock
from waguard.api.auth import APPLICATION
from waguard.api.page_tickets import LASTS, MOST, TICKETS, Tickets
from waguard.core.issued_keys import PAGE_LASTS
from waguard.core.keys import Right

TICKET, EXCHANGE, KEYS = "/api/keys/ticket", "/api/keys/exchange", "/api/keys"


@pytest.fixture(autouse=True)
def one_clock(api: Api) -> None:
    """Tickets and keys live by the same one."""
    api.app[TICKETS]._clock = api.clock


async def ticket(api: Api, key: str = KEY, **wanted: Any) -> str:
    answer = await api.call("POST", TICKET, wanted, key=key)
    assert answer.status == 201, answer.content
    assert answer.json()["expires_in"] == LASTS
    return str(answer.json()["ticket"])


async def exchanged(api: Api, shown: str) -> Answer:
    return await api.call("POST", EXCHANGE, key=None, headers={"X-Ticket": shown})


async def made(api: Api, **wanted: Any) -> tuple[str, dict[str, Any]]:
    answer = await api.call("POST", KEYS, {"name": "ani", "right": "admin"} | wanted)
    return answer.json()["key"], answer.json()["about"]


async def test_a_ticket_is_exchanged_once_for_a_key_that_may_operate(api: Api) -> None:
    shown = await ticket(api)
    answer = await exchanged(api, shown)
    assert answer.status == 201
    about = answer.json()["about"]
    assert about["name"] == "page-application-20260921T141320.000"
    assert (about["right"], about["created_by"]) == ("operate", "the application")
    current = await api.call("GET", "/api/keys/current", key=answer.json()["key"])
    assert current.json() == {
        "success": True,
        "id": about["id"],
        "name": about["name"],
        "right": "operate",
        "workspaces": None,
        "sessions": None,
        "expires_at": about["expires_at"],
    }
    again = await exchanged(api, shown)
    assert (again.status, again.json()["remedy"]) == (401, "run `waguard page` again")
    by = [(row.before, row.reason, row.after) for row in rows(api)]
    assert by == [
        (f"POST {TICKET}", "the application", "done"),
        (f"POST {EXCHANGE}", "the application", "done"),
    ], "a wrong ticket is no row"


async def test_its_key_may_less_where_that_was_asked_for(api: Api) -> None:
    key = (await exchanged(api, await ticket(api, right="read"))).json()["key"]
    assert (await api.call("GET", "/api/sessions", key=key)).status == 200
    assert (await api.call("POST", TICKET, {}, key=key)).status == 403
    assert (await api.call("POST", TICKET, {"right": "owner"})).status == 400


async def test_its_key_has_the_scope_and_the_end_of_its_maker(api: Api) -> None:
    key, about = await made(api, workspaces=[7], expires_in=3_600)
    child = (await exchanged(api, await ticket(api, key))).json()["about"]
    assert (child["workspaces"], child["created_by"]) == ([7], "ani")
    assert child["expires_at"] == about["expires_at"]


async def test_what_is_no_ticket_is_refused(api: Api) -> None:
    for shown in ("", "x", "x" * 43, KEY, "é"):
        answer = await exchanged(api, shown)
        assert (answer.status, "key" in answer.json()) == (401, False)
    assert (await api.call("POST", EXCHANGE, key=None)).status == 401
    head = f"POST {EXCHANGE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nX-Ticket: "
    assert b" 401 " in await sent(api, head.encode() + b"\xff\r\n\r\n")
    assert rows(api) == []


async def test_a_ticket_of_a_key_that_was_revoked_is_worth_nothing(api: Api) -> None:
    key, about = await made(api)
    shown = await ticket(api, key)
    await api.call("DELETE", f"{KEYS}/{about['id']}")
    assert (await exchanged(api, shown)).status == 401
    assert len((await api.call("GET", KEYS)).json()["keys"]) == 1


async def test_whoever_leaves_ends_its_key(api: Api) -> None:
    key = (await exchanged(api, await ticket(api))).json()["key"]
    rows(api)
    answer = await api.call("DELETE", "/api/keys/current", key=key)
    assert (answer.status, answer.json()["made"]) == (200, [])
    assert (await api.call("GET", "/api/sessions", key=key)).status == 401
    (row,) = rows(api)
    assert row.before == "DELETE /api/keys/current"
    assert (row.reason or "").startswith('key "page-application-')
    answer = await api.call("DELETE", "/api/keys/current")
    assert (answer.status, "keys remove" in answer.json()["remedy"]) == (409, True)


@pytest.mark.parametrize(("lived", "good"), [(LASTS - 1, True), (LASTS, False)])
async def test_a_ticket_lasts_a_minute(lived: float, good: bool) -> None:  # noqa: FBT001 - of a table
    clock = Clock()
    tickets = Tickets(clock)
    text = tickets.make(APPLICATION, Right.SEND)
    clock.at -= 86_400.0  # the wall clock does not matter
    clock.up += lived
    found = tickets.use(text)
    assert (found is not None) is good
    assert found is None or (found[0], found[1].right) == (APPLICATION, Right.SEND)
    assert found is None or found[1].lasts == PAGE_LASTS
    assert tickets.use(text) is None


async def test_a_maker_has_so_many_tickets_at_most(api: Api) -> None:
    others, _ = await made(api)
    its = await ticket(api, others)
    first, second, *_ = [await ticket(api) for _ in range(MOST + 1)]
    assert len(api.app[TICKETS]._known) == MOST + 1
    assert (await exchanged(api, first)).status == 401
    assert (await exchanged(api, second)).status == 201
    assert (await exchanged(api, its)).status == 201, "of another maker"
    api.clock.up += LASTS
    await ticket(api)
    assert len(api.app[TICKETS]._known) == 1, "what has ended is forgotten"
