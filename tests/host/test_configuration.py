"""Where the configuration is found, and what earlier versions would have used."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.host.processes import (
    BECOME_NOBODY,
    NOBODY,
    OTHERS_CANNOT,
    others_can_run_this_python,
    waguard,
)
from waguard.config.reading import Reading
from waguard.config.reading import read as read_configuration
from waguard.errors import ConfigError
from waguard.host import configuration_file
from waguard.host.configuration_file import VARIABLE, Found, hidden_lines

NOWHERE = Path("/nowhere/waguard.toml")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")


@pytest.fixture(autouse=True)
def here(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder. No file of this machine's is found in it."""
    folder = short_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def system(short_path: Path) -> Path:
    """In place of /etc/waguard/waguard.toml."""
    path = short_path / "etc/waguard/waguard.toml"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def find(option: Path | None, environ: Mapping[str, str], system: Path = NOWHERE) -> Found:
    return configuration_file.find(option, environ, system_file=system)


def read(
    option: Path | None, environ: Mapping[str, str], system: Path = NOWHERE
) -> tuple[Found, Reading]:
    return configuration_file.read(option, environ, system_file=system)


# ---- the search ----


def test_each_place_hides_those_behind_it(here: Path, system: Path) -> None:
    (here / "waguard.toml").touch()
    named = {VARIABLE: "named.toml"}
    assert find(Path("o.toml"), named, system) == Found(path=here / "o.toml", by="--config")
    assert find(None, named, system) == Found(path=here / "named.toml", by=VARIABLE)
    assert find(None, {VARIABLE: ""}, system) == Found(path=system, of_unit=True)
    system.unlink()
    assert find(None, {}, system) == Found(path=here / "waguard.toml")
    (here / "waguard.toml").unlink()
    assert find(None, {}, system) == Found(path=None)


@pytest.mark.parametrize("option", [None, Path("missing.toml")])
def test_a_named_file_that_is_missing_is_an_error(option: Path | None, system: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read: No such file") as refused:
        read(option, {VARIABLE: "missing.toml"}, system)
    assert refused.value.field == (VARIABLE if option is None else "--config")


def test_a_folder_in_place_of_the_file_is_an_error(here: Path, system: Path) -> None:
    (here / "waguard.toml").touch()
    system.unlink()
    system.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(None, {}, system)


def test_a_link_to_nowhere_is_an_error(here: Path, system: Path) -> None:
    system.unlink()
    system.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(None, {}, system)
    system.unlink()
    (here / "waguard.toml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(None, {}, system)


def test_a_folder_above_that_is_a_file_holds_none(here: Path, system: Path) -> None:
    system.unlink()
    system.parent.rmdir()
    system.parent.touch()
    assert find(None, {}, system).path is None


def test_a_wrong_file_is_not_skipped(here: Path, system: Path) -> None:
    (here / "waguard.toml").touch()
    system.write_text("[api]\nprot = 1")
    with pytest.raises(ConfigError) as refused:
        read(None, {}, system)
    assert refused.value.field == "api.prot"
    system.write_text("no toml")
    with pytest.raises(ConfigError, match=f"{system} is not TOML"):
        read(None, {}, system)


@pytest.mark.skipif(not others_can_run_this_python(), reason=OTHERS_CANNOT)
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_an_unreadable_file_is_not_skipped(here: Path, short_path: Path, closed: str) -> None:
    for folder in (short_path, here):
        folder.chmod(0o755)
    path = here / "closed/w.toml"
    path.parent.mkdir(mode=0o700 if closed == "folder" else 0o755)
    path.touch(0o600)
    done = waguard("status", folder=here, environ={VARIABLE: str(path)}, prefix=BECOME_NOBODY)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{path} cannot be read: Permission denied (run this as root" in line


@needs_root
def test_the_working_folders_file_of_another_user_is_refused(here: Path) -> None:
    path = here / "waguard.toml"
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}") as refused:
        find(None, {})
    assert f"--config {path}" in (refused.value.remedy or "")
    assert find(path, {}).path == path  # who names it trusts it


def test_the_working_folders_file_that_anybody_can_write_is_refused(here: Path) -> None:
    path = here / "waguard.toml"
    path.touch()
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by others"):
        find(None, {})


@needs_root
def test_the_working_folders_file_may_be_written_by_our_own_group_and_by_no_other(
    here: Path,
) -> None:
    path = here / "waguard.toml"
    path.touch()
    path.chmod(0o664)
    assert find(None, {}).path == path
    os.chown(path, -1, NOBODY)
    with pytest.raises(ConfigError, match=f"can be written by group {NOBODY}"):
        find(None, {})
    path.chmod(0o644)
    assert find(None, {}).path == path


def test_in_a_folder_that_is_gone_the_systems_file_is_found(here: Path, system: Path) -> None:
    here.rmdir()
    assert find(None, {}, system).path == system
    with pytest.raises(ConfigError, match="working folder"):
        find(Path("w.toml"), {}, system)


# ---- what lies where it was ----


def profile(folder: Path) -> None:
    (folder / "workspace_1/session-a").mkdir(parents=True)


def left_behind(
    option: Path | None = None, *, system: Path = NOWHERE, **environ: str
) -> str | None:
    """The refusal's line."""
    found, reading = read(option, environ, system)
    try:
        configuration_file.require_nothing_left_behind(found, reading)
    except ConfigError as error:
        return error.line()
    return None


@pytest.mark.parametrize(
    ("what", "field"),
    [
        ("sessions/workspace_1/session-a", "paths.sessions"),
        ("sessions/snapshots/workspace_1/session-a", "paths.sessions"),
        ("sessions/7/a/Default", "paths.sessions"),
        ("state/api-key", "api.key_file"),
        ("state/waguard.db", "database.url"),
    ],
)
def test_what_lies_in_the_working_folder_is_not_forgotten(
    here: Path, system: Path, what: str, field: str
) -> None:
    path = here / what
    path.mkdir(parents=True)
    system.write_text("[paths]\nsessions = 'sessions'")
    line = left_behind(system)
    assert line is not None
    assert line.startswith(f"{field}: ")
    assert str(here / Path(what).parts[0]) in line
    assert str(system.parent / Path(what).parts[0]) in line
    assert path.is_dir(), "nothing was moved"


def test_each_of_them_is_to_be_in_the_new_place(here: Path, system: Path) -> None:
    profile(here / "sessions")
    (here / "state").mkdir()
    (here / "state/api-key").touch()
    (system.parent / "state").mkdir()
    (system.parent / "state/api-key").touch()
    line = left_behind(system)
    assert line
    assert line.startswith("paths.sessions: "), "a key there does not make up for it"
    profile(system.parent / "sessions")
    assert left_behind(system) is None


def test_another_kind_of_database_is_no_lost_one(here: Path, system: Path) -> None:
    (here / "state").mkdir()
    (here / "state/waguard.db").touch()
    system.write_text("[database]\nurl = 'mysql+asyncmy://localhost/wa'")
    assert left_behind(system=system) is None


def test_the_remedy_works(here: Path, system: Path) -> None:
    profile(here / "sessions")
    line = left_behind(system)
    assert line
    assert f"paths.sessions = '{here}/sessions' in {system}" in line
    system.write_text(f"[paths]\nsessions = '{here}/sessions'")
    assert left_behind(system) is None
    system.write_text("")
    (here / "sessions").rename(system.parent / "sessions")
    assert left_behind(system) is None


def test_a_file_that_is_found_was_read_by_no_earlier_version(here: Path, system: Path) -> None:
    """So what lies there by the defaults is asked about, also where the file has absolute paths."""
    profile(here / "sessions")
    system.write_text("[paths]\nsessions = '/nowhere/sessions'\nstate = '/nowhere/state'")
    line = left_behind(system=system)
    assert line is not None
    assert "/nowhere/sessions" in line
    assert left_behind(system) is None, "but for --config it was, and absolute is where it was"
    assert left_behind(system=system, WAGUARD_PATHS__SESSIONS="/elsewhere") is None


@pytest.mark.parametrize("empty", ["sessions/workspace_1", "sessions/lost+found", "state"])
def test_empty_folders_are_nothing(here: Path, system: Path, empty: str) -> None:
    (here / empty).mkdir(parents=True)
    assert left_behind(system) is None


def test_without_a_file_nothing_changes(here: Path) -> None:
    profile(here / "sessions")
    assert left_behind() is None
    (here / "waguard.toml").touch()
    assert left_behind() is None
    assert left_behind(here / "waguard.toml") is None


@pytest.mark.skipif(not others_can_run_this_python(), reason=OTHERS_CANNOT)
def test_a_new_place_that_cannot_be_read_may_hold_it(here: Path, short_path: Path) -> None:
    for folder in (short_path, here):
        folder.chmod(0o755)
    profile(here / "sessions")
    place = short_path / "place"
    place.mkdir()
    (place / "w.toml").touch()
    (place / "sessions").mkdir(mode=0o700)
    arguments = ("profile", "list", "--config", str(place / "w.toml"))
    as_root = waguard(*arguments, folder=here)
    assert as_root.returncode == 2
    assert str(place / "sessions") in as_root.stderr
    as_other = waguard(*arguments, folder=here, prefix=BECOME_NOBODY)
    assert "earlier versions" not in as_other.stderr


# ---- what the environment hides ----


def test_a_hidden_key_is_named_with_both_values(here: Path, system: Path) -> None:
    system.write_text("[api]\nport = 4000\nhost = '::1'\n[send]\ngap = [1, 2]")
    environ = {"WAGUARD_API__PORT": "5000", "WAGUARD_SEND__GAP": "[3, 4]"}
    _, reading = read(None, environ | {"WAGUARD_LOG__LEVEL": "DEBUG"}, system)
    assert hidden_lines(reading) == [
        f"WAGUARD_API__PORT=5000 of the environment hides api.port = 4000 of {system}",
        f"WAGUARD_SEND__GAP=[3.0, 4.0] of the environment hides send.gap = [1.0, 2.0] of {system}",
    ]


def test_no_password_is_in_it(system: Path) -> None:
    system.write_text("[database]\nurl = 'mysql+asyncmy://me:sesame@db/wa?ssl_key=sesame'")
    url = "postgresql+asyncpg://me:sesame@db/wa?password=sesame&x=1"
    (line,) = hidden_lines(read_configuration(system, {"WAGUARD_DATABASE__URL": url}))
    assert "sesame" not in line
    assert "postgresql+asyncpg://me:***@db/wa?password=***&x=1" in line
