"""Takes what another host has received of a session of this one, and nobody has stored."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from loguru import logger

from waguard.errors import InvalidInputError, RefusedError, UnavailableError
from waguard.supervision.session.actor import SessionActor
from waguard.wire.left_events import LeftEvents, decoded

STORED_WITHIN: Final = 20.0  # s
RETRY_AFTER: Final = 5.0  # s


class Sessions(Protocol):
    """Those in memory."""

    def get(self, session_id: str) -> SessionActor | None:
        """The session, where memory has it."""


class LeftEventsHere:
    """``sessions``: those of this host; ``within``: seconds for the database."""

    def __init__(self, sessions: Callable[[], Sessions], *, within: float = STORED_WITHIN) -> None:
        self._sessions = sessions
        self._within = within

    async def store(self, session_id: str, generation: int | None, content: bytes) -> None:
        """Have them stored as what its own worker reports; returns after the commit. ``generation``: of the worker that had
        them, None: unknown.

        Raises ``InvalidInputError`` where they cannot be read, ``RefusedError`` where they are of an earlier pairing, and
        ``UnavailableError`` where they are not stored yet.
        """
        left = await self._read(session_id, content)
        session = self._sessions().get(session_id)
        if session is None or session.is_forgotten:
            raise UnavailableError("the session is not brought up yet", retry_after=RETRY_AFTER)
        if generation is not None and generation < session.row.generation:
            await _require_same_link(session, left)
        try:
            async with asyncio.timeout(self._within):
                await session.traffic.intake.store_left(left.events, left.records)
        except TimeoutError:
            raise UnavailableError("they are not stored yet", retry_after=RETRY_AFTER) from None
        logger.info(
            "events that another host had received are stored",
            event="left_events_taken",
            session=session_id,
            count=len(left.events) + len(left.records),
        )

    async def _read(self, session_id: str, content: bytes) -> LeftEvents:
        try:
            left = await asyncio.to_thread(decoded, content)
        except ValueError as error:
            raise InvalidInputError(
                f"the events cannot be read: {error}"[:200], field="content"
            ) from None
        if any(it.session_id != session_id for it in left.records):
            raise InvalidInputError("these events are of another session", field="session")
        return left


async def _require_same_link(session: SessionActor, left: LeftEvents) -> None:
    """The session was started, or created, since then; only where it was paired again it is another one."""
    paired_at = None
    with contextlib.suppress(OSError):
        paired_at = await asyncio.to_thread(lambda: session.profile.paired_at)
    if paired_at is None:
        raise UnavailableError("the session's pairing is not known yet", retry_after=RETRY_AFTER)
    if any(it.at < paired_at for it in left.events):
        raise RefusedError("these events are of an earlier pairing of the session", field="session")
