"""What a session's dead worker left: searched for only where something may be left, and ended."""

import asyncio

from waguard.core.blame import Blame, Failure
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import SessionProfile
from waguard.supervision.status_writer import StatusWriter
from waguard.wire.worker import WorkerSpec


class Remains:
    """Knows the process groups of the last worker and its browser."""

    def __init__(self, ctx: SessionContext, profile: SessionProfile, writer: StatusWriter) -> None:
        self._ctx = ctx
        self._profile = profile
        self._writer = writer
        self._groups: tuple[int, ...] | None = None
        self._exited_at = float("-inf")

    def exited(self, groups: tuple[int, ...] | None) -> None:
        """The worker ended now; ``groups``: its process group and its browser's, None: not all are known. Empty: a check
        of all processes has found nothing of it."""
        self._groups, self._exited_at = groups, self._ctx.clock.monotonic()

    async def end(self, spec: WorkerSpec) -> Failure | None:
        """End what a dead worker left on this profile; not None: a foreign process uses it."""
        if self._none():
            return None
        swept = await self._ctx.spawn.sweep(records=spec.record, profiles=spec.profile)
        for stray in swept.ended:
            self._writer.record("stray_ended", reason=stray.command, evidence={"pid": stray.pid})
        if not swept.foreign:
            return None
        cause = "another process uses a profile"
        return Failure(Blame.HOST, "profile_locked", cause, str(swept.foreign[0]))

    def _none(self) -> bool:
        """Whether the last worker surely left nothing: its groups are empty (what is stopped holds no lock), and
        nobody uses the profile. After a while a browser of somebody else may, which locks it in another way."""
        if self._groups is None:
            return False
        if self._ctx.clock.monotonic() - self._exited_at >= self._ctx.timings.clear:
            return False
        return all(map(self._ctx.spawn.is_empty, self._groups)) and self._profile.is_unused()

    def end_of(self, group: int, reason: str) -> None:
        """End what is left in a process group."""
        if self._ctx.spawn.end_remains(group):
            self._writer.record("stray_ended", reason=reason, evidence={"pid": group})

    async def end_of_browser(self, browser: int) -> None:
        """End what a dead browser left: what was stopped does not notice that its Chromium is gone."""
        await asyncio.sleep(self._ctx.timings.remains)
        self.end_of(browser, "its Chromium was gone")
