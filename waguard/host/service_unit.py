"""The installed systemd unit: its files, and the user that it names."""

import pwd
from pathlib import Path
from typing import Final

from waguard.core.ownership import Us
from waguard.host import ownership

UNIT: Final = "waguard.service"
USER: Final = "waguard"  # as the unit has it
FOLDERS: Final = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")


def files(root: Path = Path("/")) -> list[Path]:
    """The unit and its drop-ins; none where it is not installed."""
    places = [root / folder for folder in FOLDERS]
    unit = next((place / UNIT for place in places if (place / UNIT).is_file()), None)
    if unit is None:
        return []
    named = {
        path.name: path
        for place in reversed(places)
        for path in (place / f"{UNIT}.d").glob("*.conf")
    }
    return [unit, *(named[name] for name in sorted(named))]


def user() -> Us | None:
    """Its own user may ask too; None: there is none, and whoever asks is to be judged."""
    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return None
    return Us(uid=found.pw_uid, gid=found.pw_gid, roots=ownership.us().roots)
