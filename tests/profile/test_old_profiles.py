"""Old profiles are found, read, and put in their place before a start."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.host.odd_files import OTHER_USER, mutations
from tests.profile.leveldb_files import INDEXED, LOCAL
from tests.profile.old_profile_files import archive, content, old_profile
from waguard.cli import profile_commands
from waguard.core.profile.old_profiles import Credentials, Identity, places
from waguard.profile import (
    inspection,
    layout,
    old_profiles,
    owner_mark,
    quarantine,
    repair,
    snapshots,
)
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.profile.old_profiles import OldProfileInUseError, examine, in_use, migrate, search
from waguard.profile.quarantine import NOTE

OLD, NEW = 1_700_000_000.0, 1_700_000_100.0


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def at(sessions: Path) -> Places:
    return layout.places(sessions, 7, "abc")


# ---- one profile ----


def without(name: str) -> Callable[[Path], object]:
    return lambda profile: shutil.rmtree(profile / "Default" / name)


def cut(name: str) -> Callable[[Path], object]:
    return lambda profile: (profile / name / "CURRENT").write_text("nonsense")


def sqlite(profile: Path) -> None:
    shutil.rmtree(profile / LOCAL)
    (profile / "Default/Local Storage/data").write_bytes(b"SQLite format 3\0" + bytes(100))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda _: None, Credentials.PAIRED),
        (without("IndexedDB"), Credentials.UNPAIRED),
        (without("Local Storage"), Credentials.UNPAIRED),
        (cut(LOCAL), Credentials.DAMAGED),
        (cut(INDEXED), Credentials.DAMAGED),
        # a later Chromium may keep it so
        (sqlite, Credentials.UNKNOWN),
    ],
    ids=["whole", "no database", "no storage", "damage", "damage in the other", "another kind"],
)
def test_what_a_profile_holds(
    tmp_path: Path, change: Callable[[Path], object], found: Credentials
) -> None:
    profile = old_profile(tmp_path / "p")
    change(profile)
    examined = examine(profile)
    assert examined.credentials is found
    assert (examined.why is None) is (found is Credentials.PAIRED)


def test_an_old_profile_that_shows_a_code_is_not_paired(tmp_path: Path) -> None:
    found = examine(old_profile(tmp_path / "p", paired=False, used=OLD))
    assert (found.credentials, found.used_at) == (Credentials.UNPAIRED, OLD)


def test_what_cannot_be_read_is_unknown_and_not_unpaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = old_profile(tmp_path / "p")

    def broken(_: Path) -> str | None:
        raise OSError(5, "Input/output error", "a file")

    monkeypatch.setattr(inspection, "lack", broken)
    found = examine(profile)
    assert (found.credentials, found.why) == (Credentials.UNKNOWN, "a file: Input/output error")


def test_an_archive_is_read_without_being_changed(tmp_path: Path) -> None:
    paired, new = old_profile(tmp_path / "p"), old_profile(tmp_path / "n", paired=False)
    for name, profile, found in (
        ("a", paired, Credentials.PAIRED),
        ("b", new, Credentials.UNPAIRED),
    ):
        path = archive(tmp_path / "in" / f"{name}.zip", profile)
        before = content(path.parent)
        examined = examine(path)
        assert (examined.credentials, examined.used_at) == (found, path.stat().st_mtime)
        assert examined.size > 300
        assert content(path.parent) == before
    (tmp_path / "in/c.zip").write_text("no archive")
    assert examine(tmp_path / "in/c.zip").credentials is Credentials.UNKNOWN


def test_an_archive_with_wrong_bytes_is_read_or_unknown_and_never_an_error(tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.zip", old_profile(tmp_path / "p")).read_bytes()
    spoilt = tmp_path / "spoilt.zip"
    found = set()
    for content_ in islice(mutations(whole, seed=7), 100):
        spoilt.write_bytes(content_)
        found.add(examine(spoilt).credentials)
    assert {Credentials.UNKNOWN, Credentials.PAIRED} <= found


# ---- who uses it ----


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process: it takes LevelDB's lock on the file that it is told, and says so."""
    script = (
        "import fcntl, sys\n"
        "file = open(sys.stdin.readline().strip(), 'r+')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.communicate("\n")


def lock_database(other: subprocess.Popen[str], profile: Path, name: str = LOCAL) -> None:
    assert other.stdin
    assert other.stdout
    other.stdin.write(f"{profile / name / 'LOCK'}\n")
    other.stdin.flush()
    assert other.stdout.readline() == "locked\n"


@pytest.mark.parametrize("name", [LOCAL, INDEXED])
def test_a_browser_without_a_lock_of_its_own_is_seen_by_its_databases(
    tmp_path: Path, other: subprocess.Popen[str], name: str
) -> None:
    """headless-shell makes no SingletonLock; one in a container names another host."""
    profile = old_profile(tmp_path / "p")
    (profile / "SingletonLock").symlink_to("a-container-7")
    assert in_use(profile) is None
    lock_database(other, profile, name)
    assert in_use(profile) == f"process {other.pid}"
    assert examine(profile).in_use == f"process {other.pid}"


def test_a_living_browser_is_seen_by_its_lock(tmp_path: Path) -> None:
    profile = old_profile(tmp_path / "p")
    (profile / "SingletonLock").symlink_to(f"{socket.gethostname()}-{os.getpid()}")
    assert in_use(profile) is None, "this process is no browser of it"
    (profile / "SingletonLock").unlink()
    (profile / "SingletonLock").write_text("no link")
    assert in_use(profile) == "the process that made its SingletonLock"


# ---- searching ----

LAYOUTS = {
    "workspace_7/session-a": ("a", 7),
    "7/b/session-b": ("b", 7),
    "7/c": ("c", 7),
    "session-d": ("d", None),
    ".wwebjs_auth/session-webjs_3_17_x": ("webjs_3_17_x", 3),
    "RemoteAuth-e": ("e", None),
    "deep/er/backup-2024/sessions/workspace_1/session-f": ("f", 1),
    "7/g/session": ("g", 7),
}


def test_every_layout_is_found(sessions: Path) -> None:
    for place in LAYOUTS:
        old_profile(sessions / place)
    archive(sessions / "RemoteAuth-z.zip", sessions / "session-d")
    # only what Chromium keeps below "Default"
    shutil.copytree(sessions / "session-d/Default", sessions / "workspace_2/session-bare")
    # in a profile of the old service lies the one that it made later
    old_profile(sessions / "7/c/session-c")
    for other in ("quarantine/session-q", "snapshots/session-s", "node_modules/x/session-n"):
        old_profile(sessions / other)
    (sessions / "workspace_9/session-empty").mkdir(parents=True)
    (sessions / "theme/Default").mkdir(parents=True)
    found = {
        str(path.relative_to(sessions)): (whose.session, whose.workspace)
        for path, whose in search(sessions).profiles
    }
    assert found == {
        **LAYOUTS,
        "RemoteAuth-z.zip": ("z", None),
        "workspace_2/session-bare": ("bare", 2),
        "7/c/session-c": ("c", 7),
    }
    assert search(sessions).notes == []


@pytest.mark.parametrize("named", ["7/abc/session-abc", "7/abc", "7", "7/abc/session-abc/Default"])
def test_a_folder_that_is_named_may_be_a_profile_or_a_workspace(tmp_path: Path, named: str) -> None:
    old_profile(tmp_path / "7/abc/session-abc")
    [(_, whose)] = search(tmp_path / named).profiles
    assert whose == Identity("abc", 7)


def test_links_are_followed_once_and_not_in_a_circle(sessions: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    old_profile(disk / "session-abc")
    sessions.mkdir()
    (sessions / "workspace_7").symlink_to(disk)
    (disk / "again").symlink_to(sessions)
    [(path, whose)] = search(sessions).profiles
    assert path == sessions / "workspace_7/session-abc"
    assert (whose.session, whose.workspace) == ("abc", 7)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a link away")
def test_a_link_of_another_user_leads_root_nowhere(sessions: Path, tmp_path: Path) -> None:
    old_profile(tmp_path / "roots/session-abc")
    sessions.mkdir()
    (sessions / "session-abc").symlink_to(tmp_path / "roots/session-abc")
    os.lchown(sessions / "session-abc", OTHER_USER, OTHER_USER)
    found = search(sessions)
    assert found.profiles == []
    assert [f"link of user {OTHER_USER}" in note for note in found.notes] == [True]


def test_a_search_has_an_end_and_says_so(sessions: Path) -> None:
    for number in range(5):
        old_profile(sessions / f"session-{number}")
    found = search(sessions, most=3)
    assert len(found.profiles) == 2
    assert [note.startswith("3 folders were searched") for note in found.notes] == [True]


def test_a_folder_that_cannot_be_read_is_said(
    sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_profile(sessions / "session-abc")
    (sessions / "closed").mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = search(sessions)
    assert len(found.profiles) == 1
    assert found.notes == [f"{sessions / 'closed'} cannot be searched: Permission denied"]
    with pytest.raises(FileNotFoundError):
        search(sessions / "nowhere")


# ---- before a start ----


def inode(path: Path) -> int:
    return (path / "Default").stat().st_ino


def start(at: Places, *, known: bool = True) -> Path | None:
    return migrate(at, known=known)


@pytest.mark.parametrize("place", places(7, "abc", known=True))
def test_an_old_profile_is_moved_into_its_place(at: Places, sessions: Path, place: str) -> None:
    old_profile(sessions / place)
    assert start(at) == sessions / place
    assert examine(at.profile).credentials is Credentials.PAIRED
    assert not (sessions / place).exists()
    assert start(at) is None, "again"


def test_only_the_inner_folder_of_a_profile_is_moved_into_its_place(
    at: Places, sessions: Path
) -> None:
    old = old_profile(sessions / "7/abc/session-abc")
    for path in ("Local State", *()):
        (old / path).unlink()
    shutil.move(old / "Default", sessions / "bare")
    shutil.rmtree(sessions / "7")
    shutil.move(sessions / "bare", sessions / "7/abc")
    assert start(at) == sessions / "7/abc"
    assert examine(at.profile).credentials is Credentials.PAIRED


def test_a_paired_old_profile_takes_the_place_of_a_new_one_that_is_not(
    at: Places, sessions: Path
) -> None:
    """Fault 2: the old service's restore made a new profile beside the paired one."""
    old_profile(at.profile, paired=False, used=NEW)
    wanted = inode(old_profile(sessions / "7/abc/session-abc", used=OLD))
    assert start(at) == sessions / "7/abc/session-abc"
    assert inode(at.profile) == wanted
    [quarantined] = quarantine.quarantined(sessions)
    assert "7/abc/session-abc" in (at.quarantine / quarantined.name / NOTE).read_text()
    with ProfileLock(at.profile):
        pass


def test_the_newest_paired_one_of_several_is_used(at: Places, sessions: Path) -> None:
    old_profile(sessions / "7/abc", used=OLD)
    wanted = inode(old_profile(sessions / "session-abc", used=NEW))
    old_profile(sessions / "7/abc/session-abc", paired=False, used=NEW + 1)
    start(at)
    assert inode(at.profile) == wanted
    assert (sessions / "7/abc").exists()


def test_a_newer_pairing_in_its_place_stays(at: Places, sessions: Path) -> None:
    wanted = inode(old_profile(at.profile, used=NEW))
    old_profile(sessions / "7/abc/session-abc", used=OLD)
    assert start(at) is None
    assert inode(at.profile) == wanted


def test_what_cannot_be_read_in_its_place_stays(
    at: Places, sessions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_profile(at.profile, paired=False)
    sqlite(at.profile)
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is None


@pytest.mark.parametrize("logged_out", [False, True])
def test_where_waguard_connected_the_session_nothing_older_is_used(
    at: Places, sessions: Path, *, logged_out: bool
) -> None:
    old_profile(at.profile, paired=not logged_out, used=OLD)
    old_profile(sessions / "7/abc/session-abc", used=NEW)
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        if logged_out:
            owner_mark.disown(at.profile, lock.descriptor)
            assert owner_mark.pairing(at.profile) is None
    assert start(at) is None


def test_nothing_older_is_used_after_a_damaged_profile_was_replaced(
    at: Places, sessions: Path
) -> None:
    old_profile(at.profile)
    with ProfileLock(at.profile) as lock:
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        repair.replace_profile(at, lock.descriptor, why="a test")
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is None


def test_a_snapshot_is_newer_than_any_old_profile(at: Places, sessions: Path) -> None:
    old_profile(at.profile)
    snapshots.create(at.profile, at.snapshots, pairing="token", running=False, now=NEW)
    shutil.rmtree(at.profile)
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is None


def test_another_workspaces_profile_is_nobodys_here(at: Places, sessions: Path) -> None:
    old_profile(sessions / "8/abc/session-abc")
    assert start(at) is None
    old_profile(sessions / "session-abc")
    assert start(at, known=False) is None, "it may be another customer's"
    assert start(at, known=True) == sessions / "session-abc"


def test_one_that_another_browser_uses_is_waited_for(
    at: Places, sessions: Path, other: subprocess.Popen[str]
) -> None:
    old = old_profile(sessions / "7/abc/session-abc")
    lock_database(other, old)
    with pytest.raises(OldProfileInUseError, match=f"process {other.pid} uses"):
        start(at)
    assert old.exists()
    assert not at.profile.exists()


def test_what_a_worker_still_holds_stays(at: Places, sessions: Path) -> None:
    old_profile(at.profile, paired=False)
    old_profile(sessions / "7/abc/session-abc")
    with ProfileLock(at.profile):
        assert start(at) is None
    assert start(at) is not None


def test_an_empty_place_is_taken(at: Places, sessions: Path) -> None:
    with ProfileLock(at.profile):
        pass
    old_profile(sessions / "7/abc/session-abc")
    assert start(at) is not None
    assert quarantine.quarantined(sessions) == []


@pytest.mark.parametrize("step", ["quarantined", "renamed"])
def test_a_crash_in_the_middle_loses_none(
    at: Places, sessions: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old_profile(at.profile, paired=False)
    wanted = inode(old_profile(sessions / "7/abc/session-abc"))
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if step == "renamed" and target == at.profile:
            raise KeyboardInterrupt
        made = real(self, target)
        if step == "quarantined" and self == at.profile:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            start(at)
    start(at)
    assert inode(at.profile) == wanted


# ---- a session that leaves ----


def test_the_old_profiles_of_a_session_leave_with_it(at: Places, sessions: Path) -> None:
    old_profile(at.profile, used=NEW)
    old = old_profile(sessions / "7/abc/session-abc", used=OLD)
    other = old_profile(sessions / "session-abc", used=OLD)
    quarantined = profile_commands.quarantine(at)
    assert sorted(p.name for p in quarantined.glob(f"{old_profiles.OLD}*")) == [
        "waguard-old-0",
        "waguard-old-1",
    ]
    assert not old.exists()
    assert not other.exists()
    assert start(at) is None
    assert not at.profile.exists()


def test_what_may_be_another_customers_does_not_leave_with_it(at: Places, sessions: Path) -> None:
    old_profile(at.profile)
    other = old_profile(sessions / "session-abc")
    with ProfileLock(at.profile) as lock:
        old_profiles.retire(at, lock.descriptor, token=None, why="a test", known=False)
    assert other.exists()
    assert start(at, known=False) is None


def test_one_that_is_used_stays_where_it_is(
    at: Places, sessions: Path, other: subprocess.Popen[str]
) -> None:
    old_profile(at.profile)
    old = old_profile(sessions / "7/abc/session-abc")
    lock_database(other, old)
    profile_commands.quarantine(at)
    assert old.exists()


def test_a_lock_of_the_same_process_is_no_other_browser(tmp_path: Path) -> None:
    """What reads must not hold: F_GETLK never conflicts with the asker's own."""
    profile = old_profile(tmp_path / "p")
    with (profile / LOCAL / "LOCK").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert in_use(profile) is None
