"""Builds of WhatsApp Web that come out, break what drives them, and are left again."""

from collections.abc import Iterator

import pytest

from waguard.lab.standin import StandIn
from waguard.lab.standin.refusal import Refusal
from waguard.lab.standin.versions import REVISION, Versions, Way

from .chrome import Chrome, PageError
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


async def load(standin: StandIn, chrome: Chrome) -> None:
    """With wa-js in it, ready or not."""
    await chrome.open(standin.url, inject=False)
    await chrome.js("window.require && window.require('__debug') ? true : false")


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
