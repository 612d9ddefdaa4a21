"""Whose a file or a folder has to be before a credential is kept in it. Pure.

Root may own it, and who runs waguard. Nobody else may write it, and nobody else read it but, where root
owns it, waguard's own group: so that a service can read what it cannot change.
"""

import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_GROUP_READS: Final = stat.S_IRGRP | stat.S_IXGRP
_SHARED: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITES: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands at a path; ``mode`` as ``stat`` has it."""

    path: str
    uid: int
    gid: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Us:
    """Who runs. ``roots``: 0, and whoever owns "/" as it is seen from here (a user namespace)."""

    uid: int
    gid: int
    roots: frozenset[int] = frozenset({0})

    @property
    def trusted(self) -> frozenset[int]:
        """Whose things may be used."""
        return self.roots | {self.uid}


@dataclass(frozen=True, slots=True)
class Refusal:
    """``why`` goes behind the path, ``command`` mends it. A grave one is refused, another warned of."""

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
    """The folders above: nobody else may put something else in the place of what is below them.

    A folder such as /tmp, in which everybody may remove his own only, is fine.
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
