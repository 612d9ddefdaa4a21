"""One file of one exact version of a package, by the ``npm`` that is installed here."""

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from waguard.errors import ConfigError, WaguardError

PACKAGE: Final = "@wppconnect/wa-js"
MEMBER: Final = "package/dist/wppconnect-wa.js"
DEADLINE: Final = 120.0  # s
LARGEST: Final = 64 << 20  # bytes of an archive; those of wa-js have 1 MB
_VERSION: Final = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9A-Za-z.-]{1,64})?")
_SAID: Final = 300  # characters of npm's own words


class FetchError(WaguardError):
    """npm did not bring it."""


def wajs(version: str, *, limit: int) -> bytes:
    """The bundle of this version, at most ``limit`` bytes. Raises ``ConfigError``, ``FetchError``."""
    if not _VERSION.fullmatch(version):
        raise ConfigError(
            f"{version!r} is not an exact version", field="npm", remedy="name one such as npm:4.6.0"
        )
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("npm is not installed", remedy="install it, or name a file instead")
    with tempfile.TemporaryDirectory(prefix="waguard-npm-") as folder:
        _pack(npm, version, Path(folder))
        return _member(Path(folder), version, limit)


def _pack(npm: str, version: str, folder: Path) -> None:
    command = [npm, "pack", "--silent", "--ignore-scripts", f"--pack-destination={folder}"]
    try:
        done = subprocess.run(  # noqa: S603 - the version is checked, nothing else is from outside
            [*command, f"{PACKAGE}@{version}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"npm failed: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-_SAID:]
        raise FetchError(
            f"npm failed with exit code {done.returncode}: {said or 'it says nothing'}"
        )


def _member(folder: Path, version: str, limit: int) -> bytes:
    archives = list(folder.glob("*.tgz"))
    if len(archives) != 1 or archives[0].stat().st_size > LARGEST:
        raise FetchError(f"npm brought no archive of {PACKAGE} {version}")
    try:
        with tarfile.open(archives[0], "r:gz") as archive:
            found = archive.extractfile(MEMBER)
            content = found.read(limit + 1) if found else b""
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise FetchError(f"{MEMBER} cannot be read from the archive: {error}") from None
    if not content:
        raise FetchError(f"{MEMBER} is not a file in the archive")
    return content
