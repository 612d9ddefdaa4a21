"""Acting as another user for a moment, where root acts for a service: what is made is that user's, and no
link that he puts in the way leads root anywhere. For a process with one thread."""

import contextlib
import errno
import os
import pwd
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.host.files.ownership import us

LINKS: Final = 40  # that one path may lead through, as the kernel has it


class User(Struct, frozen=True):
    """By numbers."""

    uid: int
    gid: int


def owner_of(path: Path) -> User:
    """Who decides what lies there: the first one who is not root to own it, a folder above or a link that leads
    there. Where all is root's, or root does not ask: who asks. Raises ``OSError`` for links without an end."""
    asker, roots, links, at = User(os.geteuid(), os.getegid()), us().roots, LINKS, Path("/")
    if asker.uid != 0:
        return asker
    left = deque(path.absolute().parts[1:])
    while left:
        at /= left.popleft()  # ".." too, as the kernel goes
        try:
            found = at.lstat()
        except FileNotFoundError:
            break
        if found.st_uid not in roots:
            return _user(found.st_uid, found.st_gid)
        if stat.S_ISLNK(found.st_mode):
            if (links := links - 1) < 0:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            left.extendleft(reversed(at.readlink().parts))
            at = at.parent
    return asker


def _user(uid: int, gid: int) -> User:
    """With the group of its account: that of what it owns may be root's. ``gid``: where there is no account."""
    try:
        return User(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        return User(uid, gid or uid)


def nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def as_owner_of(path: Path) -> contextlib.AbstractContextManager[None]:
    """``acting_as`` who decides what lies there."""
    return acting_as(owner_of(path))


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
