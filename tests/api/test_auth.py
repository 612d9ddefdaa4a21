"""Who may call, and with what."""

import asyncio
import errno
import hmac
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from tests.api.conftest import KEY, SECOND_KEY, Api, with_key
from tests.api.fake_sessions import SESSION
from waguard.api.auth import Keys, load_or_create_keys
from waguard.api.timings import Timings
from waguard.config.key_file import GENERATED_KEY_MARK
from waguard.errors import ConfigError

AT_ONCE = Timings(refusal=0.0)
STATUS = f"/api/sessions/{SESSION}/status"
LOGOUT = f"/sessions/{SESSION}/logout"
ACTIVITY = f"/api/internal/sessions/{SESSION}/last-activity"


async def test_each_key_is_taken_in_each_place(api: Api, subtests: pytest.Subtests) -> None:
    places = ("body", "query", "X-Api-Key", "Bearer", "bearer")
    for key, place in itertools.product((KEY, SECOND_KEY), places):
        with subtests.test(key=key, place=place):
            path, body, headers = with_key(place, key, "/api/sessions")
            assert (await api.call("GET", path, body, key=None, headers=headers)).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_the_application_sends_it_in_the_body(api: Api, method: str) -> None:
    paths = {"POST": "/restore", "PUT": "/metadata", "DELETE": ""}
    path = f"/api/sessions/{SESSION}{paths[method]}"
    assert (await api.call(method, path, {"api_key": KEY}, key=None)).status == 200
    assert (await api.call(method, path, {"api_key": "x" * 24}, key=None)).status == 401


BAD: list[tuple[str, dict[str, Any]]] = [
    ("none", {}),
    ("wrong", {"headers": {"X-Api-Key": "wrong"}}),
    ("empty", {"headers": {"X-Api-Key": ""}}),
    ("basic", {"headers": {"Authorization": f"Basic {KEY}"}}),
    ("no ASCII", {"headers": {"X-Api-Key": "schlüssel"}}),
    ("a number", {"body": {"api_key": 5}}),
    ("a list", {"body": {"api_key": [KEY]}}),
    ("a beginning", {"body": {"api_key": KEY[:-1]}}),
    ("more", {"body": {"api_key": KEY + "x"}}),
]


async def test_a_key_at_the_end_of_a_large_body_is_not_read_and_the_answer_says_so(
    api: Api,
) -> None:
    large = {"media": "A" * (2 << 20), "api_key": KEY}
    answer = await api.call("POST", "/api/messages/send-media", large, key=None)
    assert (answer.status, answer.json()["error"]) == (401, "Invalid API key")
    assert "first 64 kB" in answer.json()["remedy"]
    for wrong in ({"api_key": "another"}, {"api_key": "another", "media": large["media"]}):
        answer = await api.call("POST", "/api/messages/send-media", wrong, key=None)
        assert answer.status == 401
        assert "64 kB" not in answer.json()["remedy"], "one was read, and is wrong"


async def test_a_bad_key_is_refused(api: Api, subtests: pytest.Subtests) -> None:
    for name, request_parts in BAD:
        with subtests.test(name):
            answer = await api.call("GET", "/api/sessions", key=None, **request_parts)
            reported = answer.json()
            assert (answer.status, reported["error"]) == (401, "Invalid API key")
            assert reported["field"] == "api_key"
            assert reported["remedy"]


PROTECTED = [
    ("POST", "/api/sessions"),
    ("GET", "/api/sessions"),
    ("GET", STATUS),
    ("GET", ACTIVITY),
    ("GET", f"/api/sessions/{SESSION}/qr"),
    ("POST", f"/api/sessions/{SESSION}/qr"),
    ("POST", f"/api/sessions/{SESSION}/regenerate-qr"),
    ("POST", f"/api/sessions/{SESSION}/pairing-code"),
    ("GET", f"/api/sessions/{SESSION}/passkey"),
    ("POST", f"/api/sessions/{SESSION}/passkey/start"),
    ("POST", f"/api/sessions/{SESSION}/passkey/answer"),
    ("POST", f"/api/sessions/{SESSION}/passkey/confirm"),
    ("DELETE", f"/api/sessions/{SESSION}/passkey"),
    ("POST", f"/api/sessions/{SESSION}/restore"),
    ("POST", f"/api/sessions/{SESSION}/reconnect"),
    ("POST", f"/api/sessions/{SESSION}/logout"),
    ("GET", f"/api/sessions/{SESSION}/metadata"),
    ("PUT", f"/api/sessions/{SESSION}/metadata"),
    ("GET", f"/api/sessions/{SESSION}/screenshot"),
    ("DELETE", f"/api/sessions/{SESSION}"),
    ("GET", f"/sessions/{SESSION}/status"),
    ("POST", LOGOUT),
    ("POST", "/api/messages/send"),
    ("POST", "/api/messages/send-media"),
    ("POST", "/api/media"),
    ("POST", "/api/messages/1/media"),
    ("POST", "/api/messages/bulk-send"),
    ("GET", "/api/messages/bulk/00000000-0000-0000-0000-000000000000"),
    ("GET", f"/api/messages/{SESSION}/validate"),
    ("GET", "/api/events"),
    ("GET", "/api/keys"),
    ("POST", "/api/keys"),
    ("DELETE", "/api/keys/0a1b2c3d"),
    ("GET", "/health/detailed"),
]


@pytest.mark.parametrize("timings", [AT_ONCE], ids=["at once"])
async def test_every_route_but_health_and_the_page_wants_a_key(
    api: Api, subtests: pytest.Subtests
) -> None:
    for method, path in PROTECTED:
        with subtests.test(method=method, path=path):
            assert (await api.call(method, path, key=None)).status == 401
            assert not api.sessions.done
            assert not api.sessions.calls


async def test_health_and_the_page_want_none(api: Api, subtests: pytest.Subtests) -> None:
    paths = ("/", "/page.js", "/page/api.js", "/page.css", "/health", "/health/live")
    for method, path in itertools.product(("GET", "HEAD"), paths):
        with subtests.test(method=method, path=path):
            assert (await api.call(method, path, key=None)).status == 200


async def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = Keys(frozenset({b"one", b"two", b"three"}))
    assert keys.accept("two")
    assert sorted(compared) == [b"one", b"three", b"two"]  # also those behind the one that fits
    assert not keys.accept("\udcff")


async def test_no_key_is_ever_logged_or_shown(api: Api) -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", format="{message} {extra}\n{exception}")
    try:
        api.sessions.fail = RuntimeError("a bug")
        answer = await api.call("GET", f"{STATUS}?api_key={KEY}", key=None)
    finally:
        logger.remove(sink)
    assert answer.status == 500
    assert any(f"GET {STATUS} 500" in line for line in lines)
    assert KEY not in "".join(lines)
    assert "key-of" not in repr(Keys(frozenset({KEY.encode()})))


class TestKeyless:
    @pytest.fixture(autouse=True)
    def _on(self, api: Api) -> None:
        api.configure("api", keyless_loopback=True)

    async def test_the_calls_of_the_application(self, api: Api) -> None:
        assert (await api.call("GET", ACTIVITY, key=None)).status == 200
        assert (await api.call("GET", f"/sessions/{SESSION}/status", key=None)).status == 200
        assert (await api.call("POST", LOGOUT, key=None)).status == 200
        assert api.sessions.done == ["logout"]

    @pytest.mark.parametrize("timings", [AT_ONCE], ids=["at once"])
    async def test_every_other_route_needs_a_key(self, api: Api, subtests: pytest.Subtests) -> None:
        for method, path in PROTECTED:
            if path.startswith("/api") and path != ACTIVITY:
                with subtests.test(method=method, path=path):
                    assert (await api.call(method, path, key=None)).status == 401

    @pytest.mark.parametrize(
        "header",
        [
            {"Origin": "https://example.org"},  # a page of another site, in a browser here
            {"Sec-Fetch-Site": "cross-site"},
            {"X-Forwarded-For": "127.0.0.1"},  # a proxy here, for somebody elsewhere
            {"Forwarded": "for=127.0.0.1"},
        ],
    )
    async def test_not_for_others(self, api: Api, header: dict[str, str]) -> None:
        assert (await api.call("POST", LOGOUT, key=None, headers=header)).status == 401
        assert not api.sessions.done

    async def test_a_header_makes_nobody_local(self, api: Api, monkeypatch: Any) -> None:
        elsewhere = "waguard.api.auth.is_loopback"
        monkeypatch.setattr(elsewhere, lambda host: False)  # as if the peer were another machine
        answer = await api.call("POST", LOGOUT, key=None, headers={"Client-Ip": "127.0.0.1"})
        assert answer.status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3001", "127.0.0.1.evil", "[", ""])
async def test_another_name_needs_a_key(api: Api, host: str) -> None:
    for path in ("/", "/health", "/page.js"):
        answer = await api.call("GET", path, key=None, headers={"Host": host})
        assert answer.status in {400, 403}
    assert (await api.call("GET", STATUS, headers={"Host": "waguard.internal"})).status == 200


@pytest.mark.parametrize("host", ["localhost:3001", "127.0.0.1", "[::1]:3001", "LOCALHOST"])
async def test_the_names_of_this_machine_are_good(api: Api, host: str) -> None:
    assert (await api.call("GET", "/health", key=None, headers={"Host": host})).status == 200


async def test_a_probe_by_http_1_0_names_nobody(api: Api) -> None:
    reader, writer = await asyncio.open_connection(*api.base.removeprefix("http://").split(":"))
    writer.write(b"GET /health HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    await writer.wait_closed()


async def test_the_name_that_others_call_it_by_is_good(api: Api) -> None:
    """A proxy passes the name on, and the application asks for /health without a key."""
    api.configure("api", public_url="https://WA.example/waguard")
    for host, status in (("wa.example", 200), ("other.example", 403), ("", 403)):
        answer = await api.call("GET", "/health", key=None, headers={"Host": host})
        assert answer.status == status


async def test_any_name_is_good_where_it_listens_to_others(api: Api) -> None:
    api.configure("api", host="0.0.0.0")
    headers = {"Host": "waguard.internal"}
    assert (await api.call("GET", "/health", key=None, headers=headers)).status == 200


class TestKeyFile:
    def test_is_generated_for_this_user_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "api-key"
        keys = load_or_create_keys(path)
        mark, key = path.read_text().splitlines()
        assert mark == GENERATED_KEY_MARK
        assert len(key) >= 43
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert keys.accept(key)
        assert not keys.accept(mark)
        assert load_or_create_keys(path).values == keys.values

    def test_comments_and_blank_lines_are_no_keys(self, tmp_path: Path) -> None:
        path = _key_file(tmp_path, f"# first\n\n  {KEY}  \n  # second\n{SECOND_KEY}\r\n")
        assert load_or_create_keys(path).values == {KEY.encode(), SECOND_KEY.encode()}

    @pytest.mark.parametrize(
        ("content", "mode", "expected_words"),
        [
            (b"\n", 0o600, "holds no key"),
            (b"# only this\n", 0o600, "holds no key"),
            (b"short\n", 0o600, "holds no key"),
            ("schlüssel-schlüssel\n".encode(), 0o600, "not ASCII text"),
            (f"{KEY}\n".encode(), 0o640, "open to other users"),
            (f"{KEY}\n".encode(), 0o604, "open to other users"),
            (f"{KEY}\n".encode(), 0o620, "open to other users"),
        ],
    )
    def test_a_bad_one_is_refused(
        self, tmp_path: Path, content: bytes, mode: int, expected_words: str
    ) -> None:
        path = tmp_path / "api-key"
        path.write_bytes(content)
        path.chmod(mode)
        with pytest.raises(ConfigError, match=expected_words) as raised:
            load_or_create_keys(path)
        assert raised.value.field == "api.key_file"
        assert raised.value.remedy
        assert KEY not in raised.value.line()

    def test_an_empty_one_is_generated_again(self, tmp_path: Path) -> None:
        keys = load_or_create_keys(_key_file(tmp_path, ""))
        assert len(keys.values) == 1

    def test_a_full_disk_leaves_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left"):
            load_or_create_keys(tmp_path / "api-key")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_or_a_dangling_link_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not a regular file"):
            load_or_create_keys(tmp_path)
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(ConfigError, match="File exists"):
            load_or_create_keys(tmp_path / "link")


def _key_file(folder: Path, text: str) -> Path:
    path = folder / "api-key"
    path.write_text(text)
    path.chmod(0o600)
    return path


async def test_many_bad_keys_do_not_disturb_a_good_one(api: Api) -> None:
    body = json.dumps({"api_key": "wrong"}).encode()
    bad = [
        api.call("POST", "/api/sessions", data=body, key=None, headers={"Content-Type": "a/b+json"})
        for _ in range(50)
    ]
    good = [api.call("GET", STATUS) for _ in range(50)]
    answers = [answer.status for answer in await asyncio.gather(*bad, *good)]
    assert answers == [401] * 50 + [200] * 50
