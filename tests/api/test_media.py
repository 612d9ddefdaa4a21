"""GET /api/media/:sha256."""

import hashlib

import pytest

from tests.api.conftest import Api

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
