"""Whose rights root takes on: of who decides what lies at a path."""

import os
import pwd
from pathlib import Path
from typing import Final

import pytest

from waguard.host.files.acting import LINKS, User, as_owner_of, owner_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for other users")

DAEMON: Final = 64_001
ROOT: Final = User(0, 0)


@pytest.fixture
def folder(short_path: Path) -> Path:
    """Root's own, of which one in it belongs to a user of its own."""
    short_path.chmod(0o755)
    (short_path / "state").mkdir()
    os.chown(short_path / "state", DAEMON, DAEMON)
    (short_path / "roots").mkdir(mode=0o700)
    return short_path


def test_what_is_roots_and_nobody_can_lead_elsewhere_is_done_as_root(folder: Path) -> None:
    assert owner_of(folder) == owner_of(folder / "roots/missing/file") == ROOT


@pytest.mark.parametrize("name", ["state", "state/missing/file", "roots/../state"])
def test_what_lies_in_a_users_folder_is_done_as_that_user(folder: Path, name: str) -> None:
    assert owner_of(folder / name) == User(DAEMON, DAEMON)


def test_roots_folder_in_a_users_folder_is_the_users_to_replace(folder: Path) -> None:
    (folder / "state/roots").mkdir()
    assert owner_of(folder / "state/roots") == User(DAEMON, DAEMON)


def test_a_link_is_its_makers(folder: Path) -> None:
    link = folder / "link"
    link.symlink_to("roots")
    assert owner_of(link / "file") == ROOT
    os.lchown(link, DAEMON, DAEMON)
    assert owner_of(link / "file") == User(DAEMON, DAEMON)
    with pytest.raises(PermissionError), as_owner_of(link):
        list(link.iterdir())
    assert os.geteuid() == 0


def test_roots_link_is_followed_wherever_it_leads(folder: Path) -> None:
    for name, target in (("a", "b"), ("b", f"{folder}/c"), ("c", "roots/../state")):
        (folder / name).symlink_to(target)
    assert owner_of(folder / "a/file") == User(DAEMON, DAEMON)


def test_links_without_an_end_are_an_error(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        owner_of(folder / "a/file")
    assert LINKS == 40


def test_a_users_own_group_is_taken_not_that_of_the_folder(folder: Path) -> None:
    """`chown USER` leaves root's group."""
    os.chown(folder / "state", DAEMON, 0)
    assert owner_of(folder / "state").gid != 0
    nobody = pwd.getpwnam("nobody")
    os.chown(folder / "state", nobody.pw_uid, 0)
    assert owner_of(folder / "state") == User(nobody.pw_uid, nobody.pw_gid)


def test_no_group_of_roots_is_left(folder: Path) -> None:
    before = os.getgroups()
    with as_owner_of(folder / "state"):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (DAEMON, DAEMON, [DAEMON])
        with as_owner_of(folder / "roots"):  # nobody else asks now
            assert os.geteuid() == DAEMON
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, before)
