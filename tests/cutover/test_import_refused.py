"""What `waguard import` refuses: profiles that are used or change, disks without room, links."""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cutover.imports import one, run
from tests.profile.leveldb_files import LOCAL
from tests.profile.old_profile_files import content, old_profile
from waguard.core.profile.old_profiles import Outcome
from waguard.host.files import private_files
from waguard.profile import copying, old_profiles
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock

pytestmark = pytest.mark.usefixtures("sessions_made")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_session_that_runs_is_not_touched(
    service: Path, sessions: Path, at: Places, *, dry_run: bool
) -> None:
    old_profile(service / "7/abc/session-abc")
    old_profile(at.profile, paired=False)
    with ProfileLock(at.profile):
        before = content(sessions)
        line = one(run(service, sessions, dry_run=dry_run))
        assert (line.outcome, line.why) == (
            Outcome.FAILED,
            "the session runs (waguard sessions stop abc)",
        )
        assert content(sessions) == before


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_disk_without_room_is_seen_before(
    service: Path,
    sessions: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    dry_run: bool,
) -> None:
    old_profile(service / "7/abc/session-abc")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 1 << 40, 10 << 20))
    line = one(run(service, sessions, dry_run=dry_run))
    assert line.outcome is Outcome.FAILED
    assert line.why.startswith(f"only 10 MB are free on the disk of {sessions} (free 2")
    assert list(sessions.iterdir()) == []


def test_a_profile_in_use_is_refused(service: Path, sessions: Path) -> None:
    profile = old_profile(service / "7/abc/session-abc")
    (profile / "SingletonLock").write_text("nobody can say whose")
    report = run(service, sessions)
    assert (
        one(report).why == "the process that made its SingletonLock uses it: stop the old service"
    )
    assert report.failed
    assert list(sessions.iterdir()) == []


def test_one_that_a_browser_begins_to_use_meanwhile_is_refused(
    service: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_profile(service / "7/abc/session-abc")
    answers = iter([None, "Chromium 7"])
    monkeypatch.setattr(old_profiles, "in_use", lambda _: next(answers))
    line = one(run(service, sessions))
    assert (line.outcome, line.why) == (
        Outcome.FAILED,
        "Chromium 7 has begun to use it (stop the old service)",
    )
    assert list(sessions.rglob("session-*")) == []


@pytest.mark.parametrize("how", ["a file changes", "a file comes"])
def test_one_that_changes_meanwhile_is_refused(
    service: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    profile = old_profile(service / "7/abc/session-abc")
    real = private_files.sync_folder

    def sync(folder: Path) -> None:
        real(folder)
        if how == "a file changes":
            (profile / "Default/Preferences").write_text("{ }")
        else:
            (profile / "Default/more").touch()

    monkeypatch.setattr("waguard.profile.copying.sync_folder", sync)
    line = one(run(service, sessions))
    assert line.outcome is Outcome.FAILED
    assert "differs" in line.why or "changed" in line.why
    assert list(sessions.rglob("session-*")) == []


def test_a_link_among_the_credentials_is_refused_and_others_are_left_out(
    service: Path, sessions: Path, at: Places
) -> None:
    profile = old_profile(service / "7/abc/session-abc")
    (profile / "Default/Downloads").symlink_to("/etc")
    (profile / "Default/passwd").symlink_to("/etc/passwd")
    os.mkfifo(profile / "Default/pipe")
    assert one(run(service, sessions)).outcome is Outcome.TAKEN
    assert not any(os.path.lexists(at.profile / "Default" / n) for n in ("Downloads", "passwd"))
    shutil.rmtree(at.profile)
    (profile / LOCAL / "passwd").symlink_to("/etc/passwd")
    line = one(run(service, sessions))
    assert line.outcome is Outcome.FAILED
    assert "is a link" in line.why


def test_a_file_that_becomes_a_link_is_not_followed(
    service: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = old_profile(service / "7/abc/session-abc")
    real = copying._plain

    def swapped(path: Path) -> Any:
        if path.name == "Preferences":
            path.unlink()
            path.symlink_to("/etc/passwd")
        return real(path)

    monkeypatch.setattr(copying, "_plain", swapped)
    line = one(run(service, sessions))
    assert line.outcome is Outcome.FAILED
    assert "symbolic links" in line.why
    assert profile.exists()


def test_a_crash_leaves_no_half_profile(
    service: Path, sessions: Path, at: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_profile(service / "7/abc/session-abc")

    def broken(_: Path) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copying, "_digest", broken)
        with pytest.raises(KeyboardInterrupt):
            run(service, sessions)
    assert list(at.profile.parent.iterdir()) == []
    assert one(run(service, sessions)).outcome is Outcome.TAKEN
