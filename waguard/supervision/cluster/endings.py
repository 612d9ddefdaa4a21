"""Sessions that end here: in order, with their last rows written, or at once."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Final

from loguru import logger

from waguard.core.cluster.owner_facts import Ended, Release, Stays
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.cluster import OwnedSessions, Owners
from waguard.supervision.cluster.acquiring import Acquiring
from waguard.supervision.cluster.engine_calls import EngineCalls

AGAIN: Final = 5.0  # s until what failed is tried again, where nobody says when


class Endings:
    """``report`` gets ``Ended`` when nothing of a session runs here and memory has nothing of it, with a release when its
    row was written too, or could not be; and ``Stays`` when it cannot leave."""

    def __init__(
        self,
        owners: Owners,
        sessions: OwnedSessions,
        acquiring: Acquiring,
        calls: EngineCalls,
        *,
        report: Callable[[Ended | Stays], None],
    ) -> None:
        self._owners = owners
        self._sessions = sessions
        self._acquiring = acquiring
        self._calls = calls
        self._report = report
        self._closing: dict[str, int] = {}
        self._unlent: set[str] = set()
        """Those of ``_closing`` whose lease ran out: nothing that runs of them may go on."""
        self._stopping = False

    @property
    def closing(self) -> Mapping[str, int]:
        """Those that are being ended in order, with their epochs: their last rows are written meanwhile."""
        return self._closing

    def is_closing(self, session: str) -> bool:
        """Whether it is lent nothing further. What leaves while the lease is held has the time that its end takes: who
        is killed in the middle of it may leave a damaged profile."""
        return session in self._unlent

    def release(self, it: Release) -> None:
        """End one in order, then write its row."""
        self._closing[it.session] = it.epoch
        self._calls.begin(self._release(it), "release")

    def close(self, owned: Mapping[str, int]) -> None:
        """End them in order; their rows stay."""
        self._closing |= owned
        self._unlent.update(self._closing)
        for session in owned:
            self._calls.begin(self._close(session), "close")

    def lose(self, sessions: Collection[str]) -> None:
        """End them at once, and write nothing."""
        if sessions:
            self._calls.begin(self._lose(sessions), "lose")

    def release_all(self, owned: Mapping[str, int]) -> None:
        """End all in order, at the same time, for whoever has room: ``EngineCalls.end`` waits for that. What cannot leave
        stays as it is."""
        self._stopping = True
        for session, epoch in owned.items():
            self.release(Release(session, epoch, None))

    async def _release(self, it: Release) -> None:
        if why := await self._refused(it.session):
            if self._stopping:
                return
            if it.session not in self._unlent:
                self._closing.pop(it.session, None)
                self._report(Stays(it.session, it.epoch, why.retry_after or AGAIN))
                return
            await self._end_at_once([it.session])
        try:
            await self._owners.release(it.session, it.epoch, to_host=it.to_host)
        except WaguardError as error:
            logger.warning(
                "a session was ended, and its owner is not written",
                event="owner_not_written",
                session=it.session,
                why=error.line(),
            )
        except Exception as error:  # noqa: BLE001 - else it would never be said that it has ended
            logger.opt(exception=error).critical(
                "a bug in waguard", event="bug", call="release", session=it.session
            )
        self._end(it.session)

    async def _refused(self, session: str) -> UnavailableError | None:
        """Why it cannot leave now; None: it has ended."""
        await self._acquiring.drop([session])
        try:
            await self._sessions.release(session)
        except UnavailableError as error:
            logger.warning(
                "a session cannot leave and stays",
                event="session_stays",
                session=session,
                why=error.line(),
            )
            return error
        except Exception as error:  # noqa: BLE001 - whoever owns it next must not find it running
            logger.opt(exception=error).critical(
                "a bug in waguard", event="bug", call="release", session=session
            )
            await self._end_at_once([session])
        return None

    async def _close(self, session: str) -> None:
        if await self._refused(session):
            await self._end_at_once([session])
        self._end(session)

    async def _lose(self, sessions: Collection[str]) -> None:
        # together: their workers are killed at once, and none of them is brought up meanwhile
        _, was_brought_up = await asyncio.gather(
            self._end_at_once(sessions), self._acquiring.drop(sessions)
        )
        if was_brought_up:
            await self._end_at_once(sessions)
        for session in sessions:
            self._end(session)

    async def _end_at_once(self, sessions: Collection[str]) -> None:
        """Return when they have ended: after a bug they may run, and what may run is not claimed again here."""
        while True:
            try:
                await self._sessions.lose(sessions)
            except Exception as error:  # noqa: BLE001 - else it would never be said that they have ended
                logger.opt(exception=error).critical("a bug in waguard", event="bug", call="lose")
                await asyncio.sleep(AGAIN)
            else:
                return

    def _end(self, session: str) -> None:
        self._closing.pop(session, None)
        self._unlent.discard(session)
        self._report(Ended(session))
