"""``waguard profile``: what it prints. What it does is tested with the profiles themselves."""

import errno
import json
from pathlib import Path

import pytest

from tests.cli.fake_api import said
from tests.cli.program import main
from tests.host.odd_files import refuse
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


def test_a_profile_is_quarantined(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "quarantine", "a", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert Path(reported["aside"]).is_dir()
    assert not profile.exists()
    assert main(["profile", "list"]) == 0
    assert said(capsys)[0] == ["no profiles yet"]
