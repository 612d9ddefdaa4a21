"""Where relative paths lie, and what follows the state folder."""

import os
from pathlib import Path

import pytest

from tests.config.configured import EXAMPLE, loaded
from waguard.config.reading import load
from waguard.errors import ConfigError


def test_relative_paths_start_from_the_files_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "etc").mkdir()
    path = folder / "etc/w.toml"
    path.write_text(
        "[paths]\nstate = 's'\n[webhook]\nsecret_file = '../secret'\n"
        "[database]\nurl = 'sqlite+aiosqlite:///s/w.db?timeout=3'"
    )
    beside = {"WAGUARD_WHATSAPP__WAJS": "wa.js"}
    for working in (folder, folder / "etc", Path("/")):
        monkeypatch.chdir(working)
        config = load(Path(os.path.relpath(path)), beside)
        assert config.paths.state == folder / "etc/s"
        assert config.paths.runtime == folder / "etc/run"
        assert config.webhook.secret_file == folder / "etc/../secret"
        assert config.whatsapp.wajs == folder / "etc/wa.js"
        assert config.database.url == f"sqlite+aiosqlite:///{folder}/etc/s/w.db?timeout=3"


def test_a_pipe_lies_in_no_folder(folder: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"[paths]\nstate = 's'")
    os.close(writing)
    try:
        assert load(Path(f"/dev/fd/{reading}"), {}).paths.state == folder / "s"
    finally:
        os.close(reading)


def test_without_a_file_relative_paths_start_from_the_working_folder(folder: Path) -> None:
    config = load(None, {"WAGUARD_PATHS__STATE": "s"})
    assert config.paths.state == folder / "s"


def test_a_database_in_memory_has_no_folder() -> None:
    for url in ("sqlite+aiosqlite:///", "sqlite+aiosqlite:///:memory:"):
        assert loaded(f"[database]\nurl = '{url}'").database.url == url  # the store refuses it


def test_what_the_file_names_is_placed(folder: Path) -> None:
    config = loaded(
        """
        paths = {state = "s", runtime = "/run/waguard"}
        whatsapp = {wajs = "wa.js"}
        webhook = {url = "http://localhost/", secret_file = "secret"}
        cluster = {ca_file = "ca", certificate_file = "c", private_key_file = "k", user_file = "u", key_file = "s"}
        """
    )
    assert config.paths.state == folder / "s"
    assert config.paths.runtime == Path("/run/waguard")
    assert config.whatsapp.wajs == folder / "wa.js"
    assert config.webhook.secret_file == folder / "secret"
    its = config.cluster
    placed = [its.ca_file, its.certificate_file, its.private_key_file, its.user_file, its.key_file]
    assert placed == [folder / name for name in ("ca", "c", "k", "u", "s")]


def test_what_lies_in_the_state_folder_follows_it() -> None:
    config = loaded("[paths]\nstate = '/var/lib/w'")
    assert config.api.key_file == Path("/var/lib/w/api-key")
    assert config.database.url == "sqlite+aiosqlite:////var/lib/w/waguard.db"


def test_what_was_named_stays_where_it_is(folder: Path) -> None:
    config = loaded(
        "api = {key_file = 'state/api-key'}\npaths = {state = '/s'}\n"
        "database = {url = 'mysql+asyncmy://me:sesame@db/wa'}"
    )
    assert config.api.key_file == folder / "state/api-key"
    assert config.database.url == "mysql+asyncmy://me:sesame@db/wa"


def test_a_path_need_not_be_utf_8() -> None:
    odd = os.fsdecode(b"/srv/stra\xdfe")
    assert load(None, {"WAGUARD_PATHS__STATE": odd}).paths.state == Path(odd)


@pytest.mark.parametrize("length", [80, 81])
def test_a_runtime_path_that_just_fits(length: int) -> None:
    folder = "/" + "r" * (length - 1)
    config = loaded(f"[paths]\nruntime = '{folder}'")
    socket = config.paths.runtime / "workers" / "0123456789ab.sock"
    assert len(os.fsencode(socket)) <= 107


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="working folder"):
        load(None, {})
    assert load(EXAMPLE, {}).paths.runtime == Path("/run/waguard")  # it needs none
