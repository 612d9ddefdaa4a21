"""The installed systemd unit: its files, the user that it names, and what it has to be able to reach."""

import os
import pwd
from pathlib import Path, PurePosixPath
from typing import Final

from waguard.config.placing import sqlite_path
from waguard.config.sections import Config
from waguard.core.profile.ownership import Us
from waguard.host.files import ownership
from waguard.host.system.browsers import FOLDER as KEPT

UNIT: Final = "waguard.service"
BACKUP_UNIT: Final = "waguard-backup.service"
USER: Final = "waguard"  # as the unit has it
FOLDERS: Final = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")


def files(root: Path = Path("/"), name: str = UNIT) -> list[Path]:
    """The unit and its drop-ins; none where it is not installed."""
    places = [root / folder for folder in FOLDERS]
    unit = next((place / name for place in places if (place / name).is_file()), None)
    if unit is None:
        return []
    named = {
        path.name: path
        for place in reversed(places)
        for path in (place / f"{name}.d").glob("*.conf")
    }
    return [unit, *(named[name] for name in sorted(named))]


def writes(config: Config) -> dict[str, PurePosixPath]:
    """Folders that the service writes, by the key that names them; links are followed."""
    database = sqlite_path(config.database.url)
    folders: dict[str, Path] = {
        "paths.sessions": config.paths.sessions,
        "paths.runtime": config.paths.runtime,
        "paths.state": config.paths.state,
        "api.key_file": config.api.key_file.parent,
        **({"database.url": database.parent} if database else {}),
    }
    return {key: PurePosixPath(os.path.realpath(path)) for key, path in folders.items()}


def backup_writes(config: Config) -> dict[str, PurePosixPath]:
    """Folders that the unit of backups writes beside its own: locks, snapshots, a copy of the database."""
    keys = {"paths.sessions", "paths.state", "database.url"}
    return {key: path for key, path in writes(config).items() if key in keys}


def executes(config: Config) -> dict[str, PurePosixPath]:
    """The Chromium that is named, and where the kept ones lie, by the key that names them; links are followed. The
    shipped unit allows every place where one is found."""
    browser = config.browser
    found = {
        "browser.executable": browser.executable,
        "browser.keep_previous": config.paths.state / KEPT / "*" if browser.keep_previous else None,
    }
    return {key: PurePosixPath(os.path.realpath(path)) for key, path in found.items() if path}


def user(name: str = USER) -> Us | None:
    """The unit's own user, who may ask too; None: there is none, and whoever asks is checked."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Us(uid=found.pw_uid, gid=found.pw_gid, roots=ownership.us().roots)
