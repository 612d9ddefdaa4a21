"""Owners with bad manners: what the host that forwards to them answers."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.api.conftest import Api, serving
from tests.api.fake_cluster import SHARED_KEY, Everything, Pair, pair
from tests.api.fake_sessions import SESSION
from tests.waiting import wait_until
from waguard.api.deps import SEALS
from waguard.api.limits import LOAD
from waguard.api.timings import Timings
from waguard.core.cluster.forwarded_request import START, correction, opened
from waguard.host.system.listen import base_url, listen
from waguard.ports.store import AuditEntry

SEND: Final = "/api/messages/send"
TEXT: Final = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hello"}
STATUS: Final = f"/api/sessions/{SESSION}/status"
NAME: Final = hashlib.sha256(b"").hexdigest()


def changes(api: Api) -> list[AuditEntry]:
    return [it for it in api.store.entries if it.kind == "change"]


class BadOwner:
    """A host that does what ``manner`` says with each connection."""

    def __init__(
        self, manner: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        self._manner = manner
        self.connections = 0

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._manner(reader, writer)
        writer.close()

    @contextlib.asynccontextmanager
    async def serving(self, all_: Everything) -> AsyncIterator[None]:
        listener = listen("127.0.0.1", 0)
        server = await asyncio.start_server(self._meet, sock=listener)
        all_.add("bad", base_url(listener))
        all_.owners[SESSION] = "bad"
        try:
            yield
        finally:
            server.close()


def reset(writer: asyncio.StreamWriter) -> None:
    of: Any = writer.get_extra_info("socket")
    of.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def _resets_in_the_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await reader.read(20)
    reset(writer)


async def _resets_in_the_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    await writer.drain()
    reset(writer)


async def _ends_without_an_answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def _is_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


_CUTS = [_resets_in_the_request, _resets_in_the_answer, _ends_without_an_answer, _is_no_http]


@pytest.mark.parametrize("manner", _CUTS)
async def test_cut_off(hosts: Pair, manner: Any, subtests: pytest.Subtests) -> None:
    async with BadOwner(manner).serving(hosts.all):
        with subtests.test("a send may have been sent"):
            answer = await hosts.one.call("POST", SEND, TEXT)
            said = answer.json()
            assert (answer.status, said["success"], said["outcome"]) == (202, False, "uncertain")
            assert said["message_id"] is None
        with subtests.test("a bulk too"):
            body = {"session_id": SESSION, "recipients": ["6281234567890"], "message": "a"}
            answer = await hosts.one.call("POST", "/api/messages/bulk-send", body)
            assert (answer.status, answer.json()["outcome"]) == (202, "uncertain")
        with subtests.test("an empty key is none"):
            answer = await hosts.one.call("POST", SEND, TEXT, headers={"Idempotency-Key": ""})
            assert answer.status == 202
        with subtests.test("with a key it may be repeated"):
            keyed = {"Idempotency-Key": "k1"}
            answer = await hosts.one.call("POST", SEND, TEXT, headers=keyed)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            answer = await hosts.one.call("POST", SEND, {**TEXT, "idempotency_key": "k2"})
            assert answer.status == 503
        with subtests.test("a group may have been made"):
            body = {"name": "g", "participants": ["6281234567890"]}
            answer = await hosts.one.call("POST", f"/api/sessions/{SESSION}/groups", body)
            assert (answer.status, answer.json()["outcome"]) == (202, "uncertain")
        with subtests.test("a change is 503, and recorded as unknown"):
            hosts.one.store.entries.clear()
            answer = await hosts.one.call("POST", f"/api/sessions/{SESSION}/stop", {})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            [entry] = changes(hosts.one)
            assert (entry.session_id, entry.after) == (SESSION, "unknown")
        with subtests.test("a read is 503"):
            assert (await hosts.one.call("GET", STATUS)).status == 503


async def test_not_connected(hosts: Pair) -> None:
    """Nothing has gone out: it was not sent."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        hosts.all.add("bad", base_url(nobody))
        hosts.all.owners[SESSION] = "bad"
        for method, path, body in (
            ("POST", SEND, TEXT),
            ("POST", f"/api/sessions/{SESSION}/stop", {}),
            ("GET", STATUS, None),
        ):
            answer = await hosts.one.call(method, path, body)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), path


@contextlib.contextmanager
def full(listener: socket.socket) -> Iterator[None]:
    """Whoever connects there hangs, as at a host without power."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            with contextlib.suppress(BlockingIOError):
                one.connect(listener.getsockname())
        yield


@contextlib.contextmanager
def without_power(all_: Everything) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        all_.add("bad", base_url(listener))
        all_.owners[SESSION] = "bad"
        with full(listener):
            yield


async def test_an_owner_that_dies_before_it_is_connected(hosts: Pair) -> None:
    """Nothing has gone out: it was not sent."""
    with without_power(hosts.all):
        sending = asyncio.ensure_future(hosts.one.call("POST", SEND, TEXT))
        others = hosts.one.app[LOAD]._shares[""]
        await wait_until(lambda: others.requests, "it is under way")
        hosts.all.change("bad", alive=False)
        answer = await sending
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), answer.content


async def test_an_owner_that_dies_while_it_is_connected_once_more(hosts: Pair) -> None:
    """It has taken nothing of the request that was sealed for another start, and nothing of the next one has gone out."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        hosts.all.add("bad", base_url(listener))
        hosts.all.owners[SESSION] = "bad"
        sending = asyncio.ensure_future(hosts.one.call("POST", SEND, TEXT))
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        reader, writer = await asyncio.open_connection(sock=accepted)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seal = next(it for it in head.splitlines() if it.lower().startswith("authorization:"))
        it = opened(seal.split()[-1], SHARED_KEY)
        assert it
        stack.enter_context(full(listener))
        seals, real = hosts.one.app[SEALS], hosts.one.app[SEALS].corrected  # type: ignore[attr-defined]

        def corrected(*given: Any) -> Any:
            hosts.all.change("bad", alive=False)
            return real(*given)

        seals.corrected = corrected  # type: ignore[attr-defined]
        said = correction(it.nonce, "another", SHARED_KEY)
        writer.write(f"HTTP/1.1 401 No\r\n{START}: {said}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = await sending
        writer.close()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), answer.content


async def test_an_owner_that_is_not_connected_in_time(tmp_path: Path) -> None:
    """Its change was certainly not made."""
    timings = Timings(request=0.1, longer_elsewhere=0.1)
    async with pair(serving, tmp_path, timings) as hosts:
        with without_power(hosts.all):
            answer = await hosts.one.call("POST", f"/api/sessions/{SESSION}/stop", {})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            [entry] = changes(hosts.one)
            assert entry.after == "failed"


async def test_an_owner_that_hangs_until_it_is_dead(hosts: Pair) -> None:
    """No end of its own has a send: its owner's lease has one."""
    reached = asyncio.Event()

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()
        await reader.read(-1)

    async with BadOwner(hangs).serving(hosts.all):
        sending = asyncio.ensure_future(hosts.one.call("POST", SEND, TEXT))
        await reached.wait()
        hosts.all.change("bad", alive=False)
        answer = await sending
        assert (answer.status, answer.json()["outcome"]) == (202, "uncertain")


async def test_a_client_that_leaves_is_left_there_too(hosts: Pair) -> None:
    """The owner must know that nobody has read its reply: it keeps the outcome for the repetition."""
    hosts.two.sessions.free.clear()
    sending = asyncio.ensure_future(hosts.one.call("POST", SEND, TEXT))
    await wait_until(lambda: bool(hosts.two.sessions.sends()), "it is being sent")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    others = hosts.one.app[LOAD]._shares[""]
    await wait_until(lambda: not others.requests, "it waits no more")
    hosts.two.sessions.free.set()
    await wait_until(lambda: hosts.two.outbox.owed() == 1, "its reply is owed")
    again = await hosts.one.call("POST", SEND, TEXT)
    assert again.status == 200
    assert len(hosts.two.sessions.sends()) == 1, "the repetition is the same message"


async def test_a_file_that_is_cut_off_in_the_middle(hosts: Pair) -> None:
    """The client must not take a part for the whole."""

    async def cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 9000000\r\n\r\n")
        writer.write(bytes(1_000_000))
        await writer.drain()
        reset(writer)

    async with BadOwner(cuts).serving(hosts.all):
        with pytest.raises(aiohttp.ClientError):
            await hosts.one.call("GET", f"/api/media/{NAME}")


async def test_a_file_that_another_host_has_beside_a_busy_one(hosts: Pair) -> None:
    async def is_busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 x\r\nContent-Length: 2\r\nRetry-After: 2\r\n\r\n{}")
        await writer.drain()

    name = hosts.two.media.keep(b"a picture", "image/png")
    busy = BadOwner(is_busy)
    async with busy.serving(hosts.all):
        answer = await hosts.one.call("GET", f"/api/media/{name}")
        assert (answer.status, answer.content) == (200, b"a picture")
        assert busy.connections, "it was asked first"
        answer = await hosts.one.call("GET", f"/api/media/{NAME}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5"), "it may be there"


async def test_a_slow_owner_is_waited_for(hosts: Pair) -> None:
    hosts.two.sessions.free.clear()
    sending = asyncio.ensure_future(hosts.one.call("POST", SEND, TEXT))
    await wait_until(lambda: bool(hosts.two.sessions.sends()), "it is being sent")
    done, _ = await asyncio.wait({sending}, timeout=1.2)
    assert not done
    hosts.two.sessions.free.set()
    assert (await sending).status == 200


async def test_what_takes_longer_than_a_request_may(tmp_path: Path) -> None:
    """The owner says so first; one that says nothing is not waited for."""
    async with pair(serving, tmp_path, Timings(request=0.1)) as hosts:
        hosts.two.sessions.free.clear()
        answer = await hosts.one.call("POST", f"/api/sessions/{SESSION}/stop", {})
        assert (answer.status, answer.json()["error"]) == (
            503,
            "this takes longer than expected; it continues",
        )


async def test_an_owner_that_says_nothing_has_as_long_as_a_request(tmp_path: Path) -> None:
    """It lives, and its answer would be 503 by then."""

    async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with (
        pair(serving, tmp_path, Timings(request=0.1, longer_elsewhere=0.1)) as hosts,
        BadOwner(hangs).serving(hosts.all),
    ):
        answer = await hosts.one.call("POST", f"/api/sessions/{SESSION}/stop", {})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        [entry] = changes(hosts.one)
        assert entry.after == "unknown"


async def test_a_reset_in_the_middle_of_a_large_body(hosts: Pair) -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1 << 20)
        reset(writer)

    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "media": "A" * (12 << 20)}
    async with BadOwner(resets).serving(hosts.all):
        answer = await hosts.one.call("POST", "/api/messages/send-media", body)
        assert (answer.status, answer.json()["outcome"]) == (202, "uncertain")


@pytest.mark.parametrize("manner", [*_CUTS, None])
async def test_an_upload_that_its_host_does_not_hand_out(hosts: Pair, manner: Any) -> None:
    """It is no lack of room here, and nothing of it is left."""

    async def cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 9000000\r\n\r\n")
        writer.write(bytes(3_000_000))
        await writer.drain()
        reset(writer)

    body = {"session_id": SESSION, "recipient_phone": "6281234567890", "media_sha256": NAME}
    async with BadOwner(manner or cuts).serving(hosts.all):
        hosts.all.owners[SESSION] = "h1"
        answer = await hosts.one.call("POST", "/api/messages/send-media", body)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert not hosts.one.sessions.sends()
        left = hosts.one.deps.outgoing_files.folder.coming("")
        assert not [it for it in left.rglob("*") if it.is_file()]
