"""Messages in and out of a connected page, through wa-js."""

import base64

import pytest

from waguard.lab.standin import Policy, StandIn

from .chrome import Chrome, PageError, eventually

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module")]

CHAT = "628110001@c.us"
OPTIONS = "waitForAck: true, linkPreview: false"


def send(body: str, message_id: str = "", options: str = OPTIONS) -> str:
    chosen = f", messageId: '{message_id}'" if message_id else ""
    return f"WPP.chat.sendTextMessage('{CHAT}', '{body}', {{{options}{chosen}}})"


def seen(standin: StandIn, message_id: str) -> dict[str, object]:
    """What the server knows of a message, {} if nothing."""
    return next((m for m in standin.phone.messages() if m["id"] == message_id), {})


async def test_a_send_keeps_its_chosen_id_and_is_acknowledged(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    chosen = f"true_{CHAT}_3EB0000000000000001"

    answer = await shared.js(send("hello", chosen))

    assert answer["id"] == chosen
    assert answer["ack"] == 1
    assert answer["sendMsgResult"]["messageSendResult"] == "OK"
    message = seen(standin, chosen)
    assert message["body"] == "hello"
    assert (message["direction"], message["to"], message["times_transmitted"]) == ("out", CHAT, 1)
    await shared.event("chat.new_message", id=chosen, fromMe=True)
    await shared.event("chat.msg_ack_change", ack=1, ids=[chosen])


async def test_receipts_raise_the_ack(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    sent = (await shared.js(send("for receipts")))["id"]
    for ack in (2, 3):
        standin.phone.receipt(sent, ack)
        await shared.event("chat.msg_ack_change", ack=ack, ids=[sent], chat=CHAT)
        await shared.until_js(f"WPP.chat.getMessageById('{sent}').then((m) => m.ack === {ack})")
        assert seen(standin, sent)["ack"] == ack
    await eventually(lambda: standin.phone.state()["accounts"]["6281180001"][0]["queued"] == 0)


async def test_receipts_by_themselves(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    policy.auto_receipt = 3
    sent = (await shared.js(send("read at once")))["id"]
    await shared.event("chat.msg_ack_change", ack=3, ids=[sent])


async def test_a_refusal_resolves_with_ack_minus_one(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    chosen = f"true_{CHAT}_3EB0000000000000002"
    policy.send_error = "ERROR_EXPIRED"
    answer = await shared.js(send("no", chosen))
    assert (answer["ack"], answer["sendMsgResult"]["messageSendResult"]) == (-1, "ERROR_EXPIRED")
    assert seen(standin, chosen)["ack"] == -1
    policy.send_error = ""
    again = await shared.js(send("no", chosen))
    assert (again["id"], again["ack"]) == (chosen, 1)
    assert seen(standin, chosen)["times_transmitted"] == 2


@pytest.mark.parametrize(("case", "times"), [("recorded", 2), ("lost", 1)])
async def test_a_send_without_an_answer_never_resolves(
    standin: StandIn, shared: Chrome, policy: Policy, case: str, times: int
) -> None:
    policy.update({"never_answer": case})
    chosen = f"true_{CHAT}_3EB0{case.upper()}"
    await shared.js(
        f"window.settled = false, {send('?', chosen)}.then(() => {{ settled = true }}), 0"
    )
    await eventually(lambda: seen(standin, chosen) or chosen in standin.whatsapp.lost)
    policy.never_answer = ""
    await shared.js(send("one that is answered, after it"))
    assert await shared.js("settled") is False
    assert bool(seen(standin, chosen)) is (case == "recorded")
    standin.phone.drop()
    await shared.until_js("settled")
    assert seen(standin, chosen)["times_transmitted"] == times


async def test_a_slow_ack(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    policy.ack_delay = 0.3
    took = await shared.js(
        f"(async () => {{ const t = Date.now(); await {send('slow')}; return Date.now() - t }})()"
    )
    assert took >= 300


async def test_an_incoming_message_is_announced_once_and_stored(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    message = standin.phone.incoming(
        from_="62812", body="hi there", name="Ani", timestamp=1700000000
    )["id"]
    reported = await shared.event("chat.new_message", id=message)
    assert (reported["body"], reported["from"], reported["isNewMsg"]) == (
        "hi there",
        "62812@c.us",
        True,
    )
    fields = await shared.js(
        f"WPP.chat.getMessageById('{message}').then((m) => [m.t, m.notifyName, m.type, String(m.to)])"
    )
    assert fields == [1700000000, "Ani", "chat", "6281180001@c.us"]
    await eventually(lambda: standin.phone.state()["accounts"]["6281180001"][0]["queued"] == 0)
    assert sum(v["id"] == message for n, v in shared.events if n == "chat.new_message") == 1


async def test_a_reply_quotes_what_it_answers(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    asked = standin.phone.incoming(from_=CHAT, body="how much?")["id"]
    await shared.event("chat.new_message", id=asked)
    sent = (await shared.js(send("ten", options=f"{OPTIONS}, quotedMsg: '{asked}'")))["id"]
    await shared.event("chat.new_message", id=sent)
    quoted = f"WPP.chat.getMessageById('{sent}').then((m) => m.quotedStanzaID)"
    assert await shared.js(quoted) == asked.split("_")[2]


async def test_a_group_message_has_an_author(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    group = "12036300000001@g.us"
    message = standin.phone.incoming(from_=group, author="62813", body="all", name="Budi")["id"]
    await shared.event("chat.new_message", id=message, **{"from": group})
    author = f"WPP.chat.getMessageById('{message}').then((m) => String(m.author))"
    assert await shared.js(author) == "62813@c.us"


async def test_history_in_both_directions(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    ids = [standin.phone.incoming(from_="62814", body=f"m{n}")["id"] for n in range(6)]
    await shared.event("chat.new_message", id=ids[-1])

    async def bodies(options: str) -> object:
        return await shared.js(
            f"WPP.chat.getMessages('62814@c.us', {{{options}}}).then((ms) => ms.map((m) => m.body))"
        )

    assert await bodies("count: 3") == ["m3", "m4", "m5"]
    assert await bodies(f"count: 2, direction: 'after', id: '{ids[1]}'") == ["m2", "m3"]
    assert await bodies(f"count: -1, direction: 'after', id: '{ids[1]}'") == [
        "m2",
        "m3",
        "m4",
        "m5",
    ]
    assert await bodies(f"count: 2, direction: 'before', id: '{ids[4]}'") == ["m2", "m3"]
    assert await bodies(f"count: 2, direction: 'after', id: '{ids[5]}'") == []


async def test_a_message_or_chat_that_is_not_there(shared: Chrome, policy: Policy) -> None:
    for message_id, code in [
        (f"true_{CHAT}_3EB0NOTHING", "msg_not_found"),
        ("true_62899999@c.us_3EB0NOTHING", "chat_not_found"),
    ]:
        get = f"WPP.chat.getMessageById('{message_id}').catch((e) => e.code)"
        assert await shared.js(get) == code


async def test_reading_a_chat_notifies_the_server(
    standin: StandIn, shared: Chrome, policy: Policy
) -> None:
    message = standin.phone.incoming(from_="62815", body="read me")["id"]
    await shared.event("chat.new_message", id=message)
    assert await shared.js("WPP.chat.get('62815@c.us').unreadCount") == 1
    answer = await shared.js("WPP.chat.markIsRead('62815@c.us').then((r) => r.unreadCount)")
    assert answer == 1
    await eventually(lambda: seen(standin, message)["ack"] == 3)
    assert await shared.js("WPP.chat.get('62815@c.us').unreadCount") == 0


async def test_does_a_number_exist(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    policy.update({"exists": {"628170002": False}})
    exists = "WPP.contact.queryWidExists('{}@c.us').then((r) => r && String(r.wid))"
    assert await shared.js(exists.format("628170001")) == "628170001@c.us"
    assert await shared.js(exists.format("628170002")) is None
    policy.exists_error = True
    assert await shared.js(exists.format("628170003")) is None, "an error looks like an absence"


async def test_a_file_goes_out(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    data = bytes(range(256)) * 300
    url = f"data:application/pdf;base64,{base64.b64encode(data).decode()}"
    chosen = f"true_{CHAT}_3EB0000000000000003"
    answer = await shared.js(
        f"WPP.chat.sendFileMessage('{CHAT}', '{url}', {{type: 'document', filename: 'a.pdf', "
        f"mimetype: 'application/pdf', caption: 'the bill', messageId: '{chosen}', waitForAck: true}})"
    )
    assert (answer["id"], answer["ack"]) == (chosen, 1)
    assert answer["sendMsgResult"]["messageSendResult"] == "OK"
    message = seen(standin, chosen)
    shown = [message[k] for k in ("type", "filename", "caption", "mimetype", "size")]
    assert shown == ["document", "a.pdf", "the bill", "application/pdf", len(data)]
    assert standin.whatsapp.media[str(message["filehash"])] == data


async def test_a_file_comes_in(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    data = b"\x89PNG" + bytes(range(200))
    media = {
        "mimetype": "image/png",
        "filename": "p.png",
        "base64": base64.b64encode(data).decode(),
    }
    message = standin.phone.incoming(from_="62816", body="look", media=media)["id"]
    await shared.event("chat.new_message", id=message)
    get = (
        f"WPP.chat.downloadMedia('{message}').then(async (b) => "
        "[b.type, b.size, btoa(String.fromCharCode(...new Uint8Array(await b.arrayBuffer())))])"
    )
    assert await shared.js(get) == ["image/png", len(data), media["base64"]]
    described = (
        f"WPP.chat.getMessageById('{message}').then((m) => [m.type, m.caption, m.mimetype, m.size])"
    )
    assert await shared.js(described) == ["image", "look", "image/png", len(data)]


async def test_a_file_that_is_gone(standin: StandIn, shared: Chrome, policy: Policy) -> None:
    policy.media_gone = True
    media = {"mimetype": "text/plain", "base64": base64.b64encode(b"gone").decode()}
    message = standin.phone.incoming(from_="62816", media=media)["id"]
    await shared.event("chat.new_message", id=message)
    get = f"WPP.chat.downloadMedia('{message}').catch((e) => e.code)"
    assert await shared.js(get) == "media_not_found"


async def test_nothing_in_the_page_threw(shared: Chrome) -> None:
    with pytest.raises(PageError, match="boom"):
        await shared.js("Promise.reject(new Error('boom'))")
    assert shared.errors == []
