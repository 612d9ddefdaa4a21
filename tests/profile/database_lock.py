"""LevelDB's lock, held by another process."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.profile.leveldb_files import LOCAL

_SCRIPT = """
import fcntl, sys
file = open(sys.stdin.readline().strip(), "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def another() -> Iterator[subprocess.Popen[str]]:
    """A process for ``lock_database``; it ends here."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.communicate("\n")


def lock_database(other: subprocess.Popen[str], profile: Path, name: str = LOCAL) -> None:
    assert other.stdin
    assert other.stdout
    other.stdin.write(f"{profile / name / 'LOCK'}\n")
    other.stdin.flush()
    assert other.stdout.readline() == "locked\n"
