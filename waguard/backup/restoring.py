"""A backup put in place on a host where no waguard has lived. Nothing there is overwritten.

The archive is read as who asks, and unpacked as a whole before anything takes its place. The note of what waits
(``restored.json``) is the first to be there, so that a daemon which finds half of it sends nothing twice.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from waguard.backup import archive, room, rows
from waguard.config.passwords import without_passwords
from waguard.config.sections import Config
from waguard.core import backup_contents as policy
from waguard.core.backup_contents import Manifest, Place, SavedSession
from waguard.core.profile.before_start import RestoreSnapshot
from waguard.core.restore_losses import Counts, lost
from waguard.core.restored import Restored
from waguard.errors import ConflictError, WaguardError
from waguard.host.files.acting import as_owner_of, make_runtime
from waguard.host.files.lock import acquire
from waguard.host.files.private_files import open_private, private_folders, sync_folder
from waguard.host.memory import (
    installation_file,
    key_memory,
    last_backup,
    proxies,
    restored_file,
    version_memory,
)
from waguard.host.memory.restore_journal import STAGING, Journal, stamp
from waguard.profile import layout, repair
from waguard.profile.lock import ProfileLock
from waguard.profile.snapshot_archive import SnapshotDamagedError, read_manifest
from waguard.store.engine import sqlite_file
from waguard.store.revision import HEAD
from waguard.supervision.fleet import inventory

_UNPACKED: Final = Path(STAGING, "unpacked")
_CONFIGURATION: Final = "restored-configuration"
_ROOM: Final = 32 << 20  # bytes that stay free


class Result(Struct, frozen=True, kw_only=True):
    """What was restored. ``lost``: what is not back, and what a person decides; ``moved``: what was in the way, where it
    lies now."""

    manifest: Manifest
    lost: list[str]
    counts: Counts
    moved: list[str]
    statements: list[str]
    """What a person runs on a server's database before the start."""
    configuration: str | None
    """The folder with the configuration of the backup, where that is another one than is used here."""


def run(
    config: Config, used: Path | None, raw: BinaryIO, key: bytes | None, *, from_dump: bool = False
) -> Result:
    """Restore what ``raw`` has. ``used``: the configuration that is used here; ``from_dump``: the server's database is, or
    will be, restored from a dump. Raises ``WaguardError``, ``OSError``."""
    state, now = config.paths.state, time.time()
    with _no_daemon(config):
        try:
            with as_owner_of(state):
                manifest = _unpacked(state, raw, key)
                renamed = _undo_what_was_killed(state, now)
            archive_path = str(Path(raw.name).absolute())
            restore = _Restore(
                config, manifest, now, renamed, archive_path=archive_path, from_dump=from_dump
            )
            return restore.run(used)
        finally:
            with as_owner_of(state):
                _clear(state)


def _unpacked(state: Path, raw: BinaryIO, key: bytes | None) -> Manifest:
    private_folders(state)
    _clear(state)
    size = os.fstat(raw.fileno()).st_size
    room.require([(state, size)], reserve=_ROOM)  # all of it is unpacked first
    private_folders(state / _UNPACKED)
    return archive.read(raw, key, into=state / _UNPACKED)


def _undo_what_was_killed(state: Path, now: float) -> list[str]:
    journal = Journal.left(state, now)
    return journal.undo() if journal else []


def _clear(state: Path) -> None:
    """A journal that is left there stays, for the next restore."""
    shutil.rmtree(state / _UNPACKED, ignore_errors=True)
    with contextlib.suppress(OSError):
        (state / STAGING).rmdir()


@contextlib.contextmanager
def _no_daemon(config: Config) -> Iterator[None]:
    """Raises ``InstanceHeldError`` where one lives; none starts meanwhile."""
    paths = config.paths
    make_runtime(paths.runtime, paths.state)
    with as_owner_of(paths.runtime):
        lock = acquire(paths.runtime)
    try:
        yield
    finally:
        with as_owner_of(paths.runtime):
            lock.release()


class _Restore:
    """One backup that was read to its end, and unpacked."""

    def __init__(
        self,
        config: Config,
        manifest: Manifest,
        now: float,
        renamed: list[str],
        *,
        archive_path: str,
        from_dump: bool,
    ) -> None:
        self._config = config
        self._manifest = manifest
        self._journal: Journal
        self._unpacked = config.paths.state / _UNPACKED
        self._now = now
        self._renamed = renamed
        """Where the credentials lie that a restore which was killed had put in place."""
        self._archive_path = archive_path
        self._from_dump = from_dump
        self._database = sqlite_file(config.database.url)

    def run(self, used: Path | None) -> Result:
        """Raises ``ConflictError`` where something lives here, ``NoRoomError``, ``OSError``; then nothing is changed."""
        if refused := policy.refusals(self._manifest, self._place()):
            raise ConflictError(
                f"this is no place for a restore: {'; '.join(refused)}",
                value=str(self._config.paths.sessions),
                remedy=f"restore into an installation without sessions; {self._unchanged()}",
            )
        self._require_room()
        with contextlib.closing(Journal.begun(self._config.paths.state)) as self._journal:
            try:
                result = self._carry_out(used)
                self._journal.end()
            except BaseException:
                self._journal.undo()
                raise
            return result

    def _unchanged(self) -> str:
        if not self._renamed:
            return "nothing was changed"
        return f"the credentials of a restore that was killed lie in {', '.join(self._renamed)}"

    def _require_room(self) -> None:
        """All of it is copied from where it was unpacked; of the credentials profiles are made, too."""
        sizes = {it.name: it.size for it in self._manifest.members}
        needed = []
        if self._database:
            needed.append((self._database.parent, sizes.pop(policy.DATABASE, 0)))
        for number, saved in enumerate(self._manifest.sessions):
            if not saved.snapshot:
                continue
            at = layout.places(self._config.paths.sessions, saved.workspace, saved.session)
            names = [policy.place_of(number, file) for file in policy.SNAPSHOT_FILES]
            needed.append((at.snapshots, sum(sizes.pop(name) for name in names)))
            with as_owner_of(self._config.paths.state), contextlib.suppress(SnapshotDamagedError):
                taken = read_manifest((self._unpacked / names[0]).parent)
                needed.append((at.profile, taken.size))
        needed.append((self._config.paths.state, sum(sizes.values())))
        room.require(needed, reserve=_ROOM)

    def _carry_out(self, used: Path | None) -> Result:
        state, sessions = self._config.paths.state, self._config.paths.sessions
        uses_lookup = self._config.webhook.stored is not None
        counts = self._make_database_ready(uses_lookup=uses_lookup)
        has = [it.session for it in self._manifest.sessions if it.snapshot]
        self._make_way(state / restored_file.FILE)
        self._journal.made(state / restored_file.FILE)
        with as_owner_of(state):
            note = Restored(
                backup_at=self._manifest.made_at,
                restored_at=self._now,
                database=self._manifest.has_database or self._from_dump,
                groups=tuple(has),
            )
            restored_file.write(state, note)
        self._put(policy.API_KEY, self._config.api.key_file)
        self._put(policy.KEYS, state / key_memory.FILE)
        self._put(policy.VERSIONS, state / version_memory.FILE)
        self._make_way(state / proxies.FOLDER)  # a session of that name would go through it
        for it in self._manifest.members:
            if it.name.startswith(policy.PROXIES):
                self._put(it.name, state / it.name.removeprefix("state/"))
        failed: dict[int, str] = {}
        for number, saved in enumerate(self._manifest.sessions):
            if saved.snapshot and (why := self._put_credentials(number, saved)):
                failed[number] = why
        self._remember_archives(state)
        self._put(policy.MARKER, sessions / installation_file.FILE)
        if self._database:
            for suffix in ("-wal", "-shm", "-journal"):
                self._make_way(self._database.with_name(self._database.name + suffix))
            self._put(policy.DATABASE, self._database)
        shown = policy.with_failures(self._manifest, failed)
        return Result(
            manifest=shown,
            lost=lost(shown, counts),
            counts=counts,
            moved=[*self._renamed, *self._journal.moves],
            statements=rows.statements(uses_lookup=uses_lookup, now=self._now)
            if self._from_dump
            else [],
            configuration=self._keep_configuration(used),
        )

    def _remember_archives(self, state: Path) -> None:
        """The next backup here may not delete those that are still needed."""
        self._make_way(state / last_backup.FILE)
        self._journal.made(state / last_backup.FILE)
        last = policy.last_of(self._manifest, self._archive_path, self._manifest.earlier)
        with as_owner_of(state):
            last_backup.write(state, last)

    def _place(self) -> Place:
        sessions = self._config.paths.sessions
        with as_owner_of(sessions):
            names = [session for _, session in inventory.places_on_disk(sessions)]
            quarantine = sessions / "quarantine"
            kept = quarantine.is_dir() and any(quarantine.iterdir())
        counted: int | None = 0
        if self._database:
            with as_owner_of(self._database):
                counted = rows.count(self._database)
        return Place(
            sessions=names,
            quarantine=kept,
            rows=counted,
            sqlite=self._database is not None,
            database=without_passwords(self._config.database.url),
            revision=HEAD,
        )

    def _make_database_ready(self, *, uses_lookup: bool) -> Counts:
        if not self._manifest.has_database:
            return Counts()
        with as_owner_of(self._config.paths.state):
            database = self._unpacked / policy.DATABASE
            return rows.make_ready(database, uses_lookup=uses_lookup, now=self._now)

    # ---- each file in its place ----

    def _put(self, name: str, place: Path) -> None:
        """Where the backup has it; what lies there is renamed."""
        with as_owner_of(self._config.paths.state):
            try:
                source = (self._unpacked / name).open("rb")
            except FileNotFoundError:
                return
        self._make_way(place)
        with source, as_owner_of(place):
            draft = place.with_name(f"{place.name}.new")
            self._journal.made(draft, place)
            _copy(source, draft)
            draft.rename(place)
            sync_folder(place.parent)

    def _make_way(self, place: Path) -> None:
        """What lies there is evidence, and stays beside it."""
        with as_owner_of(place):
            if not os.path.lexists(place):
                return
            moved = place.with_name(f"{place.name}.before-restore-{stamp(self._now)}")
            self._journal.moved(place, moved)
            place.rename(moved)

    def _put_credentials(self, number: int, saved: SavedSession) -> str | None:
        """The snapshot, and the profile that is made of it; why that cannot be done."""
        at = layout.places(self._config.paths.sessions, saved.workspace, saved.session)
        snapshot = at.snapshots / str(saved.snapshot)
        with as_owner_of(self._config.paths.sessions):
            # a link to a disk that is not mounted is not ours to remove
            self._journal.made(
                *(it for it in (at.snapshots, at.profile) if not os.path.lexists(it))
            )
        try:
            for file in policy.SNAPSHOT_FILES:
                with as_owner_of(self._config.paths.state):
                    source = (self._unpacked / policy.place_of(number, file)).open("rb")
                with source, as_owner_of(at.snapshots):
                    _copy(source, snapshot / file)
            with as_owner_of(at.profile):
                private_folders(at.profile)
                with ProfileLock(at.profile) as lock:
                    repair.carry_out(at, lock.descriptor, (RestoreSnapshot(snapshot.name),))
        except WaguardError as error:
            return error.line()
        return None

    def _keep_configuration(self, used: Path | None) -> str | None:
        """The configuration is a person's, and may be another host's: it is laid aside, where it differs."""
        folder = self._config.paths.state / _CONFIGURATION
        ours = {
            policy.CONFIGURATION: used,
            policy.SECRET: self._config.webhook.secret_file,
            policy.DESTINATIONS: self._config.alerts.destination_file,
        }
        if not any(self._differs(name, place) for name, place in ours.items()):
            return None
        for name in ours:
            self._put(name, folder / Path(name).name)
        return str(folder)

    def _differs(self, name: str, place: Path | None) -> bool:
        """Whether the backup has it, and here is none or another one."""
        found = _content(self._config.paths.state, self._unpacked / name)
        return found is not None and (place is None or _content(place, place) != found)


def _content(owned: Path, path: Path) -> bytes | None:
    with as_owner_of(owned):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _copy(source: BinaryIO, target: Path) -> None:
    with open_private(target) as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
