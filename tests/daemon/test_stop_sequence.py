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


async def test_a_host_of_a_cluster_starts_nothing_from_the_moment_in_which_its_sessions_leave() -> (
    None
):
    happened: list[str] = []

    async def happens(what: str) -> None:
        happened.append(what)

    supervisor: Any = SimpleNamespace(
        begin_stop=lambda: happened.append("nothing starts"),
        stop=lambda **_: happens("stop"),
    )
    parts: Any = SimpleNamespace(
        close=lambda _: happens("close"),
        end=lambda: happens("end"),
        end_unadopted=lambda: happens("end unadopted"),
        release_all=lambda within: happens(f"release within {within:g} s"),
        wind_down=lambda **_: happens("close"),
    )
    stop = StopRequest()
    stop.by_signal(signal.SIGTERM)
    await stop_sequence.stop_sessions(stop, supervisor, parts, parts, parts, parts)
    leaving = f"release within {stop_sequence.PATIENT.releases:g} s"
    leaves = ["nothing starts", "end unadopted", leaving]
    assert happened == ["close", "close", *leaves, "stop", "end"]
