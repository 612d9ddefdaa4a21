"""A session's sentinels: sent at an interval while it is connected, and what came of the newest one.

A sentinel takes the way of a send, so what watches sends (acks, errors of the page, versions) learns of it. It is no
row of the outbox: nothing is repeated, delivered or counted.
"""

import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from loguru import logger

from waguard.config.sections import Config
from waguard.core.messages import sentinel
from waguard.core.messages.sentinel import Result
from waguard.core.phone_number import number_of
from waguard.ports.clock import Clock
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain
from waguard.wire.calls import SendText

NOT_REPORTED: Final = "WhatsApp acknowledged it, but the page did not report it as a message"


class Sentinel:
    """``since``: monotonic time since which it is connected, None: it is not; ``phone``: its number; ``send`` has a
    message sent, ``note`` puts an entry on the audit trail."""

    def __init__(
        self,
        session: str,
        clock: Clock,
        *,
        config: Callable[[], Config],
        since: Callable[[], float | None],
        phone: Callable[[], str | None],
        send: Callable[[SendText], Awaitable[Outcome]],
        note: Callable[..., None],
    ) -> None:
        self._session = session
        self._clock = clock
        self._config = config
        self._since = since
        self._phone = phone
        self._send = send
        self._note = note
        self._due: float | None = None
        """Monotonic time; None: it was never connected so far."""
        self._under_way = False
        self._unanswered = False
        self.result: Result | None = None
        """What came of the newest one that left, or may have left; None: none has."""
        self.failing_since = 0.0
        """Unix time of the first of those that failed in a row."""

    @property
    def words(self) -> str | None:
        """What is wrong; None: nothing, or nothing is known."""
        it = self.result
        if it is None or it.error is None or self._since() is None or not self._is_watched():
            return None
        return f"the message to its own number failed: {it.error}"

    def _is_watched(self) -> bool:
        return sentinel.is_watched(self._session, self._config().sentinel.sessions)

    def tick(self, begin: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        """Check the time; ``begin`` runs what has to wait for the page as a task."""
        if self._under_way or not self._is_watched():
            return
        since, phone = self._since(), number_of(self._phone())
        if since is None or phone is None:
            return
        if self._due is None:
            interval = self._config().sentinel.interval
            self._due = since + sentinel.first_pause(self._session, interval)
        if self._clock.monotonic() >= max(self._due, since + sentinel.AFTER_CONNECT):
            self._under_way = True
            begin(self._check(f"{phone}@c.us"), "sentinel")

    async def _check(self, chat: str) -> None:
        config, began, at = self._config(), self._clock.monotonic(), self._clock.wall()
        call = SendText(
            chat=chat,
            text=sentinel.text(secrets.token_hex(4)),
            message_id=sentinel.message_id(chat, secrets.token_hex(5)),
            timeout=config.send.timeout,
        )
        try:
            outcome = await self._send(call)
        finally:
            self._under_way = False
        now = self._clock.monotonic()
        # a worker that ends meanwhile, or a page that is closed, says nothing about the number: once
        unanswered = isinstance(outcome, Uncertain) and not outcome.at_page
        is_first, self._unanswered = unanswered and not self._unanswered, unanswered
        if isinstance(outcome, NotSent) or is_first:
            self._due = now + sentinel.RETRY
            return
        self._due = began + sentinel.pause(self._session, config.sentinel.interval)
        self._keep(Result(at=at, seconds=now - began, error=_error(outcome)))

    def _keep(self, result: Result) -> None:
        before, self.result = self.result, result
        failed = before is not None and before.error is not None
        log = logger.bind(session=self._session, condition="sentinel_failed")
        if result.error is not None and not failed:
            self.failing_since = result.at
            log.warning(
                "the message to its own number failed", event="sentinel_failed", why=result.error
            )
            self._note("sentinel_failed", reason=result.error)
        elif result.error is None and failed:
            log.info("the message to its own number works again", event="sentinel_back")
            self._note("sentinel_back", reason="the message to its own number works again")


def _error(outcome: Acked | Refused | Uncertain) -> str | None:
    match outcome:
        case Acked(seen=False):
            return NOT_REPORTED
        case Acked():
            return None
        case Refused(error=error):
            return error.message
        case Uncertain(why=why):
            return why
