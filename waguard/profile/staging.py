"""A folder beside a profile, in which another one is made before it takes its place."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from waguard.host.files import moving

STAGING: Final = ".waguard-new-"


@contextlib.contextmanager
def made_beside(profile: Path) -> Iterator[Path]:
    """An empty folder in which another profile is made before it takes this one's place; what is left
    in it is deleted, by the next start after a crash."""
    clear(profile)
    made = _path_of(profile)
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _path_of(profile: Path) -> Path:
    real = profile.resolve()
    return real.with_name(f"{STAGING}{real.name}")


def clear(profile: Path) -> None:
    """Delete what a crash left beside the profile."""
    shutil.rmtree(_path_of(profile), ignore_errors=True)
    moving.clear(profile.resolve())
