"""Sends as the application makes and repeats them: what its status codes mean, no double, order."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.errors import ConflictError, RefusedError, UnavailableError, WaguardError
from waguard.messaging.outbox.commands import Command
from waguard.messaging.outbox.pending_sends import Options, PendingSend
from waguard.ports.bus import BusEvent
from waguard.ports.outcomes import NotSent, Outcome, Refused, Uncertain
from waguard.wire.calls import SendMedia, SendText

SEND = "/api/messages/send"
BODY: dict[str, Any] = {
    "session_id": SESSION,
    "workspace_id": "1",
    "recipient_phone": "+62 812-3456-7890",
    "message": "hello 😀",
    "type": "text",
}
CHAT = "6281234567890@c.us"


async def test_sent_is_200_with_the_id_that_was_chosen_before(api: Api) -> None:
    answer = await api.call("POST", SEND, BODY)
    [call] = api.sessions.sends()
    assert isinstance(call, SendText)
    assert (call.chat, call.text, call.timeout) == (CHAT, "hello 😀", 30.0)
    assert api.sessions.calls[0][2] == 20.0
    assert answer.status == 200
    assert answer.json() == {
        "success": True,
        "message_id": call.message_id,
        "timestamp": 1_732_240_100,
    }


@pytest.mark.parametrize(
    ("recipient", "chat"),
    [
        ("6281234567890", CHAT),
        (6281234567891, "6281234567891@c.us"),
        ("+62 (812) 345-678.90", CHAT),
        (CHAT, CHAT),
        ("6281234567890@s.whatsapp.net", CHAT),
        ("120363041234567890@g.us", "120363041234567890@g.us"),
        ("6281234567890-1612345678@g.us", "6281234567890-1612345678@g.us"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("120363041234567890", "120363041234567890@g.us"),
        (120363041234567891, "120363041234567891@g.us"),
        ("6281234567890-1612345678", "6281234567890-1612345678@g.us"),
        ("1234567890123456", "1234567890123456@g.us"),
        ("123456789012345", "123456789012345@c.us"),
        ("62812-34567890", "6281234567890@c.us"),
    ],
)
async def test_each_form_of_a_recipient_is_one_chat(api: Api, recipient: Any, chat: str) -> None:
    answer = await api.call("POST", SEND, BODY | {"recipient_phone": recipient})
    assert answer.status == 200
    assert api.sessions.sends()[0].chat == chat
    assert answer.json()["message_id"].startswith(f"true_{chat}_")


async def test_a_group_without_its_server_gets_files_too(api: Api) -> None:
    body = {"session_id": SESSION, "recipient_phone": "120363041234567890", "media": "aGk="}
    assert (await api.call("POST", "/api/messages/send-media", body)).status == 200
    assert api.sessions.sends()[0].chat == "120363041234567890@g.us"


async def test_refused_is_422_and_final(api: Api) -> None:
    api.sessions.outcomes.append(Refused(RefusedError("not on WhatsApp")))
    answer = await api.call("POST", SEND, BODY)
    reported = answer.json()
    assert answer.status == 422
    assert (reported["success"], reported["outcome"], reported["error"]) == (
        False,
        "refused",
        "not on WhatsApp",
    )
    assert reported["remedy"]


@pytest.mark.parametrize("outcome", [Uncertain("no answer"), RuntimeError("a bug"), OSError()])
async def test_uncertain_is_202_so_that_it_is_not_sent_again(
    api: Api, outcome: Outcome | BaseException
) -> None:
    api.sessions.outcomes.append(outcome)
    answer = await api.call("POST", SEND, BODY)
    reported = answer.json()
    assert answer.status == 202
    assert (reported["success"], reported["outcome"]) == (False, "uncertain")
    assert reported["message_id"] == api.sessions.sends()[0].message_id
    assert (await api.call("POST", SEND, BODY)).status == 200  # told: an equal one is new


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConflictError("Session not connected: it is qr_pending"), 409),
        (UnavailableError("Session not ready", retry_after=2), 503),
    ],
)
async def test_a_send_that_did_not_leave_says_when_to_repeat_it(
    api: Api, error: WaguardError, status: int
) -> None:
    api.sessions.outcomes.append(NotSent(error))
    answer = await api.call("POST", SEND, BODY)
    assert (answer.status, answer.json()["error"]) == (status, str(error))
    assert answer.headers.get("Retry-After") == ("2" if status == 503 else None)


async def test_each_form_of_a_file_is_sent(api: Api) -> None:
    content = base64.b64encode(b"a picture").decode()
    common = {"session_id": SESSION, "recipient_phone": "6281234567890"}
    cases = [
        ({"media_url": f"data:image/png;base64,{content}", "caption": "c"}, "image/png", "image"),
        ({"media": content, "filename": "a.pdf"}, "application/pdf", "document"),
        ({"media": content, "mimetype": "audio/ogg"}, "audio/ogg", "audio"),
        ({"media": content}, "application/octet-stream", "document"),
        ({"media": content, "type": "video", "mimetype": "video/mp4"}, "video/mp4", "video"),
    ]
    for more, _, _ in cases:
        answer = await api.call("POST", "/api/messages/send-media", common | more)
        assert answer.status == 200, answer.content
    calls = [call for call in api.sessions.sends() if isinstance(call, SendMedia)]
    assert [(call.mimetype, call.kind) for call in calls] == [case[1:] for case in cases]
    assert {call.content for call in calls} == {b"a picture"}
    assert (calls[0].caption, calls[1].filename) == ("c", "a.pdf")


async def test_16_mib_pass(api: Api) -> None:
    body = {"session_id": SESSION, "recipient_phone": "6281234567890"}
    body["media"] = base64.b64encode(bytes(16 << 20)).decode()
    assert (await api.call("POST", "/api/messages/send-media", body)).status == 200


# ---- the same request again ----


@pytest.fixture
def asked(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The chat of every send that reached the outbox."""
    chats: list[str] = []
    accept = api.outbox.accept

    def noting(session_id: str, workspace_id: int, command: Command, how: Options) -> PendingSend:
        chats.append(command.chat)
        return accept(session_id, workspace_id, command, how)

    monkeypatch.setattr(api.outbox, "accept", noting)
    return chats


def reply_was_lost(api: Api) -> bool:
    return any(pending.kept_since is not None for pending in api.outbox._sends._known.values())


async def hang_up_after_sending(api: Api, body: dict[str, Any]) -> None:
    """As an application that gives up while the send is in flight."""
    _, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    content = json.dumps(body).encode()
    head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    await wait_until(api.outbox.owed, "it began")
    writer.close()
    await writer.wait_closed()


@pytest.fixture
async def announced(api: Api) -> AsyncIterator[list[BusEvent]]:
    """Every ``message_sent``, as it is published."""
    seen: list[BusEvent] = []

    async def listen() -> None:
        async with api.bus.subscribe() as events:
            ready.set()
            async for event in events:
                seen.append(event)  # noqa: PERF401 - the test reads it meanwhile

    ready = asyncio.Event()
    listening = asyncio.create_task(listen())
    await ready.wait()
    yield seen
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_identical_requests_in_flight_are_one(
    api: Api, announced: list[BusEvent], asked: list[str]
) -> None:
    api.sessions.free.clear()
    sending = [asyncio.ensure_future(api.call("POST", SEND, BODY)) for _ in range(3)]
    other = asyncio.ensure_future(
        api.call("POST", SEND, BODY | {"recipient_phone": "6281234567891"})
    )
    await wait_until(lambda: len(asked) == 4, "all are in")
    await wait_until(lambda: len(api.sessions.sends()) == 2, "both began")
    api.sessions.free.set()
    answers = await asyncio.gather(*sending, other)
    ids = [answer.json()["message_id"] for answer in answers]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert len(api.sessions.sends()) == 2
    await wait_until(lambda: len(announced) == 2, "each was announced once")
    assert {event.data["message_id"] for event in announced} == set(ids)


async def test_a_lost_reply_is_given_to_the_repetition(api: Api, announced: list[BusEvent]) -> None:
    api.sessions.free.clear()
    await hang_up_after_sending(api, BODY)
    api.sessions.free.set()
    await wait_until(lambda: reply_was_lost(api), "the reply was lost")
    assert not announced  # nobody was told yet
    again = (await api.call("POST", SEND, BODY)).json()
    assert again["message_id"] == api.sessions.sends()[0].message_id
    await wait_until(lambda: len(announced) == 1, "it was announced")
    third = (await api.call("POST", SEND, BODY)).json()  # a person says it twice
    assert third["message_id"] != again["message_id"]
    assert len(api.sessions.sends()) == 2
    assert api.outbox.owed() == 0


async def test_the_repetition_joins_a_send_whose_client_has_left(
    api: Api, asked: list[str]
) -> None:
    api.sessions.free.clear()
    await hang_up_after_sending(api, BODY)
    again = asyncio.ensure_future(api.call("POST", SEND, BODY))
    await wait_until(lambda: len(asked) == 2, "the repetition is in")
    api.sessions.free.set()
    assert (await again).json()["message_id"] == api.sessions.sends()[0].message_id
    assert len(api.sessions.sends()) == 1


async def test_a_lost_refusal_that_was_only_not_ready_is_tried_again(api: Api) -> None:
    api.sessions.outcomes.append(NotSent(UnavailableError("Session not ready", retry_after=2)))
    api.sessions.free.clear()
    await hang_up_after_sending(api, BODY)
    api.sessions.free.set()
    await wait_until(lambda: reply_was_lost(api), "the reply was lost")
    assert (await api.call("POST", SEND, BODY)).status == 200
    assert len(api.sessions.sends()) == 2


async def test_message_sent_never_overtakes_the_reply(
    api: Api, monkeypatch: pytest.MonkeyPatch, announced: list[BusEvent]
) -> None:
    before: list[list[str]] = []
    api.sessions.free.clear()
    sending = asyncio.ensure_future(api.call("POST", SEND, BODY))
    await wait_until(api.sessions.sends, "the send began")
    [pending] = api.outbox._sends._known.values()
    answered = api.outbox.answered

    def noting(which: Any, *, direct: bool) -> bool:
        assert direct, "the request waited for it"
        before.append([it.event for it in announced])
        return answered(which, direct=direct)

    monkeypatch.setattr(api.outbox, "answered", noting)
    api.sessions.free.set()
    assert (await sending).status == 200
    await wait_until(lambda: announced, "it was announced")
    assert before == [[]], "nothing was published before the reply was written"
    assert [it.event for it in announced] == ["message_sent"]
    assert pending.replied


async def test_what_was_not_sent_is_not_announced(api: Api, announced: list[BusEvent]) -> None:
    off = NotSent(ConflictError("off"))
    api.sessions.outcomes.extend([Refused(RefusedError("no")), Uncertain("?"), off])
    for _ in range(3):
        await api.call("POST", SEND, BODY)
    api.bus.publish("link", SESSION, 1, {})
    await wait_until(lambda: announced, "the link event came")
    assert [event.event for event in announced] == ["link"]
