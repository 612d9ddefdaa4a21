"""What this host lacks, on real disks and with real executables."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.test_full_disk import fill
from tests.host.processes import no_descriptor
from tests.small_disk import small_disk
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Browser, Config, Paths
from waguard.core.host.evidence import (
    BROWSER_HANGS,
    BROWSER_UNUSABLE,
    DESCRIPTORS_SHORT,
    DISK_FULL,
    INODES_FULL,
    READ_ONLY,
    UNWRITABLE,
    host_failure,
)
from waguard.core.replace import replace
from waguard.host.process import procfs
from waguard.host.system import conditions
from waguard.host.system.evidence import HostEvidence, Timings, probed, usage

PATIENT = Timings(disks=DEADLINE, version=DEADLINE)
QUICK = replace(PATIENT, version=0.3)  # for one that never answers


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("run", "sessions"):
        (tmp_path / name).mkdir()
    return Config(
        paths=Paths(
            runtime=tmp_path / "run", sessions=tmp_path / "sessions", state=tmp_path / "state"
        ),
        browser=Browser(executable=str(script(tmp_path, "exit 0")), sandbox=False),
    )


def script(folder: Path, body: str) -> Path:
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


async def reason(config: Config, *, browser: bool = True, timings: Timings = PATIENT) -> str | None:
    seen = await HostEvidence(lambda: config, timings).read(browser=browser)
    failure = host_failure(seen)
    return failure.reason if failure else None


async def test_a_daemon_without_descriptors_says_nothing_of_its_disks(config: Config) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, time.time)  # a thread is there
    with no_descriptor():
        assert await reason(config, browser=False) == DESCRIPTORS_SHORT


async def test_a_host_that_has_all(config: Config) -> None:
    assert await reason(config, browser=False) is None


@pytest.mark.parametrize(
    ("fault", "expected"), [("full", DISK_FULL), ("nr_inodes", INODES_FULL), ("ro", READ_ONLY)]
)
async def test_a_disk_on_which_nothing_can_be_stored(
    tmp_path: Path, config: Config, fault: str, expected: str
) -> None:
    (tmp_path / "sessions").rmdir()
    with small_disk(tmp_path / "sessions", 16 << 20) as disk:
        (disk / "workspace_1").mkdir()
        assert await reason(config) is None
        assert conditions.read(config).disk is None
        if fault == "full":
            fill(disk / "filler")
        else:
            remount(disk, {"nr_inodes": "nr_inodes=2", "ro": "ro"}[fault])
        assert await reason(config) == expected
        waits = conditions.read(config).disk
        assert waits
        assert (waits.reason, waits.place) == (expected, str(disk))
        if fault == "full":
            (disk / "filler").unlink()
        else:
            remount(disk, {"nr_inodes": "nr_inodes=0", "ro": "rw"}[fault])
        assert await reason(config) is None
        assert conditions.read(config).disk is None


async def test_a_folder_that_takes_no_byte_though_its_disk_has_room(tmp_path: Path) -> None:
    file = tmp_path / "sessions"
    file.touch()
    config = Config(paths=Paths(runtime=tmp_path, sessions=file, state=tmp_path))
    assert await reason(config) == UNWRITABLE


def test_a_file_system_that_counts_nothing_is_not_full() -> None:
    seen = usage("k", Path("/proc"))
    assert (seen.free, seen.files) == (None, None)


def test_a_folder_that_is_missing_is_another_failure(tmp_path: Path) -> None:
    seen = probed("k", tmp_path / "none")
    assert (seen.error, seen.free) == (None, None)
    assert usage("k", tmp_path / "none") == seen


@pytest.mark.parametrize(
    ("body", "timings", "expected"),
    [("sleep 300 & wait", QUICK, BROWSER_HANGS), ("exit 127", PATIENT, BROWSER_UNUSABLE)],
)
async def test_an_executable_that_does_not_answer(
    tmp_path: Path, config: Config, body: str, timings: Timings, expected: str
) -> None:
    made = script(tmp_path, body)
    assert await reason(config, browser=False, timings=timings) == expected
    assert await reason(config, browser=True) is None, "it is not run where a Chromium has run"
    made.write_text("no program")
    assert await reason(config, browser=False) == BROWSER_UNUSABLE


async def test_nothing_of_an_executable_that_hangs_is_left(tmp_path: Path, config: Config) -> None:
    said = tmp_path / "group"
    said.touch()
    script(tmp_path, f"echo $$ > {said}; sleep 300 & wait")
    async with asyncio.timeout(DEADLINE):
        while not said.read_text():  # on a busy machine its time may be over before it has begun
            await reason(config, browser=False, timings=QUICK)
    group = int(said.read_text())
    await wait_until(lambda: not procfs.group_members(group), "init has reaped them")
