"""Which file is Chromium: found for each start, by the worker that runs it and by the daemon that asks
whether it is there. Nothing here runs it."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from waguard.core.exits import EXIT_USAGE
from waguard.errors import WaguardError

Flavour = Literal["chromium", "headless-shell"]
VERSION: Final = re.compile(r"\d+(\.\d+){3}")
_ELF: Final = b"\x7fELF"

# The browsers themselves. The scripts of Debian in /usr/bin are not: one adds switches of its own,
# the other does not exec, so that killing it leaves six processes.
BINARIES: Mapping[Flavour, tuple[str, ...]] = MappingProxyType(
    {
        "chromium": (
            "/usr/lib/chromium/chromium",
            "/usr/lib64/chromium-browser/chromium-browser",
            "/usr/lib/chromium-browser/chromium-browser",
            "/opt/google/chrome/chrome",
        ),
        "headless-shell": (
            "/usr/lib/chromium/chromium-headless-shell",
            "/usr/lib64/chromium-browser/headless_shell",
            "/opt/chrome-headless-shell/chrome-headless-shell",
        ),
    }
)
# wrapper → what it runs
WRAPPERS: Mapping[str, str] = MappingProxyType(
    {
        "/usr/bin/chromium": "/usr/lib/chromium/chromium",
        "/usr/bin/chromium-headless-shell": "/usr/lib/chromium/chromium-headless-shell",
        "/usr/bin/google-chrome": "/opt/google/chrome/chrome",
        "/usr/bin/google-chrome-stable": "/opt/google/chrome/chrome",
        "/opt/google/chrome/google-chrome": "/opt/google/chrome/chrome",
    }
)
PACKAGES: Mapping[Flavour, str] = MappingProxyType(
    {
        "chromium": "install Chromium (Debian: apt install chromium) or set browser.executable",
        "headless-shell": (
            "install it (Debian: apt install chromium-headless-shell), set browser.executable, "
            'or use browser.flavour = "chromium"'
        ),
    }
)


class BrowserNotFoundError(WaguardError):
    """There is no Chromium that could be run."""

    code = EXIT_USAGE


def find_executable(
    configured: str | None,
    flavour: Flavour,
    *,
    binaries: Mapping[Flavour, tuple[str, ...]] = BINARIES,
    wrappers: Mapping[str, str] = WRAPPERS,
) -> Path:
    """The browser's binary, never a wrapper script; raises ``BrowserNotFoundError``."""
    if configured is None:
        for candidate in binaries[flavour]:
            if _runnable(Path(candidate)):
                return Path(candidate)
        raise BrowserNotFoundError(
            f"no {flavour} is installed",
            field="browser.executable",
            value=None,
            remedy=PACKAGES[flavour],
        )
    path = Path(wrappers.get(configured, configured))
    if not path.is_absolute():
        problem = "is not an absolute path"
    elif not os.path.exists(path):  # noqa: PTH110 - also where its folder cannot be searched
        problem = "does not exist"
    elif not _runnable(path):
        problem = "is not an executable file"
    elif any(str(path) in known for other, known in binaries.items() if other != flavour):
        problem = f"does not have the flavour {flavour}"
    else:
        real = path.resolve()  # a link to a wrapper is a wrapper
        return Path(wrappers.get(str(real), str(real)))
    raise BrowserNotFoundError(
        f"{configured} {problem}",
        field="browser.executable",
        value=configured,
        remedy=PACKAGES[flavour],
    )


def _runnable(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - never raises


def program(file: Path) -> os.stat_result | None:
    """What is known of a file that is a program. None: it cannot be read, or is a script, which may run another
    Chromium tomorrow."""
    try:
        with file.open("rb") as opened:
            return os.fstat(opened.fileno()) if opened.read(len(_ELF)) == _ELF else None
    except OSError:
        return None


def version_note(path: Path, seen: os.stat_result, notes: Path) -> Path:
    """Where the version of this very file is noted."""
    identity = f"{path}\0{seen.st_dev} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns}"
    return notes / f"version-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
