"""Whose a profile is: the token of its pairing, which names what was meant for it.

Whatever changes something asks for the descriptor of the profile's lock and proves that it is held. All that reads it
raises ``OSError`` where the system does not let it be read now: unknown is not unpaired.
"""

import contextlib
import secrets
import time
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.core.profile.old_profiles import OWNER_MARK
from waguard.host import small_file
from waguard.profile import mark_files
from waguard.profile.lock import prove_held
from waguard.profile.start_marks import SUSPECT

PAIRING: Final = OWNER_MARK
NO_TOKEN: Final = {"token": None}
LOST: Final = {"token": None, "lost": True}
"""The mark of a profile that begins empty as no snapshot could be restored: nobody has logged it out."""


def pairing(profile: Path) -> str | None:
    """The owner token; None: never connected, or logged out."""
    mark = mark_files.read(profile / PAIRING)
    return str(mark["token"]) if isinstance(mark, dict) and mark.get("token") else None


def paired_at(profile: Path) -> float | None:
    """Unix time of the pairing; of one whose profile was lost, of the snapshot that took its place."""
    mark = mark_files.read(profile / PAIRING)
    if not isinstance(mark, dict) or not mark.get("token"):
        return None
    try:
        return float(mark["at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def paired_by(profile: Path, now: float) -> float | None:
    """``paired_at``, as far as it is known at this unix time: None also where it is still to come, because the clock was
    ahead at the pairing. What came since then is no older than it."""
    at = paired_at(profile)
    return at if at is not None and at <= now else None


def is_damaged(profile: Path) -> bool:
    """Whether there is a mark that says nothing: it was ours, and of which pairing is unknown."""
    mark = mark_files.read(profile / PAIRING)
    return not (isinstance(mark, dict) and "token" in mark) and was_ours(profile)


def renew(profile: Path, lock: int, *, token: str, at: float) -> None:
    """Write the mark of a pairing that is known from elsewhere, and had begun by this unix time, in place of a damaged one."""
    prove_held(profile, lock)
    _keep_damaged(profile)
    mark_files.write(profile / PAIRING, {"token": token, "at": at})


def claim(profile: Path, lock: int, *, after_pairing: bool, at: float | None = None) -> str:
    """Write a token when the session has become connected; ``after_pairing``: by a new pairing, of this unix
    time (None: now).

    To be called after the credentials are on disk. Without a pairing a token that is there stays; a time that is still
    to come is now from then on.
    """
    prove_held(profile, lock)
    now = time.time()
    if not after_pairing and (token := pairing(profile)):
        if (paired_at(profile) or 0.0) > now:
            mark_files.write(profile / PAIRING, {"token": token, "at": now})
        return token
    _keep_damaged(profile)
    token = secrets.token_hex(16)
    mark_files.write(profile / PAIRING, {"token": token, "at": now if at is None else at})
    return token


def _keep_damaged(profile: Path) -> None:
    if not is_damaged(profile):
        return
    kept = None
    with contextlib.suppress(OSError):  # a file system without links
        kept = str(small_file.keep(profile / PAIRING))
    logger.error(
        "a damaged owner mark is replaced",
        event="file_unreadable",
        file=str(profile / PAIRING),
        why="it does not say of which pairing",
        kept=kept,
    )


def disown(profile: Path, lock: int) -> None:
    """The account was logged out: nothing that was copied before can be used any more.

    The mark stays, without a token: what others left of the session is as old.
    """
    prove_held(profile, lock)
    if was_ours(profile) and not _is_lost(profile):
        try:
            mark_files.write(profile / PAIRING, NO_TOKEN)
        except OSError:  # a full disk: without the mark is better than with the token
            mark_files.remove(profile / PAIRING)
    mark_files.remove(profile / SUSPECT)


def _is_lost(profile: Path) -> bool:
    try:
        return bool(mark_files.read(profile / PAIRING) == LOST)
    except OSError:  # it was logged out, whatever it says
        return False


def may_be_paired(profile: Path) -> bool:
    """Whether it holds a pairing, also where a damaged mark does not say which."""
    return pairing(profile) is not None or is_damaged(profile)


def logged_out(profile: Path) -> bool:
    """Whether it was logged out since it was connected."""
    return bool(mark_files.read(profile / PAIRING) == NO_TOKEN)


def was_ours(profile: Path) -> bool:
    """Whether its session was ever connected by waguard, logged out since or not."""
    return mark_files.is_there(profile / PAIRING)
