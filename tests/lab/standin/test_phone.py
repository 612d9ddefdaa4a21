"""The phone's HTTP side and its command, against a stand-in that no browser is linked to."""

import asyncio
import base64
import json
import os
import signal
import ssl
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from waguard.lab.standin import Policy, StandIn
from waguard.lab.standin.accounts import Device
from waguard.lab.standin.phone_cli import phone_main
from waguard.lab.standin.refusal import Refusal
from waguard.lab.standin.versions import REVISION

PHONE = "6281180001"


class SilentPage:
    """A page that only takes note."""

    def __init__(self) -> None:
        self.stanzas: list[dict[str, Any]] = []

    def send(self, stanza: dict[str, Any]) -> None:
        self.stanzas.append(stanza)

    def close(self) -> None:
        self.stanzas.append({"type": "closed"})


@pytest_asyncio.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as running:
        yield running


@pytest_asyncio.fixture
async def phone(standin: StandIn) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(standin.phone_url) as session:
        yield session


def code_of(standin: StandIn) -> str:
    key = base64.b64encode(bytes(32)).decode()
    return f"{standin.whatsapp.linking.show_ref(SilentPage())},{key},{key},{key}"


def device_of(standin: StandIn, phone: str) -> Device:
    [device] = standin.whatsapp.devices[phone]
    return device


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "error"),
    [
        ("/scan", {}, 400, "code", "missing required field"),
        ("/scan", {"code": "x"}, 409, "code", "not a code"),
        ("/scan", {"code": "2@x,a,b,c"}, 409, "code", "unknown code"),
        ("/scan", {"code": "x", "phone": "12"}, 400, "phone", "regex"),
        ("/scan", {"code": "x", "fone": "12"}, 400, "fone", "unknown field"),
        ("/pair", {"code": "x"}, 400, "phone", "missing required field"),
        ("/pair", {"code": "x", "phone": PHONE}, 409, "phone", "no page waits"),
        ("/incoming", {"from": "62812"}, 409, "phone", "no browser is linked"),
        ("/write", {"body": "hi"}, 400, "to", "missing required field"),
        ("/write", {"to": "someone"}, 400, "to", "is not a WhatsApp id"),
        ("/receipt", {"id": "x", "ack": 7}, 400, "ack", "Invalid enum value 7"),
        ("/receipt", {"id": "x", "ack": 2}, 409, "id", "never sent"),
        ("/edit", {"id": "x", "body": "y"}, 409, "id", "never got"),
        ("/edit", {"id": "x"}, 400, "body", "missing required field"),
        ("/revoke", {"id": "x"}, 409, "id", "never got"),
        ("/decrypt", {"id": "x"}, 409, "id", "no undecryptable message"),
        ("/decrypt", {"id": "x", "way": "magic"}, 400, "way", "Invalid enum value"),
        ("/incoming", {"from": "62812", "sealed": "x"}, 400, "sealed", "Invalid enum value"),
        ("/react", {"id": "x"}, 409, "id", "never saw"),
        ("/call", {"from": "someone"}, 400, "from", "is not a WhatsApp id"),
        ("/call", {"from": "62812"}, 409, "phone", "no browser is linked"),
        ("/drop", {"seconds": -1}, 400, "seconds", ">= 0"),
        ("/block", {"kind": "NO"}, 400, "kind", "Invalid enum value"),
        ("/unlink", {}, 409, "phone", "no browser is linked"),
        ("/nothing", {}, 404, None, "no POST /nothing"),
    ],
)
async def test_what_is_wrong_is_said_with_a_remedy(
    phone: aiohttp.ClientSession,
    path: str,
    body: dict[str, object],
    status: int,
    field: str | None,
    error: str,
) -> None:
    async with phone.post(path, json=body) as response:
        answer = await response.json()
    assert (response.status, answer.get("field")) == (status, field)
    assert error in answer["error"]
    assert answer["remedy"]
    if field in body:
        assert answer["value"] == body[str(field)]


@pytest.mark.parametrize("text", ["[1]", "{"])
async def test_a_body_that_is_no_object(phone: aiohttp.ClientSession, text: str) -> None:
    async with phone.post("/scan", data=text) as response:
        assert response.status == 400
        assert "JSON object" in (await response.json())["error"]


async def test_a_wrong_sender_or_file_is_named(
    standin: StandIn, phone: aiohttp.ClientSession
) -> None:
    standin.phone.scan(code_of(standin))
    file = {"mimetype": "a/b", "base64": "!"}
    for body, field in [
        ({"from": "someone"}, "from"),
        ({"from": "62812", "chat": "a_b@g.us"}, "chat"),
        ({"from": "62812", "media": file}, "media"),
    ]:
        async with phone.post("/incoming", json=body) as response:
            assert (response.status, (await response.json())["field"]) == (400, field)


async def test_policies_are_shown_and_changed_all_or_none(
    standin: StandIn, phone: aiohttp.ClientSession
) -> None:
    async with phone.put("/policy", json={"ack_delay": 2, "exists": {"62": False}}) as response:
        assert (await response.json())["ack_delay"] == 2
    assert standin.policy.exists == {"62": False}
    for change in ({"ack_delay": "soon"}, {"ack_delai": 1}, {"never_answer": "perhaps"}):
        async with phone.put("/policy", json={"csp": False} | change) as response:
            assert response.status == 400
            assert (await response.json())["field"] == next(iter(change))
    async with phone.get("/policy") as response:
        assert (await response.json())["csp"] is True


async def test_a_whole_life_over_http(standin: StandIn, phone: aiohttp.ClientSession) -> None:
    async with phone.post("/scan", json={"code": code_of(standin)}) as response:
        device = (await response.json())["device"]
    async with phone.post("/incoming", json={"from": "62812", "body": "hi"}) as response:
        message = (await response.json())["id"]
    async with phone.get("/state") as response:
        [known] = (await response.json())["accounts"][PHONE]
    assert (known["device"], known["link"], known["queued"]) == (device, "offline", 1)
    async with phone.get("/messages", params={"phone": PHONE}) as response:
        [seen] = await response.json()
    assert (seen["id"], seen["body"], seen["direction"]) == (message, "hi", "in")
    async with phone.get("/messages", params={"fone": PHONE}) as response:
        assert (await response.json())["field"] == "fone"
    async with phone.post("/unlink", json={}) as response:
        assert (await response.json())["devices"][0]["link"] == "unlinked"


def test_what_the_phone_writes_goes_to_its_browsers_and_to_whom_it_is_for(
    standin: StandIn,
) -> None:
    for number in (PHONE, "6281180002"):
        standin.phone.scan(code_of(standin), phone=number)
    written = standin.phone.write("6281180002", body="hi", timestamp=1_000)["id"]
    stem = written.removeprefix("true_6281180002@c.us_")
    assert stem.startswith("3A")
    (own,) = device_of(standin, PHONE).queue.values()
    assert (own["id"], own["attributes"]["from"]) == (written, f"{PHONE}@c.us")
    assert (own["attributes"]["body"], own["attributes"]["t"]) == ("hi", 1_000)
    (theirs,) = device_of(standin, "6281180002").queue.values()
    assert theirs["id"] == f"false_{PHONE}@c.us_{stem}"
    (seen,) = standin.phone.messages(PHONE)
    assert (seen["id"], seen["direction"], seen["ack"]) == (written, "out", 1)
    standin.phone.receipt(written, 3)
    assert standin.phone.messages(PHONE)[0]["ack"] == 3


def test_the_server_takes_a_reaction_to_a_message_that_it_never_got(standin: StandIn) -> None:
    standin.phone.scan(code_of(standin))
    lost = "true_6281180002@c.us_3EB0A1"
    standin.whatsapp.act(device_of(standin, PHONE), lost, "reaction", "👍")
    assert standin.whatsapp.acts == [(PHONE, lost, "reaction", "👍")]
    assert standin.phone.messages(PHONE) == []


def test_a_policy_refuses_by_name() -> None:
    with pytest.raises(Refusal) as refused:
        Policy().update({"qr_count": 0})
    assert refused.value.to_json()["field"] == "qr_count"


async def test_the_page_is_served_for_whatsapps_name_only(standin: StandIn) -> None:
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    url = f"https://127.0.0.1:{standin.port}/"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, ssl=unchecked) as response:
            assert response.status == 421
        async with session.get(
            url, ssl=unchecked, headers={"Host": "web.whatsapp.com"}
        ) as response:
            policy = response.headers["Content-Security-Policy"]
            assert response.status == 200
    assert "'wasm-unsafe-eval'" in policy
    assert "'unsafe-eval'" not in policy


# --- the command


async def run(standin: StandIn, *argv: str) -> int:
    return await asyncio.to_thread(phone_main, [*argv, "--standin", standin.phone_url])


async def test_the_command_does_what_http_does(
    standin: StandIn, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def expected_words() -> Any:
        return json.loads(capsys.readouterr().out)

    assert await run(standin, "scan", code_of(standin), "--phone", "6281180009") == 0
    assert expected_words()["phone"] == "6281180009"
    file = tmp_path / "a.txt"
    file.write_text("hello")
    own = ("--phone", "6281180009")
    assert await run(standin, "incoming", "62812", "look", "--file", str(file), *own) == 0
    message = expected_words()["id"]
    assert await run(standin, "messages", *own) == 0
    [seen] = expected_words()
    assert (seen["id"], seen["mimetype"], seen["caption"]) == (message, "text/plain", "look")
    assert await run(standin, "write", "62812", "see", "--file", str(file), *own) == 0
    written = expected_words()["id"]
    assert await run(standin, "messages", *own) == 0
    assert [(one["id"], one["caption"]) for one in expected_words()[1:]] == [(written, "see")]
    for argv in (
        ["edit", message, "look here"],
        ["react", message],
        ["react", message, "", "--from", "62813"],
        ["call", "62812", "--video"],
        ["revoke", message],
    ):
        assert await run(standin, *argv, *own) == 0
        assert expected_words()["id"]
    queued = [one["type"] for one in device_of(standin, "6281180009").queue.values()]
    assert queued == ["message", "message", "edit", "reaction", "reaction", "revoke"]
    assert await run(standin, "messages", *own) == 0
    assert expected_words()[0]["type"] == "revoked"
    assert await run(standin, "incoming", "62812", "secret", "--sealed", "fanout", *own) == 0
    sealed = expected_words()["id"]
    assert await run(standin, "decrypt", sealed, "--way", "silent", *own) == 0
    assert expected_words() == {"id": sealed}
    assert await run(standin, "decrypt", sealed, *own) == 1
    placeholder, decrypted = list(device_of(standin, "6281180009").queue.values())[-2:]
    assert placeholder["attributes"]["type"] == "ciphertext"
    assert "body" not in placeholder["attributes"]
    assert (decrypted["attributes"]["body"], decrypted["way"]) == ("secret", "silent")
    assert await run(standin, "migrate", "62812345", "7000001", *own) == 0
    assert expected_words() == {"chat": "7000001@lid"}
    group = ("group", "120363000000000009@g.us", "62812345", "7000001@lid")
    assert await run(standin, *group, *own) == 0
    assert expected_words()["participants"] == ["62812345@c.us", "7000001@lid"]
    assert await run(standin, "reveal", "62812345", *own) == 0
    assert await run(standin, "policy", "ack_delay=2", "send_error=ERROR_UNKNOWN") == 0
    assert standin.policy.send_error == "ERROR_UNKNOWN"
    assert await run(standin, "needs-update", "--over", *own) == 0
    options = json.dumps({"challenge": "AAAA", "rpId": "whatsapp.com"})
    capsys.readouterr()
    assert await run(standin, "passkey", options, *own) == 0
    assert expected_words()["type"] == "public-key"
    assert await run(standin, "passkey", "no JSON", *own) == 1
    notices = ("needs-update", "ghost", "reload", "modal")
    for command in ("drop", "conflict", *notices, "block", "unlink"):
        assert await run(standin, command, *own) == 0
    assert await run(standin, "state") == 0


async def test_builds_by_the_command(standin: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    def expected_words() -> Any:
        return json.loads(capsys.readouterr().out)

    number, other = REVISION + 5, ["--broken-for", "6281180002"]
    assert await run(standin, "publish", str(number), "--way", "renamed", *other) == 0
    made = expected_words()
    assert made == {
        "revision": number,
        "way": "renamed",
        "broken_for": ["6281180002"],
        "served_to": None,
        "on_cdn": True,
    }
    assert await run(standin, "versions") == 0
    assert [one["revision"] for one in expected_words()] == [REVISION, number]
    assert await run(standin, "break", str(number), "deaf") == 0
    assert (expected_words()["way"], standin.whatsapp.versions.served().broken_for) == (
        "deaf",
        None,
    )
    assert await run(standin, "break", str(number)) == 0
    assert expected_words()["way"] == ""
    assert await run(standin, "expire", str(REVISION)) == 0
    assert not expected_words()["on_cdn"]
    assert await run(standin, "refuse", str(number)) == 0
    assert expected_words() == {"oldest_accepted": number}


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["scan", "x"], 1, "code: that is not a code of WhatsApp Web"),
        (["policy", "x"], 1, "write NAME=VALUE"),
        (["policy", "x=1"], 1, "unknown policy 'x'"),
        (["reveal", "62812345"], 1, "migrate its chat first"),
        (["group", "1@g.us", "who_is_it"], 1, "participants: 'who_is_it' is not a WhatsApp id"),
        (["pair", "12345678"], 1, "add --phone NUMBER"),
        (["incoming", "62812", "--file", "/nowhere/a"], 1, "cannot read /nowhere/a"),
        (["expire", "1"], 1, "revision: there is no build 1; one of: 1045220589"),
        (["publish", "--way", "badly"], 2, "invalid choice: 'badly'"),
        (["dance"], 2, "invalid choice: 'dance'"),
        ([], 2, "COMMAND"),
        (["--help"], 0, ""),
    ],
)
async def test_what_is_wrong_is_one_line(
    standin: StandIn, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, said: str
) -> None:
    where = ["--standin", standin.phone_url] if code == 1 else []
    assert await asyncio.to_thread(phone_main, [*argv, *where]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") <= 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
def test_no_stand_in_there(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert phone_main(["state", "--standin", url]) == 1
    assert capsys.readouterr().err.count("\n") == 1


async def test_serve_says_how_to_use_it_and_ends_on_sigterm() -> None:
    script = "import asyncio; from waguard.lab.standin import serve; asyncio.run(serve())"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    reported = tomllib.loads("".join(lines))
    assert reported["whatsapp"]["url"] == "https://web.whatsapp.com/"
    assert reported["browser"]["extra_args"][0].startswith(
        "--host-resolver-rules=MAP web.whatsapp.com"
    )
    assert lines[2].startswith("# phone: http://127.0.0.1:")


async def test_a_mention_under_an_id_that_the_group_does_not_have_addresses_nobody(
    standin: StandIn,
) -> None:
    """Nor does one that the text does not show. They are delivered all the same."""
    phone = standin.phone
    group, lid, number = "120363000000000003@g.us", "700000000000007@lid", "628220007@c.us"
    phone.scan(code_of(standin))
    phone.group(group, [lid])

    def addressed(body: str, *mentioned: str, chat: str = group) -> list[str]:
        more = {"mentionedJidList": list(mentioned)}
        asked = phone.incoming(from_=chat, author="628220007", body=body, attributes=more)
        [found] = [m for m in phone.messages() if m["id"] == asked["id"]]
        assert (found["body"], found["mentionedJidList"]) == (body, list(mentioned))
        shown: list[str] = found["addressed"]
        return shown

    assert addressed("hi @700000000000007!", lid) == [lid]
    assert addressed("hi @628220007", number) == []
    assert addressed("hi @628220007", lid) == []
    assert addressed("hi @700000000000007", number) == []
    assert addressed("hi @7000000000000070", lid) == []
    # of whom is not known to be of the chat, the text alone decides
    assert addressed("hi @628220007", number, chat="120363000000000004@g.us") == [number]
