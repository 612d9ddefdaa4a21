"""A profile that is still held when its next worker starts."""

import asyncio
from pathlib import Path

import pytest

from tests.host.processes import worker_spec
from tests.waiting import DEADLINE
from waguard.core.exits import EXIT_PROFILE_LOCKED
from waguard.profile.lock import ProfileLock
from waguard.worker import main as under_test
from waguard.worker.main import SessionWorker, WorkerEndError


async def test_the_browser_of_a_killed_worker_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "LOCK_DEADLINE", DEADLINE)
    held = ProfileLock(tmp_path / "profile")
    waiting = asyncio.create_task(SessionWorker(worker_spec(tmp_path))._lock_profile())
    done, _ = await asyncio.wait([waiting], timeout=3 * under_test.LOCK_POLL)
    assert not done
    held.release()
    (await waiting).release()


async def test_one_that_stays_held_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "LOCK_DEADLINE", 0.0)
    held = ProfileLock(tmp_path / "profile")
    with pytest.raises(WorkerEndError, match="in use by another process") as reported:
        await SessionWorker(worker_spec(tmp_path))._lock_profile()
    assert reported.value.code == EXIT_PROFILE_LOCKED
    held.release()
