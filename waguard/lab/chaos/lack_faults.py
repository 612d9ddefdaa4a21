"""What the host lacks while a worker is killed, as ``faults.py`` has it: no session's fault, whatever the exit code says."""

import os
import random
import signal
from pathlib import Path
from typing import Final

from waguard.core.replace import replace
from waguard.lab.chaos.harming import OUTAGE, PACE, Fault, Pace, before_a_kill, endure, hurt
from waguard.lab.chaos.invariants import Facts, Harm
from waguard.lab.chaos.mounts import filled, remounted
from waguard.lab.chaos.mounts import read_only as read_only_over
from waguard.lab.chaos.world import NotInTimeError, World

SHOWN_WITHIN: Final = 90.0  # s; an executable that hangs is waited for by its worker first
STARTS_WITHIN: Final = 90.0  # s from the end of the cause
_NO_ROWS: Final = Pace(row_limit=float("inf"))
"""The database lies on that disk: nobody can correct a row."""
HANGS: Final = "#!/bin/sh\nsleep 600 & wait\n"


async def no_inodes(world: World, session: str, _: random.Random) -> Harm:
    """No file can be created for profiles and database, and a worker is killed."""
    disk = _disk(world)
    found = os.statvfs(disk)
    with remounted(
        disk, f"nr_inodes={found.f_files - found.f_ffree}", f"nr_inodes={found.f_files}"
    ):
        return await _lacking(world, session, "inodes left")


async def read_only(world: World, session: str, _: random.Random) -> Harm:
    """Profiles and database can be read only: a folder of a unit that is not in ReadWritePaths=, a disk with errors."""
    with read_only_over(world.profiles):
        return await _lacking(world, session, "is mounted read-only")


async def one_disk_for_all(world: World, session: str, _: random.Random) -> Harm:
    """Profiles, database and runtime folder are full at once, and a worker is killed."""
    with filled(_disk(world)), filled(world.folder / "run"):
        return await _lacking(world, session, "is full", pace=_NO_ROWS)


async def executable_hangs(world: World, session: str, _: random.Random) -> Harm:
    """Chromium answers nothing, not even ``--version``, and a worker is killed."""
    place, elsewhere = world.executable, world.executable.with_name("browser.away")
    place.rename(elsewhere)
    try:
        place.write_text(HANGS)
        place.chmod(0o700)
        return await _lacking(world, session, "--version did not answer")
    finally:
        elsewhere.replace(place)


async def _lacking(world: World, session: str, words: str, *, pace: Pace = PACE) -> Harm:
    spent, others = await before_a_kill(world, session)
    harm = await hurt(world, session, signal.SIGKILL, worker=True)
    # browsers that cannot write end as well: theirs is no session's fault either
    harm = replace(harm, restarts=spent, fleet=words, within=STARTS_WITHIN)
    if words.startswith("--version"):
        harm = replace(harm, kept=others)
    await endure(
        world,
        harm,
        shows=lambda facts: _says(facts, session, words),
        what=f"{session} says: {words}",
        within=SHOWN_WITHIN,
        stays=OUTAGE,
        pace=pace,
    )
    return harm


def _says(facts: Facts, session: str, words: str) -> bool:
    return facts.reported is not None and any(
        words in it for it in facts.reported[session].messages
    )


def _disk(world: World) -> Path:
    if world.disk is None:
        raise NotInTimeError("there is no disk of its own")
    return world.disk


ALL: Final[tuple[Fault, ...]] = (no_inodes, read_only, one_disk_for_all, executable_hangs)
