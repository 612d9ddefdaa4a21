"""`waguard import` as an operator meets it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import main
from tests.profile.old_profile_files import content, old_profile
from waguard.cli.client import ApiClient


@pytest.fixture
def service(tmp_path: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The old service's folder, and an empty one in which the command runs."""
    monkeypatch.chdir(short_path)
    old_profile(tmp_path / "service/7/abc/session-abc")
    return tmp_path / "service"


def test_what_was_found_and_done_and_what_comes_next(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "--from", str(service)]) == 0
    path = service / "7/abc/session-abc"
    assert capsys.readouterr().out.splitlines() == [
        "OUTCOME  SESSION  WORKSPACE  CREDENTIALS  USED                  MB",
        "taken    abc      7          paired       2023-11-14T22:13:20Z  0.0",
        "",
        f"taken: {path}: it is paired",
        "",
        "1 taken, 0 left, 0 failed; the originals are as they were",
        "next: start waguard; it brings up the sessions that are in its database",
        "where it is not in the database: waguard sessions create abc --workspace 7",
    ]
    assert Path("sessions/workspace_7/session-abc/Default").is_dir()
    assert main(["import"]) == 0
    assert "it is in its place" in capsys.readouterr().out


def test_a_dry_run_changes_nothing(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--from", str(service), "--dry-run"]) == 0
    assert "(dry run: nothing was changed)" in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_the_same_for_a_machine(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--from", str(service), "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["folder"] == str(service)
    [profile] = reported["profiles"]
    assert profile.pop("bytes") > 0
    assert profile == {
        "session": "abc",
        "workspace": 7,
        "credentials": "paired",
        "outcome": "taken",
        "used_at": "2023-11-14T22:13:20Z",
        "path": str(service / "7/abc/session-abc"),
        "why": "it is paired",
        "place": str(Path("sessions/workspace_7/session-abc").absolute()),
        "quarantined": None,
    }


@pytest.mark.parametrize(
    ("rows", "following"),
    [
        ([], "next: waguard sessions create abc --workspace 7"),
        ([{"session_id": "abc", "workspace_id": 7}], "next: waguard sessions start abc"),
    ],
)
def test_a_running_daemon_is_asked_what_it_knows(
    service: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rows: list[dict[str, Any]],
    following: str,
) -> None:
    monkeypatch.setattr(ApiClient, "of", lambda _: ApiClient("a base", ""))
    monkeypatch.setattr(ApiClient, "call", lambda *_: {"sessions": rows})
    assert main(["import", "--from", str(service)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == following


def test_the_workspace_is_that_of_the_row(service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_profile(service / ".wwebjs_auth/session-bot")
    rows = [{"session_id": "bot", "workspace_id": 9}]
    monkeypatch.setattr(ApiClient, "of", lambda _: ApiClient("a base", ""))
    monkeypatch.setattr(ApiClient, "call", lambda *_: {"sessions": rows})
    assert main(["import", "--from", str(service), "--workspace", "3"]) == 0
    assert Path("sessions/workspace_9/session-bot/Default").is_dir()


def test_one_that_cannot_be_taken_is_a_failure(
    service: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (service / "7/abc/session-abc/SingletonLock").write_text("whose?")
    before = content(service)
    assert main(["import", "--from", str(service)]) == 1
    assert "uses it: stop the old service" in capsys.readouterr().out
    assert content(service) == before


def test_profiles_where_earlier_versions_had_them_are_no_obstacle(
    service: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Other commands end with 2 there, and name both places."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/waguard.toml").write_text("")
    old_profile(Path("sessions/7/abc/session-abc"))
    arguments = ["--config", str(tmp_path / "etc/waguard.toml")]
    assert main(["profile", "list", *arguments]) == 2
    assert "earlier versions" in capsys.readouterr().err
    assert main(["import", "--from", "sessions", *arguments]) == 0
    assert (tmp_path / "etc/sessions/workspace_7/session-abc/Default").is_dir()


@pytest.mark.parametrize("arguments", [["--from", "nowhere"], []])
def test_a_folder_that_is_not_there(
    service: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["import", *arguments]) == 2
    reported = capsys.readouterr().err
    assert "cannot be read: No such file or directory" in reported
    assert "waguard import --from FOLDER" in reported


def test_an_empty_folder_is_said(service: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--from", "."]) == 0
    assert capsys.readouterr().out == "no profiles in .\n"
