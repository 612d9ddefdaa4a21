"""The commands `waguard backup`, `restore` and `release`: what they print, and what they refuse."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backup.installation import KEY, PAIRED, UNPAIRED, Installation
from tests.cli.program import main
from waguard.backup import restoring
from waguard.host.memory import last_backup


@pytest.fixture
async def old(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "old")
    await made.fill()
    return made


def configured(made: Installation) -> str:
    made.file.write_text("[api]\nport = 0\n[paths]\nruntime = 'run'\n")
    made.file.chmod(0o600)
    return str(made.file)


def test_a_backup_and_its_restore(
    old: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backups, new = tmp_path / "backups", Installation(tmp_path / "new")
    backups.mkdir()
    key = tmp_path / "key"
    key.write_text(KEY.hex())
    key.chmod(0o600)
    with_key = ("--key-file", str(key))
    assert main(["backup", str(backups), "--config", configured(old), "--json", *with_key]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert [it["session"] for it in saved["sessions"] if it["snapshot"]] == [*PAIRED]
    restore = ["restore", saved["file"], "--config", configured(new), "--json", *with_key]
    assert main(restore) == 2
    assert "--old-host-is-dead" in capsys.readouterr().err
    assert main([*restore, "--old-host-is-dead"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["restored"], done["moved"]) == ([*PAIRED], [])
    assert any(UNPAIRED in line for line in done["lost"])
    assert main([*restore, "--old-host-is-dead"]) == 1
    assert "profiles or snapshots: alpha, beta" in capsys.readouterr().err


def test_in_words(old: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", str(tmp_path), "--config", configured(old)]) == 0
    said = capsys.readouterr().out
    assert "2 sessions, read back" in said
    assert "not encrypted" in said
    assert f"without credentials: {UNPAIRED}: " in said
    new = Installation(tmp_path / "new")
    last = last_backup.read(old.config.paths.state)
    assert last
    restore = ["restore", last.where, "--old-host-is-dead", "--config", configured(new)]
    assert main(restore) == 0
    said = capsys.readouterr().out
    assert said.startswith("restored: 2 sessions: alpha, beta\nlost: ")
    assert said.endswith("next: waguard doctor, then start waguard\n")


def test_archives_that_stay_because_nobody_knows_what_they_hold_are_said(
    old: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    (backups / "waguard-0a1b2c3d-20200101T000000Z.tar").touch()
    save = ["backup", str(backups), "--keep", "1", "--config", configured(old)]
    (old.config.paths.state / last_backup.FILE).write_bytes(b"{")
    assert main(save) == 0
    assert "older archives that stay, whatever --keep says: 1, up to" in capsys.readouterr().out
    assert len(list(backups.iterdir())) == 2


def test_to_a_pipe(old: Installation, tmp_path: Path) -> None:
    """In a process of its own: stdout is the archive, byte for byte."""
    config = configured(old)
    file = tmp_path / "archive"
    with file.open("wb") as out:
        command = [sys.executable, "-m", "waguard", "backup", "-", "--config", config]
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, stdout=out, env=environment, check=False)
    assert done.returncode == 0
    new = Installation(tmp_path / "new")
    assert main(["restore", str(file), "--old-host-is-dead", "--config", configured(new)]) == 0


@pytest.mark.parametrize(
    ("reader", "why"), [("full", "No space left on device"), ("left", "Broken pipe")]
)
def test_an_archive_that_is_cut_off_is_a_failure(old: Installation, reader: str, why: str) -> None:
    if reader == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        gone, out = os.pipe()
        os.close(gone)
    command = [sys.executable, "-m", "waguard", "backup", "-", "--config", configured(old)]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(out)
    assert done.returncode == 1
    assert f"waguard: the output is not complete: {why}\n" in done.stderr
    assert not (old.folder / "state/backup.json").exists()


def test_what_cannot_be_is_said(
    old: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(old)
    for argv, said in (
        (["backup", str(tmp_path / "none")], "name a folder that is there"),
        (["backup", "-", "--json"], "stdout is for the archive alone"),
        (["backup", str(tmp_path), "--key-file", str(tmp_path / "none")], "openssl rand"),
        (["restore", str(tmp_path / "none"), "--old-host-is-dead"], "cannot be read"),
    ):
        assert main([*argv, "--config", config]) == 2
        assert said in capsys.readouterr().err


def test_an_archive_that_cannot_be_read_is_named_and_no_room_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(Installation(tmp_path / "new"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, why, remedy in (
        ("none", "No such file or directory", "name an archive of the command backup"),
        ("folder", "Is a directory", "name an archive of the command backup"),
        ("loop", "Too many levels of symbolic links", "run this as root, or as a user who may"),
    ):
        file = tmp_path / name
        assert main(["restore", str(file), "--old-host-is-dead", "--config", config]) == 2
        said = capsys.readouterr().err
        assert f"FILE: {file} cannot be read: {why} ({remedy}" in said
        assert "room" not in said


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free space or inodes on its disk"),
        (errno.EACCES, "run this as root or as the daemon's user"),
        (errno.EROFS, "mount its disk to be written"),
        (errno.EIO, "repair it or its disk"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_what_stops_a_restore_has_its_own_remedy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    remedy: str,
    named: bool,  # noqa: FBT001 - both ways
) -> None:
    state = Installation(tmp_path / "new")
    config, file = configured(state), tmp_path / "archive"
    file.touch()
    where = state.config.paths.state / "keys.json"

    def stopped(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), *([str(where)] if named else []))

    monkeypatch.setattr(restoring, "run", stopped)
    assert main(["restore", str(file), "--old-host-is-dead", "--config", config]) == 2
    said = capsys.readouterr().err
    what = f"{where} cannot be used" if named else "the restore cannot go on"
    assert f"{what}: {os.strerror(number)} ({remedy}" in said
    assert str(file) not in said, "nothing is wrong with the archive"
    assert ("room" in said or "free space" in said) is (number == errno.ENOSPC)


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize("content", [None, "no digits", ""])
def test_a_key_that_cannot_be_used_is_never_to_be_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: str | None
) -> None:
    """Older archives may be encrypted with it."""
    key = tmp_path / "key"
    if content is None:
        key.mkdir()
    else:
        key.write_text(content)
        key.chmod(0o600)
    config = configured(Installation(tmp_path / "new"))
    more = ["--old-host-is-dead"] if command == "restore" else []
    argv = [command, str(tmp_path), *more, "--config", config, "--key-file", str(key)]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert str(key) in said
    assert f"> {key}" not in said


@pytest.mark.parametrize("what", ["groups", "webhooks"])
def test_a_release_asks_first(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", what]) == 2
    assert "--yes" in capsys.readouterr().err
