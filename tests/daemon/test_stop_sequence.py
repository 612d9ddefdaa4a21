"""What a stop waits for, and for how long."""

import asyncio
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from tests.waiting import DEADLINE
from waguard.daemon import stop_sequence
from waguard.daemon.stop_request import StopRequest


async def test_a_disk_that_hangs_keeps_no_stop_from_releasing_the_lease() -> None:
    hangs = asyncio.create_task(asyncio.Event().wait())
    async with asyncio.timeout(DEADLINE):
        await stop_sequence.wait_for_files(hangs, within=0.01)
    hangs.cancel()
    written: list[str] = []

    async def write() -> None:
        await asyncio.sleep(0)
        written.append("it stops")

    await stop_sequence.wait_for_files(asyncio.create_task(write()))
    assert written == ["it stops"]


async def test_an_error_of_a_writer_is_raised() -> None:
    async def write() -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await stop_sequence.wait_for_files(asyncio.create_task(write()))


async def stopped(*, end_unadopted: Any, release_all: Any) -> list[str]:
    """What happened at the stop of a host of a cluster."""
    happened: list[str] = []

    async def happens(what: str) -> None:
        happened.append(what)

    async def ends() -> None:
        happened.append("end unadopted")
        await end_unadopted()

    async def leave(within: float) -> None:
        happened.append("leave")
        await release_all(within)

    supervisor: Any = SimpleNamespace(
        begin_stop=lambda: happened.append("nothing starts"),
        stop=lambda **_: happens("stop"),
    )
    parts: Any = SimpleNamespace(
        close=lambda _: happens("close"),
        end=lambda: happens("end"),
        end_unadopted=ends,
        release_all=leave,
        wind_down=lambda **_: happens("close"),
    )
    stop = StopRequest()
    stop.by_signal(signal.SIGTERM)
    await stop_sequence.stop_sessions(stop, supervisor, parts, parts, parts, parts)
    return happened


async def _nothing(*_: object) -> None:
    """It takes no time."""


async def test_a_host_of_a_cluster_starts_nothing_from_the_moment_in_which_its_sessions_leave() -> (
    None
):
    happened = await stopped(end_unadopted=_nothing, release_all=_nothing)
    leave = ["nothing starts", "end unadopted", "leave"]
    assert happened == ["close", "close", *leave, "stop", "end"]


async def test_the_time_in_which_workers_without_a_session_end_is_not_given_twice() -> None:
    """The unit's has no room for that."""
    loop = asyncio.get_running_loop()
    given: list[float] = []

    async def end_unadopted() -> None:
        began = loop.time()
        while loop.time() == began:
            await asyncio.sleep(0)

    async def release_all(within: float) -> None:
        given.append(within)

    await stopped(end_unadopted=end_unadopted, release_all=release_all)
    assert given[0] < stop_sequence.PATIENT.releases
