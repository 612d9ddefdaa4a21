"""One backup: database, credentials, keys, configuration and marker, from a living daemon or none.

What the daemon's user owns is read with that user's rights, whoever asks; the archive belongs to who may decide
about its folder. It is written beside its name, read back, and renamed.
"""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct
from sqlalchemy import make_url

import waguard
from waguard.backup import archive, before, room, rows
from waguard.backup.before import Before
from waguard.config.passwords import without_passwords
from waguard.config.sections import Config
from waguard.core import backup_contents as policy
from waguard.core.backup_contents import Manifest, Row, SavedSession
from waguard.errors import ConfigError, ConflictError, WaguardError
from waguard.host import small_file
from waguard.host.files import disk
from waguard.host.files.acting import as_owner_of
from waguard.host.files.private_files import private_folders, sync_folder
from waguard.host.memory import installation_file, key_memory, proxies, version_memory
from waguard.host.small_file import UnreadableError
from waguard.profile import layout, owner_mark, snapshot_now, snapshots
from waguard.profile.layout import Places
from waguard.profile.snapshot_archive import SnapshotDamagedError, Taken
from waguard.store.engine import sqlite_file
from waguard.supervision.fleet import inventory

_ATTEMPTS: Final = 3  # to open a snapshot that a worker may replace meanwhile
_STAGING: Final = ".backup"
_NAME: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z\.tar(\.encrypted)?")


class Source(Struct, frozen=True, kw_only=True):
    """What is saved. ``configuration``: the file that was read; None: there is none."""

    config: Config
    configuration: Path | None
    key: bytes | None = None


def into_folder(source: Source, folder: Path, *, keep: int | None) -> tuple[Path, Manifest]:
    """A new archive there; of those of this installation that are dated before it only ``keep`` - 1 stay (None: all), and
    the newest with credentials that it has not. Raises ``WaguardError``, ``OSError``."""
    _require_room(source, folder)
    now = time.time()
    stamp = _stamp(now)
    ours = _prefix(source)
    name = f"{ours}{stamp}.tar{'.encrypted' if source.key else ''}"
    draft = folder / f".{name}.new"
    with as_owner_of(folder):
        _clear_drafts(folder, ours)
        archives = bool(_archives(folder, ours))
        raw = open(draft, "x+b", opener=_private)  # noqa: SIM115 - closed below, with the rights of its owner
    with raw:
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
            manifest, before_it = _save(source, raw, now, archives=archives)
            with as_owner_of(folder):
                draft.rename(folder / name)
                sync_folder(folder)
        except BaseException:
            with as_owner_of(folder):
                draft.unlink(missing_ok=True)
            raise
    archive_path = (folder / name).absolute()
    with as_owner_of(folder):
        earlier = [
            it for it in manifest.earlier if not _is_gone(Path(it.archive), archive_path.parent)
        ]
    last = policy.last_of(manifest, str(archive_path), earlier)
    before_it.replace(source.config.paths.state, last)
    if keep is not None:
        with as_owner_of(folder):
            # those dated ahead are of a clock that is or was wrong: which one is not known
            older = [it for it in _archives(folder, ours) if it.name != name]
            older = sorted(it for it in older if it.name[: len(ours + stamp)] <= ours + stamp)
            stay = {Path(it.archive).name for it in last.holders}
            stay |= {it.name for it in unproven(source, folder, manifest)}
            for old in older[: max(0, len(older) - keep + 1)]:
                if old.name not in stay:
                    old.unlink()
    return folder / name, manifest


def unproven(source: Source, folder: Path, manifest: Manifest) -> list[Path]:
    """Archives there that may be the last with a session's credentials, which nobody knows. Raises ``OSError``."""
    if manifest.unknown_before is None:
        return []
    ours = _prefix(source)
    first_known = f"{ours}{_stamp(manifest.unknown_before)}"
    with as_owner_of(folder):
        return sorted(
            it for it in _archives(folder, ours) if it.name[: len(first_known)] < first_known
        )


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"


def _is_gone(archive: Path, folder: Path) -> bool:
    """Whether a person has deleted it; of another folder that is not known."""
    return archive.parent == folder and not archive.exists()


def _prefix(source: Source) -> str:
    """What the names of this installation's archives begin with: several may share a folder."""
    sessions = source.config.paths.sessions
    with as_owner_of(sessions):
        marker = installation_file.read(sessions)
    installation = re.sub(r"[^0-9A-Za-z]", "", marker.installation)[:32] if marker else ""
    return f"waguard-{installation}-" if installation else "waguard-"


def _archives(folder: Path, ours: str) -> list[Path]:
    return [
        it
        for it in folder.iterdir()
        if it.name.startswith(ours) and _NAME.fullmatch(it.name.removeprefix(ours))
    ]


def _clear_drafts(folder: Path, ours: str) -> None:
    """Delete what a run left that was killed: it may be a whole archive. Nobody holds its lock any more."""
    for draft in folder.glob(f".{ours}*.new"):
        if not _NAME.fullmatch(draft.name[1 + len(ours) : -len(".new")]):
            continue
        with contextlib.suppress(OSError), open(draft, "r+b", opener=_private) as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: another one is being made
            draft.unlink()


def _require_room(source: Source, folder: Path) -> None:
    """A copy of the database is made beside it, and all goes into the archive."""
    config, sessions = source.config, source.config.paths.sessions
    with as_owner_of(sessions):
        places = [layout.places(sessions, *place) for place in _places(sessions)]
        size = sum(disk.size_of(it.snapshots) for it in places)
    needed = []
    if database := sqlite_file(config.database.url):
        with as_owner_of(database):
            files = (database, database.with_name(f"{database.name}-wal"))
            copied = sum(map(room.size_of, files))
        needed, size = [(database.parent, copied)], size + copied
    room.require([*needed, (folder, size)], reserve=config.limits.disk_reserve << 20)


def into_stream(source: Source, stream: BinaryIO) -> Manifest:
    """The archive, as soon as it is whole and was read back. Raises ``WaguardError``, ``OSError``."""
    state = source.config.paths.state
    _require_room(source, state)
    with as_owner_of(state):
        raw = tempfile.TemporaryFile(dir=state)  # noqa: SIM115 - closed below
    with raw:
        manifest, before_it = _save(source, raw, time.time(), archives=False)
        raw.seek(0)
        shutil.copyfileobj(raw, stream)
        stream.flush()
    before_it.replace(state, policy.last_of(manifest, None, manifest.earlier))
    return manifest


def statements(config: Config) -> list[str]:
    """What dumps a database server's database; [] for SQLite, which is in the backup."""
    url = make_url(config.database.url)
    at = {"--host": url.host, "--port": url.port}
    options = [f"{name}={shlex.quote(str(value))}" for name, value in at.items() if value]
    name = shlex.quote(url.database or "")
    match url.get_backend_name():
        case "mysql" | "mariadb":
            user = f"--user={shlex.quote(url.username or '')} --password"
            line = f"mariadb-dump --single-transaction --quick {' '.join(options)} {user}"
            return [f"{line} {name} > {name}.sql"]
        case "postgresql":
            user = f"--username={shlex.quote(url.username or '')}"
            return [f"pg_dump --format=custom {' '.join(options)} {user} {name} > {name}.dump"]
        case _:
            return []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _save(source: Source, raw: BinaryIO, now: float, *, archives: bool) -> tuple[Manifest, Before]:
    """Write all of it, then read it back. Those of the earlier archives that are needed are in the manifest. ``archives``:
    there are some where it goes."""
    config, paths = source.config, source.config.paths
    writer = archive.ArchiveWriter(raw, source.key)
    for name, content in _small_files(source).items():
        writer.add_bytes(name, content)
    with as_owner_of(paths.sessions):
        marker = installation_file.read(paths.sessions)
        sessions = [
            _add_credentials(writer, number, layout.places(paths.sessions, *place))
            for number, place in enumerate(_places(paths.sessions))
        ]
    revision, known = _add_database(writer, config)
    before_it = before.read(paths.state, archives=archives)
    if marker is None and not sessions:
        before_it.require_mounted(config, known)
    earlier = before_it.needed(paths.sessions, sessions, known)
    sessions += policy.without_folder(known, {it.session for it in sessions})
    sessions += policy.without_place(earlier, {it.session for it in sessions})
    manifest = Manifest(
        waguard=waguard.__version__,
        made_at=now,
        installation=marker.installation if marker else "",
        database=without_passwords(config.database.url),
        revision=revision,
        sessions=tuple(sessions),
        members=(),
        earlier=tuple(earlier),
        unknown_before=before_it.unknown_before(now),
    )
    manifest = writer.finish(manifest)
    raw.flush()
    os.fsync(raw.fileno())
    raw.seek(0)
    if archive.read(raw, source.key) != manifest:
        raise WaguardError("what was written is not what is read back", field="FOLDER")
    return manifest, before_it


def _places(sessions: Path) -> list[tuple[int, str]]:
    """What lies there under a name that no session has is nobody's."""
    return [it for it in inventory.places_on_disk(sessions) if policy.is_session(it[1])]


def _small_files(source: Source) -> dict[str, bytes]:
    """By their names in the archive; what is not there is left out."""
    config, state, sessions = (
        source.config,
        source.config.paths.state,
        source.config.paths.sessions,
    )
    named = {
        policy.CONFIGURATION: source.configuration,
        policy.SECRET: config.webhook.secret_file,
        policy.DESTINATIONS: config.alerts.destination_file,
        policy.API_KEY: config.api.key_file,
    }
    ours = {
        policy.KEYS: state / key_memory.FILE,
        policy.VERSIONS: state / version_memory.FILE,
        policy.MARKER: sessions / installation_file.FILE,
    }
    with as_owner_of(state):
        ours |= {f"{policy.PROXIES}{path.name}": path for path in proxies.files(state)}
    found = {name: _read(name, path, named=True) for name, path in named.items() if path}
    found |= {name: _read(name, path, named=False) for name, path in ours.items()}
    return {name: content for name, content in found.items() if content is not None}


def _read(name: str, path: Path, *, named: bool) -> bytes | None:
    try:
        with as_owner_of(path):
            return small_file.read(path, limit=policy.limit(name) or 0, named=named)
    except FileNotFoundError:
        return None
    except (OSError, UnreadableError) as error:
        raise ConfigError(
            f"{path} cannot be saved: {error}",
            value=str(path),
            remedy="repair it (`waguard doctor`), or run this as root",
        ) from None


def _add_credentials(writer: archive.ArchiveWriter, number: int, at: Places) -> SavedSession:
    """The newest snapshot of the same pairing, else a new one; else why there is neither.

    A worker that is connected renews it each hour. One more each night would push the good ones out of a session
    that connects no more.
    """
    with contextlib.ExitStack() as stack:
        try:
            taken, files = _open_credentials(at, stack)
        except (WaguardError, OSError) as error:
            why = str(error)
            if isinstance(error, WaguardError):  # of this session anyway: no field
                why = WaguardError(error.message, remedy=error.remedy).line()
            return SavedSession(session=at.session, workspace=at.workspace, why=why)
        for name, file in files.items():
            writer.add(policy.place_of(number, name), file, _size(file))
    return SavedSession(
        session=at.session, workspace=at.workspace, snapshot=taken.id, taken_at=taken.taken_at
    )


def _open_credentials(at: Places, stack: contextlib.ExitStack) -> tuple[Taken, dict[str, BinaryIO]]:
    """A snapshot that was read whole, and its files, which stay readable when a worker deletes it. Raises
    ``WaguardError``, ``OSError``: nothing was added yet."""
    for left in reversed(range(_ATTEMPTS)):
        lies = at.snapshots / (_newest(at) or snapshot_now.create(at).id)
        try:
            taken = snapshots.verify(lies)
            files: dict[str, BinaryIO] = {
                it: stack.enter_context((lies / it).open("rb")) for it in policy.SNAPSHOT_FILES
            }
        except (SnapshotDamagedError, FileNotFoundError):  # gone since it was chosen
            if not left:
                raise
        else:
            break
    for name, file in files.items():
        if _size(file) > (most := policy.limit(policy.place_of(0, name)) or 0):
            raise WaguardError(
                f"its {name} has {_size(file) >> 20} MB, and a backup takes {most >> 20} MB",
                remedy=f"copy {lies} by hand",
            )
    return taken, files


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _newest(at: Places) -> str | None:
    token = owner_mark.pairing(at.profile)
    if token is None and owner_mark.logged_out(at.profile):
        return None  # it was logged out: what was copied before can be used no more
    usable = [
        it
        for it in snapshots.verified(at.snapshots)
        if it.intact and policy.is_snapshot(it.id, it.taken_at)
    ]
    return next((it.id for it in reversed(usable) if token in {None, it.pairing}), None)


def _add_database(writer: archive.ArchiveWriter, config: Config) -> tuple[str, list[Row]]:
    """Revision and sessions of the SQLite database that was added; empty: it is a server's."""
    source = sqlite_file(config.database.url)
    if source is None:
        return "", []
    with as_owner_of(source), _staging(source.parent) as made:
        copied = made / policy.DATABASE
        revision = rows.copy(source, copied)
        writer.add_path(policy.DATABASE, copied)
        return revision, rows.sessions(copied)


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty folder for one backup at a time, removed at the end; what a crash left is removed before."""
    made = folder / _STAGING
    private_folders(made)
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConflictError(
            "another backup is being made", remedy="wait until it has ended"
        ) from None
    try:
        for old in made.iterdir():
            old.unlink()
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)
