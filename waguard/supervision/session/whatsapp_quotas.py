"""What WhatsApp grants a session no more of for a while: first contacts, and pairing codes.

``core/messages/first_contact_pauses.py`` and ``core/messages/pairing_codes.py`` decide. What they decided is kept in the
session's row, so that the next daemon goes on with it; how many were refused in a row is not.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

import msgspec
from loguru import logger
from msgspec import Struct

from waguard.core import remedies
from waguard.core.messages import pairing_codes
from waguard.core.messages.first_contact_pauses import (
    Cause,
    ChatHistory,
    Pause,
    Result,
    Streak,
    after,
    bounded,
    by_word,
    is_active,
    is_disproved,
    is_locked,
    is_on_trial,
    lock,
    refused_after_all,
    rest,
)
from waguard.core.messages.message_ids import parse
from waguard.core.page_care import Kind
from waguard.core.replace import replace
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.clock import Clock
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain
from waguard.supervision.session.answers import error_of
from waguard.supervision.session.worker_link import WorkerLink
from waguard.wire.calls import Failed, PairingCode, Send, Value

TRIED_FOR: Final = 10.0  # s that a first contact waits for the one that is being tried
SILENT_AT_MOST: Final = 1_000
# of these results the message itself is the cause
OWN_FAULTS: Final = frozenset({"ERROR_UPLOAD", "ERROR_CANCELLED"})
# assumed: so wa-js would say it, where it throws instead of giving an ack of -1
_LOCKED: Final = re.compile(r"\b463\b|time-?lock", re.IGNORECASE)


class _Kept(Struct, omit_defaults=True, frozen=True, kw_only=True):
    """In the row, as JSON. ``phone``: the number that the pause is about."""

    codes: tuple[float, ...] = ()
    codes_refused: float | None = None
    pause: Pause | None = None
    phone: str | None = None


def _read(kept: str | None) -> _Kept:
    """What cannot be read is nothing: then WhatsApp says it once more."""
    try:
        found = msgspec.json.decode(kept, type=_Kept) if kept else _Kept()
        if found.pause:
            str(found.pause)  # a moment that no calendar has
    except (ValueError, OverflowError, OSError, RecursionError) as error:
        logger.warning(
            "the limits of an earlier run cannot be read", event="limits_unreadable", why=str(error)
        )
        return _Kept()
    return found


class Limits:
    """The limits of one session. ``phone``: the digits of the linked number; ``write`` has the row keep a text, and
    raises ``WaguardError``; ``retry``: see ``Timings.write_retry``. ``keep`` is run as a task by the owner."""

    def __init__(
        self,
        session: str,
        kept: str | None,
        clock: Clock,
        *,
        phone: Callable[[], str | None],
        write: Callable[[str | None], Awaitable[None]],
        retry: float,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._log = logger.bind(session=session)
        self._clock = clock
        self._phone = phone
        self._write = write
        self._retry = retry
        self._moved = moved
        self._kept = _read(kept)
        self._unwritten = asyncio.Event()
        self._streak = Streak()
        self._named: float | None = None
        self._trying = False
        self._silent: dict[str, None] = {}
        """Stems of first contacts that wait for WhatsApp's answer."""

    # ---- first contacts ----

    @property
    def pause(self) -> Pause | None:
        """Why no first contact goes now; None: they go."""
        pause = self._last
        return pause if is_active(pause, now=self._clock.wall()) else None

    @property
    def paused_for(self) -> float:
        """Seconds for which first contacts pause."""
        pause = self.pause
        return max(0.0, pause.until - self._clock.wall()) if pause else 0.0

    @property
    def _last(self) -> Pause | None:
        """The last pause of the linked number."""
        phone = self._phone()
        same = phone is None or self._kept.phone in {None, phone}
        pause = self._kept.pause if same else None
        if pause and (shorter := bounded(pause, now=self._clock.wall())) is not pause:
            self._change(pause=shorter)  # else each look would find its end as far away
            return shorter
        return pause

    @contextlib.contextmanager
    def _sending(self) -> Iterator[bool]:
        """Around a send: whether it must be no first contact. After a pause one is tried at a time."""
        pause = self._last
        on_trial = pause is not None and is_on_trial(pause, now=self._clock.wall())
        if self.pause or (on_trial and self._trying):
            yield True
            return
        self._trying = self._trying or on_trial
        try:
            yield False
        finally:
            if on_trial:
                self._trying = False

    async def send(self, link: WorkerLink, call: Send) -> Outcome:
        """Have a worker send it, within these limits."""
        with self._sending() as hold:
            outcome = await link.send(msgspec.structs.replace(call, hold=hold))
            self.ended(call.message_id, outcome)
        if isinstance(outcome, NotSent) and outcome.hold:
            return replace(outcome, error=_refusal(self._session, self.pause, self.paused_for))
        return outcome

    def ended(self, message_id: str, outcome: Outcome) -> None:
        """What came of a send."""
        if isinstance(outcome, NotSent):
            if outcome.hold == "paused":
                self.asked_too_often()
            return
        history, result = outcome.history, _result(outcome)
        if history is None or result is None:
            return
        if history is ChatHistory.FIRST and result is Result.SILENT:
            self._silent[_stem(message_id)] = None
            while len(self._silent) > SILENT_AT_MOST:
                del self._silent[next(iter(self._silent))]
        self._count(history, result)

    def is_silent(self, message_id: str) -> bool:
        """Whether it is a first contact that waits for WhatsApp's answer."""
        return _stem(message_id) in self._silent

    def answered(self, ids: Iterable[str], *, refused: bool) -> None:
        """WhatsApp's server has answered these messages after all."""
        for stem in map(_stem, ids if self._silent else ()):
            if stem in self._silent:
                del self._silent[stem]
                if refused:
                    self._evaluate(refused_after_all(self._streak))
                else:
                    self._count(ChatHistory.FIRST, Result.SENT)

    def said(self, locked_until: float | None) -> None:
        """By WhatsApp's page; as ``Report`` has it."""
        self._named = locked_until
        before = self._last
        pause = by_word(before, locked_until, now=self._clock.wall())
        if pause is not before:
            self._pause(pause)

    def asked_too_often(self) -> None:
        """WhatsApp answered a look-up of numbers with 429."""
        self._pause(rest(self._last, now=self._clock.wall()))

    def _count(self, history: ChatHistory, result: Result) -> None:
        now, before = self._clock.wall(), self._last
        first, active = history is ChatHistory.FIRST, is_active(before, now=now)
        if first and active and result is not Result.SENT:
            return  # it was on its way when the pause began
        if first and result is Result.SENT and before and is_disproved(before, now=now):
            self._pause(None)
        self._evaluate(after(self._streak, history, result))

    def _evaluate(self, streak: Streak) -> None:
        self._streak, now, before = streak, self._clock.wall(), self._last
        if not is_active(before, now=now) and is_locked(streak, before, now=now):
            self._pause(lock(before, now=now, named=self._named))

    def _pause(self, pause: Pause | None) -> None:
        if pause is not None and pause.cause is Cause.LOCKED:
            self._streak = Streak()
        if pause is not self._kept.pause:
            if pause is None:
                self._log.debug("first contacts continue")
            else:
                self._log.debug("first contacts pause", why=str(pause))
            self._change(pause=pause, phone=self._phone())

    # ---- pairing codes ----

    async def code(self, link: WorkerLink, call: PairingCode) -> Value:
        """Have a worker ask WhatsApp for one. Raises as ``WorkerLink.call``, and ``UnavailableError`` where
        WhatsApp grants no more of them for now."""
        self._require_code()
        answer = await link.ask(call)
        if isinstance(answer, Failed):
            self._code_failed(answer)
            raise error_of(answer)
        return answer

    def _require_code(self) -> None:
        """Before WhatsApp is asked for a pairing code. Raises ``UnavailableError``."""
        now, kept = self._clock.wall(), self._kept
        if left := pairing_codes.paused_for(kept.codes, kept.codes_refused, now=now):
            raise UnavailableError(
                "WhatsApp grants no further pairing code for now: too many were asked for",
                remedy=f"scan the QR code instead: `waguard qr {self._session}`",
                retry_after=left,
            )
        self._change(codes=(*pairing_codes.recent(kept.codes, now=now), now))

    def _code_failed(self, failed: Failed) -> None:
        """WhatsApp was not asked, or said no. Raises ``UnavailableError`` where it said 429."""
        if failed.kind == "not_ready":
            self._change(codes=self._kept.codes[:-1])
        elif failed.kind == "too_often":
            self._change(codes_refused=self._clock.wall())
            self._require_code()

    # ---- the row ----

    @property
    def pending(self) -> bool:
        """Whether the row does not have it yet."""
        return self._unwritten.is_set()

    def _change(self, **changes: object) -> None:
        self._kept = msgspec.structs.replace(self._kept, **changes)
        self._unwritten.set()

    async def keep(self) -> None:
        """Write it forever. A bug is logged once, until a write succeeds."""
        logged = False
        while True:
            await self._unwritten.wait()
            meant = self._kept
            try:
                text = msgspec.json.encode(meant).decode()
                await self._write(None if meant == _Kept() else text)
            except Exception as error:  # noqa: BLE001 - else no pause is ever stored again
                if isinstance(error, WaguardError):
                    self._log.debug("the limits are not written; trying again", why=error.line())
                elif not logged:
                    logged, log = True, self._log.opt(exception=error)
                    log.critical("a bug in waguard", event="bug", task="limits")
                await asyncio.sleep(self._retry)
                continue
            logged = False
            if meant is self._kept:
                self._unwritten.clear()
            self._moved()


def _refusal(session: str, pause: Pause | None, paused_for: float) -> UnavailableError:
    """The answer to a first contact now."""
    why, after = str(pause), paused_for
    if pause is None:
        why, after = "WhatsApp refused first contacts of late, and one is being tried", TRIED_FOR
    advice = remedies.text(remedies.PAGE[Kind.FIRST_CONTACTS_PAUSED], session)
    return UnavailableError(
        why,
        field="recipient_phone",
        remedy=f"{advice} With `queue` a message waits until then.",
        retry_after=after,
    )


def _result(outcome: Outcome) -> Result | None:
    match outcome:
        case Acked():
            return Result.SENT
        case Refused(word=str() as word):
            return None if word in OWN_FAULTS else Result.REFUSED
        case Refused(error) if error.field is None and _LOCKED.search(error.message):
            return Result.REFUSED
        case Uncertain(at_page=True):
            return Result.SILENT
        case _:
            return None


def _stem(message_id: str) -> str:
    key = parse(message_id)
    return key.stem if key else message_id
