"""``waguard keys``: in the file, for the same owner, never shown unasked."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.cli.fake_api import said
from tests.cli.program import main
from tests.host.processes import clean_environment
from tests.waiting import DEADLINE, block_until
from waguard.api.auth import load_or_create_keys
from waguard.cli import keys

OLD = "an-old-key-of-the-application"


@pytest.fixture
def file(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(short_path)
    path = short_path / "state" / "api-key"
    path.parent.mkdir(mode=0o700)
    path.write_text(f"# the application's\n{OLD}\n")
    path.chmod(0o600)
    return path


def test_a_key_is_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add"]) == 0
    (line,) = said(capsys)[0]
    fresh = file.read_text().splitlines()[-1]
    assert file.read_text() == f"# the application's\n{OLD}\n{fresh}\n"
    assert fresh not in line
    assert keys.fingerprint(fresh) in line
    assert main(["keys", "show", keys.fingerprint(fresh)]) == 0
    assert said(capsys)[0] == [fresh]
    assert main(["keys", "remove", keys.fingerprint(OLD)]) == 2, "nobody can be asked"
    assert OLD in file.read_text()
    assert main(["keys", "remove", keys.fingerprint(OLD), "--yes"]) == 0
    assert load_or_create_keys(file).values == {fresh.encode()}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("verb", [["add"], ["remove", keys.fingerprint(OLD), "--yes"]])
def test_of_two_changes_at_once_none_is_lost(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    """Another one begins whenever the first has read the file, and ends, or waits."""
    file.write_text(f"{OLD}\nanother-key-of-the-application\n")
    read = keys._read
    others: list[subprocess.Popen[str]] = []

    def interrupted(path: Path) -> list[str]:
        lines = read(path)
        command = [sys.executable, "-m", "waguard", "keys", "add"]
        other = subprocess.Popen(command, env=clean_environment(), stdout=PIPE, text=True)
        others.append(other)
        block_until(lambda: other.poll() is not None or has_open(other.pid, file.parent), "a key")
        return lines

    monkeypatch.setattr(keys, "_read", interrupted)
    assert main(["keys", *verb]) == 0
    out = [*said(capsys)[0], *(other.communicate(timeout=DEADLINE)[0] for other in others)]
    assert {other.returncode for other in others} == {0}
    left = {keys.fingerprint(it) for it in file.read_text().splitlines()}
    added = {line.split()[1] for line in out if " is in " in line}
    assert added < left
    assert (keys.fingerprint(OLD) in left) is (verb == ["add"])


def has_open(pid: int, folder: Path) -> bool:
    """Whether it is about to lock it."""
    with contextlib.suppress(OSError):  # it ends, or closes one of them
        return any(it.readlink() == folder.resolve() for it in Path(f"/proc/{pid}/fd").iterdir())
    return False


@pytest.mark.parametrize("verb", [["add"], ["remove", keys.fingerprint(OLD), "--yes"]])
def test_a_change_that_does_not_end_is_not_waited_for_without_an_end(
    file: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    file.write_text(f"{OLD}\nanother-key-of-the-application\n")
    before = file.read_text()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        assert main(["keys", *verb]) == 2
    finally:
        os.close(folder)
    (line,) = said(capsys)[1]
    assert "another command changes it" in line
    assert file.read_text() == before


def test_a_list_gives_none_away(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list"]) == 0
    out = capsys.readouterr().out
    assert str(file) in out
    assert keys.fingerprint(OLD) in out
    assert OLD not in out
    assert main(["keys", "list", "--json"]) == 0
    reported = json.loads(capsys.readouterr().out)
    expected = {"fingerprint": keys.fingerprint(OLD), "characters": len(OLD)}
    issued = {"issued_file": str(file.with_name("keys.json")), "issued": []}
    assert reported == {"file": str(file), "keys": [expected], **issued}
    assert main(["keys", "show"]) == 0
    assert said(capsys)[0] == [OLD]


def test_the_last_key_stays(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "remove", keys.fingerprint(OLD), "--yes"]) == 2
    assert "keys add" in said(capsys)[1][0]
    assert OLD in file.read_text()


@pytest.mark.parametrize("verb", [["show"], ["remove", "--yes"]])
def test_an_unknown_key(file: Path, capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    assert main(["keys", *verb, "00000000"]) == 2
    assert said(capsys)[1][0].startswith(f"waguard: fingerprint: {file} holds no such key")


def test_no_file_yet(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.unlink()
    assert main(["keys", "list"]) == 0
    assert "no keys: the daemon makes one at its start" in said(capsys)[0]
    assert main(["keys", "add"]) == 0
    assert len(load_or_create_keys(file).values) == 1


def test_of_a_state_folder_that_is_not_there_the_keys_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its disk may be away."""
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "list"]) == 0
    state, lines = tmp_path / "state", said(capsys)[0]
    away = f"unknown: {state} is not there: mount its disk"
    assert len([line for line in lines if line.startswith(away)]) == 2
    assert not [line for line in lines if "no keys" in line]
    assert main(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["issued"] is None


@pytest.mark.parametrize("spoil", ["folder", "binary"])
def test_a_file_that_is_none(file: Path, capsys: pytest.CaptureFixture[str], spoil: str) -> None:
    file.unlink()
    file.mkdir() if spoil == "folder" else file.write_bytes(b"\xff")
    assert main(["keys", "add"]) == 2
    assert said(capsys)[1][0].startswith("waguard: api.key_file: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_root_leaves_it_to_its_owner(file: Path) -> None:
    file.chmod(0o640)
    os.chown(file, 12345, 12346)
    assert main(["keys", "add"]) == 0
    found = file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12345, 12346, 0o640)
