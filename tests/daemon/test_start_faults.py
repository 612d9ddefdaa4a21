"""One write of a start fails: it says so in a line, or goes on without; the next start finds what this one left."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.daemon.start_faults import ALONE, Fault, Outcome
from tests.e2e.harness import Daemon, short_folder
from tests.small_disk import small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NEEDED: Final = (
    ("os.mkdir", "/run"),
    ("open", "waguard.lock"),
    ("open", "waguard.pid."),
    ("os.rename", "waguard.pid."),
    ("os.mkdir", "run/workers"),
    ("os.mkdir", "run/t"),
    ("os.mkdir", "/sessions"),
    ("os.mkdir", "/state"),
    ("open", "api-key"),
    ("os.link", "api-key"),
    ("socket.bind", "waguard.sock"),
    ("os.rename", "waguard.sock"),
)
"""Without these nothing starts."""
SPARED: Final = (
    ("open", "clock.json"),
    ("os.rename", "clock.json"),
    ("open", "run.json"),
    ("os.rename", "run.json"),
    ("sqlite3.connect", "waguard.db"),
)
"""A daemon goes on without these, and writes them later."""
ERRORS: Final = ("ENOSPC", "EROFS", "EACCES")
EXIT_CONFIG: Final = 2


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def outcomes(folder: Path, faults: Iterable[Fault]) -> list[Outcome]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.daemon.start_faults", str(folder)],
        input=msgspec.json.encode(list(faults)),
        stdout=subprocess.PIPE,
        check=True,
    )
    return [msgspec.json.decode(line, type=Outcome) for line in done.stdout.splitlines()]


def check(it: Outcome, *, needed: bool) -> None:
    assert it.hit, f"{it.fault}: no start writes there any more"
    assert "Traceback" not in it.stderr + it.next_stderr, it
    assert [name for name in it.left if "waguard.pid" in name] == [], it
    if needed:
        assert (it.up, it.code) == (False, EXIT_CONFIG), it
        (line,) = [line for line in it.stderr.splitlines() if line.startswith("waguard: ")]
        assert ("df -h" in line) is (it.fault is not None and it.fault.error == "ENOSPC"), line
    else:
        assert (it.up, it.code) == (True, 0), it
    assert it.next_code == 0, it


def test_a_start_that_cannot_write_says_so_and_leaves_nothing_in_the_way(folder: Path) -> None:
    table = [
        (NEEDED[9], "ENOSPC"),
        (SPARED[3], "EROFS"),
    ]
    found = outcomes(folder, [Fault(*where, error) for where, error in table])
    assert len(found) == len(table)
    for it, (where, _) in zip(found, table, strict=True):
        check(it, needed=where in NEEDED)


@pytest.mark.long  # a minute: 51 starts, and as many after them
@pytest.mark.parametrize("error", ERRORS)
def test_every_write_of_a_start_may_fail(folder: Path, error: str) -> None:
    found = outcomes(folder, [Fault(*where, error) for where in (*NEEDED, *SPARED)])
    assert len(found) == len(NEEDED) + len(SPARED)
    for number, it in enumerate(found):
        check(it, needed=number < len(NEEDED))


@pytest.mark.parametrize(("key", "left"), [("RUNTIME", 0), ("STATE", 0)])
async def test_a_full_disk_at_the_first_start(folder: Path, key: str, left: int) -> None:
    await starts_when_there_is_room(folder, key, left)


@pytest.mark.long  # a start each
@pytest.mark.parametrize("left", [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384])
async def test_a_disk_that_is_full_after_some_writes(folder: Path, left: int) -> None:
    """The database's file grows by pages; its upgrade ends at any of them."""
    await starts_when_there_is_room(folder, "STATE", left)


async def starts_when_there_is_room(folder: Path, key: str, left: int) -> None:
    """``left``: KB that are free at the first start."""
    with small_disk(folder / "disk", 8 << 20) as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes((8 << 20) - (left << 10)))
        async with Daemon(folder, ALONE | {f"WAGUARD_PATHS__{key}": str(disk)}) as daemon:
            first = await daemon.spawn()
            done = asyncio.create_task(first.wait())
            while not done.done() and "event=daemon_up" not in daemon.log():
                await asyncio.sleep(0.02)
            if not done.done():
                await daemon.until(lambda: knows_its_database(daemon))
                await daemon.stop()
            else:
                assert done.result() == EXIT_CONFIG, daemon.log()
                assert "df -h" in daemon.log()
            assert "Traceback" not in daemon.log(), daemon.log()
            assert not list(disk.glob("waguard.pid*"))
            filler.unlink()
            assert (await daemon.spawn()).returncode is None
            await daemon.until(lambda: restored(daemon))
            assert "Traceback" not in daemon.log(), daemon.log()


async def knows_its_database(daemon: Daemon) -> bool:
    return "event=daemon_restored" in daemon.log() or "database_down" in daemon.log()


async def restored(daemon: Daemon) -> bool:
    return "event=daemon_restored" in daemon.log()
