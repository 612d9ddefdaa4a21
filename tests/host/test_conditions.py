"""What the host has for a session that is to start, read from real folders and files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host.processes import no_descriptor
from waguard.config.sections import Browser, Config, Paths
from waguard.core.host.admission import Reading
from waguard.host.system.conditions import HostConditions, read


def config(folder: Path) -> Config:
    executable = folder / "chromium"
    executable.touch(0o755)
    return Config(
        paths=Paths(runtime=folder / "run", sessions=folder / "sessions", state=folder / "state"),
        browser=Browser(executable=str(executable)),
    )


def profiles(folder: Path) -> None:
    (folder / "sessions/workspace_1/session-a/Default").mkdir(parents=True)


def at_host(reading: Reading) -> tuple[str | None, str | None, str | None]:
    return reading.executable, reading.empty, reading.unreadable


def test_a_host_that_has_all(tmp_path: Path) -> None:
    profiles(tmp_path)
    reading = read(config(tmp_path))
    assert at_host(reading) == (None, None, None)
    assert reading.memory is not None, "the resources are read as well"


def nothing(_: Path) -> None:
    return


def only_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "NOT MOUNTED").touch()


def a_new_disk(folder: Path) -> None:
    (folder / "lost+found").mkdir(parents=True)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (nothing, "does not exist"),
        (Path.mkdir, "has no profile in it"),
        (only_files, "has no profile in it"),
        (a_new_disk, "has no profile in it"),
    ],
)
def test_a_folder_that_holds_no_profile(
    tmp_path: Path, made: Callable[[Path], None], words: str
) -> None:
    made(tmp_path / "sessions")
    executable, empty, unreadable = at_host(read(config(tmp_path)))
    assert (executable, unreadable) == (None, None)
    assert words in str(empty)
    assert "mount its disk" in str(empty)


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> object:
        raise OSError(107, "Transport endpoint is not connected")

    monkeypatch.setattr(os, "scandir", gone)
    executable, empty, unreadable = at_host(read(config(tmp_path)))
    assert (executable, empty) == (None, None)
    assert "Transport endpoint is not connected" in str(unreadable)


def test_a_folder_is_not_unreadable_while_no_descriptor_is_left(tmp_path: Path) -> None:
    profiles(tmp_path)
    known = HostConditions()
    known.read(config(tmp_path))
    with no_descriptor():
        assert at_host(known.read(config(tmp_path))) == (None, None, None)


def test_a_chromium_that_is_missing_or_not_executable(tmp_path: Path) -> None:
    profiles(tmp_path)
    wanted = config(tmp_path)
    (tmp_path / "chromium").chmod(0o644)
    assert "is not an executable file" in str(read(wanted).executable)
    (tmp_path / "chromium").unlink()
    condition = read(wanted).executable
    assert "does not exist" in str(condition)
    assert "install" in str(condition)


def test_where_it_was_empty_a_new_profile_does_not_show_that_it_is_the_right_one(
    tmp_path: Path,
) -> None:
    host, known = HostConditions(), config(tmp_path)
    (tmp_path / "sessions").mkdir()
    new = {tmp_path / "sessions/workspace_1/session-a"}
    assert host.read(known, lambda: new).empty is not None
    profiles(tmp_path)
    assert host.read(known, lambda: new).empty is not None
    assert host.read(known, set).empty is None, "it is paired"
    (tmp_path / "sessions/workspace_1/session-b").mkdir()  # its disk, or a copy, has come
    assert host.read(known, lambda: new).empty is None
    assert HostConditions().read(known, lambda: new).empty is None, "it never was empty"


def test_the_folder_that_a_person_creates_shows_it(tmp_path: Path) -> None:
    host, known = HostConditions(), config(tmp_path)
    profiles(tmp_path)
    new = {tmp_path / "sessions/workspace_1/session-a"}
    host._was_empty = True
    why = host.read(known, lambda: new).empty
    assert f"mkdir {tmp_path}/sessions/lost" in str(why)
    (tmp_path / "sessions/lost").mkdir()
    assert host.read(known, lambda: new).empty is None


def test_another_folder_in_the_place_of_the_profiles_is_not_it(tmp_path: Path) -> None:
    """Its disk went, and a browser that lives has written anew where it was mounted."""
    host, known = HostConditions(), config(tmp_path)
    assert host.read(known).empty is not None, "nothing was seen yet"
    profiles(tmp_path)
    assert at_host(host.read(known)) == (None, None, None)
    (tmp_path / "sessions").rename(tmp_path / "away")
    assert host.read(known).empty is not None
    profiles(tmp_path)
    why = host.read(known).unreadable
    assert why is not None
    assert "is another folder than before: mount its disk" in why
    (tmp_path / "sessions").rename(tmp_path / "wrong")
    (tmp_path / "away").rename(tmp_path / "sessions")
    assert at_host(host.read(known)) == (None, None, None)
