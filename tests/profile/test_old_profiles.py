"""Old profiles are found and read, and who uses one is seen."""

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from tests.host.odd_files import OTHER_USER, mutations
from tests.profile.database_lock import lock_database
from tests.profile.leveldb_files import INDEXED, LOCAL
from tests.profile.old_profile_files import OLD, archive, content, old_profile, sqlite
from waguard.core.profile.old_profiles import Credentials, Identity
from waguard.profile import inspection
from waguard.profile.old_profiles import examine, in_use, search

# ---- one profile ----


def without(name: str) -> Callable[[Path], object]:
    return lambda profile: shutil.rmtree(profile / "Default" / name)


def cut(name: str) -> Callable[[Path], object]:
    return lambda profile: (profile / name / "CURRENT").write_text("nonsense")


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


def test_a_lock_of_the_same_process_is_no_other_browser(tmp_path: Path) -> None:
    """What reads must not hold: F_GETLK never conflicts with the asker's own."""
    profile = old_profile(tmp_path / "p")
    with (profile / LOCAL / "LOCK").open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert in_use(profile) is None
