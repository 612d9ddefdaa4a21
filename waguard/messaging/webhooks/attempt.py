"""One attempt to deliver a webhook, and what came of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from loguru import logger

from waguard.core.webhooks import delivery
from waguard.core.webhooks.call_backs import Fate
from waguard.core.webhooks.delivery import Answer, Cause, Dead
from waguard.messaging.webhooks.delivery_context import NOT_ANNOUNCED, DeliveryContext
from waguard.messaging.webhooks.partitions import Key
from waguard.ports.webhooks import Pending

UNSURE: Final = (
    "the receiver answered 2xx and may have dropped the message: meanwhile the API answered both that "
    "the session is connected and that it is not"
)
SESSION_PARTITION: Final = ""

Post = Callable[[Pending, bytes], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class NotYet:
    """It was not sent, or the receiver dropped it: it waits for its session."""

    why: str
    works: bool = False
    """The receiver answered."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """It is not so any more, and what says so follows."""


Result = Answer | NotYet | Outdated | Dead | None
"""None: there is no such webhook any more."""

_FATES: Final[Mapping[Fate, NotYet | Dead]] = {
    Fate.DROPPED: NotYet(
        "the API answered the receiver that its session is not connected", works=True
    ),
    Fate.UNCERTAIN: Dead(UNSURE, Cause.UNCERTAIN),
}


class Attempts:
    """To one endpoint. ``complete`` makes a body as it is sent, ``post`` one request; ``holds``: does
    the receiver call back; ``is_announced``: does it have the ``session_ready`` of a session."""

    def __init__(
        self,
        ctx: DeliveryContext,
        *,
        complete: Callable[[bytes], Awaitable[bytes]],
        post: Post,
        holds: Callable[[], bool],
        is_announced: Callable[[str], bool],
    ) -> None:
        self._ctx = ctx
        self._complete = complete
        self._post = post
        self._holds = holds
        self._is_announced = is_announced

    def calls_back(self, item: Pending) -> bool:
        """Whether the receiver asks how the session stands while it handles it."""
        return item.event == delivery.HELD and self._holds()

    def why_not(self, key: Key) -> str | None:
        """Why the application would drop a message of this partition now."""
        session_id, name = key
        # in the session's own partition it would wait for what is behind it
        announced = name == SESSION_PARTITION or self._is_announced(session_id)
        return self._ctx.gate(session_id) if announced else NOT_ANNOUNCED

    async def deliver(self, item: Pending, *, calls_back: bool) -> Result:
        """Raises ``WaguardError`` where its body cannot be read now."""
        if item.event == delivery.READY and (changed := self._still_ready(item)):
            return changed
        body = item.body
        if body is None:
            body = await self._ctx.store.body(item.id)
        if body is None:
            return None
        body = await self._complete(body)
        if not calls_back:
            return await self._attempt(item, body)
        # again: its file may have been read slowly
        if why := self.why_not((item.session_id, item.partition)):
            return NotYet(why)
        with self._ctx.call_backs.watching(item.session_id) as window:
            answer = await self._attempt(item, body)
            if answer.status not in delivery.SUCCESS:
                return answer
        return answer if window.fate is Fate.TAKEN else _FATES[window.fate]

    def _still_ready(self, item: Pending) -> NotYet | Outdated | None:
        """None: its session is connected. The application believes a ``session_ready`` at once, and
        learns the contrary only from a later event."""
        now = self._ctx.connection(item.session_id)
        if now.why_not is None or item.partition != SESSION_PARTITION:  # else a person replays it
            return None
        return Outdated() if now.known else NotYet(now.why_not)

    async def _attempt(self, item: Pending, body: bytes) -> Answer:
        try:
            return await self._post(item, body)
        except Exception:  # noqa: BLE001 - one event must not end the partition
            logger.bind(session=item.session_id).exception("webhook ended in a bug", event="bug")
            return Answer(error="a bug in waguard")
