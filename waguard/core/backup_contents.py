"""What a backup has, what its archive may hold, and whether it may be restored here. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct

from waguard.core.replace import replace
from waguard.core.restored import is_time

FORMAT: Final = 1
"""A field that a restore must not ignore is a new format."""
MANIFEST: Final = "manifest.json"
DATABASE: Final = "database.sqlite"
API_KEY: Final = "state/api-key"
KEYS: Final = "state/keys.json"
VERSIONS: Final = "state/versions.json"
MARKER: Final = "sessions/waguard-installation.json"
CONFIGURATION: Final = "configuration/waguard.toml"
SECRET: Final = "configuration/webhook-secret"  # noqa: S105 - a name in the archive
DESTINATIONS: Final = "configuration/alert-destinations"
SNAPSHOT_FILES: Final = ("credentials.tar.gz", "manifest.json")

_MB: Final = 1 << 20
_LIMITS: Final[Mapping[str, int | None]] = {
    DATABASE: None,  # by the disk
    API_KEY: _MB,
    KEYS: 16 * _MB,
    VERSIONS: _MB,
    MARKER: _MB,
    CONFIGURATION: _MB,
    SECRET: _MB,
    DESTINATIONS: _MB,
    MANIFEST: 64 * _MB,
}
_SNAPSHOT: Final = re.compile(r"credentials/[0-9]{1,5}/(?:credentials\.tar\.gz|manifest\.json)")
PROXIES: Final = "state/proxies/"
_PROXY: Final = re.compile(rf"{PROXIES}[A-Za-z0-9_-]{{1,128}}\.json")
_PROXY_LIMIT: Final = 1 << 13  # bytes
_SNAPSHOT_LIMIT: Final = 512 * _MB
_SESSION: Final = re.compile(r"[^/\0]{1,200}")
_SNAPSHOT_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
MEMBERS: Final = 200_000


class Member(Struct, frozen=True):
    """A file of the archive. ``size`` in bytes."""

    name: str
    size: int
    sha256: str


class SavedSession(Struct, frozen=True, kw_only=True):
    """A session's credentials in a backup. ``snapshot`` None: it has none, ``why`` says why."""

    session: str
    workspace: int
    snapshot: str | None = None
    taken_at: float | None = None
    """Unix time: what the phone and WhatsApp agreed on since then is not in it."""
    why: str | None = None


class Holder(Struct, frozen=True, kw_only=True):
    """The newest archive in a folder that has a session's credentials."""

    session: str
    workspace: int
    at: float
    """Unix time of the backup."""
    archive: str
    """The path of the file."""


class Manifest(Struct, frozen=True, kw_only=True):
    """The last file of the archive. The credentials of the session at place ``n`` of ``sessions`` are in
    ``credentials/<n>/``."""

    format: int = FORMAT
    waguard: str
    made_at: float
    """Unix time."""
    installation: str
    """Empty: no marker could be read."""
    database: str
    """The name of the database, without user and password."""
    revision: str = ""
    """The revision of the SQLite database that is in it; empty: a server's, which is not."""
    sessions: tuple[SavedSession, ...]
    members: tuple[Member, ...]
    earlier: tuple[Holder, ...] = ()
    """Which older archives have credentials that may still be needed; a restore remembers them."""
    unknown_before: float | None = None
    """Unix time: which credentials the archives have that were made before it is not known. None: nothing is unknown."""

    @property
    def has_database(self) -> bool:
        """Whether the database is in it."""
        return any(it.name == DATABASE for it in self.members)


def place_of(number: int, file: str) -> str:
    """Where a file of the credentials lies in the archive."""
    return f"credentials/{number}/{file}"


def limit(name: str) -> int | None:
    """The most bytes that a file of this name may have; None: as many as the disk. Raises ``ValueError`` for a
    name that no backup has."""
    if _SNAPSHOT.fullmatch(name):
        return _SNAPSHOT_LIMIT
    if _PROXY.fullmatch(name):
        return _PROXY_LIMIT
    if name not in _LIMITS:
        raise ValueError(f"{name[:100]!r} does not belong in it")
    return _LIMITS[name]


def why_wrong(manifest: Manifest, found: Mapping[str, Member]) -> str | None:
    """What is wrong with an archive that was read to its end; ``found``: by name, without the manifest. None:
    nothing."""
    if manifest.format != FORMAT:
        return f"it has format {manifest.format}, and this waguard knows {FORMAT}"
    if not is_time(manifest.made_at):
        return f"it was made at {manifest.made_at}, which is no time"
    said = {it.name: it for it in manifest.members}
    for name in sorted(said.keys() | found.keys()):
        if name not in found:
            return f"{name!r} is missing"
        if said.get(name) != found[name]:
            return f"{name} is not what was written"
    places = {(it.workspace, it.session) for it in manifest.sessions}
    if len(places) != len(manifest.sessions):
        return "it has a session twice"
    whys = (_why_no_session(n, it, found) for n, it in enumerate(manifest.sessions))
    return next((why for why in whys if why), None)


def is_session(name: str) -> bool:
    """Whether it may be a part of a path behind ``session-``."""
    return _SESSION.fullmatch(name) is not None


def is_snapshot(id_: str, taken_at: float) -> bool:
    """Whether an archive may hold a snapshot of this name and unix time: a person may have made another one."""
    return is_time(taken_at) and _SNAPSHOT_ID.fullmatch(id_) is not None


def _why_no_session(number: int, it: SavedSession, found: Mapping[str, Member]) -> str | None:
    if not is_session(it.session) or it.workspace < 0:
        return f"{it.session[:100]!r} is no session of a workspace"
    if it.snapshot is None:
        return None
    if it.taken_at is not None and not is_time(it.taken_at):
        return f"the credentials of {it.session} were copied at {it.taken_at}, which is no time"
    if not _SNAPSHOT_ID.fullmatch(it.snapshot):
        return f"{it.snapshot[:100]!r} is no snapshot"
    missing = [file for file in SNAPSHOT_FILES if place_of(number, file) not in found]
    return f"the {missing[0]} of {it.session} is missing" if missing else None


def with_failures(manifest: Manifest, failed: Mapping[int, str]) -> Manifest:
    """As it was restored. ``failed``: why, by the place of a session whose credentials are unusable."""
    sessions = tuple(
        replace(it, snapshot=None, why=failed[number]) if number in failed else it
        for number, it in enumerate(manifest.sessions)
    )
    return replace(manifest, sessions=sessions)


# ---- where it is restored ----


class Place(Struct, frozen=True, kw_only=True):
    """What was found where a backup is to be restored."""

    sessions: Sequence[str] = ()
    """Sessions with a profile or a snapshot."""
    quarantine: bool = False
    """Profiles lie in the quarantine."""
    rows: int | None = 0
    """Sessions in the database; None: that is not known."""
    sqlite: bool
    """The configured database is an SQLite file."""
    database: str
    revision: str = ""
    """The newest revision that this waguard knows."""


def refusals(manifest: Manifest, place: Place) -> list[str]:
    """Why it is not restored there; []: it is."""
    found = []
    if place.sessions:
        names = ", ".join(place.sessions[:5]) + (", …" if len(place.sessions) > 5 else "")  # noqa: PLR2004
        found.append(f"paths.sessions has profiles or snapshots: {names}")
    if place.quarantine:
        found.append("paths.sessions has profiles in the quarantine")
    if place.sqlite and not manifest.has_database:
        found.append(
            f"database.url names an SQLite file, and the backup belongs to {manifest.database}"
        )
    if not place.sqlite and manifest.has_database:
        found.append(f"the backup has an SQLite database, and database.url names {place.database}")
    if place.sqlite and place.rows is None:
        found.append(f"what is in {place.database} cannot be read")
    elif place.sqlite and place.rows:
        found.append(f"{place.database} has {place.rows} sessions")
    if manifest.revision.isdecimal() and int(manifest.revision) > int(place.revision or 0):
        found.append(
            f"its database has revision {manifest.revision}, and this waguard knows {place.revision}: install"
            f" waguard {manifest.waguard}"
        )
    return found


# ---- how old the last one is ----


class LastBackup(Struct, frozen=True, kw_only=True):
    """The newest backup, as the state folder has it."""

    at: float
    """Unix time."""
    where: str
    missing: tuple[str, ...] = ()
    """Sessions without credentials in it."""
    saved: int = 0
    """How many sessions have credentials in it."""
    holders: tuple[Holder, ...] = ()
    """Which archive has each session that is in it, or that it lacks."""
    unknown_before: float | None = None
    """See ``Manifest.unknown_before``."""


# ---- what the disk does not have ----


class Row(Struct, frozen=True, kw_only=True):
    """A session of the database."""

    session: str
    workspace: int
    unpaired: bool
    """No phone is linked to it."""


def without_folder(rows: Sequence[Row], found: Collection[str]) -> list[SavedSession]:
    """Sessions that are not among those ``found`` on the disk, in whichever workspace."""
    why = "there is no profile and no snapshot of it in paths.sessions"
    return [
        SavedSession(session=it.session, workspace=it.workspace, why=why)
        for it in rows
        if it.session not in found and is_session(it.session) and it.workspace >= 0
    ]


def needed(
    holders: Sequence[Holder],
    saved: Collection[str],
    rows: Sequence[Row],
    quarantined: Mapping[str, float],
) -> list[Holder]:
    """Those of the sessions that are ``saved`` again, or were neither deleted nor logged out: the disk of a workspace may
    be away. ``rows`` of a server's database are empty. ``quarantined``: the unix time, by session."""
    linked = {it.session for it in rows if not it.unpaired}
    return [
        it
        for it in holders
        if it.session in saved
        or ((not rows or it.session in linked) and quarantined.get(it.session, 0.0) < it.at)
    ]


def without_place(holders: Sequence[Holder], named: Collection[str]) -> list[SavedSession]:
    """Sessions that an earlier backup has, and of which neither the disk nor the database has anything now."""
    return [
        SavedSession(
            session=it.session,
            workspace=it.workspace,
            why=f"there is no profile and no snapshot of it in paths.sessions; {it.archive} has its credentials",
        )
        for it in holders
        if it.session not in named
    ]


def holders_after(
    manifest: Manifest, archive: str | None, earlier: Sequence[Holder]
) -> tuple[Holder, ...]:
    """Who has which credentials after this backup. ``archive`` None: it went to a stream, and nobody knows whether it
    stays."""
    if archive is None:
        return tuple(earlier)
    new = {
        it.session: Holder(
            session=it.session, workspace=it.workspace, at=manifest.made_at, archive=archive
        )
        for it in manifest.sessions
        if it.snapshot is not None
    }
    return (*new.values(), *(it for it in earlier if it.session not in new))


def last_of(manifest: Manifest, archive: str | None, earlier: Sequence[Holder]) -> LastBackup:
    """What is remembered of this backup. ``archive`` and ``earlier`` are as of ``holders_after``."""
    missing = tuple(it.session for it in manifest.sessions if it.snapshot is None)
    return LastBackup(
        at=manifest.made_at,
        where=archive or "stdout",
        missing=missing,
        saved=len(manifest.sessions) - len(missing),
        holders=holders_after(manifest, archive, earlier),
        unknown_before=manifest.unknown_before,
    )


def why_unmounted(rows: Sequence[Row], last: LastBackup | None) -> str | None:
    """Why a folder without a marker and without a session is not that of the sessions. ``rows``: of the database that is
    in the backup. None: it may be."""
    if linked := sum(not it.unpaired for it in rows):
        return f"the database has {linked} session{'s' * (linked > 1)}"
    return f"the last backup has {last.saved} sessions" if last and last.saved else None
