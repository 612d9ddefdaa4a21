"""Who must own a file or a folder before a credential is kept in it. Pure.

Root or the user that runs waguard may own it. Nobody else may write it. Nobody else may read it, except for
waguard's own group where root owns it: so a service can read what it cannot change.
"""

import shlex
import stat
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

_GROUP_READS: Final = stat.S_IRGRP | stat.S_IXGRP
_SHARED: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITES: Final = stat.S_IWGRP | stat.S_IWOTH


class Found(Struct, frozen=True, kw_only=True):
    """A file or a folder; ``mode`` as in ``stat``."""

    path: str
    uid: int
    gid: int
    mode: int


class Us(Struct, frozen=True, kw_only=True):
    """The user of this process. ``roots``: 0, and the owner of "/" (another one in a user namespace)."""

    uid: int
    gid: int
    roots: frozenset[int] = frozenset({0})

    @property
    def trusted(self) -> frozenset[int]:
        """The users whose files may be used."""
        return self.roots | {self.uid}


class Refusal(Struct, frozen=True):
    """``why`` follows the path, ``command`` repairs it. A severe one is refused; of any other one waguard warns."""

    path: str
    why: str
    command: str
    severe: bool = True


def of_private(found: Found, us: Us) -> Refusal | None:
    """A file with a secret, or a folder for credentials; None: it is private."""
    path, folder = shlex.quote(found.path), stat.S_ISDIR(found.mode)
    mine = f"chown {us.uid}:{us.gid} {path} && chmod {'700' if folder else '600'} {path}"
    if found.uid not in us.trusted:
        return Refusal(found.path, f"belongs to user {found.uid}", mine)
    roots_own = found.uid in us.roots and found.uid != us.uid
    allowed = _GROUP_READS if roots_own and found.gid == us.gid else 0
    if found.mode & _SHARED & ~allowed:
        command = f"chmod {'700' if folder else '600'} {path}"
        if roots_own:
            command = f"chgrp {us.gid} {path} && chmod {'750' if folder else '640'} {path}"
        return Refusal(found.path, "is open to other users", command)
    return None


def of_parents(parents: Sequence[Found], us: Us) -> list[Refusal]:
    """What is wrong with the folders above: nobody else may replace anything below them.

    A sticky folder such as /tmp, in which everybody may only remove their own files, is fine.
    """
    return [refusal for parent in parents if (refusal := _of_parent(parent, us))]


def _of_parent(found: Found, us: Us) -> Refusal | None:
    path = shlex.quote(found.path)
    if found.uid not in us.trusted:
        command = f"chown root {path}"
        return Refusal(found.path, f"belongs to user {found.uid}", command)
    if not found.mode & _WRITES or found.mode & stat.S_ISVTX:
        return None
    only_our_group = not found.mode & stat.S_IWOTH and found.gid == us.gid
    return Refusal(
        found.path, "can be written by others", f"chmod go-w {path}", severe=not only_our_group
    )
