"""Look whose files and folders are: see ``core/profile/ownership.py``. Stdlib only, as the lock is."""

import os
from pathlib import Path

from waguard.core.profile.ownership import Found, Refusal, Us, of_parents, of_private
from waguard.errors import ConfigError


def us() -> Us:
    """Who runs."""
    roots = frozenset({0, Path("/").stat().st_uid})
    return Us(uid=os.geteuid(), gid=os.getegid(), roots=roots)


def refusals(path: Path, who: Us | None = None) -> list[Refusal]:
    """What is wrong with it, and with what is above it; what is not there yet is not wrong.

    Raises ``OSError`` where it cannot be read.
    """
    who = who or us()
    own = [refusal] if (found := _found(path)) and (refusal := of_private(found, who)) else []
    above = dict.fromkeys((*path.absolute().parents, *path.resolve().parents))
    return [*own, *of_parents([seen for parent in above if (seen := _found(parent))], who)]


def require_private(field: str, path: Path, who: Us | None = None) -> list[Refusal]:
    """What is to be warned of, for ``who`` runs waguard. Raises ``ConfigError`` with the command that
    repairs it."""
    try:
        found = refusals(path, who)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be used: {error.strerror}",
            field=field,
            value=str(path),
            remedy="name a path that this user can use",
        ) from None
    for refusal in found:
        if refusal.severe:
            raise ConfigError(
                f"{refusal.path} {refusal.why}",
                field=field,
                value=str(path),
                remedy=refusal.command,
            )
    return found


def _found(path: Path) -> Found | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return Found(path=str(path), uid=stat.st_uid, gid=stat.st_gid, mode=stat.st_mode)
