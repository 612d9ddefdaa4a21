"""GET /api/media/:sha256, and files that follow their messages."""

import hashlib

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION
from waguard.core.keys import Caller, Right
from waguard.core.messages.inbox import Deferred, EventPayload, InboxRecord, Kind
from waguard.core.messages.received_media import handle_of

PICTURE = b"<script>a picture, they say</script>"
NAME = hashlib.sha256(PICTURE).hexdigest()


async def test_a_file_is_saved_and_never_shown(api: Api) -> None:
    api.media.keep(PICTURE, "text/html; charset=utf-8")
    answer = await api.call("GET", f"/api/media/{NAME}")
    assert (answer.status, answer.content) == (200, PICTURE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_what_is_kept_needs_no_database(api: Api) -> None:
    """Unless the key is for some sessions: whose file it is, the database knows."""
    api.media.keep(PICTURE, "image/png")
    await api.database.close()
    assert (await api.call("GET", f"/api/media/{NAME}")).content == PICTURE
    assert (await api.call("GET", f"/api/media/{'0' * 64}")).status == 503
    api.caller = Caller(name="k", right=Right.SEND, sessions=frozenset({SESSION}))
    assert (await api.call("GET", f"/api/media/{NAME}")).status == 503


async def test_a_part_of_it(api: Api) -> None:
    api.media.keep(PICTURE, "image/png")
    answer = await api.call("GET", f"/api/media/{NAME}", headers={"Range": "bytes=8-16"})
    assert (answer.status, answer.content) == (206, PICTURE[8:17])


async def test_only_with_a_key(api: Api) -> None:
    api.media.keep(PICTURE, "image/png")
    assert (await api.call("GET", f"/api/media/{NAME}", key=None)).status == 401


@pytest.mark.parametrize(
    "name", ["0" * 64, NAME[:-1], NAME.upper(), f"{NAME}.json", "..%2Fapi-key", "%2e%2e", "%00"]
)
async def test_what_is_not_there(api: Api, name: str) -> None:
    api.media.keep(PICTURE, "image/png")
    answer = await api.call("GET", f"/api/media/{name}")
    assert answer.status == 404
    assert answer.json()["error"]


async def deferred(api: Api, number: int) -> tuple[str, str]:
    """A message whose file is to follow; its id, and the file's handle."""
    name = f"false_6281@c.us_3EB0{number}"
    media = {"mimetype": "image/png", "size": len(PICTURE), "sha256": None}
    record = InboxRecord(
        session_id=SESSION,
        workspace_id=1,
        key=name,
        kind=Kind.MESSAGE,
        at=1.0,
        events=(EventPayload("message_received", {"message": {"media": media}}),),
        deferred=Deferred(message_id=name, mimetype="image/png", size=len(PICTURE)),
    )
    await api.database.messages.write([record])
    return name, handle_of(SESSION, name)


async def test_a_file_that_follows_its_message(api: Api) -> None:
    (name, handle), path = await deferred(api, 1), "/api/media/"
    answer = await api.call("GET", path + handle)
    assert (answer.status, answer.headers["Retry-After"]) == (425, "5")
    await api.database.messages.end_file(handle, error="media_not_found")
    answer = await api.call("GET", path + handle)
    assert (answer.status, answer.json()["remedy"]) == (404, "POST /api/messages/{id}/media")
    assert "media_not_found" in answer.json()["error"]
    again = await api.call("POST", f"/api/messages/{name}/media")
    url = f"http://h/api/media/{handle}"
    assert (again.status, again.json()) == (
        202,
        {"success": True, "url": url, "status": "waiting"},
    )
    assert (await api.call("GET", path + handle)).status == 425
    await api.database.messages.end_file(handle, sha256=NAME)
    assert (await api.call("GET", path + handle)).status == 404, "it is gone already"
    api.media.keep(PICTURE, "image/png")
    answer = await api.call("GET", path + handle)
    assert (answer.content, answer.headers["Content-Type"]) == (PICTURE, "image/png")
    again = await api.call("POST", f"/api/messages/{name}/media")
    assert again.json()["status"] == "kept"
    for unknown in (f"{name}9", "1", "%00"):
        assert (await api.call("POST", f"/api/messages/{unknown}/media")).status == 404


async def test_another_sessions_file_is_not_there(api: Api) -> None:
    name, handle = await deferred(api, 1)
    api.caller = Caller(name="k", right=Right.SEND, sessions=frozenset({"other"}))
    for method, path in (("GET", f"/api/media/{handle}"), ("POST", f"/api/messages/{name}/media")):
        assert (await api.call(method, path)).status == 404
