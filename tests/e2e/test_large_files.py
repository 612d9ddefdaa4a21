"""Files that no process of ours ever holds whole: 100 MB out and in, many at once, and killed in between."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.waiting import wait_until
from waguard.host.process.procfs import group_members

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(1_200),
]

PHONE, FRIEND = "6281180001", "6281180002"
LARGE = 100 << 20
GROWTH = 30 << 20  # bytes that worker and daemon may each take for it
PIECE = 1 << 20
PDF = {"Content-Type": "application/pdf"}
SEVERAL, SMALLER = 20, 18 << 20


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(LARGE)


@dataclass
class Weights:
    """The proportional memory of processes, as they were at first and at most."""

    processes: dict[str, list[int]]
    first: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    def weigh(self) -> None:
        for name, pids in self.processes.items():
            now = sum(map(_pss, pids))
            self.first.setdefault(name, now)
            self.most[name] = max(self.most.get(name, 0), now)

    def grown(self) -> dict[str, int]:
        return {name: self.most[name] - self.first[name] for name in self.processes}


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def worker_of(world: World) -> int:
    (record,) = (world.daemon.folder / "run/workers").glob("*.json")
    return int(json.loads(record.read_text())["pid"])


@contextlib.asynccontextmanager
async def weighed(world: World) -> AsyncIterator[Weights]:
    """While the body runs."""
    assert world.daemon.process
    browser = (await world.daemon.call("GET", "/api/sessions/s1/status"))[1]["browser_pid"]
    weights = Weights(
        {
            "daemon": [world.daemon.process.pid],
            "worker": [worker_of(world)],
            "browser": [browser, *group_members(browser)],
        }
    )
    weights.weigh()

    async def weigh() -> None:
        while True:
            await asyncio.to_thread(weights.weigh)
            await asyncio.sleep(0.05)

    weighing = asyncio.create_task(weigh())
    try:
        yield weights
    finally:
        weighing.cancel()
        await asyncio.gather(weighing, return_exceptions=True)


async def uploaded(world: World, content: bytes) -> str:
    """The file's hash, as the daemon answers it."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), PIECE):
            yield content[start : start + PIECE]

    daemon = world.daemon
    headers = {"X-Api-Key": daemon.key, **PDF}
    async with daemon.http.post(
        daemon.base + "/api/media", data=pieces(), headers=headers
    ) as response:
        reported = await response.json()
        assert response.status == 200, reported
    assert reported["size"] == len(content)
    return str(reported["sha256"])


async def sent(world: World, name: str, **more: Any) -> Any:
    body = {"session_id": "s1", "recipient_phone": FRIEND, "media_sha256": name}
    code, reported = await world.daemon.call(
        "POST", "/api/messages/send-media", body | {"filename": "a.pdf"} | more
    )
    assert code in {200, 202}, reported
    return reported


def incoming(world: World, content: bytes, body: str) -> str:
    media = {"mimetype": "application/pdf", "filename": "b.pdf"}
    media["base64"] = base64.b64encode(content).decode()
    phone = world.standin.phone
    return phone.incoming(phone=PHONE, from_=FRIEND, body=body, media=media)["id"]


async def received(world: World, message_id: str) -> Any:
    reported = await world.receiver.wait_for(
        "message_received", where=lambda data: bool(data["message"]["id"] == message_id)
    )
    return reported["message"]["media"]


async def fetched(world: World, url: str) -> str:
    """The hash of what is there, once it is."""
    daemon = world.daemon
    path = url[url.index("/api/") :]

    async def digest() -> str | None:
        headers = {"X-Api-Key": daemon.key}
        async with daemon.http.get(daemon.base + path, headers=headers) as response:
            if response.status == 425:
                assert int(response.headers["Retry-After"]) > 0
                return None
            assert response.status == 200, await response.text()
            found = hashlib.sha256()
            async for piece in response.content.iter_chunked(PIECE):
                found.update(piece)
            return found.hexdigest()

    return str(await daemon.until(digest, deadline=300.0))


def unfinished(world: World) -> list[str]:
    state = world.daemon.folder / "state"
    coming = [path for name in ("media", "outgoing") for path in (state / name).glob("coming/*/*")]
    drafts = (state / "outgoing").glob("coming/drafts/*")
    return sorted({str(path) for path in (*coming, *drafts)})


def at_whatsapp(world: World, content: bytes) -> int:
    """How many messages with this file it has."""
    name = base64.b64encode(hashlib.sha256(content).digest()).decode()
    found = world.standin.phone.messages(PHONE)
    return sum(one.get("filehash") == name and one["direction"] == "out" for one in found)


async def leave(world: World, *contents: bytes) -> None:
    """Wait until all are at WhatsApp, each once."""

    async def all_did() -> bool:
        return all(at_whatsapp(world, one) == 1 for one in contents)

    await world.daemon.until(all_did, deadline=300.0)


async def test_100_mb_out_and_in(world: World, content: bytes) -> None:
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)
    want, took = hashlib.sha256(content).hexdigest(), {}
    async with weighed(world) as out:
        began = time.monotonic()
        assert await uploaded(world, content) == want
        took["upload"] = time.monotonic() - began
        began = time.monotonic()
        assert (await sent(world, want))["message_id"]
        took["send"] = time.monotonic() - began
    assert at_whatsapp(world, content) == 1
    other = content[::-1]
    want = hashlib.sha256(other).hexdigest()
    async with weighed(world) as back:
        began = time.monotonic()
        media = await received(world, incoming(world, other, "large"))
        took["message"] = time.monotonic() - began
        assert (media["data"], media["sha256"], media["size"]) == (None, None, LARGE)
        assert await fetched(world, media["url"]) == want
        took["file"] = time.monotonic() - began
    for what, weights in (("out", out), ("in", back)):
        grown = weights.grown()
        print(what, {name: f"{size >> 20} MB" for name, size in grown.items()})
        assert grown["daemon"] <= GROWTH, what
        assert grown["worker"] <= GROWTH, what
    print({name: f"{seconds:.2f} s" for name, seconds in took.items()})
    assert unfinished(world) == []


async def test_twenty_at_once_each_way(world: World) -> None:
    await world.daemon.start()
    await world.daemon.pair(world.standin, "s1", PHONE)
    files = [os.urandom(SMALLER) for _ in range(SEVERAL)]
    ids = [incoming(world, one, f"file {place}") for place, one in enumerate(files)]

    async def out(one: bytes) -> None:
        async def kept() -> str | None:
            try:
                return await uploaded(world, one)
            except AssertionError as error:
                assert "too many files come in" in str(error)  # noqa: PT017 - it is tried again
                return None

        name = str(await world.daemon.until(kept))
        await sent(world, name, **{"async": True})

    async def back(message_id: str, one: bytes) -> None:
        media = await received(world, message_id)
        assert await fetched(world, media["url"]) == hashlib.sha256(one).hexdigest()

    began = time.monotonic()
    backwards = [one[::-1] for one in files]
    await asyncio.gather(*map(out, backwards), *map(back, ids, files))
    await leave(world, *backwards)
    print(f"{SEVERAL} of {SMALLER >> 20} MB each way: {time.monotonic() - began:.1f} s")
    assert unfinished(world) == []


async def test_killed_while_files_are_on_their_way(world: World, content: bytes) -> None:
    """The worker, then the daemon: each as soon as a part of a file is there."""
    daemon, state = world.daemon, world.daemon.folder / "state"
    await daemon.start()
    await daemon.pair(world.standin, "s1", PHONE)
    for whom in ("worker", "daemon"):
        other = content[::-1] if whom == "worker" else content
        media = await received(world, incoming(world, other, whom))
        await wait_until(
            lambda: (
                any((state / "media/coming").glob("*/*")) or any((state / "media").glob("??/*"))
            ),
            "a part of it is there",
        )
        if whom == "worker":
            os.kill(worker_of(world), signal.SIGKILL)
        else:
            await daemon.stop(signal.SIGKILL)
            await daemon.start()
        await daemon.wait_status("s1", "connected")
        assert await fetched(world, media["url"]) == hashlib.sha256(other).hexdigest()
    assert unfinished(world) == []
    kept = [path for path in (state / "media").glob("??/*") if not path.suffix]
    assert len(kept) == 2

    name = await uploaded(world, content)
    await sent(world, name, **{"async": True})
    await leave(world, content)
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    await daemon.wait_status("s1", "connected")

    async def over() -> bool:
        _, found = await daemon.call("GET", "/api/messages?session_id=s1")
        return all(one["status"] in {"sent", "delivered", "read"} for one in found["messages"])

    await daemon.until(over)
    assert at_whatsapp(world, content) == 1
    # a delivery is repeated where the daemon died before it had written down that it was taken
    news = [it["data"] for it in world.receiver.received if it["event"] == "message_received"]
    assert len({it["message"]["id"] for it in news}) == 2
