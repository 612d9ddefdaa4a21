"""What the stand-in's servers grant no more of, and how wa-js shows it."""

import json
from typing import Any

import pytest

from waguard.lab.standin import Policy, StandIn

from .chrome import Chrome

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE, KNOWN, NEW = "6281180001", "628110008", "628110009"


async def sent(page: Chrome, to: str, number: int) -> dict[str, Any]:
    """What wa-js resolves to."""
    options = {
        "waitForAck": True,
        "linkPreview": False,
        "messageId": f"true_{to}@c.us_3EB0L{number}",
    }
    result = await page.js(
        f"WPP.chat.sendTextMessage('{to}@c.us', 'hi', {json.dumps(options)})"
        ".then(({ack, sendMsgResult}) => ({ack, result: sendMsgResult.messageSendResult}))"
    )
    return dict(result)


@pytest.fixture
def locked(standin: StandIn, policy: Policy) -> Any:
    standin.phone.timelock(PHONE)
    yield standin
    standin.phone.timelock(PHONE, over=True)


async def test_a_refused_first_contact_is_an_ack_of_minus_one_and_never_a_463(
    locked: StandIn, shared: Chrome
) -> None:
    locked.phone.incoming(from_=KNOWN, body="hello")
    await shared.event("chat.new_message", body="hello")
    for number in range(2):
        assert await sent(shared, NEW, number) == {"ack": -1, "result": "ERROR_UNKNOWN"}
    assert await sent(shared, KNOWN, 9) == {"ack": 1, "result": "OK"}
    locked.phone.incoming(from_=NEW, body="who is it?")
    await shared.event("chat.new_message", body="who is it?")
    assert await sent(shared, NEW, 3) == {"ack": 1, "result": "OK"}


async def test_a_dropped_one_is_never_answered(locked: StandIn, shared: Chrome) -> None:
    locked.phone.timelock(PHONE, way="drop")
    chosen = "true_628110010@c.us_3EB0DROPPED"
    await shared.js(
        "window.dropped = null, WPP.chat.sendTextMessage('628110010@c.us', 'hi', "
        f"{{waitForAck: true, linkPreview: false, messageId: '{chosen}'}}), 0"
    )
    await shared.until(lambda: chosen in locked.phone.state()["lost"])
    ack = await shared.js(f"WPP.chat.getMessageById('{chosen}').then((m) => m.ack)")
    assert ack == 0


async def test_the_pages_note_of_the_lock(locked: StandIn, shared: Chrome) -> None:
    note = (
        "WPP.loader.moduleRequire('WAWebUserPrefsIndexedDBStorage').userPrefsIdb.get("
        "WPP.loader.moduleRequire('WAWebReachoutTimelockUtils').REACHOUT_TIMELOCK_IDB_KEY)"
    )
    assert await shared.js(f"{note} ?? null") is None
    locked.phone.timelock(PHONE, seconds=3_600)
    await shared.until_js(f"{note}?.time_enforcement_ends > Date.now() + 3_500_000")
    locked.phone.timelock(PHONE, undated=True)
    await shared.until_js(f"{note}?.time_enforcement_ends < Date.now() + 61_000")
    locked.phone.timelock(PHONE, over=True)
    await shared.until_js(f"!{note}")
