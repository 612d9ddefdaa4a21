"""LevelDB's lock, held by another process."""

import subprocess
from pathlib import Path

from tests.profile.leveldb_files import LOCAL


def lock_database(other: subprocess.Popen[str], profile: Path, name: str = LOCAL) -> None:
    assert other.stdin
    assert other.stdout
    other.stdin.write(f"{profile / name / 'LOCK'}\n")
    other.stdin.flush()
    assert other.stdout.readline() == "locked\n"
