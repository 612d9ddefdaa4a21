"""The view of all sessions: what needs a person, finding, acting, and what happens."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import DOWN, HEALTHY, a_view
from tests.page.browser import PHONE, REFUSED, WIDE, Page
from tests.supervision.fake_host import START, FakeClock
from tests.waiting import wait_until
from waguard.core import remedies
from waguard.core.blame import Blame, Condition
from waguard.core.incidents.folding import fleet_condition
from waguard.core.page_care import Kind
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.errors import DatabaseUnavailableError, NoRoomError
from waguard.host.memory.history_file import HistoryFile
from waguard.ports.store import AuditEntry

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

LATE = remedies.text(remedies.PAGE[Kind.ACKS_IN_VAIN], "shop_bandung")
NAMES = ["webjs_4_1732240003_dddddddd", "<b>bold</b>", "متجر-جاكرتا", "🛒 shop & son", "a" * 200]


def parked(session: str, message: str = "WhatsApp blocked the number <b>for 24 h</b>") -> Condition:
    return Condition(
        session=session,
        type="parked",
        blame=Blame.WHATSAPP,
        reason="blocked",
        message=message,
        since=time.time() - 720,
        remedy=remedies.text(remedies.PARKED[ParkCause.BLOCKED], session),
    )


def a_parked_view(session: str, **changes: Any) -> Any:
    found = {
        "session_id": session,
        "status": "failed",
        "link": "blocked",
        "lifecycle": "parked",
        "disconnect_reason": "error",
        "conditions": (parked(session),),
    }
    return a_view(**found | changes)


WEBHOOKS = Condition(
    type="webhooks_down",
    blame=Blame.OPERATOR,
    reason="webhooks_down",
    message="the receiver accepts no webhooks",
    since=0.0,
    remedy="Repair it.",
)
ACKS = Condition(
    session="shop_bandung",
    type="acks_late",
    blame=Blame.WHATSAPP,
    reason="acks_late",
    message="2 messages wait for acks",
    since=0.0,
    remedy=LATE,
)


def know(api: Api, *views: Any, conditions: tuple[Condition, ...] = ()) -> None:
    """These sessions, and conditions of all at once."""
    api.sessions.known = {it.session_id: it for it in views}
    found = (*conditions, *(one for it in views for one in it.conditions))
    connected = sum(it.status == "connected" for it in views)
    api.sessions.status = replace(
        HEALTHY,
        total=len(views),
        connected=connected,
        disconnected=len(views) - connected,
        conditions=found,
    )


def three(api: Api) -> None:
    know(
        api,
        a_view(session_id="shop_bandung", undecryptable=3, undecryptable_since=0.0, conditions=(ACKS,)),
        a_view(
            session_id="shop_jakarta",
            status="qr_scanning",
            link="qr_pending",
            phone_number=None,
            connected_at=None,
            workspace_id=4,
        ),
        a_parked_view("shop_medan"),
        conditions=(WEBHOOKS,),
    )  # fmt: skip


async def happens(api: Api, event: str, session: str | None, data: dict[str, Any]) -> None:
    """Publish it as soon as the page listens."""
    await wait_until(lambda: api.bus._listeners, "the page listens")
    api.bus.publish(event, session, 1 if session else None, data)


async def rows(shown: Page) -> list[str]:
    found: list[str] = await shown.value("$$('#rows tr').map((it) => it.dataset.session)")
    return found


async def test_asks_for_the_key_and_then_shows_everything_live(
    api: Api, shown: Page, tmp_path: Path
) -> None:
    three(api)
    shown.expected = (REFUSED,)
    await shown.open()
    await shown.log_in("a wrong key, but a long one")
    await shown.says("This key is not accepted")
    assert await shown.value("sessionStorage.length") == 0
    await shown.picture(tmp_path / "login.png")
    await shown.log_in(KEY)
    await shown.until("$$('#rows tr').length === 3", "the sessions are shown")
    assert await shown.value("sessionStorage.getItem('waguard-key')") == KEY
    assert await shown.value("document.cookie + location.search + location.hash") == ""
    text = await shown.text()
    assert "1 of 3 connected" in text
    assert "2 things need you" in text
    assert await shown.value(
        "$$('#problems > li').map((it) => [it.dataset.type, it.dataset.session ?? null])"
    ) == [["webhooks_down", None], ["parked", "shop_medan"]]
    assert "The receiver accepts no webhooks" in text
    assert "Repair it." in text
    assert "WhatsApp blocked the number <b>for 24 h</b>" in text, "as text"
    assert "172 MB" in text, "what a session takes"
    assert "2 messages wait for acks. Messages that cannot be decrypted yet: 3" in text
    assert "waguard sessions logout shop_bandung, and to scan" in text, "without its call"
    assert await shown.value("$$('#rows code').map((it) => it.innerText)") == [
        "waguard sessions restart shop_medan",
        "waguard sessions logout shop_bandung",
        "waguard qr shop_bandung --new",
    ]
    assert "Waits for a scan" in text

    await happens(api, "incident", "shop_medan", {"kind": "parked", "reason": "blocked"})
    await shown.says("incident parked: blocked")
    known = api.sessions.known | {"shop_medan": a_view(session_id="shop_medan")}
    know(api, *known.values())
    await happens(api, "session_ready", "shop_medan", {"status": "connected"})
    await shown.says("2 of 3 connected")
    await happens(api, "incident", None, {"kind": "webhooks_down", "reason": "over"})
    await shown.says("Nothing needs you")
    await shown.press("Leave")
    await shown.until("$('#login')", "it is left")
    assert await shown.value("sessionStorage.length") == 0
    assert "shop_medan" not in await shown.text()


async def test_comes_back_when_the_stream_ends(api: Api, shown: Page) -> None:
    three(api)
    await shown.open(key=KEY)
    await happens(api, "link", "shop_medan", {"from": "a", "to": "b"})
    await shown.says("link: a → b")
    for listener in list(api.bus._listeners):
        api.bus._end(listener)
    api.bus.publish("link", "shop_medan", 1, {"from": "b", "to": "c"})  # nobody listens
    await shown.says("link: b → c")


async def test_a_row_stays_the_same_element_while_it_changes(api: Api, shown: Page) -> None:
    know(api, *(a_view(session_id=f"shop_{number}") for number in range(60)))
    await shown.open(key=KEY)
    await shown.until("$$('#rows tr').length === 60", "the sessions are shown")
    await shown.value(
        "(window.row = $('[data-session=shop_41]'), row.scrollIntoView(),"
        " getSelection().selectAllChildren($('[data-session=shop_30] a')), window.at = scrollY,"
        " $('[data-session=shop_41] input').click(), 0)"
    )
    api.sessions.known["shop_41"] = a_view(session_id="shop_41", status="authenticated", link="syncing")  # fmt: skip
    await happens(api, "link", "shop_41", {"from": "connected", "to": "syncing"})
    await shown.until("row.innerText.includes('Syncing')", "the change is shown")
    assert await shown.value("row.isConnected && row.parts.check.checked && at > 0")
    assert await shown.value("String(getSelection())") == "shop_30"
    await shown.value("(row.parts.check.focus(), 0)")
    api.sessions.known["shop_41"] = a_view(session_id="shop_41")
    await happens(api, "link", "shop_41", {"from": "syncing", "to": "connected"})
    await shown.until("row.innerText.includes('Connected')", "the change is shown")
    assert (
        await shown.value("document.activeElement === row.parts.check && String(getSelection())")
        == "shop_30"
    )
    assert await rows(shown) == [f"shop_{it}" for it in range(60)]
    api.sessions.known["shop_41"] = a_parked_view("shop_41")
    await happens(api, "link", "shop_41", {"from": "connected", "to": "blocked"})
    await shown.until("$('#rows tr') === row", "it is the first one")
    assert await rows(shown) == ["shop_41", *(f"shop_{it}" for it in range(60) if it != 41)]


async def test_what_is_searched_for_is_found(api: Api, shown: Page) -> None:
    know(
        api,
        a_view(session_id="shop_2", workspace_id=4, phone_number="628999"),
        a_view(session_id="shop_10"),
        a_parked_view("shop_3"),
        a_view(session_id="other", restarts=9, lifecycle="stopped", **DOWN),
    )
    await shown.open(key=KEY)
    await shown.until("$$('#rows tr').length === 4", "all are shown")
    assert await rows(shown) == ["shop_3", "other", "shop_2", "shop_10"], "attention first"
    await shown.key("/", "/")
    await shown.write("8999")
    await shown.until("$$('#rows tr').length === 1", "it was filtered")
    assert await rows(shown) == ["shop_2"]
    await shown.write(" none")
    await shown.says("No session is like that.")
    await shown.press("Show all sessions")
    await shown.until("$$('#rows tr').length === 4", "all are shown again")
    pills = await shown.value("$$('.pill').map((it) => it.innerText.replace(/\\s+/g, ' '))")
    assert pills == ["All 4", "Needs you 1", "Connected 2", "Down 2"]
    for number, found in enumerate(([], ["shop_3"], ["shop_2", "shop_10"], ["shop_3", "other"])):
        if number:
            await shown.value(f"$$('.pill')[{number}].click()")
            assert await rows(shown) == found
    await shown.value("$$('.pill')[0].click()")
    for label, value, first in (
        ("Sort by", "restarts", "other"),
        ("Sort by", "name", "other"),
        ("Sort by", "workspace", "other"),
        ("Workspace", "4", "shop_2"),
    ):
        select = f"$('select[aria-label=\"{label}\"]')"
        await shown.value(
            f"({select}.value = '{value}', {select}.dispatchEvent(new Event('change')))"
        )
        assert (await rows(shown))[0] == first
    assert await rows(shown) == ["shop_2"]


async def test_several_are_done_at_once_and_who_failed_stays_selected(
    api: Api, shown: Page
) -> None:
    know(api, *(a_view(session_id=f"shop_{number}") for number in range(6)))
    await shown.open(key=KEY)
    await shown.until("$$('#rows tr').length === 6", "all are shown")
    assert not await shown.value("$('.bulk').checkVisibility()")
    await shown.value("$('thead input').click()")
    await shown.says("6 selected")
    await shown.press("Stop")
    await shown.says("6 sessions done.")
    assert api.sessions.done == ["stop"] * 6
    api.sessions.fail = NoRoomError("the disk is full", remedy="Free space: `df`.")
    shown.expected = ("status of 50",)
    await shown.press("Start")
    await shown.says("6 of 6 failed, and stay selected. shop_0: the disk is full. Free space: df.")
    await shown.says("6 selected")
    await shown.press("Clear")
    await shown.until("!$('.bulk').checkVisibility()", "nothing is selected")


async def test_a_row_offers_what_helps(api: Api, shown: Page) -> None:
    three(api)
    shown.expected = ("status of 404",)
    api.sessions.known["shop_solo"] = a_view(session_id="shop_solo", lifecycle="stopped", **DOWN)
    api.sessions.known["shop_batam"] = a_view(session_id="shop_batam", link="passkey_required", status="qr_scanning")  # fmt: skip
    await shown.open(key=KEY)
    await shown.until("$$('#rows tr').length === 5", "the sessions are shown")
    offered = "$$('td.act :is(button, a)').map((it) => it.ariaLabel).sort()"
    steps = {"Passkey shop_batam", "Restart shop_medan", "Show QR shop_jakarta", "Start shop_solo"}
    assert set(await shown.value(offered)) == steps
    await shown.press("Restart shop_medan")
    await shown.press("Start shop_solo")
    await wait_until(lambda: len(api.sessions.done) == 2, "both were asked for")
    assert sorted(api.sessions.done) == ["restart", "start"]
    await shown.until(
        "$$('.outcome').filter((it) => it.innerText === 'Done.').length", "it is said"
    )
    await shown.press("Show QR shop_jakarta")
    await shown.until("location.hash === '#/session/shop_jakarta'", "its own view")


async def test_what_the_key_may_not_is_absent(api: Api, shown: Page) -> None:
    three(api)
    made = await api.call("POST", "/api/keys", {"name": "eyes", "right": "read"})
    await shown.open(key=made.json()["key"])
    await shown.says("1 of 3 connected · up")
    await shown.says("read only")
    assert await shown.value("$$('#rows input, #rows button, td.act').length") == 0
    assert not await shown.value("$('#create').checkVisibility()")
    assert await shown.value("$('[data-whole]').checkVisibility()")


async def test_a_key_for_some_sessions_sees_those(api: Api, shown: Page) -> None:
    three(api)
    wanted = {"name": "one", "right": "operate", "sessions": ["shop_medan"]}
    made = await api.call("POST", "/api/keys", wanted)
    await shown.open(key=made.json()["key"])
    await shown.until("$$('#rows tr').length", "the sessions are shown")
    assert await rows(shown) == ["shop_medan"]
    await shown.says("0 of 1 connected")
    assert not await shown.value("$('[data-whole]').checkVisibility()"), "versions are of all"
    await shown.value(
        f"fetch('/api/keys/{made.json()['about']['id']}', {{method: 'DELETE', headers: {{'X-Api-Key': '{KEY}'}}}}).then(() => 0)"
    )
    shown.expected = (REFUSED,)
    await shown.says("This key is not accepted: it is wrong, or it has ended.")


async def test_equal_conditions_are_folded(api: Api, shown: Page) -> None:
    know(api, *(a_parked_view(f"shop_{number}") for number in range(9)))
    await shown.open(key=KEY)
    await shown.says("1 thing needs you")
    await shown.says("shop_0 shop_1 shop_2 shop_3 shop_4 and 4 more")
    await shown.says("waguard sessions restart NAME")


async def test_without_a_session_the_next_step_is_said(api: Api, shown: Page) -> None:
    know(api)
    shown.expected = ("status of 404",)
    await shown.open(key=KEY)
    await shown.says("No sessions yet")
    await shown.press("New session")
    await shown.until("location.hash === '#/new'", "the view to create one")


async def test_what_is_not_known_is_not_empty(api: Api, shown: Page) -> None:
    three(api)
    await shown.open(key=KEY)
    await shown.until("$$('#rows tr').length === 3", "the sessions are shown")
    api.sessions.fail = DatabaseUnavailableError("the database is away")
    shown.expected = ("status of 503",)
    await happens(api, "incident", None, {"kind": "database_down", "reason": "away"})
    await shown.says("The sessions are not known now")
    assert len(await rows(shown)) == 3
    await shown.open(key=KEY)
    await shown.says("Which sessions there are is not known now")
    assert await shown.value("$('#counts').textContent") == "Sessions unknown"
    assert "0" not in await shown.value("document.title")


async def test_of_a_database_that_answers_it_is_not_said_that_it_does_not(
    api: Api, shown: Page
) -> None:
    why = "the database app belongs to another installation of waguard"
    barred = fleet_condition("database_unknown", why, since=time.time())
    api.sessions.status = replace(HEALTHY, conditions=(barred,), total=0, connected=0, known=False)
    api.sessions.fail = DatabaseUnavailableError(why)
    shown.expected = ("status of 503",)
    await shown.open(key=KEY)
    await shown.says(f"The sessions are not known now: {why}")


async def test_a_daemon_that_is_away_leaves_what_was_shown(api: Api, shown: Page) -> None:
    three(api)
    shown.expected = ("net::ERR_",)
    await shown.open(key=KEY)
    await shown.until("$$('#rows tr').length === 3", "the sessions are shown")
    await shown.offline(away=True)
    for listener in list(api.bus._listeners):
        api.bus._end(listener)
    await shown.says(
        "waguard does not answer. What is shown is from before; this page tries again. Last read"
    )
    assert len(await rows(shown)) == 3
    api.sessions.known["shop_medan"] = a_view(session_id="shop_medan")
    await shown.offline(away=False)
    await shown.says("2 of 3 connected")
    assert "does not answer" not in await shown.text()


async def test_it_is_usable_by_keyboard_alone(api: Api, shown: Page) -> None:
    three(api)
    await shown.open()
    await shown.until("document.activeElement === $('#key')", "the key can be typed")
    await shown.write(KEY)
    await shown.key("Enter", "\r")
    await shown.until("$$('#rows tr').length === 3", "the sessions are shown")
    seen = []
    for _ in range(40):
        await shown.key("Tab")
        seen.append(await shown.value("document.activeElement.ariaLabel ?? document.activeElement.innerText"))  # fmt: skip
        if seen[-1] == "Restart shop_medan":
            break
    await shown.key("Enter", "\r")
    await wait_until(lambda: api.sessions.done == ["restart"], f"it was pressed, after {seen}")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
async def test_any_name_fits(api: Api, shown: Page, tmp_path: Path, size: tuple[int, int]) -> None:
    know(api, *(a_parked_view(name) for name in NAMES), conditions=(WEBHOOKS,))
    await shown.size(*size)
    await shown.open(key=KEY)
    await shown.until(f"$$('#rows tr').length === {len(NAMES)}", "the sessions are shown")
    assert sorted(await rows(shown)) == sorted(NAMES), "as text"
    backgrounds = set()
    for scheme in ("light", "dark"):
        await shown.scheme(scheme)
        assert await shown.value("document.documentElement.scrollWidth") <= size[0]
        backgrounds.add(await shown.value("getComputedStyle(document.body).backgroundColor"))
        await shown.picture(tmp_path / f"{scheme}.png")
    assert len(backgrounds) == 2
    assert await shown.value("document.documentElement.lang") == "en"
    assert await shown.value("$$('th:not([scope])').length") == 0


async def test_the_past_and_the_last_day_are_shown(api: Api, shown: Page) -> None:
    three(api)
    parked_before = AuditEntry(session_id="shop_medan", kind="parked", reason="page", at=2.0)
    await api.store.record(parked_before)
    clock = FakeClock()
    history = HistoryFile(api.deps.history.path.parent, clock)
    for connected, ago in ((187.0, 60.0), (188.0, 0.0)):
        clock.ahead = time.time() - ago - START - clock.now
        history.write({"connected": connected, "memory": 4.4e9}, {})
    await shown.open(key=KEY)
    await shown.says("it was parked (page)")
    await shown.until("$$('.plot canvas').length === 2", "what is known is plotted")
    assert await shown.value(
        "$$('.plot figcaption').map((it) => it.innerText.split(/\\s*\\n/))"
    ) == [
        ["Connected", "188"],
        ["Memory", "4.4 GB"],
    ]
    await happens(api, "incident", "shop_medan", {"kind": "parked", "reason": "blocked"})
    await shown.until("$$('#events li').length === 2", "it goes on")
    assert "parked: blocked" in await shown.value("$('#events li').innerText")


async def test_without_a_history_there_is_no_plot(api: Api, shown: Page) -> None:
    three(api)
    asked = "performance.getEntriesByType('resource').filter((it) => it.name.includes('/api/history')).length"
    await shown.open(key=KEY)
    await shown.until(asked, "the history was asked for")
    assert not await shown.value("$('.plots').checkVisibility()")
    assert (
        await shown.value(
            "performance.getEntriesByType('resource').filter((it) => it.name.includes('uplot')).length"
        )
        == 0
    )


async def test_a_theme_is_chosen_and_kept(api: Api, shown: Page) -> None:
    await shown.scheme("light")
    await shown.open(key=KEY)
    background = "getComputedStyle(document.body).backgroundColor"
    await shown.until("$$('#rows tr').length", "it is there")
    light = await shown.value(background)
    await shown.press("Theme: Auto")
    await shown.press("Theme: Light")
    await shown.until("$('#theme').innerText.includes('Dark')", "it is dark")
    assert await shown.value(background) != light
    await shown.open(key=KEY)
    await shown.until("$('#theme').innerText.includes('Dark')", "it is dark")
    await shown.press("Theme: Dark")
    assert await shown.value(background) == light
