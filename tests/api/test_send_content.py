"""What a message answers, whom it names, and where its file comes from."""

import base64
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from waguard.errors import RefusedError
from waguard.ports.outcomes import Refused
from waguard.wire.calls import SendMedia

TEXT, MEDIA = "/api/messages/send", "/api/messages/send-media"
NUMBER, GROUP = "6281234567890", "120363041234567890@g.us"
CHAT = f"{NUMBER}@c.us"
QUOTED = f"false_{CHAT}_3EB0A1"


def body(**changes: Any) -> dict[str, Any]:
    """One that both take."""
    return {
        "session_id": SESSION,
        "recipient_phone": NUMBER,
        "message": "hi",
        "media": base64.b64encode(b"picture").decode(),
    } | changes


@pytest.mark.parametrize("path", [TEXT, MEDIA])
async def test_a_reply_that_names_people(api: Api, path: str) -> None:
    mentions = ["+62 811-8000-2", CHAT, "62811800@s.whatsapp.net", "123456789012345@lid", NUMBER]
    answer = await api.call("POST", path, body(quoted_message_id=QUOTED, mentions=mentions))
    assert answer.status == 200, answer.content
    [call] = api.sessions.sends()
    assert call.quoted == QUOTED
    assert call.mentions == (
        "6281180002@c.us",
        CHAT,
        "62811800@c.us",
        "123456789012345@lid",
    )


@pytest.mark.parametrize("path", [TEXT, MEDIA])
async def test_without_them_nothing_is_quoted_or_named(api: Api, path: str) -> None:
    await api.call("POST", path, body(quoted_message_id="", mentions=[]))
    [call] = api.sessions.sends()
    assert (call.quoted, call.mentions, call.first_contact_check) == (None, (), True)
    api.configure("send", check_first_contact=False)
    await api.call("POST", path, body())
    assert not api.sessions.sends()[1].first_contact_check


@pytest.mark.parametrize(
    ("recipient", "quoted"),
    [
        (CHAT, f"true_{CHAT}_3EB0A1"),
        (GROUP, f"false_{GROUP}_3EB0A1_6281180002@c.us"),
        (GROUP, f"false_{GROUP}_3EB0A1_123456789012345:3@lid"),
        ("6281234567890-1612345678@g.us", "true_6281234567890-1612345678@g.us_A1"),
        # the same person by number and by lid: only the page can tell
        (CHAT, "false_123456789012345@lid_3EB0A1"),
        ("123456789012345@lid", QUOTED),
    ],
)
async def test_what_may_be_quoted(api: Api, recipient: str, quoted: str) -> None:
    given = body(recipient_phone=recipient, quoted_message_id=quoted)
    assert (await api.call("POST", TEXT, given)).status == 200
    assert api.sessions.sends()[0].quoted == quoted


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"quoted_message_id": "3EB0A1"}, "quoted_message_id", "3EB0A1"),
    ({"quoted_message_id": 5}, "quoted_message_id", "5"),
    ({"quoted_message_id": [QUOTED]}, "quoted_message_id", "not a message id"),
    ({"quoted_message_id": f"{QUOTED}\n"}, "quoted_message_id", "not a message id"),
    (
        {"quoted_message_id": "false_status@broadcast_A"},
        "quoted_message_id",
        "not a message id",
    ),
    ({"quoted_message_id": "false_62811@c.us_A"}, "quoted_message_id", "another chat"),
    ({"quoted_message_id": f"false_{GROUP}_A"}, "quoted_message_id", "another chat"),
    ({"mentions": NUMBER}, "mentions", NUMBER),
    ({"mentions": {NUMBER: 1}}, "mentions", "not a list"),
    ({"mentions": [NUMBER] * 101}, "mentions", "not a list"),
    ({"mentions": [NUMBER, "Bob"]}, "mentions[1]", "Bob"),
    ({"mentions": [NUMBER, None]}, "mentions[1]", "None"),
    ({"mentions": [GROUP]}, "mentions[0]", "a group"),
]


async def test_says_what_was_wrong_and_what_to_do(api: Api, subtests: pytest.Subtests) -> None:
    for path, (changes, field, error) in itertools.product((TEXT, MEDIA), WRONG):
        with subtests.test(path=path, changes=changes):
            answer = await api.call("POST", path, body(**changes))
            reported = answer.json()
            assert (answer.status, reported["field"]) == (400, field)
            assert error in reported["error"]
            assert reported["remedy"]
            assert not api.sessions.calls


async def test_a_refusal_names_the_field_that_is_to_blame(api: Api) -> None:
    error = RefusedError("+62811 is not on WhatsApp", field="recipient_phone")
    api.sessions.outcomes.append(Refused(error))
    answer = await api.call("POST", TEXT, body())
    reported = answer.json()
    assert (answer.status, reported["outcome"]) == (422, "refused")
    assert (reported["field"], reported["error"]) == (
        "recipient_phone",
        "+62811 is not on WhatsApp",
    )
    assert reported["remedy"]


# ---- files by address ----


@pytest.fixture
async def files(api: Api) -> AsyncIterator[str]:
    """The address of a server of files, which may be called."""
    api.configure("send", allow_private=True)

    async def picture(_: web.Request) -> web.Response:
        return web.Response(body=b"a picture", content_type="image/png")

    async def unknown(_: web.Request) -> web.Response:
        return web.Response(
            body=b"a bill",
            headers={"Content-Disposition": 'attachment; filename="../../b\\\\bill.pdf"'},
        )

    async def stored(_: web.Request) -> web.Response:
        """What S3 says of an object that was stored without a type."""
        return web.Response(body=b"a picture", content_type="binary/octet-stream")

    async def login(_: web.Request) -> web.Response:
        return web.Response(text="<form>", content_type="text/html", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/p/a picture.png", picture), web.get("/download", unknown)])
    app.add_routes([web.get("/bucket/{name}", stored), web.get("/login", login)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def by_address(url: str, **more: Any) -> dict[str, Any]:
    return body(media=None, media_url=url) | more


@pytest.mark.parametrize(
    ("path", "more", "sent"),
    [
        ("/p/a%20picture.png", {}, ("image/png", "image", "a picture.png")),
        ("/p/a picture.png\n", {}, ("image/png", "image", "a picture.png")),
        ("/p/a%20picture.png", {"type": "document"}, ("image/png", "document", "a picture.png")),
        ("/p/a%20picture.png", {"filename": "b.png"}, ("image/png", "image", "b.png")),
        ("/p/a%20picture.png", {"mimetype": "image/x"}, ("image/x", "image", "a picture.png")),
        ("/download", {}, ("application/pdf", "document", "bill.pdf")),
        ("/bucket/a.png", {}, ("image/png", "image", "a.png")),
        ("/bucket/a", {}, ("application/octet-stream", "document", "a")),
    ],
)
async def test_a_file_is_fetched_and_what_its_server_says_counts_last(
    api: Api, files: str, path: str, more: dict[str, Any], sent: tuple[str, str, str]
) -> None:
    answer = await api.call("POST", MEDIA, by_address(files + path, caption="look", **more))
    assert answer.status == 200, answer.content
    [call] = api.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.mimetype, call.kind, call.filename) == sent
    assert call.content in {b"a picture", b"a bill"}
    assert call.caption == "look"


async def test_a_file_that_is_not_there_is_422(api: Api, files: str) -> None:
    answer = await api.call("POST", MEDIA, by_address(f"{files}/none?signature=secret"))
    reported = answer.json()
    assert (answer.status, reported["field"]) == (422, "media_url")
    assert f"{files}/none" in reported["error"]
    assert "secret" not in str(reported)
    assert reported["remedy"]
    assert not api.sessions.calls


async def test_an_address_that_may_not_be_called_is_400(api: Api, files: str) -> None:
    api.configure("send", allow_private=False)
    answer = await api.call("POST", MEDIA, by_address(f"{files}/p/a%20picture.png"))
    reported = answer.json()
    assert (answer.status, reported["field"]) == (400, "media_url")
    assert "send.allow_private" in reported["remedy"]
    assert not api.sessions.calls


async def test_an_address_with_an_odd_character_is_to_be_encoded(api: Api, files: str) -> None:
    answer = await api.call("POST", MEDIA, by_address(f"{files}/p/a\tpicture.png"))
    reported = answer.json()
    assert (answer.status, reported["field"]) == (400, "media_url")
    assert "percent-encode" in reported["remedy"]


async def test_a_login_page_goes_as_a_document_or_not_at_all(api: Api, files: str) -> None:
    answer = await api.call("POST", MEDIA, by_address(f"{files}/login", type="image"))
    reported = answer.json()
    assert (answer.status, reported["field"]) == (400, "type")
    assert "web page" in reported["error"]
    assert not api.sessions.sends()
    for asked in ({}, {"type": "document"}):
        answer = await api.call("POST", MEDIA, by_address(f"{files}/login", **asked))
        assert answer.status == 200, answer.content
    sent = [it for it in api.sessions.sends() if isinstance(it, SendMedia)]
    assert [it.kind for it in sent] == ["document", "document"]


async def test_nothing_is_fetched_for_a_session_that_is_not_there(api: Api, files: str) -> None:
    answer = await api.call("POST", MEDIA, by_address(f"{files}/none", session_id="nobody"))
    assert answer.status == 404


@pytest.mark.parametrize(
    ("filename", "mimetype"),
    [
        ("//[x.pdf", "application/pdf"),
        ("https://[1]/x.pdf", "application/pdf"),
        ("Re: #1.pdf", "application/pdf"),
        ("Which one?.pdf", "application/pdf"),
        ("a.PDF", "application/pdf"),
        ("x.tar.gz", "application/x-tar"),
        ("data:x", "application/octet-stream"),
    ],
)
async def test_the_type_of_a_file_by_a_name_like_a_url(
    api: Api, filename: str, mimetype: str
) -> None:
    answer = await api.call("POST", MEDIA, body(filename=filename))
    assert answer.status == 200, answer.content
    [call] = api.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.mimetype, call.filename) == (mimetype, filename)


PNG, WEBP = b"\x89PNG\r\n\x1a\n\0\0", b"RIFF\x24\0\0\0WEBPVP8 "
MP4, M4A = b"\0\0\0\x20ftypisom\0\0", b"\0\0\0\x20ftypM4A \0\0"


@pytest.mark.parametrize(
    ("content", "more", "sent"),
    [
        (PNG, {"type": "image"}, ("image/png", "image")),
        (PNG, {}, ("image/png", "image")),
        (PNG, {"type": "sticker"}, ("image/png", "sticker")),
        (PNG, {"type": "document", "filename": "photo"}, ("image/png", "document")),
        (PNG, {"filename": "a.gif"}, ("image/gif", "image")),
        (PNG, {"mimetype": "application/octet-stream"}, ("application/octet-stream", "document")),
        (b"\xff\xd8\xff\xe0", {}, ("image/jpeg", "image")),
        (b"GIF89a", {}, ("image/gif", "image")),
        (WEBP, {}, ("image/webp", "image")),
        (MP4, {}, ("video/mp4", "video")),
        (M4A, {}, ("audio/mp4", "audio")),
        (b"OggS\0\2", {}, ("audio/ogg", "audio")),
        (b"ID3\3\0", {}, ("audio/mpeg", "audio")),
        (b"%PDF-1.7", {}, ("application/pdf", "document")),
        (b"RIFF\x24\0\0\0AVI LIST", {}, ("application/octet-stream", "document")),
    ],
)
async def test_a_file_of_which_nobody_says_the_type_has_that_of_its_first_bytes(
    api: Api, content: bytes, more: dict[str, Any], sent: tuple[str, str]
) -> None:
    media = base64.b64encode(content).decode()
    answer = await api.call("POST", MEDIA, body(media=media, **more))
    assert answer.status == 200, answer.content
    [call] = api.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.mimetype, call.kind) == sent
