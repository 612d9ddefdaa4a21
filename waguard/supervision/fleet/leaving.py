"""How a session leaves permanently: unlinked at WhatsApp, stopped, its profile quarantined.

Its row has said so before any of it begins, so a daemon that dies in the middle leaves a removed row
and possibly a profile, which ``finish`` quarantines.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.core.link import Link
from waguard.core.session.facts import Left
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.sessions import THE_API
from waguard.profile import inspection, layout, old_profiles, owner_mark
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.profile.old_profiles import OldProfileInUseError
from waguard.supervision.session.actor import SessionActor
from waguard.wire.calls import Unlink

DELETED: Final = f"deleted by {THE_API}"


async def leave(session: SessionActor, *, why: str, deadline: float) -> None:
    """Log out at WhatsApp where that can be done; the profile never comes back by itself.

    ``deadline``: see ``Timings.unlink``. Raises ``WaguardError`` where the profile is in use, or another host has the
    session meanwhile.
    """
    token = owner_mark.pairing(session.profile.at.profile)
    session.post(Left())
    await _unlink(session, deadline)
    await session.stop()
    _require_here(session)
    await _quarantine(session, token, why)


async def finish(session: SessionActor) -> None:
    """End a removal in whose middle a daemon died: nobody gets the old profile any more.

    For a removed session. Raises as ``leave``.
    """
    await session.stop()
    _require_here(session)
    session.profile.follow_row()
    if inspection.something_left(session.profile.at) or session.profile.old():
        _warn(session, "waguard was ended in the middle of it")
        await _quarantine(session, owner_mark.pairing(session.profile.at.profile), DELETED)


def _require_here(session: SessionActor) -> None:
    """Raises ``UnavailableError`` where its worker may live on: whoever has it next ends what was begun here."""
    if session.is_forgotten:
        why = "another host has the session now" if session.is_lost else "waguard ends"
        raise UnavailableError(
            f"{why}, and what was begun is ended by the next daemon", retry_after=5
        )


async def _unlink(session: SessionActor, deadline: float) -> None:
    if session.link is not Link.CONNECTED:
        _warn(session, "it is not connected")
        return
    try:
        async with asyncio.timeout(deadline):
            await session.traffic.call(Unlink())
    except (WaguardError, TimeoutError) as error:
        _warn(session, str(error) or f"no answer within {deadline:g} s")


def _warn(session: SessionActor, why: str) -> None:
    logger.warning(
        "the session is not unlinked: remove the device on the phone",
        event="unlink_failed",
        session=session.row.session_id,
        why=why,
    )


async def _quarantine(session: SessionActor, token: str | None, why: str) -> None:
    row = session.row
    session.profile.follow_row()
    if quarantined := await asyncio.to_thread(_retire, session.profile.at, token, why):
        logger.info(
            "the profile is quarantined",
            event="profile_quarantined",
            session=row.session_id,
            folder=str(quarantined),
        )
    await session.profile.clear_shipped()
    session.publisher.writer.record("left", reason=why)


def _retire(at: Places, token: str | None, why: str) -> Path | None:
    if not layout.exists(at.profile):
        with contextlib.suppress(OldProfileInUseError):
            old_profiles.migrate(at, known=False)
    with ProfileLock(at.profile) as lock:
        return old_profiles.retire(at, lock.descriptor, token=token, why=why, known=False)
