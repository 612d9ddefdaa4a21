"""A snapshot that a person or a backup asks for, whether its session runs or not."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from waguard.core.profile.snapshots import STORED_AFTER
from waguard.errors import ConflictError
from waguard.profile import owner_mark, snapshots
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileInUseError, ProfileLock
from waguard.profile.snapshot_archive import Taken


def create(at: Places) -> Taken:
    """Copy the credentials now. Raises ``ConflictError``, ``SnapshotRefusedError``, ``OSError``."""
    token, since = owner_mark.pairing(at.profile), owner_mark.paired_at(at.profile)
    now = time.time()
    if token is None or since is None:
        raise ConflictError(
            f"{at.session} is not paired: there is nothing to copy",
            field="session",
            value=at.session,
            remedy="connect it first",
        )
    with free(at.profile) as lock:
        # a clock that was set back proves nothing: wait as well
        if lock is None and now - since < STORED_AFTER:
            raise ConflictError(
                f"{at.session} was paired just now: Chromium has not written everything yet",
                field="session",
                value=at.session,
                remedy=f"try again in {STORED_AFTER:.0f} s, or `waguard sessions stop {at.session}` first",
            )
        return snapshots.create(
            at.profile, at.snapshots, pairing=token, running=lock is None, now=now
        )


@contextlib.contextmanager
def free(profile: Path) -> Iterator[ProfileLock | None]:
    """The profile's lock; None: it is in use."""
    try:
        lock = ProfileLock(profile)
    except ProfileInUseError:
        yield None
        return
    with lock:
        yield lock
