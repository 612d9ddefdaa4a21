"""Credentials that another host takes over: shipped while sessions run, laid down before a start.

Theory of operation. Each session that runs has a task from a change (messages, acks, reports of its page) until all is
shipped that the profile has gained (``SessionShipment``); most have nothing to ship, and none. Everything is written under the lease, so what another
host reads is always what a crash of the last holder at some moment would have left.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from loguru import logger

from waguard.core.blame import Blame, Failure
from waguard.core.profile.snapshots import STORED_AFTER
from waguard.core.shipping import LAST_ONES, MESSAGES, NEWER, due_in, not_shared_words
from waguard.errors import DatabaseUnavailableError, WaguardError, is_outage, one_line
from waguard.host.small_file import UnreadableError
from waguard.profile.layout import Places
from waguard.profile.leveldb import DamageError
from waguard.supervision.shipping import taking_over
from waguard.supervision.shipping.session_shipment import (
    LargeError,
    NotSharedError,
    SessionShipment,
    SupersededError,
)
from waguard.supervision.shipping.shipping_context import ShippingContext

SHOWN_AFTER: Final = 3  # attempts that fail
CUT_OFF: Final = "waguard was stopped before its last changes were shared"
NOT_BEGUN: Final = "nothing is shared of it yet: it is when it runs"
UNREADABLE: Final = "shared credentials cannot be read"
_EXPECTED: Final = (UnreadableError, DamageError, WaguardError, OSError)
UNKNOWN: Final = "the database does not say whose credentials are the newest"


class _Session:
    """One session's shipment, and when the next part of it is due."""

    def __init__(self, shipment: SessionShipment) -> None:
        self.shipment = shipment
        self.running: asyncio.Task[None] | None = None
        """Done while nothing is due."""
        self.life = 0
        """That of its shipment, in which its worker began."""
        self.ending: set[asyncio.Task[None]] = set()
        """Those that ship what its last workers have left."""
        self.ends = False
        self.woken = asyncio.Event()
        self.failures = 0
        """Attempts that have failed in a row."""
        self.changes = 0
        self.first: float | None = None
        """Monotonic time of the first change since the last shipment."""
        self.last: float | None = None
        """Monotonic time of the last change of all; None: what came late after it is shipped."""
        self.unshared: float | None = None
        """Monotonic time of the first change that no shipment has; None: there is none."""

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Those that ship it."""
        return self.ending | {self.running} if self.running else set(self.ending)

    def stop(self) -> None:
        """Ship no more of it: what was begun ends with its next piece."""
        self.ends = True
        self.shipment.life += 1
        self.woken.set()

    async def stopped(self) -> None:
        """Wait for the end of what was begun."""
        if self.tasks:
            await asyncio.wait(self.tasks)

    def start(self, run: Coroutine[Any, Any, None]) -> None:
        """Begin to ship what is due."""
        self.running = asyncio.create_task(run, name=f"{self.shipment.name}: shipping")

    def begin(self, now: float) -> None:
        """A worker runs from now on."""
        self.ends, self.changes, self.first, self.last = False, 0, None, now

    def changed(self, now: float) -> None:
        """Something may have been stored."""
        self.changes, self.last = self.changes + 1, now
        self.unshared = now if self.unshared is None else self.unshared
        if self.first is None or self.changes == MESSAGES:
            self.first = now if self.first is None else self.first
            self.woken.set()

    def due_in(self, now: float) -> float | None:
        """Seconds; None: nothing is due."""
        first_ago = None if self.first is None else now - self.first
        return due_in(self.changes, first_ago, None if self.last is None else now - self.last)

    def age(self, now: float) -> float:
        """Seconds since the first change that is not shared; 0: all of it is."""
        return 0.0 if self.unshared is None else now - self.unshared

    def begin_shipment(self, now: float) -> None:
        """What changes from now on is due later."""
        self.changes, self.first = 0, None
        if self.last is not None and now - self.last >= STORED_AFTER:
            self.last = None


class CredentialShipping:
    """``report`` gets why some sessions are not shared, None: all are."""

    def __init__(self, ctx: ShippingContext, report: Callable[[str | None], None]) -> None:
        self._ctx = ctx
        self._report_all = report
        self.sessions: dict[str, _Session] = {}
        """By name; for ``ages``."""
        self._not_shared: dict[str, str] = {}
        self._shipped: set[str] = set()
        self._unshipped: set[str] = set()
        """Sessions that have ended, and whose last changes are not shipped yet."""
        self._closing = asyncio.Event()

    async def load(
        self, paired: Collection[str] = (), sessions: Collection[str] | None = None
    ) -> None:
        """Read of which of these sessions (None: all) something was shipped, and report of whose of ``paired`` nothing
        was. Raises ``DatabaseUnavailableError``."""
        found = await self._ctx.store.shipped()
        if sessions is None:
            self._shipped = found
        else:
            self._shipped = self._shipped.difference(sessions) | found.intersection(sessions)
        self._not_shared |= dict.fromkeys(sorted(set(paired) - self._shipped), NOT_BEGUN)
        self._report_all(not_shared_words(self._not_shared))

    def has(self, session: str) -> bool:
        """Whether credentials of it can be laid down."""
        return session in self._shipped

    async def prepare(self, at: Places, *, unpaired: bool = False) -> Failure | None:
        """Have the newest credentials in the profile, before a start; why that cannot be done. ``unpaired``: the session
        was not paired since it was made, logged out or deleted."""
        it = self._of(at)
        it.shipment.life += 1  # what goes on of the worker before ends with its next piece
        it.woken.set()
        async with it.shipment.lock:
            try:
                newer = await taking_over.prepare(self._ctx, it.shipment, unpaired=unpaired)
            except DatabaseUnavailableError as error:
                return Failure(Blame.HOST, "credentials_unknown", UNKNOWN, error.line())
            except (UnreadableError, WaguardError, OSError) as error:
                why = one_line(error)
                logger.error(
                    UNREADABLE, event="credentials_unreadable", session=at.session, why=why
                )
                message = f"{UNREADABLE}: {why}"
                return Failure(Blame.HOST, "credentials_unreadable", UNREADABLE, message)
            if newer:
                logger.error(NEWER, event="profile_newer", session=at.session, why=newer)
                return Failure(Blame.HOST, "profile_newer", NEWER, newer)
            if it.shipment.claim is None or it.shipment.claim.sealed is None:
                self._shipped.discard(at.session)
        return None

    def began(self, at: Places) -> None:
        """A worker of this session runs."""
        it = self._of(at)
        it.begin(self._ctx.clock.monotonic())
        self._unshipped.discard(at.session)
        it.life = it.shipment.life
        it.start(self._run(it, it.life))

    def changed(self, session: str) -> None:
        """Something has happened that the page may have stored."""
        if (it := self.sessions.get(session)) is None:
            return
        it.changed(self._ctx.clock.monotonic())
        if it.running and it.running.done() and not it.ends and it.life == it.shipment.life:
            it.start(self._run(it, it.life))

    def ended(self, session: str) -> None:
        """The worker of this session is gone, and its browser."""
        if it := self.sessions.get(session):
            it.ends = True
            it.woken.set()
            last = self._end(it, it.shipment.life)
            task = asyncio.create_task(last, name=f"{session}: last shipment")
            it.ending.add(task)
            task.add_done_callback(it.ending.discard)

    def stop(self, session: str) -> None:
        """Another host has it: ship no more of it. What is under way ends with its next piece."""
        if it := self.sessions.get(session):
            it.stop()

    async def hand_over(self, at: Places) -> str | None:
        """After a session's end have all of it shipped for its next host, whatever its size; why that cannot be done."""
        it = self._of(at)
        it.stop()
        await it.stopped()
        ran = it.running is not None
        try:
            try:
                async with it.shipment.lock:
                    await taking_over.hand_over(self._ctx, it.shipment, ran=ran, paced=False)
            except LargeError:
                async with self._ctx.turn, it.shipment.lock:
                    await taking_over.hand_over(self._ctx, it.shipment, ran=ran, paced=True)
        except SupersededError:
            return "another host has the session"
        except (*_EXPECTED, NotSharedError) as error:
            return one_line(error)
        return None

    async def forget(self, session: str) -> None:
        """Keep nothing of a session that another host has. What goes on of it ends with its next piece."""
        it = self.sessions.pop(session, None)
        self._shipped.discard(session)
        self._unshipped.discard(session)
        self._report(session, None)
        if it:
            it.stop()
            await it.stopped()

    async def clear(self, at: Places) -> None:
        """Have nobody use what was shipped of it, nor another host's profile of it: it was logged out or deleted. Never
        raises."""
        it = self._of(at)
        async with it.shipment.lock:
            try:
                await it.shipment.leave()
            except WaguardError as error:
                logger.warning(
                    "shared credentials of a removed session are not deleted",
                    event="credentials_not_deleted",
                    session=at.session,
                    why=error.line(),
                )
        self._shipped_is(at.session, shipped=False)

    async def close(self, within: float = LAST_ONES) -> None:
        """Ship what is left, in so many seconds, after the end of all sessions. Nothing large is begun."""
        self._closing.set()
        for it in self.sessions.values():
            if not it.ends:  # its worker goes on, and so does the next daemon
                it.stop()
            it.woken.set()
        tasks = {task for it in self.sessions.values() for task in it.tasks}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for name in self._unshipped - self._not_shared.keys():
            self._report(name, CUT_OFF)

    async def _run(self, it: _Session, life: int) -> None:
        while not it.ends and it.shipment.life == life:
            due_in = it.due_in(self._ctx.clock.monotonic())
            if due_in is None:
                return  # until the next change
            it.woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due_in):
                    await it.woken.wait()
                    continue
            await self._ship(it, life)

    async def _end(self, it: _Session, life: int) -> None:
        self._unshipped.add(it.shipment.name)
        if it.running:
            await asyncio.wait([it.running])
        while not await self._ship(it, life, ended=True):
            if self._closing.is_set() or it.shipment.life != life:
                return
            it.woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ctx.again):
                    await it.woken.wait()
        if it.shipment.life == life:
            self._unshipped.discard(it.shipment.name)

    async def _ship(self, it: _Session, life: int, *, ended: bool = False) -> bool:
        """Ship what there is; False: that has failed, and is tried again. Nothing is raised."""
        it.begin_shipment(self._ctx.clock.monotonic())
        try:
            shipped = await self._ship_in_turn(it, life, ended=ended)
        except SupersededError:
            return True
        except NotSharedError as error:  # until something changes
            self._report(it.shipment.name, str(error))
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, the next shipment may be possible
            self._failed(it, error)
            return False
        it.failures, it.unshared = 0, it.first
        self._shipped_is(it.shipment.name, shipped=shipped)
        return True

    async def _ship_in_turn(self, it: _Session, life: int, *, ended: bool) -> bool:
        try:
            async with it.shipment.lock:
                return await it.shipment.ship(life, ended=ended, paced=False)
        except LargeError:
            if self._closing.is_set():  # there is no time for it
                raise NotSharedError(CUT_OFF) from None
            async with self._ctx.turn, it.shipment.lock:
                return await it.shipment.ship(life, ended=ended, paced=True)

    def _failed(self, it: _Session, error: Exception) -> None:
        name = it.shipment.name
        why = error.message if isinstance(error, WaguardError) else str(error)
        log = logger.bind(session=name).opt(exception=not isinstance(error, _EXPECTED))
        log.debug("credentials are not shipped", why=why)
        it.failures += 1
        if it.failures >= SHOWN_AFTER and not is_outage(error):
            self._report(name, why)
        it.first = self._ctx.clock.monotonic()  # it is due again

    def _of(self, at: Places) -> _Session:
        if at.session not in self.sessions:
            self.sessions[at.session] = _Session(SessionShipment(self._ctx, at))
        it = self.sessions[at.session]
        it.shipment.at = at
        return it

    def _shipped_is(self, session: str, *, shipped: bool) -> None:
        known = session in self.sessions  # and not forgotten meanwhile
        (self._shipped.add if shipped and known else self._shipped.discard)(session)
        self._report(session, None)

    def _report(self, session: str, why: str | None) -> None:
        before = dict(self._not_shared)
        if why is None:
            self._not_shared.pop(session, None)
        elif session in self.sessions:
            self._not_shared[session] = why
        if before != self._not_shared:
            self._report_all(not_shared_words(self._not_shared))


def ages(shipping: CredentialShipping, now: float) -> dict[str, float]:
    """By session, seconds since the first change of its credentials that is not shared; 0: all of it is. ``now``:
    monotonic time."""
    return {name: it.age(now) for name, it in sorted(shipping.sessions.items())}
