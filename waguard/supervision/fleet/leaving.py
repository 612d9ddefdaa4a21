"""How a session leaves permanently: unlinked at WhatsApp, stopped, its profile quarantined.

Its row has said so before any of it begins, so a daemon that dies in the middle leaves a removed row
and possibly a profile, which ``finish`` quarantines. The row of a session that was only logged out does not show
it: ``begin`` has marked its profile.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from loguru import logger

from waguard.core.link import Link
from waguard.core.profile.old_profiles import Credentials
from waguard.core.session.facts import Left
from waguard.errors import UnavailableError, WaguardError, one_line
from waguard.host.files import moving
from waguard.ports.sessions import THE_API, Last
from waguard.profile import inspection, leaving_mark, old_profiles, owner_mark, quarantine
from waguard.profile.leaving_mark import Leaving
from waguard.supervision.session.actor import SessionActor
from waguard.wire.calls import Unlink

DELETED: Final = f"deleted by {THE_API}"


async def begin(session: SessionActor, why: str) -> None:
    """Mark its profile before its row is written: whatever ends the daemon from then on, nobody uses it again. Raises
    ``UnavailableError`` where it cannot be marked: nothing was changed."""
    profile, mark = session.profile.at.profile, Leaving(session.row.generation, why)
    try:
        if session.profile.is_there() is not False:
            await asyncio.to_thread(leaving_mark.write, profile, mark)
    except OSError as error:
        raise UnavailableError(
            f"nothing was changed, as {profile} cannot be written: {error.strerror}",
            remedy="repair it (`waguard doctor`), then try again",
            retry_after=60,
        ) from None


def pairing(session: SessionActor) -> str | None:
    """Which pairing is to leave, read before its row is written; whichever it is, where its row says already that it
    leaves. Raises ``UnavailableError`` where that cannot be read now, or a disk of it is not mounted: nothing was changed."""
    at, row = session.profile.at, session.row
    quarantine.require_mounted(at)
    try:
        return owner_mark.pairing(at.profile)
    except OSError as error:
        if row.removed_at is not None or row.unpaired:
            return quarantine.WHICHEVER
        raise UnavailableError(
            f"nothing was changed, as its profile cannot be read now: {error}",
            remedy=f"try again; if the file stays unreadable: `waguard sessions stop {at.session}`,"
            f" `waguard profile quarantine {at.session}`, then try again",
            retry_after=60,
        ) from None


async def leave(
    session: SessionActor, *, token: str | None, why: str, deadline: float, last: Last = None
) -> None:
    """Log out at WhatsApp where that can be done; the profile never comes back by itself.

    ``token``: what ``pairing`` said; ``deadline``: see ``Timings.unlink``; ``last``: see ``Sessions.logout``.
    Raises ``WaguardError`` where the profile is in use or cannot be moved now, or another host has the session meanwhile.
    """
    session.post(Left())
    if await _unlink(session, deadline):
        session.profile.listed = False  # whatever fails from here on
    await session.stop()
    _require_here(session)
    if last:
        await last()
    with refusing():  # and its mark goes, by which the next start knows what was cut off
        await _quarantine(session, token, why)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Raises ``UnavailableError`` for an ``OSError`` of a profile."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"its profile cannot be used now: {error}", remedy="try again", retry_after=5
        ) from None


async def finish(session: SessionActor) -> None:
    """End a removal or logout in whose middle a daemon died: nobody gets the old profile any more.

    For a session that is removed, or whose profile is marked and whose row was just read. Raises as ``leave``.
    """
    why = DELETED
    if session.row.removed_at is None:
        if (mark := session.profile.logout_cut_off) is None:
            leaving_mark.remove(session.profile.at.profile)  # its row was never written
            return
        if session.row.desired_up:
            return  # its start does it, before its worker is spawned
        why = mark.why
    await session.stop()
    _require_here(session)
    session.profile.follow_row()
    if _is_left(session):
        _warn(session, "waguard was ended in the middle of it")
        await _quarantine(session, quarantine.WHICHEVER, why)


def _is_left(session: SessionActor) -> bool:
    """Whether anything of it is to be quarantined."""
    at = session.profile.at
    left = quarantine.was_begun(at.profile) or inspection.something_left(at)
    left = left or moving.is_uncleared(at.profile)
    return bool(left or session.profile.old() or leaving_mark.read(at.profile))


async def tidy(session: SessionActor) -> None:
    """After its end: the application has deleted its row. Where it was never paired nobody misses its profile, and no
    person has to decide about it."""
    profile = session.profile.at.profile
    with contextlib.suppress(WaguardError, OSError):  # it stays, and is a finding
        if session.profile.paired or owner_mark.was_ours(profile):
            return
        found = await asyncio.to_thread(old_profiles.examine, profile)
        if found.credentials is Credentials.UNPAIRED:
            await session.profile.quarantine(None, "its row was deleted, and it was never paired")


def _require_here(session: SessionActor) -> None:
    """Raises ``UnavailableError`` where its worker may live on: whoever has it next ends what was begun here."""
    if session.is_forgotten:
        why = "another host has the session now" if session.is_lost else "waguard ends"
        raise UnavailableError(
            f"{why}, and what was begun is ended by the next daemon", retry_after=5
        )


async def _unlink(session: SessionActor, deadline: float) -> bool:
    if session.link is not Link.CONNECTED:
        _warn(session, "it is not connected")
        return False
    try:
        async with asyncio.timeout(deadline):
            await session.traffic.call(Unlink())
    except (WaguardError, TimeoutError) as error:
        _warn(session, one_line(error) or f"no answer within {deadline:g} s")
        return False
    return True


def _warn(session: SessionActor, why: str) -> None:
    logger.warning(
        "the session is not unlinked: remove the device on the phone",
        event="unlink_failed",
        session=session.row.session_id,
        why=why,
    )


async def _quarantine(session: SessionActor, token: str | None, why: str) -> None:
    session.profile.follow_row()
    await session.profile.quarantine(token, why)
