"""Acting as another user for a moment, where root acts for a service: what is made is that user's, and no
link that he puts in the way leads root anywhere. For a process with one thread."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class User:
    """By numbers."""

    uid: int
    gid: int


def owner_of(path: Path) -> User:
    """Who owns it, or the nearest folder above that is there."""
    found = nearest(path).stat()
    return User(found.st_uid, found.st_gid)


def nearest(path: Path) -> Path:
    """It, or the nearest folder above that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


@contextlib.contextmanager
def acting_as(user: User) -> Iterator[None]:
    """Where root asks, with this user's rights alone; as root inside of it, as root again. Nothing for others."""
    if os.getuid() != 0:
        yield
        return
    before = (os.geteuid(), os.getegid(), os.getgroups())
    _become(user.uid, user.gid, [user.gid])
    try:
        yield
    finally:
        _become(*before)


def _become(uid: int, gid: int, groups: list[int]) -> None:
    os.seteuid(0)  # the others can be set only by root
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
