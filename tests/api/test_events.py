"""The event stream over a real socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import KEY, SECOND_KEY, Api
from tests.waiting import wait_until
from waguard.api.auth import Keys
from waguard.api.timings import Timings
from waguard.ports.bus import BusEvent
from waguard.supervision.event_bus import QUEUE_LIMIT


class Stream:
    """Reads blocks of the stream: an event as its fields, a comment as ``{":": text}``."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            while line := (await self.response.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
        return fields

    async def event(self) -> Any:
        """The next event's data, checked against its own header."""
        while "data" not in (block := await self.block()):
            assert block, "the stream ended"
        data = json.loads(block["data"])
        assert (block["id"], block["event"]) == (str(data["id"]), data["event"])
        return data


@contextlib.asynccontextmanager
async def streaming(
    api: Api, query: str = "", *, key: str = KEY, **headers: str
) -> AsyncIterator[Stream]:
    headers["X-Api-Key"] = key
    async with api.http.get(f"{api.base}/api/events{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        stream = Stream(response)
        assert "" in await stream.block()  # the comment at the start
        yield stream


def publish(api: Api, text: str) -> BusEvent:
    return api.bus.publish("message_received", "a", 1, {"message": {"body": text}})


async def test_events_come_as_they_happen(api: Api) -> None:
    publish(api, "before")
    async with streaming(api) as stream:
        happened = publish(api, "line\nend\r\u2028 and data: x\n\nevent: y")
        data = await stream.event()
    assert data["id"] == happened.id
    assert data["session_id"] == "a"
    assert data["at"].endswith("Z")
    assert data["data"] == {"workspace_id": 1, **happened.data}


@pytest.mark.parametrize("by_header", [True, False])
async def test_replays_at_least_a_thousand(api: Api, by_header: bool) -> None:  # noqa: FBT001
    published = [publish(api, str(number)) for number in range(1_201)]
    last = published[200].id
    query, headers = ("", {"Last-Event-ID": str(last)}) if by_header else ("", {})
    if not by_header:
        query = f"?last_event_id={last}"
    async with streaming(api, query, **headers) as stream:
        replayed = [await stream.event() for _ in range(1_000)]
        publish(api, "now")
        now = await stream.event()
    assert [event["id"] for event in replayed] == [event.id for event in published[201:]]
    assert now["data"]["message"]["body"] == "now"


@pytest.mark.parametrize("timings", [Timings(comment_every=0.02)])
async def test_a_comment_when_nothing_happens(api: Api) -> None:
    async with streaming(api) as stream:
        assert await stream.block() == {"": "that is all so far"}
        assert await stream.block() == {"": "still here"}
        publish(api, "x")
        assert (await stream.event())["data"]["message"]["body"] == "x"
        assert await stream.block() == {"": "still here"}


async def test_one_that_lags_is_ended_with_a_comment_and_comes_back(api: Api) -> None:
    async with streaming(api) as stream:
        # at once: none was read
        published = [publish(api, str(number)) for number in range(QUEUE_LIMIT + 20)]
        got = [(await stream.event())["id"] for _ in range(QUEUE_LIMIT)]
        assert (await stream.block())[""].startswith("the end")
        assert await stream.response.content.read() == b""
    assert got == [event.id for event in published[:QUEUE_LIMIT]]
    async with streaming(api, **{"Last-Event-ID": str(got[-1])}) as stream:
        assert (await stream.event())["id"] == published[QUEUE_LIMIT].id


@pytest.mark.parametrize("timings", [Timings(event_write=0.05)])
async def test_one_that_does_not_read_is_dropped(api: Api) -> None:
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    head = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    await reader.readuntil(b": waguard\n\n")
    assert len(api.bus._listeners) == 1
    for _ in range(60):  # more than the buffers of both kernels hold
        publish(api, "x" * (1 << 20))
    await wait_until(lambda: not api.bus._listeners, "the listener is gone")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("timings", [Timings(comment_every=0.02)])
async def test_a_client_that_leaves_is_forgotten(api: Api) -> None:
    async with streaming(api):
        assert len(api.bus._listeners) == 1
    await wait_until(lambda: not api.bus._listeners, "the listener is gone")


async def test_a_key_that_is_taken_out_of_the_key_file_ends_its_streams_and_no_others(
    api: Api,
) -> None:
    both = api.deps.keys.values
    async with streaming(api) as gone, streaming(api, key=SECOND_KEY) as stays:
        api.deps.keys.renew(Keys(both - {KEY.encode()}))
        assert await gone.response.content.read() == b""
        publish(api, "later")
        assert (await stays.event())["data"]["message"]["body"] == "later"


async def test_the_end_of_the_bus_ends_the_stream(api: Api) -> None:
    async with streaming(api) as stream:
        publish(api, "last words")
        api.bus.close()
        assert (await stream.event())["data"]["message"]["body"] == "last words"
        assert (await stream.block())[""].startswith("the end")
        assert await stream.response.content.read() == b""
