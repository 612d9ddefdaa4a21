"""A profile is marked and copied while its session runs, also where a mark cannot be written."""

import asyncio
import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.processes import worker_spec
from tests.profile.leveldb_files import profile
from tests.waiting import wait_until
from waguard.profile import layout, mark_files, owner_mark
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.worker import profile_care
from waguard.worker.profile_care import ProfileCare


@pytest.fixture
def at(tmp_path: Path) -> Places:
    """Where a profile that Chromium has used lies."""
    found = layout.places(tmp_path / "sessions", 7, "abc")
    profile(found.profile)
    return found


@pytest.fixture
def care(tmp_path: Path, at: Places) -> Iterator[ProfileCare]:
    """That of the profile, with its lock."""
    lock = ProfileLock(at.profile)
    spec = worker_spec(
        tmp_path, session="abc", profile=str(at.profile), snapshots=str(at.snapshots)
    )
    yield ProfileCare(spec, lock, lambda _: None)
    lock.release()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_pairing_that_could_not_be_marked_is_claimed_again(
    care: ProfileCare, at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = owner_mark.claim(at.profile, care.lock, after_pairing=True)
    with monkeypatch.context() as patch:
        patch.setattr(mark_files, "write", full)
        care.claim(after_pairing=True, at=5.0)
        assert not care.paired
        care.claim(after_pairing=False)
        assert not care.paired
    care.claim(after_pairing=False)  # as at each reading of a page that is connected
    assert care.paired
    assert owner_mark.pairing(at.profile) not in {None, old}
    assert owner_mark.paired_at(at.profile) == 5.0
    token = owner_mark.pairing(at.profile)
    care.claim(after_pairing=False)
    assert owner_mark.pairing(at.profile) == token


def test_a_pairing_that_was_logged_out_before_it_was_marked_is_not_claimed(
    care: ProfileCare, at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mark_files, "write", full)
        care.claim(after_pairing=True, at=5.0)
    care.disown()
    care.link_is(connected=False)
    care.claim(after_pairing=False)
    assert (owner_mark.paired_at(at.profile) or 0.0) > 5.0


def test_a_page_that_still_shows_the_link_that_was_logged_out_is_no_pairing(
    care: ProfileCare, at: Places
) -> None:
    """The quarantine of the logout would be refused: paired again meanwhile."""
    care.claim(after_pairing=True)
    care.disown()
    for _ in range(2):
        care.claim(after_pairing=False)
        care.link_is(connected=True)
    assert owner_mark.pairing(at.profile) is None
    assert not care.paired
    care.link_is(connected=False)
    care.claim(after_pairing=True)
    assert owner_mark.pairing(at.profile)


async def test_without_a_mark_no_copy_is_tried_again_at_once(
    care: ProfileCare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_care, "due_in", lambda **_: 0.0)
    asked = list[Path]()
    monkeypatch.setattr(owner_mark, "pairing", asked.append)
    care.link_is(connected=True)
    task = asyncio.create_task(care.keep_copies())
    await wait_until(lambda: asked, "it is tried")
    for _ in range(50):
        await asyncio.to_thread(lambda: None)  # as a try takes
    assert len(asked) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_pairing_that_the_clock_puts_into_the_future_is_corrected_at_the_next_reading(
    tmp_path: Path,
) -> None:
    """Also where the clock is set right while the session stays connected."""
    place = tmp_path / "profile"
    care = ProfileCare(worker_spec(tmp_path), ProfileLock(place), lambda _: None)
    care.claim(after_pairing=True, at=time.time() + 7 * 3600)
    token = owner_mark.pairing(place)
    care.link_is(connected=False)
    assert (owner_mark.paired_at(place) or 0) > time.time(), "a clock that cannot connect"
    care.link_is(connected=True)
    assert abs((owner_mark.paired_at(place) or 0) - time.time()) < 60
    assert owner_mark.pairing(place) == token


async def test_so_is_one_of_a_worker_before(tmp_path: Path) -> None:
    place = profile(tmp_path / "profile")
    with ProfileLock(place) as lock:
        ahead = time.time() + 7 * 3600
        token = owner_mark.claim(place, lock.descriptor, after_pairing=True, at=ahead)
    care = ProfileCare(worker_spec(tmp_path), ProfileLock(place), lambda _: None)
    await care.prepare()
    care.link_is(connected=True)
    mark = json.loads((place / owner_mark.PAIRING).read_text())
    assert mark["token"] == token
    assert mark["at"] <= time.time()
