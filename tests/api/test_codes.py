"""The routes of QR codes, pairing codes and screenshots."""

import io
import time

import pytest
import zxingcpp
from PIL import Image

from tests.api.conftest import Api
from tests.api.fake_sessions import RAW, SESSION
from waguard.errors import ConflictError, NotYetError
from waguard.wire.calls import PairingCode, Screenshot, Value
from waguard.wire.reports import QrCode

ONE = f"/api/sessions/{SESSION}"


class TestCodes:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_qr_code_is_answered_as_json_with_its_seconds(
        self, api: Api, method: str
    ) -> None:
        api.sessions.code = QrCode(raw=RAW, count=1, expires_at=time.time() + 170)
        reported = (await api.call(method, f"{ONE}/qr")).json()
        assert reported["raw"] == RAW
        assert 100 <= reported["expires_in"] <= 170
        head, _, content = reported["qr_code"].partition(",")
        assert head == "data:image/png;base64"
        assert content

    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("?format=png", {}),
            ("", {"Accept": "image/png"}),
            ("", {"Accept": "image/avif,image/png;q=0.8,*/*;q=0.5"}),
        ],
    )
    async def test_a_phone_reads_the_picture(
        self, api: Api, path: str, headers: dict[str, str]
    ) -> None:
        answer = await api.call("GET", f"{ONE}/qr{path}", headers=headers)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Cache-Control"] == "no-store"
        [read] = zxingcpp.read_barcodes(Image.open(io.BytesIO(answer.content)))
        raw = await api.call("GET", f"{ONE}/qr?format=raw")
        assert raw.headers["Content-Type"].startswith("text/plain")
        assert read.text.encode() == raw.content == RAW.encode()

    async def test_a_qr_code_is_answered_as_svg(self, api: Api) -> None:
        answer = await api.call("GET", f"{ONE}/qr?format=svg")
        assert answer.headers["Content-Type"].startswith("image/svg+xml")
        assert b"<svg" in answer.content

    async def test_wait_and_refresh_reach_supervision(self, api: Api) -> None:
        await api.call("GET", f"{ONE}/qr?wait=12.5")
        reported = (await api.call("POST", f"{ONE}/regenerate-qr")).json()
        assert api.sessions.done == ["qr wait=12.5 refresh=False", "qr wait=20 refresh=True"]
        assert reported["success"] is True
        assert reported["raw"] == RAW

    @pytest.mark.parametrize(
        ("error", "status", "retry_after"),
        [
            (ConflictError("already linked", remedy="log out"), 409, None),
            (NotYetError("no QR code yet", retry_after=2), 425, "2"),
        ],
    )
    async def test_there_is_none(
        self, api: Api, error: Exception, status: int, retry_after: str | None
    ) -> None:
        api.sessions.fail = error
        answer = await api.call("GET", f"{ONE}/qr")
        assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
        assert answer.json()["error"]

    async def test_a_pairing_code_is_asked_for_by_the_digits_of_a_number(self, api: Api) -> None:
        answer = await api.call(
            "POST", f"{ONE}/pairing-code", {"phone_number": "+62 (812) 345-678"}
        )
        assert answer.json() == {"success": True, "code": "ABCD-1234"}
        assert api.sessions.calls == [(SESSION, PairingCode(phone="62812345678"), 20.0)]

    async def test_a_screenshot_is_answered_as_png(self, api: Api) -> None:
        answer = await api.call("GET", f"{ONE}/screenshot")
        assert (answer.headers["Content-Type"], answer.content) == ("image/png", b"\x89PNG picture")
        assert api.sessions.calls == [(SESSION, Screenshot(), 0)]

    @pytest.mark.parametrize("path", ["/screenshot", "/pairing-code"])
    async def test_an_empty_answer_is_not_passed_on(self, api: Api, path: str) -> None:
        api.sessions.values.append(Value())
        method = "GET" if path == "/screenshot" else "POST"
        body = None if path == "/screenshot" else {"phone_number": "6281234567890"}
        answer = await api.call(method, ONE + path, body)
        assert (answer.status, bool(answer.headers["Retry-After"])) == (503, True)
