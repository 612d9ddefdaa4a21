"""``waguard profile``: what it prints. What it does is tested with the profiles themselves."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.fake_api import said
from tests.cli.program import main
from tests.host.odd_files import refuse
from waguard.core.installation import Marker
from waguard.host.memory import installation_file
from waguard.profile.owner_mark import PAIRING


@pytest.fixture
def profile(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of session a, unpaired."""
    monkeypatch.chdir(short_path)
    path = short_path / "sessions/workspace_7/session-a"
    (path / "Default").mkdir(parents=True)
    return path


def test_profiles_as_a_table_and_for_a_machine(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "list"]) == 0
    head, line = said(capsys)[0]
    assert head.split() == ["SESSION", "WORKSPACE", "STATE", "PAIRED", "MB", "SNAPSHOTS", "WHY"]
    assert line.split()[:4] == ["a", "7", "missing", "no"]
    assert main(["profile", "list", "--json"]) == 0
    (reported,) = json.loads(capsys.readouterr().out)["profiles"]
    assert (reported["session"], reported["workspace"], reported["state"]) == ("a", 7, "missing")
    assert (reported["path"], reported["paired"], reported["snapshots"]) == (
        str(profile),
        False,
        [],
    )
    assert main(["profile", "verify", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == reported | {"good": True, "damaged": {}}


def test_a_mark_that_cannot_be_read_is_named_and_nobody_says_unpaired(
    profile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, profile / PAIRING, errno.EIO)
    assert main(["profile", "list"]) == 0
    assert said(capsys)[0][1].split()[:4] == ["a", "7", "unreadable", "unknown"]
    assert main(["profile", "verify", "a", "--json"]) == 1
    reported = json.loads(capsys.readouterr().out)
    assert (reported["state"], reported["paired"], reported["good"]) == ("unreadable", None, False)
    assert str(profile / PAIRING) in reported["why"]


@pytest.mark.parametrize(
    "argv", [["list"], ["list", "--json"], ["verify", "a"], ["quarantine", "a"]]
)
def test_a_folder_of_profiles_that_is_not_there_is_no_folder_without_profiles(
    profile: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    """Its disk may be away."""
    sessions = profile.parents[1]
    sessions.rename(sessions.with_name("away"))
    assert main(["profile", *argv]) == 2
    out, err = capsys.readouterr()
    assert (out, f"paths.sessions: {sessions} is not there (mount its disk" in err) == ("", True)


def test_an_empty_folder_of_profiles_may_be_a_mount_point(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = profile.parents[1]
    shutil.rmtree(profile.parent)
    assert main(["profile", "list"]) == 0
    [line] = said(capsys)[0]
    assert line == f"no profiles: {sessions} is empty; where there were some, mount its disk"
    installation_file.write(sessions, Marker(installation="0a1b2c3d"))
    assert main(["profile", "list"]) == 0
    assert said(capsys)[0] == ["no profiles yet"]


def test_a_profile_is_quarantined(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "quarantine", "a", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert Path(reported["aside"]).is_dir()
    assert not profile.exists()
    assert main(["profile", "list"]) == 0
    assert said(capsys)[0] == ["no profiles yet"]
