"""The lock on a profile: who may use it."""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from waguard.errors import WaguardError

LOCK_NAME: Final = "waguard.lock"


class ProfileInUseError(WaguardError):
    """Another worker, or its browser, still holds the profile."""

    status = 503


class ProfileLock:
    """A flock for the life of worker *and* browser: the browser inherits the descriptor.

    Chromium's own SingletonLock is no substitute: headless-shell has none, and a stopped owner
    is killed by the second one.
    """

    def __init__(self, profile: Path) -> None:
        """Raises ``ProfileInUseError``; ``WaguardError`` where the folder cannot be made."""
        path = profile / LOCK_NAME
        try:
            profile.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise WaguardError(
                f"{profile} cannot be used: {error.strerror}",
                field="paths.sessions",
                value=str(profile),
                remedy="give this user write permission on the folder",
            ) from None
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            raise ProfileInUseError(
                f"{profile} is in use by another process",
                value=str(profile),
                remedy=f"see who holds it: fuser -v {path}",
            ) from None
        except OSError as error:
            os.close(self.descriptor)
            raise WaguardError(
                f"{path} cannot be locked: {error.strerror}",
                field="paths.sessions",
                value=str(profile),
                remedy="use a folder on a local disk",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go; the browser's copy, if any lives, still holds it."""
        os.close(self.descriptor)


def is_free(profile: Path) -> bool:
    """Whether surely nobody holds its lock: neither a worker nor a browser that one started."""
    try:
        descriptor = os.open(profile / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


class NotHeldError(WaguardError):
    """The profile's lock is not held by the caller: somebody else may be using it."""


def prove_held(profile: Path, lock: int) -> None:
    """``lock`` is a flock on this very profile, and ours; raises ``NotHeldError``."""
    try:
        same = os.path.samestat(os.fstat(lock), (profile / LOCK_NAME).stat())
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nothing happens when we have it
    except OSError:
        same = False
    if not same:
        raise NotHeldError(
            f"the lock on {profile} is not held",
            value=str(profile),
            remedy="stop the session first",
        )
