"""A worker of an earlier daemon is not alone while the database is away, and keeps its events."""

import os
from pathlib import Path

import msgspec
import pytest

from tests.e2e.harness import short_folder
from tests.waiting import wait_until
from waguard.supervision import greeting
from waguard.supervision.greeting import greeted
from waguard.wire.protocol import PROTOCOL, Hello, LoggedOut, Reply, Request, Value, WorkerRecord
from waguard.worker.daemon_link import DaemonLink

HELLO = Hello(protocol=PROTOCOL, instance="before", session="s", generation=3)


async def answer(request: Request) -> Reply:
    return Reply(id=request.id, outcome=Value())


def record(socket: Path, *, protocol: int = PROTOCOL) -> WorkerRecord:
    return WorkerRecord(
        pid=os.getpid(),
        start_time=1,
        boot_id="b",
        instance="before",
        session="s",
        generation=3,
        profile="/p",
        socket=str(socket),
        protocol=protocol,
    )


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "AFTER", 0.0)
    monkeypatch.setattr(greeting, "AGAIN", 0.01)


async def test_it_is_greeted_until_the_end_and_its_events_stay_with_it() -> None:
    with short_folder() as folder:
        socket = folder / "w.sock"
        async with greeted([record(socket)], instance="now"):
            link = DaemonLink(HELLO, answer)  # it listens a moment later
            server = await link.listen(socket)
            link.event(LoggedOut(reason="it was unlinked"))
            await wait_until(lambda: link.alone_since is None, "it is greeted")
            assert len(link.unstored) == 1
        await wait_until(lambda: link.alone_since is not None, "it is its session's now")
        assert len(link.unstored) == 1
        server.close()
        await link.close()


async def test_one_of_another_version_is_greeted_in_its_own_protocol() -> None:
    with short_folder() as folder:
        other = msgspec.structs.replace(HELLO, protocol=PROTOCOL + 1)
        link = DaemonLink(other, answer)
        server = await link.listen(folder / "w.sock")
        async with greeted([record(folder / "w.sock", protocol=PROTOCOL + 1)], instance="now"):
            await wait_until(lambda: link.alone_since is None, "it is greeted")
        server.close()
        await link.close()
