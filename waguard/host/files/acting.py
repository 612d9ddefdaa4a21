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

from waguard.host.files.lock import unusable
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


def make_folder(path: Path, user: User) -> None:
    """Create it and what is missing above it, for this user alone. Raises ``OSError``."""
    missing = [path, *(parent for parent in path.parents if not parent.exists())]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700)
    if os.geteuid() != 0:
        return
    for folder in missing:  # the innermost first: nobody gets in while a folder above is root's
        os.chown(folder, user.uid, user.gid, follow_symlinks=False)


def make_runtime(runtime: Path, state: Path) -> None:
    """As systemd makes it at the daemon's start: missing in a folder of root's, it is made by root for the owner of
    ``state``. Nothing for others. Raises ``ConfigError``."""
    try:
        user = owner_of(state)
        is_missing = not runtime.exists() and owner_of(runtime).uid == os.geteuid()
        if is_missing and os.geteuid() != user.uid:
            make_folder(runtime, user)
    except OSError as error:
        raise unusable("paths.runtime", Path(error.filename or runtime), error) from None


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
