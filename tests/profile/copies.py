"""Snapshots of a profile that Chromium has used, and what its files hold."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.profile.leveldb_files import database, profile
from waguard.profile import leveldb, snapshots
from waguard.profile.layout import Places
from waguard.profile.snapshots import Taken

NOW = 1_700_000_000.0
Break = Callable[[Path], object]
"""Damages what lies there."""


def snapshot_of(at: Places, pairing: str, *, now: float = NOW, running: bool = False) -> Taken:
    return snapshots.create(at.profile, at.snapshots, pairing=pairing, running=running, now=now)


def rewrite(at: Places, word: str) -> None:
    """The same profile with other credentials."""
    shutil.rmtree(at.profile / "Default")
    profile(at.profile.with_name("draft"), word)
    (at.profile.with_name("draft") / "Default").rename(at.profile / "Default")
    shutil.rmtree(at.profile.with_name("draft"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def just_made(folder: Path) -> None:
    """What Chromium has on disk in the first seconds of a profile."""
    shutil.rmtree(folder)
    database(folder)
    for name in ("000003.log", "000006.log", "000005.ldb"):
        (folder / name).unlink()
    manifest = (folder / "MANIFEST-000001").read_bytes()
    first = next(leveldb.records(manifest, ""))
    (folder / "MANIFEST-000001").write_bytes(manifest[: len(first) + leveldb.HEADER])
