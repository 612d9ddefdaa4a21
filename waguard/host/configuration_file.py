"""Where the configuration is found, by the daemon and by every command alike.

``--config``, else ``$WAGUARD_CONFIG``, else /etc/waguard/waguard.toml, else ./waguard.toml. A file that
is there and cannot be used is an error, never skipped: another one would be somebody else's truth.
Stdlib and msgspec only, as the lock is.
"""

import glob
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from waguard.config.passwords import without_passwords
from waguard.config.placing import placed, sqlite_path
from waguard.config.reading import ENV_PREFIX, Reading
from waguard.config.reading import read as read_configuration
from waguard.config.sections import Config
from waguard.errors import ConfigError
from waguard.host.files.ownership import us

VARIABLE: Final = "WAGUARD_CONFIG"
SYSTEM_FILE: Final = Path("/etc/waguard/waguard.toml")
LOCAL_FILE: Final = Path("waguard.toml")
OPTION: Final = "--config"

_PROFILES: Final = (
    "workspace_*/session-*",
    "snapshots/workspace_*/session-*",
    "[0-9]*/*/Default",  # the old service's
    "[0-9]*/*/session-*",
)


class Found(Struct, frozen=True, kw_only=True):
    """``path`` is absolute; None: there is no file. ``by`` is what named it; None: the search.
    ``of_unit``: it is the one that the installed unit reads."""

    path: Path | None
    by: str | None = None
    of_unit: bool = False


def find(
    option: Path | None, environ: Mapping[str, str], *, system_file: Path = SYSTEM_FILE
) -> Found:
    """The first of the places that names a file, or holds one. Raises ``ConfigError`` for a
    ./waguard.toml that somebody else could have put there."""
    if option is not None:
        return _named(option, OPTION, system_file)
    if named := environ.get(VARIABLE):
        return _named(Path(named), VARIABLE, system_file)
    if _is_there(system_file):
        return Found(path=system_file, of_unit=True)
    if _is_there(LOCAL_FILE):
        path = _absolute(LOCAL_FILE)
        _require_ours(path)
        return Found(path=path)
    return Found(path=None)


def _named(path: Path, by: str, system_file: Path) -> Found:
    absolute = _absolute(path)
    return Found(path=absolute, by=by, of_unit=absolute == system_file)


def read(
    option: Path | None, environ: Mapping[str, str], *, system_file: Path = SYSTEM_FILE
) -> tuple[Found, Reading]:
    """Find it and read it. Raises ``ConfigError``."""
    found = find(option, environ, system_file=system_file)
    return found, read_configuration(found.path, environ, field=found.by)


def _is_there(path: Path) -> bool:
    """Also a dangling link is, and what cannot be read may be."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError as error:
        raise ConfigError(
            f"the working folder cannot be used: {error.strerror}",
            field=OPTION,
            value=str(path),
            remedy="start waguard in a folder that exists",
        ) from None


def _require_ours(path: Path) -> None:
    """Whoever stands in a folder of others, as root above all, is not to run what they wrote. Our own group
    may write it: where each user has one, a new file is so."""
    try:
        found = path.stat()
    except OSError:
        return  # reading it says why
    who = us()
    writes = stat.S_IWOTH if found.st_gid == who.gid else stat.S_IWOTH | stat.S_IWGRP
    if found.st_uid not in who.trusted or found.st_mode & writes:
        why = "can be written by others"
        if found.st_uid not in who.trusted:
            why = f"belongs to user {found.st_uid}"
        elif not found.st_mode & stat.S_IWOTH:
            why = f"can be written by group {found.st_gid}"
        raise ConfigError(
            f"{path} {why}",
            value=str(path),
            remedy=f"name it, {OPTION} {path}, if you trust it, or use another working folder",
        )


# ---- what earlier versions would have used ----


def require_nothing_left_behind(found: Found, reading: Reading) -> None:
    """Relative paths began at the working folder, and without ``--config`` no file was read. Where
    profiles, a key or a database lie there, and not where they are looked for now: raise
    ``ConfigError`` that names both places. Nothing is moved."""
    try:
        here = Path.cwd()
    except OSError:
        return  # nothing lies in a folder that is gone
    file: Mapping[str, Mapping[str, Any]] = reading.file if found.by == OPTION else {}
    before = placed((file, reading.environment), here)
    left = [
        (old, new)
        for old, new in zip(_kept(before), _kept(reading.config), strict=True)
        if old.there and new.there is False
    ]
    if not left:
        return
    old, new = left[0]
    set_to = f"{old.key} = {old.value!r}" + (f" in {found.path}" if found.path else "")
    raise ConfigError(
        f"{old.what} in {old.path}, where earlier versions looked from this working folder, and not"
        f" in {new.path}, where the configuration {found.path or '(none)'} has it",
        field=old.key,
        value=str(new.path),
        remedy=f"stop waguard and move it there, or set {set_to}; for another instance's, use another"
        " working folder; nothing was changed",
    )


class _Kept(Struct, frozen=True, kw_only=True):
    """Something that must not be lost. ``there``: None where it cannot be read."""

    key: str
    what: str
    path: Path
    value: str
    there: bool | None


def _kept(config: Config) -> list[_Kept]:
    sessions, key_file, url = config.paths.sessions, config.api.key_file, config.database.url
    database = sqlite_path(url)
    return [
        _Kept(
            key="paths.sessions",
            what="there are profiles",
            path=sessions,
            value=str(sessions),
            there=_any(sessions, *_PROFILES),
        ),
        _Kept(
            key="api.key_file",
            what="there is a key",
            path=key_file,
            value=str(key_file),
            there=_any(key_file.parent, glob.escape(key_file.name)),
        ),
        _Kept(
            key="database.url",
            what="there is a database",
            path=database or Path(),
            value=url,
            there=_any(database.parent, glob.escape(database.name)) if database else None,
        ),
    ]


def _any(folder: Path, *patterns: str) -> bool | None:
    try:
        os.scandir(folder).close()  # glob takes what it may not read for nothing
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return any(next(folder.glob(pattern), None) for pattern in patterns)


# ---- the environment, where it hides the file ----


class Hidden(Struct, frozen=True, kw_only=True):
    """A key of the file that has no effect, for a variable beats it."""

    key: str
    variable: str
    used: Any
    unused: Any


def hidden(reading: Reading) -> list[Hidden]:
    """Every key that the file and the environment both give."""
    return [
        Hidden(
            key=f"{section}.{key}",
            variable=variable(section, key),
            used=value,
            unused=reading.file[section][key],
        )
        for section, given in reading.environment.items()
        for key, value in given.items()
        if key in reading.file.get(section, {})
    ]


def variable(section: str, key: str) -> str:
    """The environment's name of a key."""
    return f"{ENV_PREFIX}{section.upper()}__{key.upper()}"


def hidden_lines(reading: Reading) -> list[str]:
    """One sentence for each; no secret is shown."""
    return [
        f"{one.variable}={shown(one.used)} of the environment hides {one.key} = {shown(one.unused)}"
        f" of {reading.path}"
        for one in hidden(reading)
    ]


def shown(value: Any) -> str:
    """A value as it is shown, without passwords in addresses."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shown, value))}]"
    return without_passwords(str(value))
