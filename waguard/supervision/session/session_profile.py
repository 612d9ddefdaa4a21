"""One session's profile on disk: where it lies, whether it is there, what holds it up before a start."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from loguru import logger

from waguard.core.blame import Blame, Failure
from waguard.core.row_status import Status
from waguard.errors import WaguardError
from waguard.host.files.lock import private_folder
from waguard.ports.store import SessionRow
from waguard.profile import (
    chromium_lock,
    inspection,
    layout,
    leaving_mark,
    old_profiles,
    owner_mark,
    snapshots,
)
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import Leaving
from waguard.profile.lock import is_free
from waguard.profile.quarantine import WHICHEVER
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.status_writer import StatusWriter


def is_paired(row: SessionRow) -> bool:
    """Whether there is a profile to miss."""
    return row.status != Status.QR_SCANNING and not row.unpaired and row.removed_at is None


class ProfileUnreadableError(WaguardError):
    """The system does not let a profile be read now: whether it is there is unknown."""


class SessionProfile:
    """Where it lies follows the newest row, which ``writer`` has."""

    def __init__(self, ctx: SessionContext, writer: StatusWriter) -> None:
        self._ctx = ctx
        self._writer = writer
        self._workspace = writer.row.workspace_id
        """In which it lies; the row's may be newer."""
        self.listed = False
        """Whether a phone may still list it as linked, as the last logout or deletion found."""
        self._old_unusable: str | None = None
        """Why its old profile cannot be put in its place for now."""

    @property
    def at(self) -> Places:
        """Where it and the copies of it lie."""
        sessions = self._ctx.config().paths.sessions
        return layout.places(sessions, self._workspace, self._writer.row.session_id)

    @property
    def paired(self) -> bool:
        """Whether there is one to miss, by the row."""
        return is_paired(self._writer.row)

    @property
    def paired_at(self) -> float | None:
        """Unix time of its pairing; None: unknown, see ``owner_mark.paired_by``. Raises ``OSError``."""
        return owner_mark.paired_by(self.at.profile, self._ctx.clock.wall())

    def is_there(self) -> bool | None:
        """Whether it, a snapshot that may bring it back, an old one or a shared one is there; None: the folder of all
        profiles cannot be read. Raises ``OSError`` where its own cannot be read."""
        here = self._is_here()
        return True if here is False and self._is_shipped else here

    def _is_here(self) -> bool | None:
        try:
            if self.logout_cut_off:
                return False
            if inspection.something_left(self.at) or self.old():
                return True
        except OSError:
            if self._ctx.fleet.profiles_unknown:
                return None
            raise
        unknown = layout.away(self.at) or self._ctx.fleet.profiles_unknown
        return None if unknown else False

    def adopted_at(self, profile: str) -> None:
        """A living worker has it there."""
        self._workspace = layout.workspace_of(Path(profile), self._workspace)

    def find(self) -> None:
        """Know where it lies. Only a paired session is given one that lies elsewhere: an old one of a new session's name
        may be another customer's. Raises ``OSError``."""
        sessions, row = self._ctx.config().paths.sessions, self._writer.row
        if self._workspace != row.workspace_id or not self.paired or layout.exists(self.at.profile):
            return
        found = layout.elsewhere(sessions, row.workspace_id, row.session_id)
        if found is None:
            return
        profile = layout.path(sessions, found, row.session_id)
        # what lies here may be snapshots whose move was cut off, or old profiles
        if not self._is_here() or _has_newest_pairing(profile, self.at):
            self._workspace = found

    def follow_row(self) -> None:
        """Have it in the workspace of its row, before a start or after the last end. Raises ``OSError``."""
        self.find()
        sessions, row, before = self._ctx.config().paths.sessions, self._writer.row, self._workspace
        if layout.migrate(sessions, row.workspace_id, row.session_id, before=before):
            logger.warning(
                "profile moved to another workspace",
                event="profile_moved",
                session=row.session_id,
                before=before,
            )
        self._workspace = row.workspace_id

    async def migrate(self) -> None:
        """Have it in its place before a start: in the workspace of its row; an old one, where there is one. Raises
        ``ProfileUnreadableError``."""
        self._old_unusable, moved = None, None
        with _readable(self.at):
            self.follow_row()
            if not self.old():
                return
            known = not self._writer.row.unpaired
            try:
                moved = await asyncio.to_thread(old_profiles.migrate, self.at, known=known)
            except WaguardError as error:
                self._old_unusable = error.line()
        if moved:
            logger.info(
                "an old profile is used",
                event="old_profile_used",
                session=self._writer.row.session_id,
                folder=str(moved),
            )

    def old(self) -> list[Path]:
        """Old profiles of it, while waguard has none. Raises ``OSError``."""
        return old_profiles.waiting(self.at, known=not self._writer.row.unpaired)

    def is_missing(self) -> bool:
        """Whether the folder of all profiles has come back without its own. Raises ``ProfileUnreadableError``."""
        with _readable(self.at):
            left = inspection.something_left(self.at)
        return self.paired and not left and not self._is_shipped

    @property
    def _is_shipped(self) -> bool:
        shipping, row = self._ctx.shipping, self._writer.row
        # of one that was logged out, what is left is that of an earlier pairing
        return shipping is not None and not row.unpaired and shipping.has(row.session_id)

    async def have_newest(self) -> Failure | None:
        """Before a start, once nobody uses it: end a logout that was cut off; have the credentials of the host that used it
        last, where hosts share them. Why that cannot be done. Raises ``WaguardError``."""
        with _readable(self.at):
            if mark := self.logout_cut_off:
                await self.quarantine(WHICHEVER, mark.why)
        if not self._ctx.shipping:
            return None
        return await self._ctx.shipping.prepare(self.at, unpaired=self._writer.row.unpaired)

    def began(self) -> None:
        """A worker uses it from now on."""
        if self._ctx.shipping:
            self._ctx.shipping.began(self.at)

    async def hand_over(self) -> str | None:
        """After its end in order have all of its credentials shared, for its next host; why that cannot be done."""
        return await self._ctx.shipping.hand_over(self.at) if self._ctx.shipping else None

    @property
    def logout_cut_off(self) -> Leaving | None:
        """The mark of a logout that no daemon has ended; None: there is none, or the row was never written. Raises
        ``OSError`` where that cannot be read now."""
        row, mark = self._writer.row, leaving_mark.read(self.at.profile)
        return mark if mark and row.unpaired and row.generation > mark.generation else None

    async def quarantine(self, token: str | None, why: str) -> None:
        """Have nobody use it again, nor what was shared of it: the session leaves. Raises as ``quarantine.retire``."""
        retire = old_profiles.retire_unused
        if folder := await asyncio.to_thread(retire, self.at, token=token, why=why):
            logger.info(
                "the profile is quarantined",
                event="profile_quarantined",
                session=self._writer.row.session_id,
                folder=str(folder),
            )
        if self._ctx.shipping:
            await self._ctx.shipping.clear(self.at)
        self._writer.record("left", reason=why)

    def is_unused(self) -> bool:
        """Whether surely no worker and no browser uses it, whoever started that."""
        at = self.at.profile
        return is_free(at) and chromium_lock.is_free(at)

    def held_up(self, record: str) -> Failure | None:
        """Why no worker can be started on it for now. ``record``: where the worker's would lie."""
        if (link := layout.away(self.at)) is not None:
            where = layout.not_mounted(link)
            return _host("profile_not_mounted", "a profile's disk is not there", where)
        if self._old_unusable:
            return _host("old_profile_in_use", "an old profile is in use", self._old_unusable)
        try:
            private_folder(Path(record).parent)
        except OSError as error:
            why = f"paths.runtime cannot be used: {error.strerror}"
            return _host("runtime_unusable", "paths.runtime cannot be used", why)
        return None


@contextlib.contextmanager
def _readable(at: Places) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"its profile cannot be used now: {error}"
        raise ProfileUnreadableError(why, value=str(at.profile)) from None


def _has_newest_pairing(profile: Path, at: Places) -> bool:
    """Whether none of the snapshots that lie at ``at`` is of a later pairing. Raises ``OSError``."""
    token = owner_mark.pairing(profile)
    copies = [it.pairing for it in snapshots.known(at.snapshots) if it.intact]
    return token is not None and token in (copies[-1:] or [token])


def may_be_linked(profile: SessionProfile) -> bool:
    """Whether a phone may have it: by its pairing mark, also where that cannot be read now; where this host has none, by its
    row."""
    at = profile.at.profile
    try:
        return bool(owner_mark.pairing(at)) or (profile.paired and not owner_mark.logged_out(at))
    except OSError:
        return True


def _host(reason: str, cause: str, message: str) -> Failure:
    return Failure(Blame.HOST, reason, cause, message)
