"""Which machine this is, as others may know it."""

import hashlib
import hmac
import os
import socket
from pathlib import Path
from typing import Final

from waguard.core.lease import Holder
from waguard.host import small_file
from waguard.host.small_file import UnreadableError

# the second one is where a system without systemd has it
MACHINE_ID: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_PURPOSE: Final = b"waguard's lease of a database"
_HOST_LENGTH: Final = 255


def holder(runtime: Path, instance: str) -> Holder:
    """This daemon, as the database names it. ``instance``: different at each start."""
    return Holder(
        machine=machine(),
        runtime=_ascii(str(runtime.resolve())),
        host=_ascii(socket.gethostname())[:_HOST_LENGTH],
        pid=os.getpid(),
        instance=instance,
    )


def machine(paths: tuple[Path, ...] = MACHINE_ID) -> str:
    """Hex digits that stay the same on this machine. Its machine-id is not for others to know
    (machine-id(5)), so they are derived from it; where it has none, from the host name."""
    known = next(filter(None, map(_read, paths)), b"host " + socket.gethostname().encode())
    return hmac.new(known, _PURPOSE, hashlib.sha256).hexdigest()[:32]


def _read(path: Path) -> bytes:
    try:
        found = small_file.read(path.resolve())
    except (OSError, UnreadableError):
        return b""
    found = found.strip()
    return b"" if found == b"uninitialized" else found


def _ascii(text: str) -> str:
    """What the character set of any database has; the same text is always the same."""
    return text.encode("ascii", "backslashreplace").decode()
