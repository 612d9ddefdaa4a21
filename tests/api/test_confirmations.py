"""The reply to a forwarded send is written when its client has it, not when the host that forwards has it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.api.conftest import KEY, Answer, Api, serving
from tests.api.fake_cluster import SHARED_KEY, Pair, pair
from tests.api.fake_sessions import SESSION
from tests.api.test_bad_owners import BadOwner
from tests.waiting import wait_until
from waguard.api.confirmations import CONFIRM, PATH
from waguard.api.limits import LOAD
from waguard.api.timings import Timings
from waguard.core.cluster.forwarded_request import ForwardedRequest, digest, sealed
from waguard.core.keys import Caller, Right

SEND: Final = "/api/messages/send"
TEXT: Final = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hello"}


@contextlib.asynccontextmanager
async def leaving(api: Api) -> AsyncIterator[asyncio.StreamReader]:
    """A client that asks for a send, and leaves when the body is over."""
    body = json.dumps(TEXT).encode()
    port = int(api.base.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    yield reader
    writer.close()
    await writer.wait_closed()


def is_idle(*apis: Api) -> bool:
    """Whether no request is under way."""
    return not any(it.app[LOAD]._shares[""].requests for it in apis)


@pytest.mark.parametrize("asked", ["the owner", "another host"])
async def test_a_client_that_leaves_just_before_the_answer(hosts: Pair, asked: str) -> None:
    """Nobody has looked after it yet: the repetition is the same message."""
    hosts.two.sessions.free.clear()
    async with leaving(hosts.two if asked == "the owner" else hosts.one):
        await wait_until(hosts.two.sessions.sends, "it is being sent")
    hosts.two.sessions.free.set()
    await wait_until(lambda: is_idle(hosts.one, hosts.two), "it is answered")
    assert (await hosts.one.call("POST", SEND, TEXT)).status == 200
    assert len(hosts.two.sessions.sends()) == 1


async def forwarded(
    hosts: Pair, path: str, body: Any, nonce: str, *, confirms: bool = False
) -> Answer:
    """What h2 answers to a host that does nothing else than to forward this."""
    seal = sealed(
        ForwardedRequest(
            method="POST",
            target=path,
            to=hosts.two.base,
            at=time.time(),
            nonce=nonce,
            caller=Caller(name="h1", right=Right.ADMIN),
            start="s-h2",
            content=digest(
                json.dumps(body).encode(), content_type="application/json", idempotency_key=""
            ),
            confirms=confirms,
        ),
        SHARED_KEY,
    )
    headers = {"Authorization": f"Bearer {seal}"}
    return await hosts.two.call("POST", path, body, key=None, headers=headers)


async def test_a_host_that_dies_after_the_owner_answered(tmp_path: Path) -> None:
    async with pair(serving, tmp_path, Timings(reply_confirmed=0.1)) as hosts:
        first = await forwarded(hosts, SEND, TEXT, "n", confirms=True)
        assert (first.status, CONFIRM in first.headers) == (200, True)
        again = await hosts.two.call("POST", SEND, TEXT)
        assert again.json() == first.json()
        assert len(hosts.two.sessions.sends()) == 1
        assert (await hosts.two.call("POST", SEND, TEXT)).status == 200
        assert len(hosts.two.sessions.sends()) == 2, "the repetition has its reply"


async def test_a_confirmation_that_comes_too_late(tmp_path: Path) -> None:
    async with pair(serving, tmp_path, Timings(reply_confirmed=0.0)) as hosts:
        await forwarded(hosts, SEND, TEXT, "n", confirms=True)
        late = await forwarded(hosts, PATH, {"nonce": "n"}, "m")
        assert late.status == 200
        assert hosts.two.outbox.owed() == 1


async def test_the_same_text_waits_until_it_is_known_whether_it_is_a_repetition(
    tmp_path: Path,
) -> None:
    async with pair(serving, tmp_path, Timings(reply_confirmed=60.0)) as hosts:
        first = await forwarded(hosts, SEND, TEXT, "n", confirms=True)
        again = asyncio.ensure_future(hosts.two.call("POST", SEND, TEXT))
        other = await hosts.two.call("POST", SEND, TEXT | {"recipient_phone": "6281234567891"})
        assert other.status == 200, "another chat does not wait"
        keyed = await hosts.two.call("POST", SEND, TEXT, headers={"Idempotency-Key": "k"})
        assert keyed.status == 200
        assert not again.done()
        await forwarded(hosts, PATH, {"nonce": "n"}, "m")
        assert (await again).json()["message_id"] != first.json()["message_id"]


async def test_the_same_text_twice_is_sent_twice(hosts: Pair) -> None:
    """A person may say "ok" twice, at any host."""
    for api in (hosts.one, hosts.one, hosts.two, hosts.one):
        answer = await api.call("POST", SEND, TEXT)
        assert answer.status == 200
        assert CONFIRM not in answer.headers
    assert len(hosts.two.sessions.sends()) == 4
    await wait_until(lambda: not hosts.two.outbox.owed(), "all are confirmed")


async def test_a_client_that_leaves_as_soon_as_it_has_its_reply(hosts: Pair) -> None:
    for _ in range(2):
        async with leaving(hosts.one) as reader:
            await reader.readuntil(b'"success"')
        await wait_until(lambda: not hosts.two.outbox.owed(), "it is confirmed")
    assert len(hosts.two.sessions.sends()) == 2


async def test_a_host_that_is_full_hears_of_its_replies(hosts: Pair) -> None:
    hosts.two.configure("limits", requests=1)
    hosts.two.sessions.free.clear()
    sending = asyncio.ensure_future(hosts.two.call("POST", SEND, TEXT))
    await wait_until(hosts.two.sessions.sends, "its only place is taken")
    assert (await forwarded(hosts, PATH, {"nonce": "n"}, "m")).status == 200
    hosts.two.sessions.free.set()
    assert (await sending).status == 200


async def test_a_host_of_an_older_version_forwards(hosts: Pair) -> None:
    """It confirms nothing: its reply is written when it has it."""
    for nonce in ("n", "m"):
        answer = await forwarded(hosts, SEND, TEXT, nonce)
        assert (answer.status, CONFIRM in answer.headers) == (200, False)
    assert len(hosts.two.sessions.sends()) == 2
    assert not hosts.two.outbox.owed()


def answering(head: bytes) -> BadOwner:
    """An owner that answers sends so, and nothing else."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if SEND.encode() in await reader.readuntil(b"\r\n\r\n"):
            body = b'{"success":true,"message_id":"m","timestamp":1}'
            kind = b"Content-Type: application/json; charset=utf-8\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n" + head + kind)
            writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()

    return BadOwner(answers)


@pytest.mark.parametrize(
    ("head", "connections"), [(b"", 1), (b"X-Host-Confirm: 1\r\n", 2)], ids=["older", "silent"]
)
async def test_an_owner_that_takes_no_confirmation(
    hosts: Pair, head: bytes, connections: int
) -> None:
    """One of an older version is asked for nothing more, and of the other one the client has its reply all the same."""
    owner = answering(head)
    async with owner.serving(hosts.all):
        assert (await hosts.one.call("POST", SEND, TEXT)).status == 200
        await wait_until(lambda: is_idle(hosts.one), "it is answered")
    assert owner.connections == connections
