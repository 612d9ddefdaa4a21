"""The event stream of a cluster: two real APIs, one of which is restarted, stands still or has bad manners."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from tests.api.conftest import KEY, Api, serving
from tests.api.fake_cluster import Everything, FakeHost, Pair, cluster_of, pair
from tests.api.fake_sessions import SESSION
from tests.api.test_events import Stream, publish, streaming
from tests.waiting import wait_until
from waguard.api.timings import Limits, Timings
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import QR_CODE
from waguard.messaging.timings import BOUNDS
from waguard.supervision.event_bus import QUEUE_LIMIT, REPLAYED

SOON: Final = Timings(host_again=0.02, host_away_again=0.02)


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(serving, tmp_path, SOON) as both:
        yield both


@contextlib.asynccontextmanager
async def running(all_hosts: Everything, name: str, folder: Path) -> AsyncIterator[Api]:
    """A daemon's life on a host."""
    folder.mkdir(exist_ok=True)
    join = partial(cluster_of, FakeHost(name, all_hosts))
    async with serving(folder, SOON, Limits(), BOUNDS, join=join) as api:
        yield api


async def until_comment(stream: Stream, text: str) -> list[dict[str, str]]:
    """The blocks up to that comment, this one included."""
    found = []
    while True:
        found.append(await stream.block())
        assert found[-1], "the stream ended"
        if found[-1].get("") == text:
            return found


async def texts(stream: Stream, count: int) -> list[str]:
    return [(await stream.event())["data"]["message"]["body"] for _ in range(count)]


def numbers(of: str) -> dict[str, int]:
    found = (one.split(":") for one in of.split(","))
    return {host: int(number) for host, number in found}


async def all_reached(stream: Stream) -> str:
    """The id of where the stream begins."""
    blocks = await until_comment(stream, "that is all so far")
    return next(it["id"] for it in reversed(blocks) if "id" in it)


async def test_one_host_has_the_events_of_all(hosts: Pair) -> None:
    async with streaming(hosts.one) as stream:
        begin = await all_reached(stream)
        assert numbers(begin).keys() == {"h1", "h2"}
        there = publish(hosts.two, "there")
        event = await stream.event()
        assert event["data"] == {"workspace_id": 1, **there.data}
        assert numbers(event["id"]) == numbers(begin) | {"h2": there.id}
        here = publish(hosts.one, "here")
        event = await stream.event()
        assert event["data"]["message"]["body"] == "here"
        assert numbers(event["id"]) == {"h1": here.id, "h2": there.id}


async def test_a_client_goes_on_where_it_was_at_another_host(hosts: Pair) -> None:
    async with streaming(hosts.one) as stream:
        await all_reached(stream)
        publish(hosts.one, "1")
        publish(hosts.two, "2")
        await texts(stream, 2)
        publish(hosts.one, "3")
        last = (await stream.event())["id"]
    for text, api in (("4", hosts.one), ("5", hosts.two), ("6", hosts.one)):
        publish(api, text)
    for api in (hosts.two, hosts.one):
        async with streaming(api, **{"Last-Event-ID": last}) as stream:
            assert sorted(await texts(stream, 3)) == ["4", "5", "6"]
            await until_comment(stream, "that is all so far")
    query = f"?last_event_id={last.replace(':', '%3A')}"
    async with streaming(hosts.one, query) as stream:
        assert sorted(await texts(stream, 3)) == ["4", "5", "6"]


async def test_one_that_got_nothing_goes_on_where_it_began(hosts: Pair) -> None:
    """The id of the beginning is one as well."""
    publish(hosts.two, "before")
    async with streaming(hosts.one) as stream:
        begin = await all_reached(stream)
    publish(hosts.one, "1")
    publish(hosts.two, "2")
    async with streaming(hosts.one, **{"Last-Event-ID": begin}) as stream:
        assert sorted(await texts(stream, 2)) == ["1", "2"]


async def test_a_number_is_this_hosts_own(hosts: Pair) -> None:
    """It is of before the cluster: of the others all is new."""
    first = publish(hosts.one, "1")
    publish(hosts.one, "2")
    publish(hosts.two, "3")
    async with streaming(hosts.one, **{"Last-Event-ID": str(first.id)}) as stream:
        assert sorted(await texts(stream, 2)) == ["2", "3"]


async def test_all_that_is_remembered_ends_with_a_comment(hosts: Pair) -> None:
    """However much happens meanwhile: what is new is none of it."""
    count = REPLAYED + 100
    for number in range(count):
        publish(hosts.two, f"2 {number}")
    publish(hosts.one, "1")
    async with streaming(hosts.one, **{"Last-Event-ID": "0"}) as stream:
        blocks = await until_comment(stream, "that is all so far")
    found = [json.loads(it["data"])["data"]["message"]["body"] for it in blocks if "data" in it]
    assert sorted(found) == sorted(["1", *(f"2 {it}" for it in range(100, count))])
    assert not [it for it in blocks if it.get("", "").startswith("host ")]


async def test_a_host_that_is_away_is_no_error(hosts: Pair, tmp_path: Path) -> None:
    hosts.all.add("h3", "http://127.0.0.1:9")
    async with streaming(hosts.one) as stream:
        blocks = await until_comment(stream, "that is all so far")
        assert {"": "host h3: away"} in blocks
        publish(hosts.two, "2")
        assert await texts(stream, 1) == ["2"]
        async with running(hosts.all, "h3", tmp_path / "h3") as third:
            publish(third, "of its start")
            (block,) = await until_comment(stream, "host h3: back")
            assert "h3" in numbers(block["id"])
            assert await texts(stream, 1) == ["of its start"]


async def test_a_host_that_has_died_is_away_at_once(hosts: Pair) -> None:
    """Its socket says nothing where it stands still."""
    async with streaming(hosts.one) as stream:
        begin = await all_reached(stream)
        hosts.all.change("h2", alive=False)
        await until_comment(stream, "host h2: away")
        await wait_until(lambda: not hosts.two.bus._listeners, "nobody listens there")
        happened = publish(hosts.two, "meanwhile")
        publish(hosts.one, "1")
        event = await stream.event()
        assert numbers(event["id"])["h2"] == numbers(begin)["h2"]
        hosts.all.change("h2", alive=True)
        await until_comment(stream, "host h2: back")
        event = await stream.event()
        assert (event["data"]["message"]["body"], numbers(event["id"])["h2"]) == (
            "meanwhile",
            happened.id,
        )


async def test_a_host_is_restarted_in_the_middle(tmp_path: Path) -> None:
    everything, life = Everything(), contextlib.AsyncExitStack()
    async with running(everything, "h1", tmp_path / "1") as one:
        two = await life.enter_async_context(running(everything, "h2", tmp_path / "2"))
        async with streaming(one) as stream:
            await all_reached(stream)
            publish(two, "1")
            assert await texts(stream, 1) == ["1"]
            publish(two, "2")
            await life.aclose()
            assert await texts(stream, 1) == ["2"]
            await until_comment(stream, "host h2: away")
            async with running(everything, "h2", tmp_path / "3") as again:
                publish(again, "3")
                # nobody knows whether the daemon before has published something that nobody has read
                await until_comment(stream, "host h2: some events may be missing")
                publish(again, "4")
                assert await texts(stream, 1) == ["3"]
                event = await stream.event()
                assert event["data"]["message"]["body"] == "4"
                async with streaming(one, **{"Last-Event-ID": event["id"]}) as later:
                    blocks = await until_comment(later, "that is all so far")
                    assert not [it for it in blocks if "data" in it or it.get("", "") == "host h2"]


async def test_a_client_comes_back_to_a_host_that_was_restarted(tmp_path: Path) -> None:
    everything, life = Everything(), contextlib.AsyncExitStack()
    async with running(everything, "h2", tmp_path / "2") as two:
        one = await life.enter_async_context(running(everything, "h1", tmp_path / "1"))
        async with streaming(one) as stream:
            await all_reached(stream)
            publish(two, "1")
            last = (await stream.event())["id"]
        await life.aclose()
        publish(two, "2")
        async with (
            running(everything, "h1", tmp_path / "3") as again,
            streaming(again, **{"Last-Event-ID": last}) as stream,
        ):
            blocks = await until_comment(stream, "that is all so far")
    said = [it[""] for it in blocks if "" in it]
    assert said == ["host h1: some events may be missing", "that is all so far"]
    (event,) = [json.loads(it["data"]) for it in blocks if "data" in it]
    assert event["data"]["message"]["body"] == "2"


async def test_who_does_not_read_delays_nobody_and_misses_nothing(hosts: Pair) -> None:
    count = 400
    async with streaming(hosts.one) as slow, streaming(hosts.one) as quick:
        await all_reached(slow)
        await all_reached(quick)
        published = []
        for _ in range(count):  # in all more than all buffers between h2 and a client hold
            published.append(publish(hosts.two, "x" * (64 << 10)).id)
            event = await quick.event()
            assert numbers(event["id"])["h2"] == published[-1]
        got = [numbers((await slow.event())["id"])["h2"] for _ in range(count)]
        assert got == published


async def test_a_host_that_has_forgotten_some_says_so(hosts: Pair) -> None:
    """It published so much at once that this client lagged too far behind there."""
    count = QUEUE_LIMIT + REPLAYED + 500
    async with streaming(hosts.one) as stream:
        await all_reached(stream)
        published = [publish(hosts.two, "x").id for _ in range(count)]
        got = [numbers((await stream.event())["id"])["h2"] for _ in range(QUEUE_LIMIT)]
        assert got == published[:QUEUE_LIMIT]
        (block,) = await until_comment(stream, "host h2: some events may be missing")
        assert numbers(block["id"])["h2"] == published[-REPLAYED - 1]
        got = [numbers((await stream.event())["id"])["h2"] for _ in range(REPLAYED)]
        assert got == published[-REPLAYED:]


async def test_one_that_lags_here_is_ended_and_comes_back(hosts: Pair) -> None:
    async with streaming(hosts.one) as stream:
        await all_reached(stream)
        published = [publish(hosts.one, "x").id for _ in range(QUEUE_LIMIT + 20)]
        got = [await stream.event() for _ in range(QUEUE_LIMIT)]
        assert (await stream.block())[""].startswith("the end")
        assert await stream.response.content.read() == b""
    async with streaming(hosts.one, **{"Last-Event-ID": got[-1]["id"]}) as stream:
        assert numbers((await stream.event())["id"])["h1"] == published[QUEUE_LIMIT]


async def test_hosts_are_asked_only_while_somebody_listens(hosts: Pair) -> None:
    assert not hosts.two.bus._listeners
    async with streaming(hosts.one) as stream:
        await all_reached(stream)
        assert len(hosts.two.bus._listeners) == 1

    def nobody() -> bool:
        for api in (hosts.one, hosts.two):  # what is written shows that it has left
            publish(api, "x")
        return not hosts.two.bus._listeners

    await wait_until(nobody, "nobody listens there")
    assert not hosts.one.bus._listeners


async def test_a_key_sees_of_other_hosts_what_it_sees_here(hosts: Pair) -> None:
    hosts.one.deps.keys.find_issued = {
        "narrow": Caller(name="n", right=Right.READ, sessions=frozenset({SESSION})),
    }.get
    headers = {"X-Api-Key": "narrow"}
    url = f"{hosts.one.base}/api/events"
    async with hosts.one.http.get(url, headers=headers) as response:
        stream = Stream(response)
        await all_reached(stream)
        for session in (None, "b", SESSION):
            hosts.two.bus.publish(QR_CODE, session, 1, {"qr": "2@"})
            hosts.two.bus.publish("lifecycle", session, 1, {})
        event = await stream.event()
    assert (event["event"], event["session_id"]) == ("lifecycle", SESSION)
    assert "b" not in event["id"]


async def test_many_clients_of_other_hosts_are_bounded(tmp_path: Path) -> None:
    """They take no place of this host's own clients."""
    bounds = Limits(streams=2, host_streams=1)
    async with (
        pair(serving, tmp_path, SOON, bounds) as hosts,
        contextlib.AsyncExitStack() as first_client,
    ):
        first = await first_client.enter_async_context(streaming(hosts.one))
        await all_reached(first)
        async with streaming(hosts.one) as stream, streaming(hosts.two):
            await until_comment(stream, "host h2: away")
            publish(hosts.two, "1")
            assert await texts(first, 1) == ["1"]
            await first_client.aclose()
            for api in (hosts.one, hosts.two):  # what is written shows that it has left
                publish(api, "2")
                publish(api, "3")
            await until_comment(stream, "host h2: back")
            assert await texts(stream, 3) == ["1", "2", "3"]


# ---- hosts with bad manners ----

Serve = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


@dataclass
class Odd:
    """A host, ``h3``, that serves what a test says; ``asked``: the ids from which it was to send."""

    base: str
    asked: list[str | None]


@contextlib.asynccontextmanager
async def odd(
    all_hosts: Everything, serve: Serve, *, extent: str = "h3:5-9", status: int = 200
) -> AsyncIterator[Odd]:
    async def events(request: web.Request) -> web.StreamResponse:
        host.asked.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(status=status)
        if extent:
            # what it has sent before, it has published
            again = len(host.asked) > 1 and extent == "h3:5-9"
            response.headers["X-Host-Events"] = "h3:5-11" if again else extent
        await serve(request, response)
        return response

    app = web.Application()
    app.router.add_get("/api/events", events)
    runner = web.AppRunner(app, shutdown_timeout=0.1)  # 0: forever
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host = Odd(f"http://127.0.0.1:{runner.addresses[0][1]}", [])
    all_hosts.add("h3", host.base)
    try:
        yield host
    finally:
        await runner.cleanup()


def block(number: int) -> bytes:
    data = {
        "id": number,
        "event": "lifecycle",
        "session_id": "a",
        "at": "2026-11-26T10:00:00.5Z",
        "data": {"workspace_id": 1},
    }
    return f"id: {number}\nevent: lifecycle\ndata: {json.dumps(data)}\n\n".encode()


async def test_a_connection_is_cut_in_the_middle_of_an_event(hosts: Pair) -> None:
    """And the host repeats what it has sent."""
    parts = iter([block(10) + block(11)[:40], block(10) + block(11)])

    async def serve(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        await response.write(next(parts, b""))
        if len(host.asked) > 1:
            await asyncio.Event().wait()
        assert request.transport
        await asyncio.sleep(0)
        request.transport.close()

    async with odd(hosts.all, serve) as host, streaming(hosts.one) as stream:
        got = [numbers((await stream.event())["id"])["h3"] for _ in range(2)]
        assert got == [10, 11]
        assert host.asked == [None, "10"]


async def test_an_event_comes_in_pieces(hosts: Pair) -> None:
    async def serve(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        for place in range(0, len(block(10)), 7):
            await response.write(block(10)[place : place + 7])
            await asyncio.sleep(0)
        await response.write(b": still here\n\n" + block(11))
        await asyncio.Event().wait()

    async with odd(hosts.all, serve), streaming(hosts.one) as stream:
        got = [numbers((await stream.event())["id"])["h3"] for _ in range(2)]
    assert got == [10, 11]


@pytest.mark.parametrize(
    ("extent", "status", "content"),
    [
        ("", 200, b""),  # of an older version
        ("h2:5-9", 200, block(10)),  # two hosts have its address
        ("h3:5", 200, block(10)),
        ("h3:5-9", 503, block(10)),
        ("h3:5-9", 401, b""),
        ("h3:5-9", 200, b"data: {\n\n"),
        ("h3:5-9", 200, b'data: {"id": 10}\n\n'),
        ("h3:5-9", 200, b"data: []\n\n"),
    ],
)
async def test_what_is_no_stream_of_its_host(
    hosts: Pair, extent: str, status: int, content: bytes
) -> None:
    async def serve(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        await response.write(content)
        await asyncio.Event().wait()

    async with (
        odd(hosts.all, serve, extent=extent, status=status),
        streaming(hosts.one) as stream,
    ):
        await until_comment(stream, "host h3: away")
        publish(hosts.two, "2")
        assert await texts(stream, 1) == ["2"]


async def test_a_host_that_does_not_answer(tmp_path: Path) -> None:
    soon = replace(SOON, host_begins=0.1)

    async def serve(_: web.Request, __: web.StreamResponse) -> None:
        await asyncio.Event().wait()

    async with (
        pair(serving, tmp_path, soon) as hosts,
        odd(hosts.all, serve),
        streaming(hosts.one) as stream,
    ):
        blocks = await until_comment(stream, "that is all so far")
        assert {"": "host h3: away"} in blocks


async def test_a_host_from_which_nothing_comes(tmp_path: Path) -> None:
    soon = replace(SOON, host_stalled=0.2)

    async def serve(request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        await response.write(block(10))
        await asyncio.Event().wait()

    async with (
        pair(serving, tmp_path, soon) as hosts,
        odd(hosts.all, serve) as host,
        streaming(hosts.one) as stream,
    ):
        assert numbers((await stream.event())["id"])["h3"] == 10
        await until_comment(stream, "host h3: away")
        await wait_until(lambda: len(host.asked) > 1, "it is asked again")
        assert host.asked[1] == "10"


# ---- one host alone ----


async def test_one_host_alone_says_what_it_always_said(api: Api) -> None:
    happened = publish(api, "é")
    headers = {"X-Api-Key": KEY, "Last-Event-ID": "0"}
    async with api.http.get(f"{api.base}/api/events", headers=headers) as response:
        assert "X-Host-Events" not in response.headers
        start = await response.content.readuntil(b"all so far\n\n")
    (at,) = [
        line.split('"at": "')[1].split('"')[0]
        for line in start.decode().splitlines()
        if "at" in line and "data" in line
    ]
    assert start.decode() == (
        "retry: 2000\n: waguard\n\n"
        f"id: {happened.id}\nevent: message_received\n"
        f'data: {{"id": {happened.id}, "event": "message_received", "session_id": "a", "at": "{at}", '
        '"data": {"workspace_id": 1, "message": {"body": "\\u00e9"}}}\n\n'
        ": that is all so far\n\n"
    )


async def test_what_a_cluster_said_is_of_before_for_one_host_alone(api: Api) -> None:
    publish(api, "1")
    async with streaming(api, **{"Last-Event-ID": "h1:7,h2:9"}) as stream:
        assert await texts(stream, 1) == ["1"]


@pytest.mark.parametrize(
    "given", ["h1", "h1:", ":7", "h1:7,", "h1:x", "a b:7", "h1:7;h2:9", "-h:1"]
)
async def test_what_is_no_id(hosts: Pair, given: str) -> None:
    answer = await hosts.one.call("GET", "/api/events", headers={"Last-Event-ID": given})
    assert (answer.status, answer.json()["field"]) == (400, "Last-Event-ID")
