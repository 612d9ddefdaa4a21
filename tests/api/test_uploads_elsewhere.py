"""Files to send that lie on another host: whoever sends them has them come, or waits for that host."""

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web

from tests.api.conftest import Api
from tests.api.fake_cluster import Pair
from tests.api.fake_sessions import SESSION
from tests.api.test_bad_owners import BadOwner
from tests.api.test_forwarding import LARGE, NAME, move_away
from waguard.api.forwarding import CALLS
from waguard.api.uploads_elsewhere import UploadsElsewhere
from waguard.errors import UnavailableError

SEND = "/api/messages/send-media"
BODY = {"session_id": SESSION, "recipient_phone": "6281234567890", "media_sha256": NAME}


async def uploaded(api: Api) -> None:
    headers = {"Content-Type": "application/pdf"}
    assert (await api.call("POST", "/api/media", data=LARGE, headers=headers)).status == 200


def uploads(hosts: Pair, *, knows_all: bool = True) -> UploadsElsewhere:
    """Those of h2."""
    two = hosts.two
    return UploadsElsewhere(
        two.deps.outgoing_files, hosts.hosts["h2"], lambda: two.app[CALLS], lambda: knows_all
    )


def kept(api: Api) -> Path | None:
    return api.deps.outgoing_files.path(NAME)


async def test_it_comes_once_for_all_who_wait_for_it(
    hosts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await uploaded(hosts.one)
    came, receive = [], hosts.two.deps.outgoing_files.receive

    async def noting(*args: object, **more: object) -> object:
        came.append(args)
        return await receive(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(hosts.two.deps.outgoing_files, "receive", noting)
    of_two = uploads(hosts)
    await asyncio.gather(*(of_two.bring(NAME) for _ in range(3)))
    assert len(came) == 1
    found = kept(hosts.two)
    assert found
    assert found.read_bytes() == LARGE


async def test_no_host_has_it(hosts: Pair) -> None:
    await uploads(hosts).bring(NAME)
    assert kept(hosts.two) is None


async def test_who_may_have_it_is_away(hosts: Pair, subtests: pytest.Subtests) -> None:
    """Also one that was stopped in order: it may come back."""
    hosts.all.add("h3", "http://127.0.0.1:1")
    with subtests.test("it cannot be reached"), pytest.raises(UnavailableError):
        await uploads(hosts).bring(NAME)
    hosts.all.change("h3", alive=False, drain=True)
    with subtests.test("it is dead"), pytest.raises(UnavailableError, match="away: h3"):
        await uploads(hosts).bring(NAME)
    with subtests.test("another one has it"):
        await uploaded(hosts.one)
        await uploads(hosts).bring(NAME)
        assert kept(hosts.two)


async def test_a_host_that_is_not_known_yet_may_have_it(hosts: Pair) -> None:
    """As after a start, while the lease of the run before holds still."""
    with pytest.raises(UnavailableError):
        await uploads(hosts, knows_all=False).bring(NAME)


@pytest.mark.parametrize("status", [401, 500, 503])
async def test_a_refusal_does_not_say_that_there_is_no_such_file(hosts: Pair, status: int) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with BadOwner(refuses).serving(hosts.all):
        hosts.all.owners[SESSION] = "h2"
        with pytest.raises(UnavailableError):
            await uploads(hosts).bring(NAME)
        answer = await hosts.two.call("POST", SEND, BODY)
        assert answer.status == web.HTTPServiceUnavailable.status_code


async def test_what_is_accepted_for_a_session_without_owner(hosts: Pair) -> None:
    await uploaded(hosts.two)
    del hosts.all.owners[SESSION]
    move_away(hosts.one)
    answer = await hosts.one.call("POST", SEND, BODY | {"send_at": time.time() + 600})
    assert answer.status == 202, answer.content
    assert kept(hosts.one)
