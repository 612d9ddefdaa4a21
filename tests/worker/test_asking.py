"""What the page answers about chats, people and groups, by the real wa-js on the stand-in; and what it may not be called for."""

import asyncio
import contextlib
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from tests.waiting import wait_until
from tests.worker.browser_session import LONG, BrowserSession
from waguard.api.asking import Found
from waguard.api.chats import Chat
from waguard.api.contacts import Contact
from waguard.api.groups import Group, _Changed
from waguard.core.call_through import refusal
from waguard.lab.standin import Policy, StandIn
from waguard.wire.calls import Ask, Failed, Value
from waguard.worker.messages import asking

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]
PHONE: Final = "6281190001"
ANN: Final = "6281190002"
GROUP: Final = "120363000000000778@g.us"
BOB, BOB_LID = "6281190003", "720000000000003"
CHANGES: Final = frozenset({"create", "add", "remove"})
ALL: Final = {"offset": 0, "limit": 100}
ALLOWED: Final = """
blocklist: all isBlocked
cart: get getThumbFromCart
catalog: getCollections getMyCatalog getProductById getProducts
chat: canMarkPlayed canMute canReply get getActiveChat getMessageACK getMessageById getMessages
  getNotes getPlatformFromMessage getQuotedMsg getQuotedMsgKey getReactions getUnreadChats
  getVotes list
community: getAnnouncementGroup getParticipants getSubgroups
conn: getABPropName getABProps getABPropsMap getAutoDownloadSettings getBuildConstants
  getHistorySyncProgress getMigrationState getMyDeviceId getMyUserId getMyUserLid getMyUserWid
  getPlatform getStreamData getTheme isAuthenticated isIdle isMainInit isMainLoaded isMainReady
  isMultiDevice isOnline isRegistered isWhatsAppVersionGTE needsUpdate
contact: get getBusinessProfile getCommonGroups getProfilePictureUrl getUsername list
group: canAdd canDemote canPromote canRemove getAllGroups getGroupInfoFromInviteCode
  getGroupSizeLimit getInviteCode getMembershipRequests getParticipants getPastParticipants
  iAmAdmin iAmMember iAmRestrictedMember iAmSuperAdmin
labels: getAllLabels getLabelById getLabelColorPalette getNewLabelColor
lists: list
newsletter: getSubscribers
order: get
privacy: get getDisallowedList
profile: getMyProfileName getMyProfilePicture getMyStatus isBusiness
status: get getMyStatus
"""
"""What of the packed wa-js may be called, by its namespaces."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[BrowserSession]:
    policy = Policy(sync=0.1, reconnect_delay=0.05, lids={BOB_LID: BOB})
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=policy) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            await made.pair(PHONE)
            yield made
            await made.close()


async def said(browser: BrowserSession, name: str, *given: Any, timeout: float = LONG) -> Any:
    """The answer as JSON, or the failure."""
    call = Ask(name=name, given=json.dumps(given), timeout=timeout, changes=name in CHANGES)
    answer = await asking.answer(browser.session, call, now=time.time())
    return answer if isinstance(answer, Failed) else json.loads(answer.answer or "null")


async def kind(browser: BrowserSession, name: str, *given: Any, timeout: float = LONG) -> str:
    failed = await said(browser, name, *given, timeout=timeout)
    assert isinstance(failed, Failed), failed
    return failed.kind


async def received(browser: BrowserSession, sender: str, *bodies: str, group: str = "") -> None:
    at = {"chat": group, "author": sender} if group else {}
    for body in bodies:
        browser.standin.phone.incoming(phone=PHONE, from_=sender, body=body, **at)
    async with asyncio.timeout(LONG):
        while browser.standin.phone.state()["accounts"][PHONE][0]["queued"]:
            await asyncio.sleep(0.01)


async def test_numbers_are_asked_one_by_one_and_an_error_is_no_no(browser: BrowserSession) -> None:
    policy, asked = browser.standin.policy, browser.standin.whatsapp.asked
    policy.exists = {"628100": False}
    assert await said(browser, "numbers", ["628100@c.us", "628101@c.us"]) == [
        ["628100@c.us", False],
        ["628101@c.us", True],
    ]
    reported = [
        data["asked"] for key, data in browser.reports if key == "people" and "asked" in data
    ]
    assert reported == [
        {"number": "628100@c.us", "exists": False},
        {"number": "628101@c.us", "exists": True},
    ]
    policy.exists_error = True
    assert await said(browser, "numbers", ["628102@c.us"]) == [["628102@c.us", None]]
    policy.exists_error, policy.exists_too_often = False, True
    asked.clear()
    assert await kind(browser, "numbers", ["628103@c.us", "628104@c.us"]) == "too_often"
    assert asked == ["628103"], "none after a 429"
    policy.exists_too_often = False


async def by(browser: BrowserSession, until: str, name: str, *given: Any) -> Any:
    """The page's answer to a question that it has to answer by then."""
    await said(browser, "chats", ALL)  # it knows how to
    given = (name, list(given))
    script = f"window.__waguardAsking.answer(...{json.dumps(given)}, Date.now() {until})"
    return json.loads((await browser.session.evaluate(script, timeout=LONG))[1:])


async def test_whatsapp_is_asked_nothing_behind_the_deadline(browser: BrowserSession) -> None:
    numbers, made = [f"62811{n}@c.us" for n in range(4)], browser.standin.whatsapp.groups
    slow = """(wid) => new Promise((done, failed) => {
      __asked.push(String(wid)); if (__asked.length % 2) done({wid}); else __failed = failed; })"""
    await browser.session.evaluate("void (window.__asked = [])", timeout=LONG)
    async with replaced(browser, "queryWidExists", slow):
        answers = await by(browser, "+ 1000", "numbers", numbers)
        assert answers == [[numbers[0], True], *([it, None] for it in numbers[1:])]
        assert await by(browser, "- 1", "numbers", numbers) == [[it, None] for it in numbers]
        assert (await by(browser, "- 1", "create", "A", numbers))["kind"] == "later"
        mine = [f"{PHONE}@c.us"]
        assert (await by(browser, "- 1", "create", "A", mine))["kind"] == "later"
        script = "new Promise((done) => { __failed({status: 429}); setTimeout(done); })"
        await browser.session.evaluate(script, timeout=LONG)
        assert await kind(browser, "numbers", numbers) == "too_often", "as soon as it is heard"
        assert await browser.session.evaluate("__asked", timeout=LONG) == numbers[:2]
    call = Ask(name="create", given=json.dumps(["A", mine]), timeout=LONG, changes=True)
    late = await asking.answer(browser.session, call, now=time.time() - LONG)
    assert isinstance(late, Failed)
    assert late.kind == "later", "a page that was stopped meanwhile begins nothing either"
    assert PHONE not in made


async def test_a_group_is_made_and_changed(browser: BrowserSession) -> None:
    policy, server = browser.standin.policy, browser.standin.whatsapp
    policy.not_addable = ["628112"]
    made = await said(browser, "create", "A group", ["628111@c.us", "628112@c.us"])
    group = made["id"]
    assert [(it["phone"], it["code"], it["invite_code"]) for it in made["participants"]] == [
        ("628111", 200, None),
        ("628112", 403, "invited"),
    ]
    assert server.groups[PHONE][group] == (f"{PHONE}@c.us", "628111@c.us")
    [row] = [it for it in (await said(browser, "groups", ALL))["items"] if it["id"] == group]
    assert (row["name"], row["members"]) == ("A group", 2)
    added = await said(browser, "add", group, ["628113@c.us"])
    assert [(it["id"], it["code"]) for it in added["participants"]] == [("628113@c.us", 200)]
    removed = await said(browser, "remove", group, ["628111@c.us"])
    assert [it["id"] for it in removed["participants"]] == ["628111@c.us"]
    assert server.groups[PHONE][group] == (f"{PHONE}@c.us", "628113@c.us")
    await received(browser, ANN, "drain")
    whole = await said(browser, "group", group)
    assert (whole["name"], whole["owner"], whole["is_admin"]) == ("A group", f"{PHONE}@c.us", True)
    assert [(it["id"], it["is_owner"]) for it in whole["members"]] == [
        (f"{PHONE}@c.us", True),
        ("628113@c.us", False),
    ]
    assert (await said(browser, "invite", group))["code"].startswith("code-of-120363")
    failed = await said(browser, "remove", group, ["628199@c.us"])
    assert (failed.kind, failed.field) == ("refused", "participants")


async def test_what_a_change_of_a_group_meets(browser: BrowserSession) -> None:
    policy, server = browser.standin.policy, browser.standin.whatsapp
    assert await kind(browser, "group", "120363999999999999@g.us") == "absent"
    assert await kind(browser, "add", "120363999999999999@g.us", ["628111@c.us"]) == "absent"
    theirs = "120363000000000777@g.us"
    browser.standin.phone.group(theirs, [ANN, PHONE], phone=PHONE)
    await received(browser, ANN, "hello all", group=theirs)
    assert await kind(browser, "add", theirs, ["628111@c.us"]) == "refused", "no admin"
    assert len((await said(browser, "group", theirs))["members"]) == 2
    policy.exists = {"628121": False}
    before = dict(server.groups[PHONE])
    failed = await said(browser, "create", "B", ["628121@c.us"])
    assert (failed.kind, failed.field) == ("refused", "participants")
    policy.exists_error = True
    assert await kind(browser, "create", "B", ["628122@c.us"]) == "later", "nothing was begun"
    policy.exists_error = False
    assert server.groups[PHONE] == before
    policy.groups = "too_often"
    assert await kind(browser, "create", "B", [f"{ANN}@c.us"]) == "too_often"
    policy.groups = "error"
    assert await kind(browser, "create", "B", [f"{ANN}@c.us"]) == "uncertain"
    assert server.groups[PHONE] == before
    policy.groups = "silent"
    assert await kind(browser, "create", "B", [f"{ANN}@c.us"], timeout=0.5) == "uncertain"
    await wait_until(lambda: len(server.groups[PHONE]) > len(before), "and it was done")
    policy.groups = "ok"


@contextlib.asynccontextmanager
async def replaced(browser: BrowserSession, name: str, code: str) -> AsyncIterator[None]:
    """A function of WhatsApp's is another."""
    of = f"WPP.whatsapp.functions, '{name}'"
    script = f"""void (window.__real = Object.getOwnPropertyDescriptor({of}),
      Object.defineProperty({of}, {{configurable: true, value: {code}}}))"""
    await browser.session.evaluate(script, timeout=LONG)
    try:
        yield
    finally:
        await browser.session.evaluate(f"void Object.defineProperty({of}, __real)", timeout=LONG)


async def test_a_group_that_was_made_is_never_said_to_have_failed(browser: BrowserSession) -> None:
    people = """[{'628@c.us': {code: '403.5', invite_code: 'x'.repeat(200)}}, {'62811:3@c.us': {code: {}}}]"""
    made = f"async () => ({{gid: '{GROUP}', participants: {people}}})"
    async with replaced(browser, "sendCreateGroup", made):
        said_so = await said(browser, "create", "A", [f"{PHONE}@c.us"])
        changed = msgspec.convert(said_so, _Changed)
        assert [it.code for it in changed.participants] == [None, None]
    for odd in ("'x'", f"Array(99_999).fill({{'{PHONE}@c.us': 200}})"):
        made = f"async () => ({{gid: '{GROUP}', participants: {odd}}})"
        async with replaced(browser, "sendCreateGroup", made):
            assert await kind(browser, "create", "A", [f"{PHONE}@c.us"]) == "uncertain"


async def test_chats_and_contacts_are_listed_in_parts(browser: BrowserSession) -> None:
    await received(browser, ANN, "one")
    await received(browser, BOB_LID + "@lid", "two")
    chats = await said(browser, "chats", ALL)
    assert chats["total"] == len(chats["items"])
    by_id = {it["id"]: it for it in chats["items"]}
    assert by_id[f"{BOB_LID}@lid"]["phone"] == BOB
    assert by_id[f"{ANN}@c.us"]["timestamp"] > 0
    first, second = [await said(browser, "chats", {"offset": n, "limit": 1}) for n in (0, 1)]
    assert [first["items"][0], second["items"][0]] == chats["items"][:2]
    await browser.session.evaluate(
        "void WPP.whatsapp.ContactStore.add([{id: WPP.util.createWid('628131@c.us'), name: 'cut \\ud83d'},"
        " {id: WPP.util.createWid('628130@c.us'), pushname: 'x'.repeat(999)}])",
        timeout=LONG,
    )
    contacts = (await said(browser, "contacts", ALL))["items"]
    found = {it["id"]: it for it in contacts}
    assert found["628131@c.us"]["name"] == "cut �"
    assert len(found["628130@c.us"]["push_name"]) == 256
    assert [it["id"] for it in contacts] == sorted(found)


async def test_one_odd_entry_costs_no_list(browser: BrowserSession) -> None:
    """As the API reads it."""
    script = """(async () => { const { ChatStore, ContactStore } = WPP.whatsapp;
      const [first, second, third] = ChatStore.getModelsArray();
      const [one, two] = ContactStore.getModelsArray();
      const odd = (it, name, value) => Object.defineProperty(it, name, {configurable: true, value});
      odd(first, 't', 1732233600000); odd(first, 'unreadCount', 1.5); odd(second, 't', 1e300);
      odd(second, 'unreadCount', '2'); odd(third, 'id', 'x'.repeat(200) + '@g.us');
      odd(one, 'id', '62811:3@c.us'); odd(two, 'id', 'x'.repeat(200) + '@c.us');
      window.__undo = () => { for (const it of [first, second, third, one, two])
        for (const name of ['t', 'unreadCount', 'id']) delete it[name]; }; })()"""
    await browser.session.evaluate(script, timeout=LONG)
    try:
        chats = msgspec.convert(await said(browser, "chats", ALL), Found[Chat])
        assert 1_732_233_600 in {it.timestamp for it in chats.items}
        assert None in {it.timestamp for it in chats.items}
        contacts = msgspec.convert(await said(browser, "contacts", ALL), Found[Contact])
        assert {it.id: it.phone for it in contacts.items}["62811:3@c.us"] is None
        msgspec.convert(await said(browser, "groups", ALL), Found[Group])
    finally:
        await browser.session.evaluate("__undo()", timeout=LONG)


async def test_a_picture_has_an_address_or_none(browser: BrowserSession) -> None:
    pictures = browser.standin.whatsapp.pictures
    pictures[f"{ANN}@c.us"] = "https://pps.whatsapp.net/v/a.jpg"
    assert await said(browser, "picture", [f"{ANN}@c.us"]) == {"url": pictures[f"{ANN}@c.us"]}
    pictures[f"{ANN}@c.us"] = "javascript:alert(1)"
    assert await said(browser, "picture", [f"{ANN}@c.us"]) == {"url": None}
    browser.standin.policy.groups = "too_often"
    assert await kind(browser, "picture", [f"{ANN}@c.us"]) == "too_often"
    browser.standin.policy.groups = "ok"
    pictures["628151@c.us"] = "https://pps.whatsapp.net/v/a.jpg"
    assert await kind(browser, "picture", ["628151@c.us"]) == "absent", "WhatsApp is not asked"
    assert (await said(browser, "picture", ["628151@c.us", f"{ANN}@c.us"]))["url"] is None


async def test_messages_of_a_chat_come_in_pages(browser: BrowserSession) -> None:
    await received(browser, "628140", *(f"m{n}" for n in range(5)))

    async def page(before: str | None, count: int = 2) -> Value:
        given = json.dumps([["628149@c.us", "628140@c.us"], before, count])
        call = Ask(name="messages", given=given, timeout=LONG)
        answer = await asking.answer(browser.session, call, now=time.time())
        assert isinstance(answer, Value), answer
        return answer

    seen: list[str] = []
    at = await page(None)
    while at.messages:
        seen += [it.body for it in at.messages]
        assert at.before == at.messages[-1].id
        at = await page(at.before)
    assert sorted(seen) == ["m0", "m1", "m2", "m3", "m4"]
    assert at.before is None
    before = len((await said(browser, "chats", ALL))["items"])
    assert await kind(browser, "messages", ["628149@c.us"], None, 2) == "absent"
    assert len((await said(browser, "chats", ALL))["items"]) == before, "a question makes no chat"


async def test_what_a_call_gives_is_plain(browser: BrowserSession) -> None:
    odd = """{ it: 1n, big: 1e300, no: undefined, f() {}, s: Symbol('x'), set: new Set([1]),
      map: new Map([['a', 1]]), bytes: new Uint8Array(9), cut: '\\ud83d', wid: WPP.util.createWid('628@c.us'),
      get thrown() { throw 1; } }"""
    define = (
        """(name, value) => Object.defineProperty(WPP.profile, name, {value, configurable: true})"""
    )
    await browser.session.evaluate(
        f"""(() => {{ const define = {define};
        define('getOdd', (x) => {{ const it = {odd}; it.self = it; it.x = x; return it; }});
        define('getMuch', () => Array(50001).fill(0));
        define('getLong', () => 'x'.repeat(1_000_000)); }})()""",
        timeout=LONG,
    )
    assert await said(browser, "call", "profile.getOdd", [{"a": [1]}]) == {
        "it": "1",
        "big": 1e300,
        "no": None,
        "f": None,
        "s": None,
        "set": [1],
        "map": {"a": 1},
        "bytes": None,
        "cut": "�",
        "wid": "628@c.us",
        "thrown": None,
        "self": None,
        "x": {"a": [1]},
    }
    for name in ("profile.getMuch", "profile.getLong", "profile.getNothing", "chat.isPrototypeOf"):
        assert await kind(browser, "call", name, []) == "refused", name
    assert await said(browser, "call", "conn.getMyUserId", []) == f"{PHONE}@c.us"
    assert await kind(browser, "call", "chat.getMessages", ["628150@c.us"]) == "absent"


async def test_of_the_real_wajs_only_what_reads_may_be_called(browser: BrowserSession) -> None:
    names = await browser.session.evaluate(
        "Object.entries(WPP).flatMap(([space, it]) => Object(it) === it && typeof it !== 'function'"
        " && space !== 'whatsapp' ? Object.keys(it).map((name) => `${space}.${name}`) : [])",
        timeout=LONG,
    )
    assert len(names) > 300
    listed = " ".join(ALLOWED.split()).replace(": ", ":")
    spaces = [it.partition(":") for it in re.findall(r"\w+:[\w ]+?(?= \w+:|$)", listed)]
    assert {name for name in names if refusal(name) is None} == {
        f"{space}.{name}" for space, _, of_it in spaces for name in of_it.split()
    }


async def test_presence_is_said(browser: BrowserSession) -> None:
    [device] = browser.standin.whatsapp.devices[PHONE]
    assert device.available is True
    await asking.set_presence(browser.session, timeout=LONG)
    await received(browser, ANN, "drain")
    assert device.available is False


async def test_a_page_that_is_odd_or_away(browser: BrowserSession) -> None:
    for script, expected in {
        "window.__waguardAsking.answer = async () => ({})": "error",
        "window.__waguardAsking.answer = async () => '=' + 'x'.repeat(1_000_001)": "error",
        "window.__waguardAsking.answer = async () => '!' + '['.repeat(99_999)": "error",
        'window.__waguardAsking.answer = async () => \'!{"kind": "uncertain"}\'': "error",
        "window.__waguardAsking.answer = () => new Promise(() => {})": "timeout",
        "window.__waguard = null": "not_ready",
    }.items():
        await browser.session.evaluate(f"void ({script})", timeout=LONG)
        timeout = 0.3 if expected == "timeout" else LONG
        assert await kind(browser, "chats", ALL, timeout=timeout) == expected, script
