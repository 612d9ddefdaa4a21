"""Whose a profile is: a token for each pairing, and what may be moved or changed by it."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.host.odd_files import refuse
from tests.profile.copies import files
from waguard.core.profile.before_start import CredentialsLost, Damaged, Healthy
from waguard.profile import (
    caches,
    chromium_lock,
    inspection,
    leaving_mark,
    owner_mark,
    quarantine,
    repair,
    snapshots,
    start_marks,
)
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import LEAVING
from waguard.profile.lock import LOCK_NAME, NotHeldError, ProfileLock, prove_held
from waguard.profile.owner_mark import PAIRING
from waguard.profile.quarantine import PairedAgainError
from waguard.profile.start_marks import TRIED

pytestmark = pytest.mark.usefixtures("used")


def test_a_pairing_has_a_token_of_its_own(at: Places, lock: int) -> None:
    assert owner_mark.pairing(at.profile) is None
    first = owner_mark.claim(at.profile, lock, after_pairing=False)
    assert owner_mark.claim(at.profile, lock, after_pairing=False) == first
    assert abs((owner_mark.paired_at(at.profile) or 0) - time.time()) < 60
    second = owner_mark.claim(at.profile, lock, after_pairing=True)
    assert second != first
    assert owner_mark.pairing(at.profile) == second
    owner_mark.disown(at.profile, lock)
    assert owner_mark.pairing(at.profile) is None
    owner_mark.disown(at.profile, lock)


@pytest.mark.parametrize(
    "ask",
    [
        owner_mark.pairing,
        owner_mark.paired_at,
        owner_mark.logged_out,
        leaving_mark.read,
        start_marks.tried,
    ],
)
def test_a_mark_that_cannot_be_read_now_is_not_missing(
    at: Places, ask: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (PAIRING, LEAVING, TRIED):
        refuse(monkeypatch, at.profile / name, errno.EMFILE)
    with pytest.raises(OSError, match="Too many open files"):
        ask(at.profile)


def test_a_pairing_that_cannot_be_read_now_stays_and_a_logout_ends_it_all_the_same(
    at: Places, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = owner_mark.claim(at.profile, lock, after_pairing=True)
    with monkeypatch.context() as patch:
        refuse(patch, at.profile / PAIRING, errno.EIO)
        with pytest.raises(OSError, match="error"):
            owner_mark.claim(at.profile, lock, after_pairing=False)
        with pytest.raises(OSError, match="error"):
            quarantine.retire(at, lock, token=None, why="it left")
    assert owner_mark.pairing(at.profile) == token, "else no snapshot of it fits any more"
    with monkeypatch.context() as patch:
        refuse(patch, at.profile / PAIRING, errno.EIO)
        owner_mark.disown(at.profile, lock)
    assert owner_mark.logged_out(at.profile)


def test_a_pairing_while_the_clock_was_ahead_is_of_now_once_it_is_right(
    at: Places, lock: int
) -> None:
    """Else all until then would be from before the pairing."""
    now = time.time()
    token = owner_mark.claim(at.profile, lock, after_pairing=True, at=now + 7 * 3600)
    assert owner_mark.paired_by(at.profile, now) is None
    assert owner_mark.paired_by(at.profile, now + 7 * 3600) == now + 7 * 3600
    assert owner_mark.claim(at.profile, lock, after_pairing=False) == token
    assert now <= (owner_mark.paired_at(at.profile) or 0) < now + 60
    kept = owner_mark.paired_at(at.profile)
    assert owner_mark.claim(at.profile, lock, after_pairing=False) == token
    assert owner_mark.paired_at(at.profile) == kept


def test_a_late_clean_up_cannot_touch_a_profile_that_was_paired_again(
    at: Places, lock: int
) -> None:
    token = owner_mark.claim(at.profile, lock, after_pairing=True)
    owner_mark.claim(at.profile, lock, after_pairing=True)
    before = files(at.profile)
    for meant in (token, None):
        with pytest.raises(PairedAgainError):
            quarantine.retire(at, lock, token=meant, why="a late one")
    assert files(at.profile) == before


def test_what_was_logged_out_is_quarantined_with_its_snapshots(at: Places, lock: int) -> None:
    token = owner_mark.claim(at.profile, lock, after_pairing=True)
    snapshots.create(at.profile, at.snapshots, pairing=token, running=False, now=1.0)
    owner_mark.disown(at.profile, lock)
    moved = quarantine.retire(at, lock, token=token, why="logged out by the API")
    assert moved is not None
    assert not at.profile.exists()
    assert not inspection.something_left(at)
    assert len(snapshots.known(moved / "waguard-snapshots")) == 1
    [copy] = quarantine.quarantined(at.quarantine.parent)
    assert copy.name == moved.name


def test_two_at_the_same_instant_do_not_meet(
    at: Places, lock: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set back may show a time twice: better no move than a lost profile."""

    class OneMoment(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "OneMoment":
            return cls(2024, 11, 22, tzinfo=UTC)

    monkeypatch.setattr(quarantine, "datetime", OneMoment)
    first = quarantine.retire(at, lock, token=None, why="first")
    assert first is not None
    (at.profile / "Default").mkdir(parents=True)
    with ProfileLock(at.profile) as second, pytest.raises(OSError, match="not empty"):
        quarantine.retire(at, second.descriptor, token=None, why="second")
    assert (first / "Default").is_dir()
    assert (at.profile / "Default").is_dir()


def test_snapshots_without_a_profile_are_quarantined_too(at: Places, lock: int) -> None:
    snapshots.create(at.profile, at.snapshots, pairing="me", running=False, now=1.0)
    shutil.rmtree(at.profile / "Default")
    assert inspection.something_left(at)
    assert quarantine.retire(at, lock, token=None, why="deleted by the API") is not None
    assert not inspection.something_left(at)


def test_where_nothing_is_there_nothing_is_moved(at: Places, lock: int) -> None:
    shutil.rmtree(at.profile / "Default")
    assert quarantine.retire(at, lock, token=None, why="deleted by the API") is None
    assert not at.quarantine.exists()


def test_a_suspicion_is_acted_upon_once_the_files_show_nothing(at: Places, lock: int) -> None:
    owner_mark.claim(at.profile, lock, after_pairing=True)
    start_marks.mark_suspect(at.profile, lock, CredentialsLost("a QR code"))
    assert inspection.examine(at, lock).finding == CredentialsLost("a QR code")
    start_marks.mark_suspect(at.profile, lock, Damaged("exit code 1"))
    assert inspection.examine(at, lock).finding == Damaged("exit code 1", whole=True)
    start_marks.proved(at.profile, lock)
    assert inspection.examine(at, lock).finding == Healthy()
    start_marks.mark_suspect(at.profile, lock, CredentialsLost("a QR code"))
    owner_mark.disown(at.profile, lock)
    assert inspection.examine(at, lock).finding == Healthy()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"token": ""}', "\udcff"])
def test_a_spoiled_mark_is_none(at: Places, content: str) -> None:
    path = at.profile / PAIRING
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert owner_mark.pairing(at.profile) is None
    path.rename(at.profile / TRIED)
    assert start_marks.tried(at.profile) == frozenset()


def test_a_clean_exit_counts_once(at: Places, lock: int) -> None:
    assert not start_marks.clear_clean_exit(at.profile, lock)
    start_marks.mark_clean_exit(at.profile, lock)
    assert start_marks.clear_clean_exit(at.profile, lock)
    assert not start_marks.clear_clean_exit(at.profile, lock)


def test_without_the_lock_nothing_is_changed(at: Places, tmp_path: Path) -> None:
    other = ProfileLock(tmp_path / "other")
    unlocked = os.open(at.profile, os.O_RDONLY)
    before = files(at.profile)
    changes: list[Callable[[int], object]] = [
        lambda it: owner_mark.claim(at.profile, it, after_pairing=True),
        lambda it: owner_mark.disown(at.profile, it),
        lambda it: quarantine.retire(at, it, token=None, why="x"),
        lambda it: start_marks.mark_suspect(at.profile, it, Damaged("x")),
        lambda it: start_marks.mark_clean_exit(at.profile, it),
        lambda it: start_marks.clear_clean_exit(at.profile, it),
        lambda it: start_marks.proved(at.profile, it),
        lambda it: chromium_lock.remove_stale(at.profile, it),
        lambda it: repair.replace_profile(at, it, why="x"),
        lambda it: caches.clean(at.profile, it, above=0),
    ]
    for change in changes:
        for descriptor in (other.descriptor, unlocked, -1):
            with pytest.raises(NotHeldError):
                change(descriptor)
    os.close(unlocked)
    other.release()
    assert files(at.profile) == before


def test_a_descriptor_of_a_lock_that_somebody_else_holds_proves_nothing(
    at: Places, lock: int
) -> None:
    mine = os.open(at.profile / LOCK_NAME, os.O_RDWR)
    with pytest.raises(NotHeldError):
        prove_held(at.profile, mine)
    os.close(mine)
    prove_held(at.profile, lock)
