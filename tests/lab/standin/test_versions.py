"""Builds of WhatsApp Web that come out, break what drives them, and are left again."""

from collections.abc import Iterator

import pytest

from waguard.lab.standin import Policy, StandIn
from waguard.lab.standin.refusal import Refusal
from waguard.lab.standin.versions import REVISION, Versions, Way

from .chrome import CONNECTED, Chrome, Launcher, PageError, eventually
from .fetching import get

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

PHONE = "6281180001"
OTHER = "6281180002"
CHAT = "628110001@c.us"
SEND = f"WPP.chat.sendTextMessage('{CHAT}', 'hi', {{waitForAck: true, linkPreview: false}})"
SENT = f"{SEND}.then((sent) => sent.sendMsgResult).then((result) => result.messageSendResult)"
STATE = "[WPP.whatsapp.Socket.state, WPP.conn.getStreamData().mode].join()"
REVISION_OF_PAGE = "window.__standin && window.__standin.config.revision"


@pytest.fixture
def builds(standin: StandIn) -> Iterator[Versions]:
    """Those of the stand-in; after the test the first one is served again, and none refused."""
    versions = standin.whatsapp.versions
    yield versions
    versions.oldest_accepted = 0
    versions.publish(REVISION)


async def refusal(chrome: Chrome) -> str:
    """What a send throws."""
    with pytest.raises(PageError) as thrown:
        await chrome.js(SENT)
    return str(thrown.value)


# --- without a browser


async def test_the_one_that_was_published_last_is_served(
    standin: StandIn, builds: Versions
) -> None:
    made = builds.publish()
    assert made.number > REVISION
    assert f'"client_revision":{made.number},' in (await get(standin, "/"))[2]
    builds.publish(REVISION)
    assert f'"client_revision":{REVISION},' in (await get(standin, "/"))[2]


async def test_a_share_of_the_accounts_gets_it(standin: StandIn, builds: Versions) -> None:
    made = builds.publish(served_to=frozenset({OTHER}))
    assert f'"client_revision":{REVISION},' in (await get(standin, "/"))[2]
    served = await get(standin, "/", cookie=f"standin_account={OTHER}")
    assert f'"client_revision":{made.number},' in served[2]
    served = await get(standin, "/", cookie=f"standin_account={PHONE}")
    assert f'"client_revision":{REVISION},' in served[2]


async def test_a_build_that_is_not_there_cannot_be_broken(standin: StandIn) -> None:
    with pytest.raises(Refusal) as refused:
        standin.phone.releases.breaks(1, "deaf")
    assert refused.value.to_json()["field"] == "revision"


# --- with one


@pytest.mark.chromium
async def test_the_page_says_which_revision_it_is(shared: Chrome, builds: Versions) -> None:
    assert await shared.js("require('SiteData').client_revision") == REVISION
    version = f"2.3000.{REVISION}"
    assert await shared.js("require('WAWebBuildConstants').VERSION_STR") == version
    assert await shared.js("window.Debug.VERSION") == version  # wa-js has found it
    assert await shared.js("window.crossOriginIsolated")


@pytest.mark.chromium
@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("renamed", "addAndSendMsgToChat"),
        pytest.param("convention", "TypeError", marks=pytest.mark.long),
    ],
)
async def test_a_stored_document_of_an_older_build_cures_sends_that_throw(
    standin: StandIn, shared: Chrome, builds: Versions, way: Way, words: str
) -> None:
    _, headers, text = await get(standin, "/")
    made = builds.publish(way=way)
    await shared.open(standin.url)
    await shared.connected()
    assert await shared.js(REVISION_OF_PAGE) == made.number
    assert await shared.js("typeof WPP.whatsapp.functions.addAndSendMsgToChat") == (
        "undefined" if way == "renamed" else "function"
    )
    assert words in await refusal(shared)
    await shared.serve(standin.url, headers, text)
    try:
        await shared.open(standin.url)
        await shared.connected()
        assert await shared.js(REVISION_OF_PAGE) == REVISION
        assert await shared.js("require('SiteData').client_revision") == REVISION
        assert await shared.js(SENT) == "OK"
    finally:
        await shared.serve_nothing()


@pytest.mark.chromium
@pytest.mark.long
async def test_a_send_that_is_never_acked_goes_out_again_with_an_older_build(
    standin: StandIn, shared: Chrome, builds: Versions
) -> None:
    made = builds.publish(way="unacked")
    await shared.open(standin.url)
    await shared.connected()
    await shared.js(f"{SEND.replace('hi', 'in vain')}.catch(() => {{}}), 0")
    (lost,) = await eventually(lambda: list(standin.whatsapp.lost))
    assert lost not in {m["id"] for m in standin.phone.messages()}
    standin.phone.releases.publish(REVISION)
    await shared.open(standin.url)
    await eventually(lambda: [m for m in standin.phone.messages() if m["id"] == lost])
    assert made.number != await shared.js(REVISION_OF_PAGE)
    standin.whatsapp.lost.clear()


@pytest.mark.chromium
async def test_a_deaf_build_has_messages_and_no_events_for_a_part_of_the_accounts(
    standin: StandIn, shared: Chrome, builds: Versions
) -> None:
    made = builds.publish(way="deaf", broken_for=frozenset({OTHER}))
    await shared.open(standin.url)
    await shared.connected()
    heard = standin.phone.incoming(from_=CHAT, body="heard")["id"]
    await shared.event("chat.new_message", id=heard)
    standin.phone.releases.breaks(made.number, "deaf", [PHONE])
    await shared.open(standin.url)
    await shared.connected()
    backfilled = standin.phone.incoming(from_=CHAT, body="missed")["id"]
    await shared.until_js(f"WPP.chat.getMessageById('{backfilled}').then(Boolean, () => false)")
    standin.phone.releases.breaks(made.number, "")
    await shared.open(standin.url)
    await shared.connected()
    later = standin.phone.incoming(from_=CHAT, body="heard again")["id"]
    await shared.event("chat.new_message", id=later)
    assert backfilled not in {m["id"] for name, m in shared.events if name == "chat.new_message"}


@pytest.mark.chromium
@pytest.mark.long
@pytest.mark.parametrize(
    ("way", "seen"),
    [
        ("never_ready", "window.WPP && WPP.isInjected && !WPP.isReady"),
        (
            "unregistered",
            "!Object.keys(require('__debug').modulesMap).some((id) => /^WA/.test(id))",
        ),
        ("throws", "WPP.isReady && WPP.whatsapp.Stream.mode === undefined"),
    ],
)
async def test_a_build_that_never_says_that_it_is_connected(
    standin: StandIn, shared: Chrome, builds: Versions, way: Way, seen: str
) -> None:
    builds.publish(way=way)
    await shared.open(standin.url, inject=False)
    await shared.evaluate_bundle()
    await shared.until_js(seen)
    assert not await shared.js(
        f"(() => {{ try {{ return {CONNECTED} }} catch {{ return false }} }})()"
    )
    builds.publish(REVISION)
    await shared.open(standin.url)
    await shared.connected()


@pytest.mark.chromium
@pytest.mark.long
async def test_a_build_that_is_refused_as_too_old(
    standin: StandIn, shared: Chrome, launcher: Launcher, builds: Versions
) -> None:
    await shared.open(standin.url)
    await shared.connected()
    made = builds.publish()
    standin.phone.releases.refuse(made.number)
    await shared.until_js(f"{STATE} === 'DEPRECATED_VERSION,DEPRECATED_VERSION'")
    builds.publish(REVISION)
    await shared.open(standin.url, inject=False)
    await shared.evaluate_bundle()
    await shared.until_js(f"{STATE} === 'DEPRECATED_VERSION,DEPRECATED_VERSION'")
    builds.publish(made.number)
    await shared.open(standin.url)
    await shared.connected()
    standin.phone.releases.breaks(made.number, "too_old", [PHONE])
    await shared.until_js(f"{STATE} === 'DEPRECATED_VERSION,DEPRECATED_VERSION'")
    unlinked = await launcher.launch()
    await unlinked.open(standin.url)
    assert await unlinked.code(), "another account's browser is not refused"


@pytest.mark.chromium
@pytest.mark.long
async def test_scripts_that_left_the_cdn_and_a_cdn_that_is_slow_or_away(
    standin: StandIn, shared: Chrome, builds: Versions, policy: Policy
) -> None:
    builds.publish(REVISION)
    standin.phone.releases.expire(REVISION)
    await shared.open(standin.url, inject=False)
    assert await shared.js("typeof window.require") == "undefined"
    builds.publish(REVISION)
    policy.page = "cdn_away"
    await shared.open(standin.url, inject=False)
    assert await shared.js("typeof window.require") == "undefined"
    policy.page, policy.cdn_delay = "ok", 0.2
    await shared.open(standin.url)
    await shared.connected()
    took = "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('.js'))"
    assert await shared.js(f"Math.min(...{took}.map((e) => e.duration))") >= 200.0


@pytest.mark.chromium
@pytest.mark.long
async def test_a_service_worker_is_in_the_way_of_a_stored_document(
    standin: StandIn, launcher: Launcher, builds: Versions, policy: Policy
) -> None:
    chrome = await launcher.launch()
    policy.service_worker, policy.block_headless = True, False  # its worker tells what it is
    await chrome.open(standin.url)
    await chrome.until_js("navigator.serviceWorker.ready.then(Boolean)")
    made = builds.publish()
    _, headers, text = await get(standin, "/")
    await chrome.open(standin.url)
    assert await chrome.js(REVISION_OF_PAGE) == REVISION, "the network has a newer one"
    await chrome.serve(standin.url, headers, text)
    await chrome.open(standin.url)
    assert await chrome.js(REVISION_OF_PAGE) == REVISION, "neither does a stored one come through"
    await chrome.send("Network.setBypassServiceWorker", bypass=True)
    await chrome.open(standin.url)
    assert await chrome.js(REVISION_OF_PAGE) == made.number
