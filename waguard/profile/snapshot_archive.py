"""A snapshot's two files: ``credentials.tar.gz``, and ``manifest.json`` with its SHA-256 and that of each file in it."""

import errno
import hashlib
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from msgspec import Struct

from waguard.core.replace import replace
from waguard.errors import WaguardError
from waguard.host import small_file
from waguard.host.files.private_files import open_private, write_private
from waguard.host.small_file import UnreadableError
from waguard.profile.credentials import FOLDERS

ARCHIVE: Final = "credentials.tar.gz"
MANIFEST: Final = "manifest.json"
MANIFEST_LIMIT: Final = 1 << 24  # bytes; it has 150 for each file
FORMAT: Final = 1
# what odd JSON makes of itself: no syntax, no end, keys that are missing or are other things
_NO_MANIFEST: Final = (
    *(ValueError, RecursionError, OverflowError),
    *(KeyError, TypeError, AttributeError),
)
# what lies there is no file, or is not there; None: gzip's own
BY_CONTENT: Final = frozenset({None, errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENXIO})
LEVEL: Final = 1  # gzip's; the tables are compressed already


class SnapshotDamagedError(WaguardError):
    """The snapshot is not what was written: it cannot be restored."""


class SnapshotUnreadError(SnapshotDamagedError):
    """The system does not let it be read now, which says nothing of its content."""


class Taken(Struct, frozen=True, kw_only=True):
    """A snapshot as its manifest says. ``taken_at`` is unix time, sizes are bytes."""

    id: str
    pairing: str
    taken_at: float
    running: bool
    """Taken while Chromium ran."""
    archive_size: int
    archive_sha256: str
    files: dict[str, tuple[int, str]]
    """Path below the profile → size and SHA-256."""
    order: float | None = None
    """See ``core.profile.snapshots.Snapshot``."""

    @property
    def size(self) -> int:
        """Bytes of the files, unpacked."""
        return sum(size for size, _ in self.files.values())


def read_manifest(snapshot: Path) -> Taken:
    """What was written when it was taken. Raises ``SnapshotDamagedError``."""
    try:
        manifest = json.loads(small_file.read(snapshot / MANIFEST, limit=MANIFEST_LIMIT))
        if manifest["format"] != FORMAT:
            raise _damaged(snapshot, f"its format is {manifest['format']!r}")
        order = manifest.get("order")
        return Taken(
            id=snapshot.name,
            pairing=str(manifest["pairing"]),
            taken_at=float(manifest["taken_at"]),
            running=bool(manifest["running"]),
            archive_size=int(manifest["archive"]["size"]),
            archive_sha256=str(manifest["archive"]["sha256"]),
            files={
                str(name): (int(entry["size"]), str(entry["sha256"]))
                for name, entry in manifest["files"].items()
            },
            order=None if order is None else float(order),
        )
    except (*_NO_MANIFEST, OSError, UnreadableError) as error:
        now = isinstance(error, UnreadableError) and error.by_system
        raise _unusable(snapshot, f"its manifest cannot be read: {error}", now=now) from None


def pack(draft: Path, copied: Iterable[Path], taken: Taken) -> Taken:
    """Write archive and manifest of the files that were copied into ``draft``, synced. Raises ``OSError``, also where
    one of them is gone."""
    files: dict[str, tuple[int, str]] = {}
    archive = draft / ARCHIVE
    with open_private(archive) as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=LEVEL) as tar:
            for path in sorted(copied):
                name = str(path.relative_to(draft))
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = path.stat().st_size, 0o600
                with path.open("rb") as file:
                    tar.addfile(entry, file)
                files[name] = (entry.size, _sha256(path))
        raw.flush()
        os.fsync(raw.fileno())
    size, digest = archive.stat().st_size, _sha256(archive)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "pairing": taken.pairing,
        "taken_at": taken.taken_at,
        "running": taken.running,
        "archive": {"size": size, "sha256": digest},
        "files": {name: {"size": s, "sha256": d} for name, (s, d) in files.items()},
    }
    if taken.order is not None:
        manifest["order"] = taken.order
    write_private(draft / MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")
    return replace(taken, archive_size=size, archive_sha256=digest, files=files)


def members(snapshot: Path, taken: Taken) -> Iterator[tuple[str, bytes]]:
    """The files of the archive, each one as the manifest says, and all of them."""
    archive = snapshot / ARCHIVE
    try:
        if _sha256(archive) != taken.archive_sha256:
            raise _damaged(snapshot, "the archive's checksum is wrong")
        missing = set(taken.files)
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                file = tar.extractfile(entry)
                if file is None or entry.name not in missing or not is_ours(entry.name):
                    raise _damaged(snapshot, f"{entry.name!r} does not belong in it")
                content = file.read()
                if hashlib.sha256(content).hexdigest() != taken.files[entry.name][1]:
                    raise _damaged(snapshot, f"{entry.name}: the checksum is wrong")
                missing.discard(entry.name)
                yield entry.name, content
    except (OSError, EOFError, tarfile.TarError) as error:
        now = isinstance(error, OSError) and error.errno not in BY_CONTENT
        raise _unusable(snapshot, f"its archive cannot be read: {error}", now=now) from None
    if missing:
        raise _damaged(snapshot, f"{min(missing)} is missing")


def is_ours(name: str) -> bool:
    """Whether a path below a profile is one of its credentials."""
    path = PurePosixPath(name)
    inside = path.parts[:1] == ("Default",) and ".." not in path.parts
    return inside and path.parts[1:2] != () and path.parts[1] in FOLDERS


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(snapshot: Path, why: str) -> SnapshotDamagedError:
    return SnapshotDamagedError(
        f"snapshot {snapshot.name}: {why}",
        value=str(snapshot),
        remedy="restore an older one, or pair the session by QR code",
    )


def _unusable(snapshot: Path, why: str, *, now: bool) -> SnapshotDamagedError:
    """``now``: the system does not let it be read."""
    damaged = _damaged(snapshot, why)
    if not now:
        return damaged
    return SnapshotUnreadError(
        damaged.message, value=damaged.value, remedy="repair what keeps it from being read"
    )
