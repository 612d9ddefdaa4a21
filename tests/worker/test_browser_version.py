"""Chromium's version is asked for once, and again where the answer is not to be trusted."""

import os
from pathlib import Path

import pytest

from tests.waiting import wait_until
from waguard.host.process import procfs
from waguard.worker.browser import version as under_test
from waguard.worker.browser.process import version_of
from waguard.worker.browser.version import known_version

VERSION = "156.0.8078.108"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each binary, as often as it was run."""
    made: list[Path] = []

    async def run(executable: Path, timeout: float) -> str:
        del timeout
        made.append(executable)
        return VERSION

    monkeypatch.setattr(under_test, "version_of", run)
    return made


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "chromium"
    path.write_bytes(b"\x7fELF and more")
    return path


async def test_a_version_is_asked_once(asked: list[Path], binary: Path, tmp_path: Path) -> None:
    assert [await known_version(binary, tmp_path, 1.0) for _ in range(3)] == [VERSION] * 3
    assert asked == [binary]


async def test_another_binary_in_its_place_is_asked(
    asked: list[Path], binary: Path, tmp_path: Path
) -> None:
    await known_version(binary, tmp_path, 1.0)
    later = binary.stat().st_mtime_ns + 1
    os.utime(binary, ns=(later, later))
    await known_version(binary, tmp_path, 1.0)
    assert asked == [binary] * 2


async def test_a_script_is_asked_each_time(asked: list[Path], tmp_path: Path) -> None:
    script = tmp_path / "chromium"
    script.write_text("#!/bin/sh")
    for _ in range(2):
        assert await known_version(script, tmp_path, 1.0) == VERSION
    assert asked == [script] * 2


@pytest.mark.parametrize("damage", ["", "156", "\udcff"])
async def test_a_note_that_says_nothing_is_written_again(
    asked: list[Path], binary: Path, tmp_path: Path, damage: str
) -> None:
    await known_version(binary, tmp_path, 1.0)
    (note,) = tmp_path.glob("version-*")
    note.write_bytes(damage.encode(errors="surrogateescape"))
    assert await known_version(binary, tmp_path, 1.0) == VERSION
    assert await known_version(binary, tmp_path, 1.0) == VERSION
    assert asked == [binary] * 2


async def test_a_folder_that_takes_no_note_costs_nothing_but_time(
    asked: list[Path], binary: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        assert await known_version(binary, tmp_path / "none", 1.0) == VERSION
    assert asked == [binary] * 2


async def test_nothing_of_a_script_that_hangs_is_left(tmp_path: Path) -> None:
    script = tmp_path / "chromium"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/group; sleep 300 & wait\n")
    script.chmod(0o755)
    with pytest.raises(TimeoutError):
        await version_of(script, 2.0)  # the script has begun by then
    group = int((tmp_path / "group").read_text())
    await wait_until(lambda: not procfs.group_members(group), "nothing of it is left")
