"""A linked page when the connection, the account or the phone does something to it."""

import pytest

from tests.waiting import wait_until
from waguard.lab.standin import Policy, StandIn

from .chrome import CONNECTED, Chrome, Launcher, eventually

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE = "6281180001"
CHAT = "628110001@c.us"
STATE = "[WPP.whatsapp.Socket.state, WPP.conn.getStreamData().mode].join()"


def link(standin: StandIn) -> str:
    return str(standin.phone.state()["accounts"][PHONE][-1]["link"])


async def test_a_dropped_socket_comes_back_by_itself(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    shared.events.clear()
    standin.phone.drop()
    await shared.event("conn.online")
    await shared.until(lambda: shared.count("conn.online", value=True))
    await shared.connected()
    infos = [info for name, info in shared.events if name == "conn.stream_info_changed"]
    assert infos == ["OFFLINE", "CONNECTING", "RESUMING", "NORMAL"]
    assert shared.count("conn.online", value=False) == 1


async def test_while_it_is_refused_messages_wait_on_both_sides(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    standin.phone.drop(seconds=60)
    await shared.until_js("WPP.whatsapp.Socket.state !== 'CONNECTED'")
    assert await shared.js(CONNECTED) is False
    assert await shared.js("WPP.conn.isAuthenticated() && WPP.conn.getStreamData().mode === 'MAIN'")
    incoming = [standin.phone.incoming(from_="62812", body=f"queued {n}")["id"] for n in range(3)]
    chosen = f"true_{CHAT}_3EB0OFFLINE"
    await shared.js(
        f"window.sent = WPP.chat.sendTextMessage('{CHAT}', 'later', "
        f"{{waitForAck: true, linkPreview: false, messageId: '{chosen}'}}), 0"
    )
    assert link(standin) == "offline"
    assert standin.phone.state()["accounts"][PHONE][0]["queued"] == 3
    await shared.until_js(f"WPP.chat.getMessageById('{chosen}').then((m) => m.ack === 0)")

    standin.phone.drop(seconds=0)  # from now on it may connect again

    await shared.connected()
    for message in incoming:
        await shared.event("chat.new_message", id=message)
    assert (await shared.js("sent"))["sendMsgResult"]["messageSendResult"] == "OK"
    sent = next(m for m in standin.phone.messages() if m["id"] == chosen)
    assert sent["times_transmitted"] == 1
    await eventually(lambda: standin.phone.state()["accounts"][PHONE][0]["queued"] == 0)


async def test_a_drop_in_the_middle_of_a_send_is_one_message(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    policy.never_answer = "drop"
    chosen = f"true_{CHAT}_3EB0DROP"
    await shared.js(
        f"window.sent = WPP.chat.sendTextMessage('{CHAT}', 'once', "
        f"{{waitForAck: true, linkPreview: false, messageId: '{chosen}'}}), 0"
    )
    await eventually(lambda: any(m["id"] == chosen for m in standin.phone.messages()))
    policy.never_answer = ""
    assert (await shared.js("sent"))["ack"] == 1
    same = [m for m in standin.phone.messages() if m["body"] == "once"]
    assert len(same) == 1
    assert same[0]["times_transmitted"] >= 2


async def test_a_conflict_stays_until_the_page_takes_over(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    standin.phone.conflict()
    await shared.until_js(f"{STATE} === 'CONFLICT,CONFLICT'")
    assert await shared.js("WPP.conn.isAuthenticated()"), "the credentials are still good"
    assert link(standin) == "conflict"
    message = standin.phone.incoming(from_="62812", body="meanwhile")["id"]
    await shared.js("WPP.whatsapp.Socket.takeover()")
    await shared.connected()
    await shared.event("chat.new_message", id=message)
    assert link(standin) == "connected"


async def test_a_page_that_needs_an_update_goes_on_working(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    standin.phone.needs_update()
    await shared.event("conn.needs_update")
    assert await shared.js(CONNECTED), "it goes on working"
    assert await shared.js("WPP.conn.needsUpdate()")
    standin.phone.needs_update(over=True)
    await shared.until_js("!WPP.conn.needsUpdate()")


async def test_a_newer_version_that_no_reload_brings(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    policy.update_again = True
    for _ in range(2):
        await shared.open(standin.url)
        await shared.until_js("WPP.conn.needsUpdate()")
    policy.update_again = False
    await shared.open(standin.url)
    await shared.connected()
    assert not await shared.js("WPP.conn.needsUpdate()")


async def test_a_ghost_socket_and_log_ins_that_become_one(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    standin.phone.ghost()
    await shared.until_js(f"{STATE} === 'OPENING,MAIN'")
    assert link(standin) == "offline"
    policy.ghosts = 1
    await shared.open(standin.url, inject=False)
    await shared.evaluate_bundle()
    # its stream says so before it has logged in, too
    await wait_until(lambda: policy.ghosts == 0, "its log-in becomes a ghost")
    await shared.until_js("WPP.whatsapp.Socket.stream === 'DISCONNECTED'")
    assert await shared.js("WPP.conn.isAuthenticated()")
    assert link(standin) == "offline"
    await shared.open(standin.url)
    await shared.connected()


async def test_a_page_that_loads_itself_again(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    loads = shared.loads
    standin.phone.reload()
    await shared.until(lambda: shared.loads > loads)
    await shared.inject()
    await shared.connected()


@pytest.mark.parametrize("kind", ["TOS_BLOCK", "SMB_TOS_BLOCK", "PROXYBLOCK", "DEPRECATED_VERSION"])
async def test_a_block_outlasts_a_reload(
    standin: StandIn, shared: Chrome, policy: Policy, kind: str
) -> None:
    standin.phone.block(kind=kind)
    await shared.until_js(f"{STATE} === '{kind},{kind}'")
    await shared.open(standin.url, inject=False)
    await shared.evaluate_bundle()
    await shared.until_js(f"{STATE} === '{kind},{kind}' && WPP.conn.isAuthenticated()")
    standin.phone.block(kind="NONE")
    await shared.open(standin.url)
    await shared.connected()


async def test_the_server_that_takes_no_connections(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    policy.refuse_sockets = True
    await shared.open(standin.url, inject=False)
    await shared.evaluate_bundle()
    await shared.until_js(
        "WPP.conn.getStreamData().mode === 'OFFLINE' && WPP.conn.isAuthenticated()"
    )
    policy.refuse_sockets = False
    await shared.until_js(f"WPP.isFullReady && {CONNECTED}")


async def test_unlinked_on_the_phone_the_page_clears_itself_and_shows_a_code(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    loads = shared.loads
    standin.phone.unlink()
    await shared.event("conn.logout")
    assert await shared.event("conn.logout_reason") == "unknown_companion"
    await shared.until(lambda: shared.loads > loads)
    assert "post_logout=1&logout_reason=0" in await shared.js("location.href")
    assert await shared.js("localStorage.length") == 0
    await shared.inject()
    standin.phone.scan(await shared.code())
    await shared.connected()
    gone = f"WPP.chat.getMessageById('true_{CHAT}_3EB0NEVER').catch((e) => e.code)"
    assert await shared.js(gone) in ("msg_not_found", "chat_not_found")


async def test_unlinked_while_it_was_away_it_hears_of_it_when_it_connects(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    standin.phone.drop(seconds=60)
    await shared.until_js("WPP.whatsapp.Socket.state !== 'CONNECTED'")
    loads = shared.loads
    standin.phone.unlink()
    await shared.until(lambda: shared.loads > loads)
    await shared.inject()
    assert await shared.js("WPP.conn.isAuthenticated()") is False
    standin.phone.scan(await shared.code())
    await shared.connected()


async def test_logging_out_by_wa_js(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    shared.events.clear()
    loads = shared.loads
    assert await shared.js("WPP.conn.logout()") is True
    assert await shared.event("conn.logout_reason") == "user_initiated"
    await shared.until(lambda: shared.loads > loads)
    assert link(standin) == "unlinked"
    await shared.inject()
    await shared.code()


async def test_two_accounts_here_can_write_to_each_other(
    standin: StandIn, launcher: Launcher, shared: Chrome, policy: Policy
) -> None:
    await launcher.link(shared)
    other = await launcher.launch()
    await launcher.link(other, "6281180002")
    # A page of the other browser gets a message that the first browser sends to its number.
    sent = await shared.js(
        "WPP.chat.sendTextMessage('6281180002@c.us', 'hi', {linkPreview: false})"
    )
    stem = sent["id"].split("_")[2]
    await other.event("chat.new_message", id=f"false_{PHONE}@c.us_{stem}")
    await shared.event("chat.msg_ack_change", ack=2, ids=[sent["id"]])
