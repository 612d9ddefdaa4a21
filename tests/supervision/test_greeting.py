"""A worker of an earlier daemon is not alone while the database is away, and keeps its events."""

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec

from tests.e2e.harness import short_folder
from tests.waiting import wait_until
from waguard.supervision.session.greeting import Lending, greeted
from waguard.wire.calls import Value
from waguard.wire.events import LoggedOut
from waguard.wire.protocol import PROTOCOL, Hello, Reply, Request
from waguard.wire.worker import WorkerRecord
from waguard.worker.link.daemon_link import DaemonLink

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


def at_once(it: WorkerRecord) -> AbstractAsyncContextManager[None]:
    return greeted([it], instance="now", after=0.0, again=0.01)


async def test_an_outdated_worker_is_greeted_until_the_end_and_its_events_stay_with_it() -> None:
    with short_folder() as folder:
        socket = folder / "w.sock"
        async with at_once(record(socket)):
            link = DaemonLink(HELLO)  # it listens a moment later
            server = await link.listen(socket, answer)
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
        link = DaemonLink(other)
        server = await link.listen(folder / "w.sock", answer)
        async with at_once(record(folder / "w.sock", protocol=PROTOCOL + 1)):
            await wait_until(lambda: link.alone_since is None, "it is greeted")
        server.close()
        await link.close()


async def test_a_greeted_worker_is_lent_its_time_at_once_and_at_each_renewal() -> None:
    with short_folder() as folder:
        lending = Lending()
        lent: list[float | None] = []
        async with greeted(
            [record(folder / "w.sock")], instance="now", after=0.0, again=0.01, lending=lending
        ):
            link = DaemonLink(HELLO, lend=lent.append)
            lending.lend(100.0)
            server = await link.listen(folder / "w.sock", answer)
            await wait_until(lambda: lent == [100.0], "it hears what was lent before")
            lending.lend(102.0)
            await wait_until(lambda: lent == [100.0, 102.0], "it hears of a renewal")
            server.close()
            await link.close()


async def test_one_of_another_version_is_lent_nothing_further_and_what_it_has_is_not_over() -> None:
    with short_folder() as folder:
        other = msgspec.structs.replace(HELLO, protocol=PROTOCOL + 1)
        lending = Lending()
        lent: list[float | None] = []
        left = record(folder / "w.sock", protocol=PROTOCOL + 1)
        async with greeted([left], instance="now", after=0.0, again=0.01, lending=lending):
            link = DaemonLink(other, lend=lent.append)
            server = await link.listen(folder / "w.sock", answer)
            await wait_until(lambda: link.alone_since is None, "it is greeted")
            lending.lend(102.0)
            server.close()
            await link.close()
        assert lent == []
