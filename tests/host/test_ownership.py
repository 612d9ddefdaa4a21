"""Real files and folders of this user and of others."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.processes import waguard
from waguard.errors import ConfigError
from waguard.host.files.ownership import refusals, require_private

ANOTHER_USER = 12_345
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give things away")


@pytest.fixture
def place() -> Iterator[Path]:
    """Of this user, in a folder that all share."""
    with tempfile.TemporaryDirectory(prefix="wg-") as folder:
        yield Path(folder)


def test_a_private_folder_in_a_shared_one_is_fine(place: Path) -> None:
    (place / "run").mkdir(mode=0o700)
    assert refusals(place / "run") == []
    assert refusals(place / "not/there/yet") == []


def test_an_open_file_is_refused_with_the_command(place: Path) -> None:
    secret = place / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        require_private("webhook.secret_file", secret)
    assert refused.value.line() == (
        f"webhook.secret_file: {secret} is open to other users (chmod 600 {secret})"
    )
    secret.chmod(0o600)
    assert require_private("webhook.secret_file", secret) == []


def test_a_path_that_is_none_is_one_line(place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        require_private("paths.state", place / "file/below")


def test_a_folder_that_our_own_group_can_write_is_warned_of(place: Path) -> None:
    place.chmod(0o770)
    os.chown(place, -1, os.getegid())
    [warned] = require_private("paths.state", place / "state")
    assert (warned.path, warned.command) == (str(place), f"chmod go-w {place}")


@as_root
def test_somebody_elses_things_are_refused_wherever_they_stand(place: Path) -> None:
    theirs = place / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, ANOTHER_USER, ANOTHER_USER)
    for path in (theirs, theirs / "run"):
        with pytest.raises(ConfigError, match=f"{theirs} belongs to user {ANOTHER_USER}"):
            require_private("paths.runtime", path)


@as_root
def test_a_link_does_not_hide_where_it_leads(place: Path) -> None:
    (place / "theirs").mkdir(mode=0o700)
    (place / "theirs/run").mkdir(mode=0o700)
    os.chown(place / "theirs", ANOTHER_USER, ANOTHER_USER)
    (place / "run").symlink_to(place / "theirs/run")
    with pytest.raises(ConfigError, match="theirs belongs to"):
        require_private("paths.runtime", place / "run")


@pytest.mark.parametrize("folder", ["run", "sessions", "state"])
def test_an_open_folder_stops_the_start_before_anything_is_written(
    short_path: Path, folder: str
) -> None:
    (short_path / folder).mkdir()
    (short_path / folder).chmod(0o755)
    done = waguard("run", folder=short_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"chmod 700 {short_path / folder}" in line
    assert [path.name for path in short_path.iterdir()] == [folder]


def test_a_configuration_with_a_password_is_private(short_path: Path) -> None:
    config = short_path / "waguard.toml"
    config.write_text('[database]\nurl = "mysql+asyncmy://user:secret@localhost/db"')
    config.chmod(0o644)
    done = waguard("run", "--config", str(config), folder=short_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line == f"waguard: --config: {config} is open to other users (chmod 600 {config})"
    config.write_text("[api]\nport = 70000\n")  # without one anybody may read it
    config.chmod(0o644)
    done = waguard("run", "--config", str(config), folder=short_path)
    assert "api.port" in done.stderr
