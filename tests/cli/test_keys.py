"""``waguard keys``: in the file, for the same owner, never shown unasked."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.fake_api import said
from tests.cli.program import main
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
