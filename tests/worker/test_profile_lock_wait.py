"""A profile that is still held when its next worker starts."""

import asyncio
from pathlib import Path

import pytest

from tests.waiting import DEADLINE
from waguard.core.exits import EXIT_PROFILE_LOCKED
from waguard.profile.lock import ProfileLock
from waguard.worker.browser_start import lock_profile
from waguard.worker.ending import WorkerEndError
from waguard.worker.timings import Timings


async def test_the_browser_of_a_killed_worker_is_waited_for(tmp_path: Path) -> None:
    timings = Timings(lock=DEADLINE)
    held = ProfileLock(tmp_path / "profile")
    waiting = asyncio.create_task(lock_profile(tmp_path / "profile", timings))
    done, _ = await asyncio.wait([waiting], timeout=3 * timings.lock_poll)
    assert not done
    held.release()
    (await waiting).release()


async def test_one_that_stays_held_is_reported(tmp_path: Path) -> None:
    held = ProfileLock(tmp_path / "profile")
    with pytest.raises(WorkerEndError, match="in use by another process") as reported:
        await lock_profile(tmp_path / "profile", Timings(lock=0.0))
    assert reported.value.code == EXIT_PROFILE_LOCKED
    held.release()
