"""Marks in a profile, snapshots, notes of the quarantine, the marker of the installation."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.golden.formats import KEPT, Format, as_json
from tests.profile.leveldb_files import profile
from waguard.core.installation import Marker
from waguard.core.profile.before_start import CredentialsLost, Damaged, Finding
from waguard.core.shipping import FORMAT, Note, Shipment, ShippedFile
from waguard.host.memory import installation_file
from waguard.profile import (
    inspection,
    layout,
    leaving_mark,
    mark_files,
    owner_mark,
    quarantine,
    shipping,
    snapshot_archive,
    start_marks,
)
from waguard.profile.leaving_mark import Leaving
from waguard.profile.lock import ProfileLock
from waguard.profile.snapshot_archive import Taken

NOW: Final = 1_732_233_600.5
MARKER: Final = Marker(installation="0f" * 8, database="postgresql://db/waguard")
FILE: Final = "Default/Local Storage/leveldb/CURRENT"
CONTENT: Final = b"MANIFEST-000001\n"
SNAPSHOT: Final = "20241122T000000Z-abcdef"


def _written(name: str, change: Callable[[Path, int], object]) -> Callable[[Path], bytes]:
    """What ``change`` leaves as ``name`` in a profile."""

    def write(folder: Path) -> bytes:
        with ProfileLock(folder) as lock:
            change(folder, lock.descriptor)
        return (folder / name).read_bytes()

    return write


def _read(name: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    def in_place(content: bytes, folder: Path) -> Any:
        (folder / name).write_bytes(content)
        return read(folder)

    return in_place


def _disown(at: Path, lock: int) -> None:
    owner_mark.claim(at, lock, after_pairing=True)
    owner_mark.disown(at, lock)


def _suspected(content: bytes, folder: Path) -> Finding:
    """As a start finds it in a profile whose files show nothing."""
    at = layout.places(folder, 7, "abc")
    profile(at.profile)
    (at.profile / start_marks.SUSPECT).write_bytes(content)
    with ProfileLock(at.profile) as lock:
        return inspection.examine(at, lock.descriptor).finding


def _suspect(name: str, finding: Damaged | CredentialsLost) -> Format:
    return Format(
        name=f"profile/suspect-{name}.json",
        write=_written(
            start_marks.SUSPECT, lambda at, lock: start_marks.mark_suspect(at, lock, finding)
        ),
        read=_suspected,
        means=finding,
    )


def _marker(folder: Path) -> bytes:
    installation_file.write(folder, MARKER)
    return (folder / installation_file.FILE).read_bytes()


def _quarantine_mark(folder: Path) -> bytes:
    at = layout.places(folder, 7, "abc")
    at.profile.mkdir(parents=True)
    return (quarantine.move_in(at, "unlinked by the phone") / quarantine.NOTE).read_bytes()


def _quarantined(content: bytes, folder: Path) -> Any:
    copy = folder / "quarantine" / "abc-20241122T000000.000000"
    copy.mkdir(parents=True)
    (copy / quarantine.NOTE).write_bytes(content)
    (found,) = quarantine.quarantined(folder)
    return found.name, found.session, found.at


def _packed(folder: Path) -> Path:
    draft = folder / SNAPSHOT
    (draft / FILE).parent.mkdir(parents=True)
    (draft / FILE).write_bytes(CONTENT)
    snapshot_archive.pack(
        draft,
        [draft / FILE],
        Taken(
            id=SNAPSHOT,
            pairing="0a" * 16,
            taken_at=NOW,
            running=True,
            archive_size=0,
            archive_sha256="",
            files={},
        ),
    )
    return draft


def _unpacked(content: bytes, folder: Path) -> dict[str, bytes]:
    snapshot = folder / SNAPSHOT
    snapshot.mkdir()
    (snapshot / snapshot_archive.ARCHIVE).write_bytes(content)
    kept = (KEPT / "profile/snapshot.json").read_bytes()
    (snapshot / snapshot_archive.MANIFEST).write_bytes(kept)
    return dict(snapshot_archive.members(snapshot, snapshot_archive.read_manifest(snapshot)))


def _members(content: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {it.name: (it.size, it.mode, _content(tar, it)) for it in tar}


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return file.read() if file else b""


def _manifest(content: bytes, folder: Path) -> Any:
    snapshot = folder / SNAPSHOT
    snapshot.mkdir()
    (snapshot / snapshot_archive.MANIFEST).write_bytes(content)
    taken = snapshot_archive.read_manifest(snapshot)
    return taken.id, taken.pairing, taken.taken_at, taken.running, taken.files


_OWNER: Final = owner_mark.PAIRING
FORMATS: Final = (
    Format(
        name="profile/owner.json",
        write=_written(
            _OWNER, lambda at, lock: owner_mark.claim(at, lock, after_pairing=True, at=NOW)
        ),
        read=_read(_OWNER, lambda it: (owner_mark.pairing(it), owner_mark.paired_at(it))),
        means=("08b03da079cfa334c57b8020fb5c892d", NOW),
        own=frozenset({"token"}),
    ),
    Format(
        name="profile/disowned.json",
        write=_written(_OWNER, _disown),
        read=_read(_OWNER, lambda it: (owner_mark.pairing(it), owner_mark.logged_out(it))),
        means=(None, True),
    ),
    Format(
        name="profile/lost.json",
        write=_written(_OWNER, lambda at, _: mark_files.write(at / _OWNER, owner_mark.LOST)),
        read=_read(_OWNER, lambda it: (owner_mark.was_ours(it), owner_mark.logged_out(it))),
        means=(True, False),
    ),
    _suspect("damaged", Damaged("Chromium exits at once", whole=True)),
    _suspect("lost", CredentialsLost("a QR code although it was connected")),
    Format(
        name="profile/tried.json",
        write=_written(
            start_marks.TRIED,
            lambda at, _: mark_files.write(at / start_marks.TRIED, [SNAPSHOT]),
        ),
        read=_read(start_marks.TRIED, start_marks.tried),
        means=frozenset({SNAPSHOT}),
    ),
    Format(
        name="profile/holder.json",
        write=_written(
            start_marks.HOLDER, lambda at, _: shipping.write_note(at, Note("0c" * 16, 7))
        ),
        read=_read(start_marks.HOLDER, shipping.read_note),
        means=Note("0c" * 16, 7),
    ),
    Format(
        name="profile/leaving.json",
        write=_written(
            leaving_mark.LEAVING, lambda at, _: leaving_mark.write(at, Leaving(3, "logged out"))
        ),
        read=_read(leaving_mark.LEAVING, leaving_mark.read),
        means=Leaving(3, "logged out"),
    ),
    as_json(
        "profile/shipment.json",
        Shipment(
            format=FORMAT,
            files={FILE: ShippedFile(id="0d" * 16, size=16, sha256="0e" * 32, parts=1)},
            paired_at=NOW,
        ),
    ),
    Format(
        name="profile/quarantine.json",
        write=_quarantine_mark,
        read=_quarantined,
        means=("abc-20241122T000000.000000", "7/abc", 1795975735.999349),
        own=frozenset({"at"}),
    ),
    Format(
        name="profile/snapshot.json",
        write=lambda folder: (_packed(folder) / snapshot_archive.MANIFEST).read_bytes(),
        read=_manifest,
        means=(
            SNAPSHOT,
            "0a" * 16,
            NOW,
            True,
            {FILE: (16, hashlib.sha256(CONTENT).hexdigest())},
        ),
        own=frozenset({"archive"}),
    ),
    Format(
        name="profile/snapshot.tar.gz",
        write=lambda folder: (_packed(folder) / snapshot_archive.ARCHIVE).read_bytes(),
        read=_unpacked,
        means={FILE: CONTENT},
        decode=_members,
    ),
    Format(
        name="profile/installation.json",
        write=_marker,
        read=_read(installation_file.FILE, installation_file.read),
        means=MARKER,
    ),
)
