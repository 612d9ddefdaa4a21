"""Webhooks: one queue for each endpoint that has something to deliver, and who may be called.

An endpoint is the configured ``webhook.url`` or a session's own, kept in the database. At least
once, and once where nothing crashes between the receiver's 2xx and the next commit.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, Self

from loguru import logger

from waguard.config import Webhook
from waguard.core.conditions import LATE_AFTER, HeldChats, Receiver
from waguard.core.delivery import READY, Answer, Cause, DeliveryPolicy
from waguard.errors import ConflictError, WaguardError
from waguard.messaging.announcer import CommitListener
from waguard.messaging.call_backs import CallBacks
from waguard.messaging.delivery_context import LINKING, DeliveryContext
from waguard.messaging.endpoint_queue import EndpointQueue
from waguard.messaging.held_lanes import Held
from waguard.messaging.journal import Journal
from waguard.messaging.lane_queue import LaneWindow
from waguard.messaging.received_files import with_content
from waguard.messaging.signing import headers
from waguard.messaging.timings import WEBHOOK, WebhookTimings
from waguard.messaging.webhook_sender import WebhookSender
from waguard.ports.clock import Ages, WallAges
from waguard.ports.messages import GLOBAL, Endpoint, Pending
from waguard.ports.sessions import Connection

DEAD_LETTERS_AT_ONCE: Final = 500  # webhooks a transaction

REMOVED: Final = "its endpoint was removed"
UNSET: Final = "webhook.url is not set any more"
OTHER_NUMBER: Final = "its session is linked to another number now"


class Webhooks:
    """An async context manager. ``settings`` is read at each use, a reload reaches it;
    ``connection`` tells whether a session is connected."""

    def __init__(  # noqa: PLR0913 - the seams, as a port each
        self,
        journal: Journal,
        settings: Callable[[], Webhook],
        secrets: Sequence[bytes],
        *,
        instance_url: str,
        connection: Callable[[str], Connection],
        policy: Callable[[], DeliveryPolicy] | None = None,
        wall: Callable[[], float] = time.time,
        ages: Ages | None = None,
        timings: WebhookTimings = WEBHOOK,
        window: LaneWindow | None = None,
    ) -> None:
        self._timings = timings
        self._store = journal.store
        self._files = journal.files
        self._settings = settings
        self._secrets = tuple(secrets)
        self._instance_url = instance_url
        self._connection = connection
        self._wall = wall
        self.call_backs = CallBacks()
        self._ctx = DeliveryContext(
            store=journal.store,
            journal=journal,
            policy=policy or (lambda: DeliveryPolicy(give_up_after=settings().give_up_after)),
            gate=self._gate,
            connection=connection,
            call_backs=self.call_backs,
            chance=random.Random(),  # noqa: S311 - jitter, no secret
            wall=wall,
            ages=ages or WallAges(wall),
            retry=timings.retry,
            window=window or LaneWindow(),
        )
        journal.subscribe(CommitListener(queued=self.poke, resumed=self._resume))
        self._queues: dict[str, EndpointQueue] = {}
        self._own: dict[str, Endpoint] | None = None
        self._numbers: dict[str, str | None] = {}
        """The number of each session that is connected, once it is known to be the one before."""
        self._linking: dict[str, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()  # ``_own`` and the database say the same
        # the configured address was chosen by whoever runs this machine, the others by a caller
        self._for_global = WebhookSender(lambda: True, wall=wall, timings=timings)
        self._for_own = WebhookSender(lambda: settings().allow_private, wall=wall, timings=timings)
        self._stack = AsyncExitStack()
        self._beginning: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._for_global)
        await self._stack.enter_async_context(self._for_own)
        self.configure(self._secrets)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """What is not delivered yet stays in the database."""
        self._closing.set()
        for task in self._linking.values():
            task.cancel()
        await asyncio.gather(*self._linking.values(), return_exceptions=True)
        if self._beginning:
            await asyncio.wait({self._beginning})
        await asyncio.gather(
            *(queue.close(self._timings.last_answer) for queue in self._queues.values())
        )
        await self._stack.aclose()

    def configure(self, secrets: Sequence[bytes]) -> None:
        """Take over new secrets, and whatever ``settings`` says now."""
        self._secrets = tuple(secrets)
        if self._settings().url and not self._secrets:
            logger.warning(
                "webhooks are not signed: set webhook.secret_file", event="webhooks_unsigned"
            )
        self._beginning = asyncio.create_task(
            self._begin(after=self._beginning), name="webhooks begin"
        )

    def poke(self, endpoint: str) -> None:
        """The database has more for this endpoint."""
        if self._own is None or not self._known(endpoint):
            return  # all are looked at when the database has told which there are
        self._queue(endpoint).poke()

    def _queue(self, endpoint: str) -> EndpointQueue:
        if endpoint not in self._queues:
            self._queues[endpoint] = EndpointQueue(
                endpoint,
                self._ctx,
                complete=partial(with_content, files=self._files, deadline=self._timings.file),
                post=partial(self._post, endpoint),
                holds=lambda: self._holds(endpoint),
            )
        return self._queues[endpoint]

    async def drain(self, timeout: float) -> bool:
        """Wait at most ``timeout`` s until all is delivered; whether it is."""
        try:
            async with asyncio.timeout(timeout):
                if self._beginning:
                    await asyncio.wait({self._beginning})
                await asyncio.gather(*(queue.drain() for queue in self._queues.values()))
        except TimeoutError:
            return False
        return True

    async def drain_sessions(self, timeout: float) -> None:
        """At the end: what says how sessions stand has ``timeout`` s."""
        await _within(timeout, (queue.wind_down() for queue in self._queues.values()))

    async def wind_down(self, *, begin: float, answer: float) -> None:
        """Before the sessions stop: what can be delivered may begin for ``begin`` s more, and what
        is in flight has ``answer`` s. Then only session events are delivered."""
        await _within(begin, (queue.wind_down() for queue in self._queues.values()))
        await _within(answer, (queue.answered() for queue in self._queues.values()))

    # ---- messages that wait for their session ----

    def held(self) -> list[Held]:
        """What waits for its session, of all receivers."""
        return [held for queue in self._queues.values() for held in queue.lanes.held]

    def receivers(self, waiting: Mapping[str, int]) -> list[Receiver]:
        """How each stands; ``waiting``: webhooks by endpoint, as the database counts them."""
        before = self._ctx.ages.ago(LATE_AFTER)
        return [
            Receiver(
                session=None if queue.endpoint == GLOBAL else queue.endpoint,
                waiting=max(waiting.get(queue.endpoint, 0), queue.lanes.count),
                oldest=queue.lanes.oldest,
                late=queue.lanes.late(before),
                down_since=queue.failing.since if queue.failing and queue.down else None,
                error=queue.failing.error if queue.failing else None,
            )
            for queue in self._queues.values()
        ]

    def check(self, session_id: str | None = None) -> None:
        """A tick, or how a session stands has changed: what waits for a session that is connected
        now goes on."""
        if session_id is not None:
            self._gate(session_id)
        for queue in self._queues.values():
            for waiting in queue.lanes.held.sessions():
                if not self._holds(queue.endpoint) or self._gate(waiting) is None:
                    queue.lanes.release(waiting)
            queue.lanes.tick()

    def _holds(self, endpoint: str) -> bool:
        if endpoint == GLOBAL:
            return self._settings().hold
        own = (self._own or {}).get(endpoint)
        return own is None or own.hold

    def _gate(self, session_id: str) -> str | None:
        """Why a message of this session must not be delivered now."""
        now = self._connection(session_id)
        if now.why_not is not None:
            self._numbers.pop(session_id, None)
            return now.why_not
        if self._numbers.get(session_id, "") == now.phone:
            return None
        if session_id not in self._linking:
            linking = self._link(session_id, now)
            task = asyncio.create_task(linking, name=f"webhooks link {session_id}")
            self._linking[session_id] = task
            task.add_done_callback(lambda _: self._linking.pop(session_id, None))
        return LINKING

    async def _link(self, session_id: str, now: Connection) -> None:
        """What waited for the session under another number is not the new one's."""
        phone = now.phone
        try:
            before = await self._store.linked_phone(session_id) if phone else phone
            if phone and before != phone:
                if before:
                    await self.dead_letter_session(session_id, OTHER_NUMBER, before=now.since)
                await self._store.link_phone(session_id, phone)
        except WaguardError as error:
            logger.debug("number not compared, trying again", why=error.line())
            return  # at the next look
        self._numbers[session_id] = phone
        for queue in self._queues.values():
            queue.lanes.release(session_id)

    async def dead_letter_session(self, session_id: str, why: str, *, before: float) -> int:
        """Make dead letters of the messages of a session that were queued before then (unix time);
        how many."""
        count = await self._dead_letter(
            why, Cause.OTHER_NUMBER, session_id=session_id, before=before
        )
        for queue in self._queues.values():
            queue.lanes.forget(session_id, before)
        if count:
            logger.warning(
                "webhooks are dead letters now",
                event="webhooks_dead",
                session=session_id,
                count=count,
                why=why,
            )
        return count

    async def _dead_letter(self, why: str, cause: Cause, **which: Any) -> int:
        """A few at a time: sends go between."""
        count = 0
        while gone := await self._store.dead_letter_pending(
            why, cause, **which, limit=DEAD_LETTERS_AT_ONCE
        ):
            count += gone
        return count

    def expect_ready(self, session_id: str) -> None:
        """Its session_ready is on its way to the database: no message goes before it."""
        for endpoint in (GLOBAL, session_id):
            if self._known(endpoint) and READY in self._events(endpoint):
                self._queue(endpoint).lanes.expect_ready(session_id)

    def not_ready(self, session_id: str) -> None:
        """It was not stored, and will not come."""
        for queue in self._queues.values():
            queue.lanes.expect_ready(session_id, comes=False)

    def _events(self, endpoint: str) -> Collection[str]:
        if endpoint == GLOBAL:
            return self._settings().events
        return self._own[endpoint].events if self._own and endpoint in self._own else ()

    def _resume(self) -> None:
        for queue in self._queues.values():
            queue.lanes.tick()

    # ---- endpoints ----

    async def endpoint(self, session_id: str) -> Endpoint | None:
        """A session's own."""
        found = await self._store.endpoints()
        return next((one for one in found if one.session_id == session_id), None)

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        """Set or replace a session's own; its address was judged before."""
        async with self._changing:
            await self._store.put_endpoint(endpoint)
            if self._own is not None:
                self._own[endpoint.session_id] = endpoint

    async def delete_endpoint(self, session_id: str) -> bool:
        """Whether there was one. What it still should have got are dead letters."""
        async with self._changing:
            was_there = await self._store.delete_endpoint(session_id)
            if self._own is not None:
                self._own.pop(session_id, None)
            if queue := self._queues.pop(session_id, None):
                await queue.close(self._timings.last_answer)
            await self._dead_letter(REMOVED, Cause.REMOVED, endpoint=session_id)
        return was_there

    async def replay(self, number: int | None = None) -> int:
        """Queue a dead letter anew, or all that there are now and that still have a receiver; how
        many.

        Raises ``ConflictError`` for one that has none.
        """
        known = await self._receivers()
        first, last, count = number or 0, number, 0
        if last is None:  # those that die again meanwhile have higher ids
            last = next((letter.id for letter in await self._store.dead(limit=1)), 0)
        elif (letter := await self._store.dead_letter(last)) and letter.endpoint not in known:
            raise ConflictError(
                REMOVED if letter.endpoint != GLOBAL else UNSET,
                field="number",
                value=number,
                remedy="set the receiver again, or discard the dead letter",
            )
        while found := await self._store.replay(first, last, known):
            count += len(found)
            for endpoint in sorted(set(found)):
                self.poke(endpoint)
        return count

    async def replay_unidentified(self, session_id: str, chat: str) -> int:
        """Queue what waits in a chat whose LID has no known number, under the LID; how many.

        Raises ``ConflictError`` where nobody would get it.
        """
        known, count = await self._receivers(), 0
        while found := await self._store.replay_unidentified(session_id, chat, known):
            count += len(found)
            for endpoint in sorted(set(found)):
                self.poke(endpoint)
        if not known:
            raise ConflictError(UNSET, remedy="set webhook.url, or the session's own receiver")
        return count

    async def _receivers(self) -> list[str]:
        own = [endpoint.session_id for endpoint in await self._store.endpoints()]
        return [GLOBAL, *own] if self._known(GLOBAL) else own

    def _known(self, endpoint: str) -> bool:
        if endpoint == GLOBAL:
            return self._settings().url is not None
        return self._own is not None and endpoint in self._own

    async def _begin(self, *, after: asyncio.Task[None] | None) -> None:
        """Go on with what an earlier run left, or with what the configuration says now."""
        if after:
            await asyncio.wait({after})
        while not await self._load_endpoints():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timings.retry):
                    await self._closing.wait()
            if self._closing.is_set():
                return
        for endpoint in (GLOBAL, *(self._own or ())):
            self.poke(endpoint)
        self.check()

    async def _load_endpoints(self) -> bool:
        """Read the sessions' endpoints, and bury what is left of one that is not set any more."""
        try:
            async with self._changing:
                found = await self._store.endpoints()
                self._own = {endpoint.session_id: endpoint for endpoint in found}
            unset = self._settings().url is None
            if unset and (count := await self._dead_letter(UNSET, Cause.REMOVED, endpoint=GLOBAL)):
                logger.warning(
                    "webhooks are dead letters now", event="webhooks_dead", why=UNSET, count=count
                )
        except WaguardError as error:
            logger.debug("webhooks not begun, trying again", why=error.line())
            return False
        return True

    async def _post(self, endpoint: str, item: Pending, body: bytes) -> Answer:
        if endpoint == GLOBAL:
            url, secrets, sender = self._settings().url, self._secrets, self._for_global
        else:
            own = (self._own or {}).get(endpoint)
            url, sender = own.url if own else None, self._for_own
            secrets = (own.secret.encode(),) if own and own.secret else ()
        if url is None:
            return Answer(error=UNSET if endpoint == GLOBAL else REMOVED, refused=True)
        return await sender.post(
            url,
            body,
            headers(
                secrets=secrets,
                body=body,
                timestamp=str(int(self._wall())),
                instance_url=self._instance_url,
                event_id=item.event_id,
            ),
        )


def overdue(held: Iterable[Held], limit: float) -> list[HeldChats]:
    """By session: what waits since before ``limit`` (unix time)."""
    sessions: dict[str, list[Held]] = {}
    for one in held:
        sessions.setdefault(one.session_id, []).append(one)
    found = []
    for session, chats in sorted(sessions.items()):
        oldest = min(chats, key=lambda one: one.since)
        if oldest.since <= limit:
            found.append(
                HeldChats(session=session, chats=len(chats), since=oldest.since, why=oldest.why)
            )
    return found


async def _within(timeout: float, waits: Iterable[Awaitable[None]]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await asyncio.gather(*waits)
