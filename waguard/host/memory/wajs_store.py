"""``<paths.state>/wajs/<sha256>.js``: wa-js bundles that an operator added. Stdlib only."""

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.private_files import private_folders, sync_folder
from waguard.host.small_file import UnreadableError

FOLDER: Final = "wajs"
LARGEST: Final = 8 << 20  # bytes of a bundle; those of wa-js have 0.5 MB
MOST: Final = 16  # bundles
_MARK: Final = re.compile(rb"wppconnect-team/wa-js v([0-9][0-9A-Za-z.+-]{0,40})")
_MARKED_WITHIN: Final = 4096  # bytes
_NAME: Final = re.compile(r"[0-9a-f]{64}\.js")


class Bundle(Struct, frozen=True, kw_only=True):
    """One that is there. ``version`` is wa-js's own word; ``added`` is unix time."""

    sha256: str
    version: str
    size: int
    added: float


def digest(content: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def version_of(content: bytes) -> str | None:
    """wa-js's own word for its version; None: it does not look like wa-js."""
    found = _MARK.search(content[:_MARKED_WITHIN])
    return found[1].decode() if found and b"WPP" in content else None


class WajsStore:
    """All calls block."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER

    def path(self, sha256: str) -> Path:
        """Where the bundle lies, or would lie."""
        return self.folder / f"{sha256}.js"

    def listing(self) -> Sequence[Bundle]:
        """Those whose content is what their name says, by digest. Raises ``OSError`` where the system does not let them be
        read now, which says nothing of what is there."""
        try:
            names = sorted(it.name for it in self.folder.iterdir() if _NAME.fullmatch(it.name))
        except FileNotFoundError:
            return []
        return [it for name in names[: 2 * MOST] if (it := self._bundle(self.folder / name))]

    def _bundle(self, path: Path) -> Bundle | None:
        try:
            content = small_file.read(path, limit=LARGEST)
            added = path.stat().st_mtime
        except FileNotFoundError:
            return None
        except UnreadableError as error:
            if error.by_system:
                raise OSError(f"{path}: {error}") from None
            return None
        version = version_of(content)
        if version is None or digest(content) != path.stem:
            return None
        return Bundle(sha256=path.stem, version=version, size=len(content), added=added)

    def add(self, content: bytes, sha256: str) -> Bundle:
        """Keep it, 0600. Raises ``ConfigError``, ``OSError``; nothing is kept then."""
        if (found := digest(content)) != sha256:
            raise ConfigError(
                f"its SHA-256 is {found}, and {sha256} was named",
                field="--sha256",
                value=sha256,
                remedy="find out which of the two is right from who published it; nothing was kept",
            )
        if len(content) > LARGEST:
            raise ConfigError(
                f"it has {len(content):,} bytes, {LARGEST:,} at most are accepted", field="FILE"
            )
        if version_of(content) is None:
            raise ConfigError(
                "it does not look like wa-js: its first line does not name wppconnect-team/wa-js",
                field="FILE",
                remedy="name dist/wppconnect-wa.js of the package @wppconnect/wa-js",
            )
        self._require_room(sha256)
        self._write(self.path(sha256), content)
        kept = self._bundle(self.path(sha256))
        if kept is None:
            raise ConfigError(f"{self.path(sha256)} cannot be read again", field="paths.state")
        return kept

    def _require_room(self, sha256: str) -> None:
        names = {it.sha256 for it in self.listing()}
        if len(names | {sha256}) > MOST:
            raise ConfigError(
                f"{self.folder} has {len(names)} bundles, {MOST} at most are kept",
                field="FILE",
                remedy="remove files there that `waguard wajs list` does not show in use",
            )

    def _write(self, path: Path, content: bytes) -> None:
        private_folders(self.folder)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(self.folder)
