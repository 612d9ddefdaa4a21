"""What a stop waits for, and for how long."""

import asyncio

import pytest

from tests.waiting import DEADLINE
from waguard.daemon import stop_sequence


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
