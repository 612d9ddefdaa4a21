"""What a session's credentials have gained since they were shipped, and how shipped ones become a profile again.

Theory of operation. LevelDB never changes a table, and only appends to its MANIFEST and its logs; so after the first
time only new tables and appended bytes are read, of files as one state of the MANIFEST names them
(``credentials.open_moment``). What was shipped before is recognized by its end, and after each start of Chromium,
which may have begun a database again under the same names, by the SHA-256 of all of it. What is read is checked as far
as LevelDB would, so that nothing damaged takes the place of something good.
"""

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec
from msgspec import Struct

from waguard.core.profile.before_start import (
    Action,
    DeadOwner,
    Free,
    OtherHost,
    Quarantine,
    RestoreSnapshot,
)
from waguard.core.replace import replace
from waguard.core.shipping import OUTDATED, PIECE, Local, Note, Shipment, ShippedFile
from waguard.host.files.private_files import open_private, write_private
from waguard.host.small_file import UnreadableError
from waguard.profile import (
    chromium_lock,
    credentials,
    layout,
    leveldb,
    mark_files,
    owner_mark,
    quarantine,
    repair,
    snapshots,
)
from waguard.profile.credentials import ATTEMPTS, FOLDERS
from waguard.profile.layout import Places
from waguard.profile.lock import NotHeldError
from waguard.profile.owner_mark import PAIRING
from waguard.profile.snapshot_archive import is_ours
from waguard.profile.start_marks import CLEAN_EXIT, HOLDER

if TYPE_CHECKING:
    from hashlib import _Hash

_TAIL: Final = 64  # bytes; LevelDB's checksums make them its own
_MANIFEST: Final = "MANIFEST-"


class DiscontinuedError(Exception):
    """A database does not continue what was shipped of it."""


class Known(Struct, frozen=True):
    """What was shipped of a file. ``digest`` is the SHA-256 of its ``size`` bytes, ``tail`` the last of them; ``stamp``: of a
    file beside the databases, when it was written. Only what grows needs a digest that goes on, and a tail: a host keeps
    these of thousands of files."""

    id: str
    size: int
    parts: int
    digest: "_Hash | bytes"
    tail: bytes = b""
    stamp: int = 0

    def shipped(self) -> ShippedFile:
        """As another host reads it."""
        it = self.digest
        sha256 = it.hex() if isinstance(it, bytes) else it.hexdigest()
        return ShippedFile(id=self.id, size=self.size, sha256=sha256, parts=self.parts)


class Growth:
    """A file of which more is to be shipped: ``pieces`` are read once, then ``known`` says what was."""

    def __init__(
        self, path: str, file: BinaryIO, end: int, known: Known | None, *, log: bool, stamp: int = 0
    ) -> None:
        """Bytes up to ``end``; ``log``: one of LevelDB's, which is checked."""
        self.path = path
        self._file = file
        self._end = end
        self._log = log
        self._stamp = stamp
        self._id = known.id if known else secrets.token_hex(16)
        self._at = known.size if known else 0
        self._parts = known.parts if known else 0
        self._digest = hashlib.sha256()
        if known:
            assert not isinstance(known.digest, bytes)  # noqa: S101 - it grows
            self._digest = known.digest.copy()
        self._tail = known.tail if known else b""

    @property
    def id(self) -> str:
        """The id of its parts."""
        return self._id

    @property
    def size(self) -> int:
        """Bytes that are still to be read."""
        return self._end - self._at

    def next(self) -> tuple[int, bytes] | None:
        """The number of the next part, and what is in it; None: there is none. Blocks. Raises ``DamageError``,
        ``OSError``."""
        if self._at >= self._end:
            return None
        begin = self._at - self._at % leveldb.BLOCK if self._log else self._at
        self._file.seek(begin)
        content = self._file.read(min(PIECE, self._end - begin))
        if self._log:
            leveldb.check_blocks(content, PurePosixPath(self.path).name)
        new = content[self._at - begin :]
        if not new:
            raise OSError(f"{self.path} became shorter")
        self._at += len(new)
        self._digest.update(new)
        self._tail = (self._tail + new)[-_TAIL:]
        self._parts += 1
        return self._parts - 1, new

    def known(self) -> Known:
        """What is shipped with the parts that were read."""
        return Known(
            id=self._id,
            size=self._at,
            parts=self._parts,
            digest=self._digest if self._log else self._digest.digest(),
            tail=self._tail if self._log else b"",
            stamp=self._stamp,
        )


class Gathered(Struct, frozen=True):
    """The credentials at one moment: what is as it was shipped, by its path, and what has grown."""

    same: dict[str, Known]
    growths: list[Growth]
    size: int
    """Bytes of all of them."""


def gather(profile: Path, known: Mapping[str, Known], stack: contextlib.ExitStack) -> Gathered:
    """Find what is to be shipped, in files that stay open until ``stack`` ends. A Chromium may write meanwhile. Blocks.

    Raises ``SnapshotRefusedError`` for what is no LevelDB, ``DamageError``, ``DiscontinuedError``, ``OSError``.
    """
    gathered = _Gathering(profile, known)
    for name in FOLDERS:
        source = profile / "Default" / name
        found = credentials.required_databases(source, running=True)
        for database in found:
            gathered.add_database(database, stack)
        for path in credentials.plain_files(source, found):
            with contextlib.suppress(FileNotFoundError):
                gathered.add_plain(path, stack)
    return Gathered(gathered.same, gathered.growths, gathered.size)


class _Gathering:
    def __init__(self, profile: Path, known: Mapping[str, Known]) -> None:
        self._profile = profile
        self._known = known
        self.same: dict[str, Known] = {}
        self.growths: list[Growth] = []
        self.size = 0

    def add_database(self, database: Path, stack: contextlib.ExitStack) -> None:
        moment = _moment(database, stack)
        folder = str(database.relative_to(self._profile))
        if any(path > f"{folder}/{moment.name}" for path in self._manifests(folder)):
            raise DiscontinuedError(folder)
        self._add(f"{folder}/{moment.name}", io.BytesIO(moment.manifest), len(moment.manifest))
        for name, file in moment.logs.items():
            self._add(f"{folder}/{name}", file, os.fstat(file.fileno()).st_size)
        for name, file in moment.tables.items():
            self._add_table(f"{folder}/{name}", file, moment.sizes[name])

    def add_plain(self, path: Path, stack: contextlib.ExitStack) -> None:
        file = stack.enter_context(path.open("rb"))
        found = os.fstat(file.fileno())
        name = str(path.relative_to(self._profile))
        known = self._known.get(name)
        if known and (known.size, known.stamp) == (found.st_size, found.st_mtime_ns):
            self._keep(name, known, file)
            return
        self.size += found.st_size
        stamp = found.st_mtime_ns
        self.growths.append(Growth(name, file, found.st_size, None, log=False, stamp=stamp))

    def _manifests(self, folder: str) -> Iterator[str]:
        return (path for path in self._known if path.startswith(f"{folder}/{_MANIFEST}"))

    def _add(self, path: str, file: BinaryIO, end: int) -> None:
        known = self._known.get(path)
        if known:
            file.seek(known.size - len(known.tail))
            if end < known.size or file.read(len(known.tail)) != known.tail:
                raise DiscontinuedError(path)
        if known and known.size == end:
            self._keep(path, known, file)
        else:
            self.size += end
            self.growths.append(Growth(path, file, end, known, log=True))

    def _add_table(self, path: str, file: BinaryIO, size: int) -> None:
        known = self._known.get(path)
        if known and known.size == size:
            self._keep(path, known, file)
            return
        leveldb.check_table(file, PurePosixPath(path).name, size)
        self.size += size
        self.growths.append(Growth(path, file, size, None, log=False))

    def _keep(self, path: str, known: Known, file: BinaryIO) -> None:
        file.close()
        self.same[path] = known
        self.size += known.size


def _moment(database: Path, stack: contextlib.ExitStack) -> credentials.Moment:
    why: Exception = leveldb.DamageError("it never stopped changing")
    for _ in range(ATTEMPTS):
        with contextlib.ExitStack() as attempt:
            try:
                moment = credentials.open_moment(database, attempt)
            except FileNotFoundError as error:
                why = error
                continue
            if moment:
                stack.push(attempt.pop_all())
                return moment
    raise leveldb.DamageError(f"{database.name}: {why}")


def recognized(profile: Path, shipment: Shipment) -> dict[str, Known]:
    """What of a shipment is still there, byte by byte. Blocks: all of it is read."""
    found = {}
    for path, file in shipment.files.items():
        digest, tail, left = hashlib.sha256(), b"", file.size
        try:
            with (profile / path).open("rb") as opened:
                stamp = os.fstat(opened.fileno()).st_mtime_ns
                while left and (content := opened.read(min(PIECE, left))):
                    digest.update(content)
                    tail = (tail + content)[-_TAIL:]
                    left -= len(content)
        except OSError:
            continue
        if not left and digest.hexdigest() == file.sha256:
            grows = _grows(path)
            kept, end = (digest if grows else digest.digest()), (tail if grows else b"")
            found[path] = Known(file.id, file.size, file.parts, kept, end, stamp)
    return found


def is_as_shipped(profile: Path, shipment: Shipment) -> bool:
    """Whether no Chromium has used it since a shipment was laid down there. Blocks."""
    found = recognized(profile, shipment)
    return all(
        path in found and (profile / path).stat().st_size == file.size
        for path, file in shipment.files.items()
    )


def is_from_before(profile: Path, shipment: Shipment) -> bool:
    """Whether what was shipped of one of its databases is no beginning of what is there: a disk came back from an image, or
    lost its last writes. Blocks: MANIFESTs and logs are read."""
    grow = {path: file for path, file in shipment.files.items() if _grows(path)}
    found = recognized(profile, replace(shipment, files=grow))
    return any(_is_from_before(profile / path) for path in grow.keys() - found.keys())


def _grows(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.startswith(_MANIFEST) or name.endswith(".log")


def _is_from_before(path: Path) -> bool:
    if path.exists() or not path.parent.exists():
        return True
    if not path.name.startswith(_MANIFEST):
        return False  # a log whose end the MANIFEST has
    try:
        return leveldb.manifest_of(path.parent)[0] < path.name
    except leveldb.DamageError:  # that is repaired
        return False


# ---- whose it is ----


def local(at: Places) -> Local:
    """What lies on this host. Blocks."""
    return Local(
        note=read_note(at.profile),
        stored=layout.exists(at.profile),
        paired=owner_mark.may_be_paired(at.profile),
        written_at=_written_at(at.profile),
    )


def _written_at(profile: Path) -> float:
    newest = 0.0
    for name in FOLDERS:
        for path in (profile / "Default" / name).rglob("*"):
            with contextlib.suppress(OSError):
                newest = max(newest, path.stat().st_mtime if path.is_file() else 0.0)
    return newest


def read_note(profile: Path) -> Note | None:
    """Which host has used it; None: nobody has said so."""
    try:
        return msgspec.convert(mark_files.read(profile / HOLDER), Note)
    except msgspec.ValidationError:
        return None


def write_note(profile: Path, it: Note | None) -> None:
    """Say which host uses it from now on; None: nobody has said so. Raises ``OSError``."""
    if it is None:
        mark_files.remove(profile / HOLDER)
        return
    mark_files.write(profile / HOLDER, msgspec.to_builtins(it))


def ended_in_order(profile: Path) -> bool:
    """Whether its Chromium has ended, and has written everything."""
    return (profile / CLEAN_EXIT).exists()


# ---- back again ----


def write_file(into: Path, path: str, file: ShippedFile, pieces: Iterable[bytes]) -> None:
    """Put a shipped file below ``into``. Raises ``UnreadableError`` where it is another one, ``OSError``."""
    if not is_ours(path):
        raise UnreadableError(f"{path!r} does not belong to a session's credentials")
    digest, size = hashlib.sha256(), 0
    with open_private(into / path) as opened:
        for piece in pieces:
            opened.write(piece)
            digest.update(piece)
            size += len(piece)
    if (size, digest.hexdigest()) != (file.size, file.sha256):
        raise UnreadableError(f"{path}: it is not what was shipped")


def keep(at: Places, made: Path, *, pairing: str, shipped_at: float) -> str:
    """Make a snapshot of what lies in ``made``, which is checked as each one is; its id. Raises
    ``SnapshotRefusedError``, ``OSError``."""
    for manifest in sorted((made / "Default").rglob(f"{_MANIFEST}*")):
        write_private(manifest.with_name("CURRENT"), f"{manifest.name}\n".encode())
    gathered = snapshots.create(made, at.snapshots, pairing=pairing, running=False, now=shipped_at)
    return gathered.id


def put_in_place(at: Places, lock: int, snapshot: str, paired_at: float | None) -> Path | None:
    """Have a snapshot be the profile; where the one before lies now. Raises ``WaguardError``, ``OSError``."""
    actions: tuple[Action, ...] = (RestoreSnapshot(snapshot),)
    if layout.exists(at.profile):
        actions = (Quarantine(OUTDATED), *actions)
    _remove_stale_lock(at.profile, lock)
    moved = repair.carry_out(at, lock, actions)
    # it is no new pairing: what came since then is still wanted
    token = owner_mark.pairing(at.profile)
    if token and paired_at is not None:
        mark_files.write(at.profile / PAIRING, {"token": token, "at": paired_at})
    return moved


def retire(at: Places, lock: int) -> Path | None:
    """Quarantine the profile and its snapshots: another host's are newer. Where they lie now."""
    _remove_stale_lock(at.profile, lock)
    return quarantine.retire(at, lock, token=owner_mark.pairing(at.profile), why=OUTDATED)


def _remove_stale_lock(profile: Path, lock: int) -> None:
    match chromium_lock.owner(profile):
        case Free():
            pass
        case DeadOwner() | OtherHost():
            chromium_lock.remove_stale(profile, lock)
        case owner:
            raise NotHeldError(f"{profile} is locked by Chromium: {owner}", value=str(profile))
