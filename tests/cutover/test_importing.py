"""`waguard import`: what it takes, what it leaves, and that the originals stay as they are."""

import fcntl
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.cutover.imports import one, run
from tests.host.odd_files import OTHER_USER
from tests.profile.leveldb_files import BLOBS, LOCAL
from tests.profile.old_profile_files import NEW, OLD, archive, content, date, old_profile
from waguard.cli import profile_commands
from waguard.core.profile.old_profiles import Credentials, Outcome
from waguard.profile import leaving_mark, owner_mark, quarantine, snapshots, start_marks
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import Leaving
from waguard.profile.lock import LOCK_NAME, ProfileLock
from waguard.profile.old_profiles import examine
from waguard.profile.start_marks import CLEAN_EXIT

pytestmark = pytest.mark.usefixtures("sessions_made")

LAYOUTS = (
    *("workspace_7/session-abc", "7/abc/session-abc", "7/abc", "session-abc"),
    *("RemoteAuth-abc", "RemoteAuth-abc.zip", "workspace_7/session-abc (bare)"),
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_of_the_paired_profile_is_put_in_its_place(
    service: Path, sessions: Path, at: Places, tmp_path: Path, layout: str
) -> None:
    place = service / layout.removesuffix(" (bare)")
    made = old_profile(tmp_path / "made" if layout != str(place) else place)
    (made / "SingletonLock").symlink_to("another-host-1")
    (made / LOCK_NAME).touch()
    place.parent.mkdir(parents=True)
    if layout.endswith(".zip"):
        archive(place, made)
    elif layout.endswith("(bare)"):
        shutil.copytree(made / "Default", place)
    else:
        shutil.copytree(made, place, symlinks=True)
    before = content(service)
    report = run(service, sessions, workspaces={"abc": 7})
    assert (one(report).outcome, one(report).why) == (Outcome.TAKEN, "it is paired")
    assert (one(report).workspace, one(report).session) == (7, "abc")
    assert content(service) == before
    assert examine(at.profile).credentials is Credentials.PAIRED
    assert (at.profile / BLOBS / "1/00/7").read_bytes() == b"a blob"
    names = {path.name for path in at.profile.rglob("*")}
    assert not names & {"Cache", "SingletonLock", "f_000001"}
    with ProfileLock(at.profile):
        pass
    assert sorted(path.name for path in at.profile.parent.iterdir()) == ["session-abc"]


def test_only_this_user_can_read_what_was_copied(service: Path, sessions: Path, at: Places) -> None:
    profile = old_profile(service / "7/abc/session-abc")
    for path in profile.rglob("*"):
        path.chmod(0o777)
    run(service, sessions)
    for path in (at.profile.parent, at.profile, *at.profile.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for another user")
@pytest.mark.parametrize("archived", [False, True])
def test_what_root_imports_belongs_to_the_daemons_user(
    service: Path, sessions: Path, at: Places, tmp_path: Path, *, archived: bool
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(sessions, OTHER_USER, OTHER_USER)
    profile = old_profile(service / "7/abc/session-abc")
    if archived:
        archive(service / "7/abc/RemoteAuth-abc.zip", profile)
        shutil.rmtree(profile)
    service.chmod(0o700)
    old_profile(at.profile, paired=False)
    for path in (at.profile.parent, at.profile, *at.profile.rglob("*")):
        os.lchown(path, OTHER_USER, OTHER_USER)
    before = os.getgroups()
    line = one(run(service, sessions))
    assert (line.outcome, os.geteuid(), os.getgroups()) == (Outcome.TAKEN, 0, before), line.why
    assert line.quarantined
    for path in sessions.rglob("*"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (OTHER_USER, OTHER_USER), path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for another user")
def test_a_link_of_the_daemons_user_leads_root_nowhere(
    service: Path, sessions: Path, tmp_path: Path
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(sessions, OTHER_USER, OTHER_USER)
    old_profile(service / "7/abc/session-abc")
    roots = tmp_path / "roots"
    roots.mkdir()
    (sessions / "workspace_7").symlink_to(roots)
    os.lchown(sessions / "workspace_7", OTHER_USER, OTHER_USER)
    line = one(run(service, sessions))
    assert line.outcome is Outcome.FAILED
    assert "Permission denied" in line.why
    assert list(roots.iterdir()) == []


def test_the_newest_paired_one_is_taken_and_the_others_are_said(
    service: Path, sessions: Path, at: Places
) -> None:
    old_profile(service / "workspace_7/session-abc", used=OLD)
    taken = old_profile(service / "7/abc/session-abc", used=NEW)
    (taken / "Default/mark").touch()
    old_profile(service / "session-abc", paired=False, used=NEW + 1)
    report = run(service, sessions, workspaces={"abc": 7})
    assert {Path(it.profile.path).relative_to(service): it.why for it in report.lines} == {
        Path("workspace_7/session-abc"): f"{taken} was used later",
        Path("7/abc/session-abc"): "it is paired",
        Path("session-abc"): "it is not paired: WhatsApp Web keeps no account in it",
    }
    assert (at.profile / "Default/mark").exists()


def test_a_profile_that_is_not_paired_makes_room_and_is_kept(
    service: Path, sessions: Path, at: Places
) -> None:
    old_profile(service / "7/abc/session-abc", used=OLD)
    old_profile(at.profile, paired=False, used=NEW)
    leaving_mark.write(at.profile, Leaving(3, "a logout that was cut off"))
    line = one(run(service, sessions))
    assert line.outcome is Outcome.TAKEN
    assert line.quarantined
    assert leaving_mark.read(at.profile) is None, "it is another one that had to leave"
    assert examine(at.profile).credentials is Credentials.PAIRED
    assert examine(Path(line.quarantined)).credentials is Credentials.UNPAIRED
    assert len(quarantine.quarantined(sessions)) == 1


@pytest.mark.parametrize("how", ["by its credentials", "by waguard's mark", "by its snapshots"])
def test_a_paired_profile_in_its_place_is_never_overwritten_by_an_older_one(
    service: Path, sessions: Path, at: Places, how: str
) -> None:
    old_profile(service / "7/abc/session-abc", used=OLD)
    old_profile(at.profile, used=NEW)
    if how == "by waguard's mark":
        (at.profile / LOCAL / "CURRENT").write_text("damaged")
        connect(at)
    if how == "by its snapshots":
        snapshots.create(at.profile, at.snapshots, pairing="token", running=False, now=NEW)
        shutil.rmtree(at.profile)
    before = content(sessions)
    line = one(run(service, sessions))
    assert line.outcome is Outcome.LEFT
    assert str(at.profile) in line.why or "snapshots" in line.why
    assert content(sessions) == before


def connect(at: Places) -> None:
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)


def test_a_repeated_import_takes_an_original_that_went_on_in_the_meantime(
    service: Path, sessions: Path, at: Places
) -> None:
    original = old_profile(service / "7/abc/session-abc", used=OLD)
    run(service, sessions)
    assert "is in its place" in one(run(service, sessions)).why
    date(original, NEW)
    (original / "Default/mark").touch()
    line = one(run(service, sessions))
    assert (line.outcome, str(at.profile) in line.why) == (Outcome.TAKEN, True)
    assert (at.profile / "Default/mark").exists()
    assert line.quarantined
    assert examine(Path(line.quarantined)).used_at == OLD
    assert one(run(service, sessions)).outcome is Outcome.LEFT


@pytest.mark.parametrize("how", ["connected", "unlinked", "by its snapshots"])
def test_an_original_that_went_on_after_waguard_had_its_session_is_reported(
    service: Path, sessions: Path, at: Places, how: str
) -> None:
    old_profile(service / "7/abc/session-abc", used=NEW)
    old_profile(at.profile, used=OLD)
    connect(at)
    if how == "unlinked":
        with ProfileLock(at.profile) as lock:
            owner_mark.disown(at.profile, lock.descriptor)
    if how == "by its snapshots":
        snapshots.create(at.profile, at.snapshots, pairing="token", running=False, now=OLD)
        shutil.rmtree(at.profile)
    before = content(sessions)
    report = run(service, sessions)
    assert (one(report).outcome, report.failed) == (Outcome.FAILED, True)
    assert "`waguard profile quarantine abc --workspace 7`" in one(report).why
    assert content(sessions) == before
    kept = profile_commands.quarantine(at)
    assert one(run(service, sessions)).outcome is Outcome.TAKEN
    assert examine(at.profile).used_at == NEW
    assert (kept / "Default").exists() or (kept / "waguard-snapshots").exists()


def test_what_a_quarantine_would_take_along_is_to_be_copied_first(
    sessions: Path, at: Places
) -> None:
    old_profile(sessions / "7/abc/session-abc", used=NEW)
    old_profile(at.profile, used=OLD)
    connect(at)
    [line, _] = run(sessions, sessions).lines
    assert f"copy it out of {sessions}, then `waguard profile quarantine abc" in line.why


def test_an_import_from_the_folder_of_all_profiles_says_what_is_in_its_place(
    sessions: Path, at: Places
) -> None:
    old_profile(sessions / "7/abc/session-abc")
    before = content(sessions / "7")
    assert one(run(sessions, sessions)).outcome is Outcome.TAKEN
    assert content(sessions / "7") == before
    again = run(sessions, sessions)
    assert {it.why for it in again.lines} == {
        f"a paired profile is in its place, {at.profile}",
        "it is in its place",
    }
    assert not again.failed


def test_one_that_lies_inside_its_place_is_left_to_the_next_start(
    sessions: Path, at: Places
) -> None:
    old_profile(at.profile / "session-abc")
    before = content(sessions)
    line = one(run(sessions, sessions))
    assert (line.outcome, line.why) == (
        Outcome.LEFT,
        "it lies inside its place: the session's next start uses it",
    )
    assert content(sessions) == before


def test_a_dry_run_says_the_same_and_writes_nothing(
    service: Path, sessions: Path, at: Places
) -> None:
    old_profile(service / "7/abc/session-abc")
    old_profile(at.profile, paired=False)
    before = content(service), content(sessions)
    line = one(run(service, sessions, dry_run=True))
    assert (content(service), content(sessions)) == before
    taken = one(run(service, sessions))
    assert (line.outcome, line.why) == (taken.outcome, taken.why)


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_no_archive_is_not_taken(service: Path, sessions: Path, *, dry_run: bool) -> None:
    (service / "7").mkdir(parents=True)
    (service / "7/RemoteAuth-abc.zip").write_text("no archive")
    line = one(run(service, sessions, dry_run=dry_run))
    assert line.outcome is Outcome.FAILED
    assert "it is not a readable archive: File is not a zip file" in line.why
    assert list(sessions.rglob("session-*")) == []


def test_one_whose_path_says_too_little_is_left(service: Path, sessions: Path) -> None:
    old_profile(service / ".wwebjs_auth/session")
    old_profile(service / ".wwebjs_auth/session-bot")
    whys = {it.session: it.why for it in run(service, sessions).lines}
    assert whys == {
        None: "its path does not say its session: copy it to a folder session-<id>",
        "bot": "its path does not say its workspace: name it with --workspace",
    }
    assert list(sessions.iterdir()) == []
    report = run(service, sessions, workspace=3)
    assert [it.outcome for it in report.lines if it.session == "bot"] == [Outcome.TAKEN]
    assert (sessions / "workspace_3/session-bot/Default").is_dir()


def test_a_profile_of_waguard_on_another_host_keeps_its_mark(
    service: Path, sessions: Path, at: Places
) -> None:
    profile = old_profile(service / "workspace_7/session-abc")
    with ProfileLock(profile) as lock:
        token = owner_mark.claim(profile, lock.descriptor, after_pairing=True)
        start_marks.mark_clean_exit(profile, lock.descriptor)
    run(service, sessions)
    assert owner_mark.pairing(at.profile) == token
    assert not (at.profile / CLEAN_EXIT).exists()


def test_nothing_found_is_no_failure(service: Path, sessions: Path) -> None:
    service.mkdir()
    report = run(service, sessions)
    assert (report.lines, report.notes, report.failed) == ((), (), False)


def test_the_lock_of_a_dry_run_is_let_go(service: Path, sessions: Path, at: Places) -> None:
    old_profile(service / "7/abc/session-abc")
    with ProfileLock(at.profile):
        pass
    run(service, sessions, dry_run=True)
    with (at.profile / LOCK_NAME).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
