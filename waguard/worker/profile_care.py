"""A session's profile from before Chromium starts until it has ended: repaired, marked, copied.

What is done is decided in ``core/profile/before_start.py`` and carried out by ``profile/repair.py``, in threads:
it reads and copies whole folders.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.core.profile import before_start
from waguard.core.profile.before_start import CredentialsLost, Damaged, Hold, ShowQr
from waguard.core.profile.snapshots import STORED_AFTER, due_in
from waguard.errors import WaguardError, one_line
from waguard.profile import caches, owner_mark, repair, snapshots, start_marks
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.profile.repair import Prepared
from waguard.wire.events import ProfileMended
from waguard.wire.worker import WorkerSpec

# s for which the copy at the worker's end, which is waited for, waits for another one: that is nearly as new
LAST_PATIENCE: Final = 1.0


class ProfileHeldError(WaguardError):
    """The profile cannot be used now: a person, or time, has to remove the cause."""


class ProfileCare:
    """Repairs and copies a profile whose lock is held. ``report`` is called with what was repaired."""

    def __init__(
        self, spec: WorkerSpec, lock: ProfileLock, report: Callable[[ProfileMended], None]
    ) -> None:
        self._spec = spec
        self._at = Places(
            session=spec.session,
            workspace=spec.workspace,
            profile=Path(spec.profile),
            snapshots=Path(spec.snapshots),
            quarantine=Path(spec.quarantine),
        )
        self._lock = lock
        self._report = report
        self._connected_since: float | None = None
        self._copied_at: float | None = None
        self._changed = asyncio.Event()
        self._unmarked: float | None = None
        """Unix time of a pairing whose mark could not be written yet."""
        self._logged_out = False
        """Whether the page still shows the link that was logged out, as it does for a while."""
        self.paired = False
        """Whether it holds a pairing, as far as waguard knows."""
        self._paired_at = 0.0
        """Unix time of the pairing; 0: unknown."""
        self.was_connected = False
        """In the life of this worker."""

    @property
    def lock(self) -> int:
        """The lock's descriptor, for Chromium to inherit."""
        return self._lock.descriptor

    # ---- before a start ----

    async def prepare(self) -> None:
        """Make it fit for Chromium. Raises ``ProfileHeldError``."""
        try:
            prepared = await asyncio.to_thread(self._prepare)
            self._report_repairs(prepared)
            self.paired = owner_mark.pairing(self._at.profile) is not None
            self._paired_at = owner_mark.paired_at(self._at.profile) or 0.0
        except (OSError, WaguardError) as error:
            raise ProfileHeldError(f"the profile could not be prepared: {error}") from None
        if isinstance(prepared.end, Hold):
            raise ProfileHeldError(prepared.end.why)

    def _prepare(self) -> Prepared:
        at, lock = self._at, self._lock.descriptor
        prepared = repair.prepare(at, lock)
        if isinstance(prepared.end, ShowQr):
            owner_mark.disown(at.profile, lock)  # what it holds connects no more
        if not isinstance(prepared.end, Hold):
            if not start_marks.clear_clean_exit(at.profile, lock):
                logger.debug("Chromium did not end in order the last time, if there was one")
            if freed := caches.clean(at.profile, lock, above=self._spec.cache_limit):
                logger.info(
                    "Chromium's caches emptied", event="caches_emptied", megabytes=freed >> 20
                )
        return prepared

    def _report_repairs(self, prepared: Prepared) -> None:
        done = [words for action in prepared.actions if (words := before_start.in_words(action))]
        first_time = prepared.found.pairing is None and isinstance(
            prepared.found.finding, before_start.Missing
        )
        if not done or (first_time and isinstance(prepared.actions[0], ShowQr)):
            return
        logger.debug("the profile is repaired", done=done, aside=prepared.quarantined)
        self._report(
            ProfileMended(
                done=tuple(done),
                grave=before_start.is_severe(prepared.actions),
                aside=str(prepared.quarantined) if prepared.quarantined else None,
            )
        )

    def suspect(self, finding: Damaged | CredentialsLost) -> None:
        """What a start showed that the files do not; the next ``prepare`` acts on it."""
        logger.error(
            "the profile is suspect: the next start inspects it",
            event="profile_suspected",
            why=finding.why,
        )
        with self._noted():
            start_marks.mark_suspect(self._at.profile, self._lock.descriptor, finding)

    # ---- while it runs ----

    def link_is(self, *, connected: bool) -> None:
        """To be called after each reading of the page."""
        self._logged_out = self._logged_out and connected
        if connected and self._paired_at > time.time():
            # only now: a clock that is wrong by years connects nothing
            self.claim(after_pairing=False)
        if connected is (self._connected_since is not None):
            return
        self._connected_since = time.monotonic() if connected else None
        self._changed.set()
        if connected:
            self.was_connected = True
            with self._noted():
                start_marks.proved(self._at.profile, self._lock.descriptor)

    def claim(self, *, after_pairing: bool, at: float | None = None) -> None:
        """Record whose pairing it holds; ``after_pairing``: by a pairing, whose credentials are on disk. ``at``:
        its unix time; None: now. A mark that cannot be written is written at the next call."""
        if self._logged_out and not after_pairing:
            return
        if after_pairing:
            self._unmarked = time.time() if at is None else at
        since, profile = self._unmarked, self._at.profile
        self._paired_at = 0.0  # one in the future that cannot be corrected is tried once
        with self._noted():
            owner_mark.claim(
                profile, self._lock.descriptor, after_pairing=since is not None, at=since
            )
            self.paired, self._unmarked = True, None
            self._paired_at = owner_mark.paired_at(profile) or 0.0

    def disown(self) -> None:
        """Disown the profile of a session that was logged out: what was copied before is unusable now."""
        self.paired, self._unmarked, self._logged_out = False, None, True
        with self._noted():
            owner_mark.disown(self._at.profile, self._lock.descriptor)

    async def keep_copies(self) -> None:
        """Copy the credentials when it is time, forever."""
        while True:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._due_in()):
                    await self._changed.wait()
                    continue
            if not await asyncio.to_thread(self._copy, running=True):
                await asyncio.sleep(STORED_AFTER)

    def _due_in(self) -> float | None:
        """Seconds; None: not while it is not connected."""
        if self._connected_since is None:
            return None
        now = time.monotonic()
        return due_in(
            connected_for=now - self._connected_since,
            last_taken_ago=None if self._copied_at is None else now - self._copied_at,
            every=self._spec.snapshot_interval,
        )

    def _copy(self, *, running: bool) -> bool:
        """Whether a copy was taken; there is none without a mark, which may be written yet."""
        at, now = self._at, time.time()
        try:
            if (token := owner_mark.pairing(at.profile)) is None:
                return False
            taken = snapshots.create(
                at.profile,
                at.snapshots,
                pairing=token,
                running=running,
                now=now,
                patience=snapshots.PATIENCE if running else LAST_PATIENCE,
            )
        except (OSError, WaguardError) as error:
            logger.warning("credentials not copied", event="snapshot_failed", why=one_line(error))
            return False
        self._copied_at = time.monotonic()
        logger.info(
            "credentials copied",
            event="snapshot_taken",
            snapshot=taken.id,
            bytes=taken.archive_size,
        )
        return True

    # ---- after its end ----

    async def ended(self, *, orderly: bool) -> None:
        """Chromium is gone. After an orderly end everything is written, and may be copied at once."""
        if not orderly:
            return
        with self._noted():
            start_marks.mark_clean_exit(self._at.profile, self._lock.descriptor)
        if self._connected_since is not None:
            await asyncio.to_thread(self._copy, running=False)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """A mark that cannot be written costs no session."""
        try:
            yield
        except (OSError, WaguardError) as error:
            logger.warning(
                "the profile could not be marked", event="profile_not_marked", why=one_line(error)
            )
