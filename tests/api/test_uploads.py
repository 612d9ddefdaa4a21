"""Files to send by POST /api/media: streamed to the disk, then sent by their hash."""

import asyncio
import gzip
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from loguru import logger

from tests.api.conftest import KEY, Answer, Api
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.errors import UnavailableError
from waguard.host.files.media import MediaFolder
from waguard.wire.calls import SendFile

LARGE = bytes(range(256)) * 12_000  # beyond what a body of JSON may have
NAME = hashlib.sha256(LARGE).hexdigest()
UPLOAD, SEND = "/api/media", "/api/messages/send-media"
PDF = {"Content-Type": "application/pdf"}


def send(**more: Any) -> dict[str, Any]:
    return {"session_id": SESSION, "recipient_phone": "6281234567890", "media_sha256": NAME, **more}


def left(api: Api) -> list[Path]:
    """What is not whole."""
    return [it for it in api.deps.outgoing_files.folder.coming("").rglob("*") if it.is_file()]


async def test_it_is_kept_and_sent_by_its_hash(api: Api) -> None:
    answer = await api.call("POST", UPLOAD, data=LARGE, headers=PDF)
    assert (answer.status, answer.json()) == (
        200,
        {"success": True, "sha256": NAME, "size": len(LARGE), "mimetype": "application/pdf"},
    )
    assert not left(api)
    body = send(filename="a.pdf", caption="see")
    assert (await api.call("POST", SEND, body)).status == 200
    [call] = api.sessions.sends()
    assert isinstance(call, SendFile)
    assert Path(call.file).read_bytes() == LARGE
    assert (call.content, call.size) == (b"", len(LARGE))
    assert (call.mimetype, call.kind, call.filename) == ("application/pdf", "document", "a.pdf")
    assert call.timeout > 30.0, "it grows with the size"
    assert (await api.call("GET", f"/api/media/{NAME}")).status == 404, "it was not received"


async def test_a_repeated_upload_corrects_the_type(api: Api) -> None:
    for mimetype in ("application/x-www-form-urlencoded", "image/png"):
        answer = await api.call("POST", UPLOAD, data=LARGE, headers={"Content-Type": mimetype})
        assert answer.json()["mimetype"] == mimetype
    assert (await api.call("POST", SEND, send())).status == 200
    [call] = api.sessions.sends()
    assert isinstance(call, SendFile)
    assert (call.mimetype, call.kind) == ("image/png", "image")


# curl says the second unless it is asked not to
@pytest.mark.parametrize("said", ["application/octet-stream", "application/x-www-form-urlencoded"])
async def test_one_of_which_nobody_says_the_type_has_that_of_its_first_bytes(
    api: Api, said: str
) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + LARGE
    answer = await api.call("POST", UPLOAD, data=picture, headers={"Content-Type": said})
    name = answer.json()["sha256"]
    assert (await api.call("POST", SEND, send(media_sha256=name))).status == 200
    [call] = api.sessions.sends()
    assert isinstance(call, SendFile)
    assert (call.mimetype, call.kind) == ("image/png", "image")


async def test_a_packed_body_is_unpacked(api: Api) -> None:
    headers = {**PDF, "Content-Encoding": "gzip"}
    answer = await api.call("POST", UPLOAD, data=gzip.compress(LARGE), headers=headers)
    assert answer.json()["sha256"] == NAME


async def test_what_is_no_file_is_refused(api: Api, subtests: pytest.Subtests) -> None:
    for what, more, field in (
        ("unknown", {}, "media_sha256"),
        ("no hash", {"media_sha256": "0f"}, "media_sha256"),
        ("a number", {"media_sha256": 7}, "media_sha256"),
        ("two files", {"media": "aGk="}, "media_sha256"),
    ):
        with subtests.test(what):
            answer = await api.call("POST", SEND, send(**more))
            assert (answer.status, answer.json()["field"]) == (400, field)
    assert (await api.call("POST", UPLOAD, data=b"", headers=PDF)).status == 400
    assert not api.sessions.sends()
    assert not left(api)


async def test_a_file_of_the_disk_is_not_shown_once(api: Api) -> None:
    await api.call("POST", UPLOAD, data=LARGE, headers=PDF)
    answer = await api.call("POST", SEND, send(type="image", view_once=True))
    assert (answer.status, answer.json()["field"]) == (400, "media_sha256")
    assert not api.sessions.sends()


async def test_no_more_is_taken_than_the_limit(api: Api) -> None:
    api.configure("media", file_limit=1)

    async def unsized() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(1 << 20)

    for data in (LARGE, unsized()):
        answer = await api.call("POST", UPLOAD, data=data, headers=PDF)
        assert (answer.status, answer.json()["field"]) == (413, "body")
        assert "media.file_limit" in answer.json()["remedy"]
    assert not left(api)


async def test_nobody_without_a_key_has_anything_stored(api: Api) -> None:
    body = b'{"api_key": "%s"}' % KEY.encode() + LARGE
    for data in (LARGE, body):
        assert (await api.call("POST", UPLOAD, data=data, key=None)).status == 401
    assert not await asyncio.to_thread(api.deps.outgoing_files.folder.size)


async def test_the_quota_and_the_reserve(api: Api, tmp_path: Path) -> None:
    api.configure("media", limit=2)
    answer = await api.call("POST", UPLOAD, data=LARGE, headers=PDF)
    assert answer.status == 507
    assert "media.limit" in answer.json()["error"]
    api.configure("media", limit=4096)
    full = MediaFolder(tmp_path / "full", reserve=lambda: 1 << 60)
    api.deps.outgoing_files.folder = full
    answer = await api.call("POST", UPLOAD, data=LARGE, headers=PDF)
    assert answer.status == 507
    assert "limits.disk_reserve" in answer.json()["error"]
    assert answer.headers["Retry-After"]


async def test_what_was_sent_makes_room_for_what_comes(api: Api) -> None:
    api.configure("media", limit=7)
    folder = api.deps.outgoing_files.folder

    async def upload(number: int) -> Answer:
        return await api.call("POST", UPLOAD, data=bytes([number]) + LARGE, headers=PDF)

    sent, waiting = [(await upload(it)).json()["sha256"] for it in range(2)]
    assert (await upload(2)).status == 507, "somebody may name the others yet"
    assert (await api.call("POST", SEND, send(media_sha256=sent))).status == 200
    api.sessions.not_ready = UnavailableError("it is not ready")
    answer = await api.call("POST", f"{SEND}?queue=1", send(media_sha256=waiting))
    assert answer.json()["success"], answer.json()
    for path in folder.coming("").parent.glob("??/*"):
        os.utime(path, (0, 0))
    assert (await upload(2)).status == 200
    assert folder.find(sent) is None
    assert folder.find(waiting)
    answer = await upload(3)
    assert (answer.status, answer.json()["field"]) == (507, "body")
    assert "wait to be sent" in answer.json()["error"]
    assert "media.limit" in answer.json()["remedy"]


async def test_nothing_is_left_of_one_that_breaks_off(api: Api) -> None:
    free = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield bytes(2 << 20)
        await free.wait()
        raise OSError("the client breaks off")

    async def upload() -> None:
        headers = {"X-Api-Key": KEY, "Content-Length": str(9 << 20)}
        with pytest.raises((aiohttp.ClientError, OSError)):
            async with api.http.post(api.base + UPLOAD, data=half(), headers=headers):
                pass

    uploading = asyncio.create_task(upload())
    await wait_until(lambda: left(api), "a part of it is there")
    free.set()
    await uploading
    await wait_until(lambda: not left(api), "nothing of it is left")
    assert not await asyncio.to_thread(api.deps.outgoing_files.folder.size)


async def test_a_client_that_leaves_is_no_lack_of_room(api: Api) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="DEBUG", format="{level} {message} {extra}")
    at = urlsplit(api.base)
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nContent-Length: 9000000\r\n\r\n"
    try:
        _, writer = await asyncio.open_connection(at.hostname, at.port)
        writer.write(head.encode() + bytes(2 << 20))
        await wait_until(lambda: left(api), "a part of it is there")
        writer.transport.abort()
        await wait_until(lambda: any(UPLOAD in it for it in lines), "its request has ended")
    finally:
        logger.remove(sink)
    assert not [it for it in lines if not it.startswith("DEBUG")]
    assert not left(api)
