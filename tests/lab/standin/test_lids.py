"""Chats that have a LID, as the real wa-js sees them."""

import pytest

from waguard.lab.standin import StandIn

from .chrome import Chrome, PageError, eventually

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

GROUP = "120363000000000001@g.us"
OWN_LID = "96281180001@lid"


def send(chat: str, body: str, message_id: str) -> str:
    options = f"{{waitForAck: true, linkPreview: false, messageId: '{message_id}'}}"
    return f"WPP.chat.sendTextMessage('{chat}', '{body}', {options})"


@pytest.mark.parametrize("how", ["told", "loaded"])
async def test_wa_js_finds_mentions_among_the_participants_ids_alone(
    standin: StandIn, shared: Chrome, how: str
) -> None:
    group, lid, number = "120363000000000002@g.us", "700000000000007@lid", "628220007@c.us"
    who = f"WPP.group.getParticipants('{group}').then((all) => all.map((one) => String(one.id)))"
    if how == "loaded":
        await shared.open(standin.url)
        await shared.connected()
    else:
        standin.phone.group(group, [lid, number])
        await shared.until_js(f"Boolean(WPP.whatsapp.GroupMetadataStore.get('{group}'))")
    await shared.js(f"WPP.chat.find('{group}').then(() => 0)")
    assert await shared.js(who) == [lid, number]
    chosen = f"true_{group}_3EB0{how.upper()}_{OWN_LID}"
    digits = " ".join(f"@{one.partition('@')[0]}" for one in (number, lid, "628220008@c.us"))
    await shared.js(send(group, f"hi {digits}", chosen))
    [sent] = [m for m in standin.phone.messages() if m["id"] == chosen]
    assert sent["mentionedJidList"] == [number, lid]
    assert sent["addressed"] == [number, lid]


async def renamed(shared: Chrome, before: str, after: str) -> None:
    await shared.until_js(f"!WPP.chat.get('{before}') && Boolean(WPP.chat.get('{after}'))")


async def test_the_number_of_a_migrated_chat_leads_to_its_lid(
    standin: StandIn, shared: Chrome
) -> None:
    number, lid = "628220001@c.us", "700000000000001@lid"
    first = standin.phone.incoming(from_=number, body="before")["id"]
    await shared.event("chat.new_message", id=first)
    standin.phone.migrate("628220001", "700000000000001")
    await renamed(shared, number, lid)

    assert await shared.js(f"WPP.chat.find('{number}').then((c) => String(c.id))") == lid
    moved = first.replace(number, lid)
    assert await shared.js(f"WPP.chat.getMessageById('{moved}').then((m) => m.body)") == "before"
    with pytest.raises(PageError, match="not same of chat"):
        await shared.js(send(number, "refused", f"true_{number}_3EB01"))
    answer = await shared.js(send(number, "sent", f"true_{lid}_3EB02"))
    assert (answer["id"], answer["ack"]) == (f"true_{lid}_3EB02", 1)
    later = standin.phone.incoming(from_=number, body="after")["id"]
    assert later.startswith(f"false_{lid}_")
    await shared.event("chat.new_message", id=later, **{"from": lid})


async def test_the_cache_may_learn_late_and_a_lid_may_change(
    standin: StandIn, shared: Chrome
) -> None:
    number = "628220002@c.us"
    first, second = "700000000000002@lid", "700000000000003@lid"
    whose = "String(WPP.whatsapp.lidPnCache.getPhoneNumber(WPP.util.createWid('{}')))"
    standin.phone.incoming(from_=number, body="before")
    standin.phone.migrate("628220002", first.partition("@")[0], known=False)
    await renamed(shared, number, first)
    assert await shared.js(whose.format(first)) == "undefined"
    standin.phone.reveal("628220002")
    await shared.until_js(f"{whose.format(first)} === '{number}'")
    standin.phone.migrate("628220002", second.partition("@")[0])
    await renamed(shared, first, second)
    assert await shared.js(whose.format(second)) == number


async def test_a_migration_while_offline_comes_with_the_connection(
    standin: StandIn, shared: Chrome
) -> None:
    number, lid = "628220004@c.us", "700000000000004@lid"
    first = standin.phone.incoming(from_=number, body="before")["id"]
    await shared.event("chat.new_message", id=first)
    standin.phone.drop(seconds=0.3)
    standin.phone.migrate("628220004", "700000000000004")
    await renamed(shared, number, lid)
    assert await shared.js(f"WPP.chat.getMessages('{lid}').then((l) => l.length)") == 1


async def test_each_reader_of_a_group_sends_a_receipt_of_its_own(
    standin: StandIn, shared: Chrome
) -> None:
    chosen = f"true_{GROUP}_3EB0AA_{OWN_LID}"
    assert (await shared.js(send(GROUP, "to all", chosen)))["ack"] == 1
    for reader in ("700000000000005@lid", "700000000000006@lid"):
        standin.phone.receipt(chosen, 3, reader=reader)
        reported = f"true_{GROUP}_3EB0AA_{reader}"
        await shared.event("chat.msg_ack_change", ack=3, ids=[reported], chat=GROUP)
    await shared.until_js(f"WPP.chat.getMessageById('{chosen}').then((m) => m.ack === 3)")
    bare = f"true_{GROUP}_3EB0BB"
    assert (await shared.js(send(GROUP, "without", bare)))["ack"] == 1
    standin.phone.receipt(bare, 3, reader="700000000000005@lid")
    await eventually(lambda: standin.phone.state()["accounts"]["6281180001"][0]["queued"] == 0)
    assert await shared.js(f"WPP.chat.getMessageById('{bare}').then((m) => m.ack)") == 1
