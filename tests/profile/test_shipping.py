"""What of a profile is shipped, and how it becomes a profile again."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.profile.leveldb_files import (
    BLOBS,
    COMPARATOR,
    INDEXED,
    LOCAL,
    batch,
    edit,
    log,
    profile,
    record,
    table,
    word_of,
)
from waguard.core.shipping import FORMAT, Local, Note, Shipment, ShippedFile
from waguard.host.small_file import UnreadableError
from waguard.profile import layout, leveldb, owner_mark, repair, shipping
from waguard.profile.credentials import SnapshotRefusedError
from waguard.profile.layout import Places
from waguard.profile.lock import NotHeldError, ProfileLock
from waguard.profile.shipping import DiscontinuedError, Known

NOW = 1_700_000_000.0
LOG = f"{INDEXED}/000006.log"


@dataclass
class Shipper:
    """Keeps what was shipped in memory."""

    profile: Path
    known: dict[str, Known] = field(default_factory=dict)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def ship(self) -> int:
        """Bytes that were shipped now."""
        size = 0
        with contextlib.ExitStack() as stack:
            gathered = shipping.gather(self.profile, self.known, stack)
            for growth in gathered.growths:
                while piece := growth.next():
                    number, content = piece
                    self.parts[growth.id, number] = content
                    size += len(content)
        self.known = {**gathered.same, **{it.path: it.known() for it in gathered.growths}}
        return size

    @property
    def shipment(self) -> Shipment:
        files = {path: it.shipped() for path, it in self.known.items()}
        return Shipment(format=FORMAT, files=files, paired_at=NOW)

    def pieces(self, file: ShippedFile) -> Iterator[bytes]:
        return (self.parts[file.id, number] for number in range(file.parts))

    def lay_down(self, at: Places, made: Path) -> None:
        """Have it be the profile."""
        for path, file in self.shipment.files.items():
            shipping.write_file(made, path, file, self.pieces(file))
        with ProfileLock(at.profile) as lock:
            id_ = shipping.keep(at, made, pairing="token", shipped_at=NOW + 50)
            shipping.put_in_place(at, lock.descriptor, id_, NOW)


@pytest.fixture
def shipper(at: Places, used: None) -> Shipper:
    return Shipper(at.profile)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Places:
    """The session's place on another host."""
    return layout.places(tmp_path / "other host", 7, "abc")


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def grow(path: Path, word: str) -> None:
    """As LevelDB writes one more batch."""
    append(path, record(batch(word), at=path.stat().st_size))


def test_only_what_grows_keeps_a_digest_that_goes_on(at: Places, used: None) -> None:
    """Of thousands of files the others are kept in memory."""
    shipper = Shipper(at.profile)
    shipper.ship()
    read = shipping.recognized(at.profile, shipper.shipment)
    for known in (shipper.known, read):
        going_on = {path for path, it in known.items() if not isinstance(it.digest, bytes)}
        assert going_on == {path for path, it in known.items() if it.tail}
        assert {Path(path).name for path in going_on} == {"MANIFEST-000001", "000006.log"}
    assert {path: it.shipped() for path, it in read.items()} == shipper.shipment.files


def test_only_what_was_appended_is_shipped_again(shipper: Shipper, elsewhere: Places) -> None:
    first = shipper.ship()
    assert first > 200_000
    assert shipper.ship() == 0
    assert not any("Cache" in path or "000003.log" in path for path in shipper.known)
    before = (shipper.profile / LOG).stat().st_size
    grow(shipper.profile / LOG, "a message")
    assert shipper.ship() == (shipper.profile / LOG).stat().st_size - before
    shipper.lay_down(elsewhere, elsewhere.profile.with_name("made"))
    for path in (LOG, f"{INDEXED}/000005.ldb", f"{BLOBS}/1/00/7"):
        there, here = elsewhere.profile / path, shipper.profile / path
        assert there.read_bytes() == here.read_bytes(), path
    assert owner_mark.pairing(elsewhere.profile) == "token"
    assert owner_mark.paired_at(elsewhere.profile) == NOW, "what came since then is still wanted"


def test_half_a_record_is_shipped_and_not_laid_down(shipper: Shipper, elsewhere: Places) -> None:
    whole = (shipper.profile / LOG).stat().st_size
    append(shipper.profile / LOG, record(batch("half"), at=whole)[:9])
    shipper.ship()
    shipper.lay_down(elsewhere, elsewhere.profile.with_name("made"))
    assert (elsewhere.profile / LOG).stat().st_size == whole
    assert leveldb.check(elsewhere.profile / INDEXED) == {}


def test_a_compaction_ships_new_files_and_forgets_old_ones(shipper: Shipper) -> None:
    shipper.ship()
    database = shipper.profile / INDEXED
    (database / "000008.ldb").write_bytes(table(b"compacted"))
    (database / "000009.log").write_bytes(log(batch("newest")))
    manifest = database / "MANIFEST-000001"
    change = edit(log_number=9, tables={8: len(table(b"compacted"))})
    append(manifest, record(change, at=manifest.stat().st_size))
    shipped = shipper.ship()
    assert 0 < shipped < 1_000
    assert f"{INDEXED}/000008.ldb" in shipper.known
    assert LOG not in shipper.known
    assert shipper.known[f"{INDEXED}/MANIFEST-000001"].parts == 2


def begin_again(profile: Path) -> None:
    """As Chromium does with a database that it discards: the same names, another content."""
    database = profile / INDEXED
    (database / "000006.log").write_bytes(log(batch("another"), batch("more " * 30_000)))
    changes = (
        COMPARATOR + edit(),
        edit(log_number=6, tables={5: len(table())}),
        edit(log_number=6),
    )
    (database / "MANIFEST-000001").write_bytes(log(*changes))


def lower_number(profile: Path) -> None:
    database = profile / INDEXED
    content = (database / "MANIFEST-000001").read_bytes()
    (database / "MANIFEST-000000").write_bytes(content)
    (database / "CURRENT").write_text("MANIFEST-000000\n")


def shorter(profile: Path) -> None:
    (profile / LOG).write_bytes(log(batch("short")))


@pytest.mark.parametrize("change", [begin_again, lower_number, shorter])
def test_a_database_that_begins_again_is_recognized_and_compared(
    shipper: Shipper, change: Callable[[Path], None], elsewhere: Places
) -> None:
    shipper.ship()
    change(shipper.profile)
    with pytest.raises(DiscontinuedError):
        shipper.ship()
    before = {path: it.id for path, it in shipper.known.items()}
    shipper.known = shipping.recognized(shipper.profile, shipper.shipment)
    shipper.known.pop(f"{INDEXED}/MANIFEST-000001", None)
    shipper.ship()
    assert shipper.known[f"{LOCAL}/000006.log"].id == before[f"{LOCAL}/000006.log"]
    if change is not lower_number:
        assert shipper.known[LOG].id != before[LOG]
    shipper.lay_down(elsewhere, elsewhere.profile.with_name("made"))
    assert (elsewhere.profile / LOG).read_bytes() == (shipper.profile / LOG).read_bytes()


def test_after_a_start_what_is_the_same_is_recognized(shipper: Shipper) -> None:
    shipper.ship()
    grow(shipper.profile / LOG, "a message")
    (shipper.profile / BLOBS / "1/00/7").write_bytes(b"another blob, of it")
    known = shipping.recognized(shipper.profile, shipper.shipment)
    assert set(shipper.known) - set(known) == {f"{BLOBS}/1/00/7"}
    shipper.known = known
    assert 0 < shipper.ship() < 1_000


def test_nothing_damaged_is_shipped(shipper: Shipper) -> None:
    shipper.ship()
    path = shipper.profile / LOG
    whole = path.read_bytes()
    damaged = bytearray(record(batch("x" * 100), at=len(whole)))
    damaged[20] ^= 1
    path.write_bytes(whole + damaged)
    with pytest.raises(leveldb.DamageError, match="wrong checksum"):
        shipper.ship()
    path.write_bytes(whole)
    assert shipper.ship() == 0
    broken = (shipper.profile / LOCAL / "000005.ldb").read_bytes()[:-1]
    (shipper.profile / LOCAL / "000005.ldb").write_bytes(broken)
    shipper.known.clear()
    with pytest.raises(leveldb.DamageError, match="cut off"):
        shipper.ship()


def test_what_is_no_leveldb_is_not_shipped(shipper: Shipper) -> None:
    (shipper.profile / "Default/IndexedDB/new").write_bytes(b"SQLite format 3\0")
    with pytest.raises(SnapshotRefusedError, match="of this kind"):
        shipper.ship()


@pytest.mark.parametrize(
    "path", ["../x", "Default", "Default/../../x", "Default/Cookies", "/etc/x"]
)
def test_a_file_that_belongs_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    file = ShippedFile(id="i", size=1, sha256="", parts=1)
    with pytest.raises(UnreadableError, match="does not belong"):
        shipping.write_file(tmp_path, path, file, [b"x"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_what_was_shipped_is_refused(shipper: Shipper, tmp_path: Path) -> None:
    shipper.ship()
    file = shipper.known[LOG].shipped()
    content = b"".join(shipper.pieces(file))
    for pieces in ([content[:-1]], [content[:-1] + b"?"], [], [content, b"?"]):
        with pytest.raises(UnreadableError, match="not what was shipped"):
            shipping.write_file(tmp_path, LOG, file, pieces)


def test_the_profile_before_is_quarantined_and_the_note_is_written(
    shipper: Shipper, elsewhere: Places
) -> None:
    shipper.ship()
    profile(elsewhere.profile, "older")
    # Chromium of another host, or one that is dead
    (elsewhere.profile / "SingletonLock").symlink_to("elsewhere-77")
    shipper.lay_down(elsewhere, elsewhere.profile.with_name("made"))
    assert word_of(elsewhere.profile) == "credentials"
    [moved] = elsewhere.quarantine.iterdir()
    assert word_of(moved) == "older"
    (elsewhere.profile / "SingletonLock").mkdir()  # whose it is, nobody knows
    with pytest.raises(NotHeldError):
        shipper.lay_down(elsewhere, elsewhere.profile.with_name("made"))
    assert word_of(elsewhere.profile) == "credentials"


def test_what_replaces_a_profile_keeps_its_note(at: Places, lock: int) -> None:
    assert shipping.read_note(at.profile) is None
    note = Note("a" * 32, 7)
    shipping.write_note(at.profile, note)
    os.utime(at.profile / LOG, (NOW + 9e9, NOW + 9e9))
    written_at = NOW + 9e9
    wanted = Local(note=note, stored=True, paired=False, written_at=written_at)
    assert shipping.local(at) == wanted
    repair.replace_profile(at, lock, why="damaged")
    assert shipping.read_note(at.profile) == note
    for odd in ("[]", '{"host": 1, "epoch": 2}', "{", '{"host": "a"}'):
        (at.profile / "waguard-holder.json").write_text(odd)
        assert shipping.read_note(at.profile) is None, odd


def test_an_old_profile_is_retired_with_its_snapshots(at: Places, lock: int, paired: str) -> None:
    (at.snapshots / "x").mkdir(parents=True)
    moved = shipping.retire(at, lock)
    assert moved
    assert owner_mark.pairing(moved) == paired
    assert (moved / "waguard-snapshots/x").is_dir()
    assert not at.profile.exists()


@pytest.mark.usefixtures("used")
def test_what_is_from_before_a_shipment(at: Places, shipper: Shipper) -> None:
    shipper.ship()
    shipment, path = shipper.shipment, at.profile / LOG
    whole = path.read_bytes()
    assert not shipping.is_from_before(at.profile, shipment)
    path.write_bytes(whole + record(batch("more"), at=len(whole)))
    assert not shipping.is_from_before(at.profile, shipment)
    for other in (whole[:-1], b"x" * len(whole)):
        path.write_bytes(other)
        assert shipping.is_from_before(at.profile, shipment)
    path.unlink()  # LevelDB has written a table of it: its MANIFEST says so
    assert not shipping.is_from_before(at.profile, shipment)
    [manifest] = path.parent.glob("MANIFEST-*")
    current = path.parent / "CURRENT"
    for number, before in ((0, True), (999_999, False)):
        name = f"MANIFEST-{number:06}"
        manifest = manifest.rename(manifest.with_name(name))
        current.write_text(f"{name}\n")
        assert shipping.is_from_before(at.profile, shipment) is before
    current.unlink()
    assert not shipping.is_from_before(at.profile, shipment), "damage is repaired"
    path.parent.rename(path.parent.with_name("away"))
    assert shipping.is_from_before(at.profile, shipment)
