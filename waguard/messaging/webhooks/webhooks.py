"""Webhooks: one queue for each endpoint that has something to deliver.

An endpoint is the configured ``webhook.url`` or a session's own, kept in the database. At least
once, and once where nothing crashes between the receiver's 2xx and the next commit.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Self

from loguru import logger

from waguard.config.sections import Webhook
from waguard.core.blame import Condition
from waguard.core.conditions import HeldChats
from waguard.core.messages.content import for_application
from waguard.core.metrics.tally import Tally
from waguard.core.webhooks.delivery import Cause, MessageFields
from waguard.core.webhooks.facts import ReadyExpected, Released, Repaired
from waguard.core.webhooks.partition import MemoryWindow
from waguard.core.webhooks.pending import Key
from waguard.core.webhooks.retry_policy import DeliveryPolicy
from waguard.core.webhooks.session_gate import Connection
from waguard.errors import WaguardError
from waguard.messaging.journal import Journal
from waguard.messaging.own_sessions import OwnSessions
from waguard.messaging.timings import WEBHOOK, WebhookTimings
from waguard.messaging.webhooks.attempt import Attempts
from waguard.messaging.webhooks.body_files import completed, without_content
from waguard.messaging.webhooks.call_backs import CallBacks
from waguard.messaging.webhooks.dead_letters import REMOVED, DeadLetterQueue
from waguard.messaging.webhooks.delivery_context import DeliveryContext
from waguard.messaging.webhooks.endpoint_queue import EndpointQueue, Settings
from waguard.messaging.webhooks.endpoint_queues import EndpointQueues, Held
from waguard.messaging.webhooks.endpoints import Endpoints
from waguard.messaging.webhooks.owned_webhooks import OwnedWebhooks
from waguard.messaging.webhooks.post import WebhookPost
from waguard.messaging.webhooks.receiver_table import ReceiverTable
from waguard.messaging.webhooks.rewound import Rewinding
from waguard.messaging.webhooks.session_gate import SessionGate
from waguard.ports.clock import Ages, WallAges
from waguard.ports.webhooks import GLOBAL


class Webhooks:
    """An async context manager. ``settings`` is read at each use, a reload reaches it;
    ``connection`` says whether a session is connected; ``table``: what is known of the database of
    ``webhook.url``'s receiver; ``in_cluster``: only webhooks of sessions that are acquired are delivered."""

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
        window: MemoryWindow | None = None,
        table: ReceiverTable | None = None,
        tally: Tally | None = None,
        in_cluster: bool = False,
    ) -> None:
        self._timings = timings
        self._files = journal.files
        self._settings = settings
        self._secrets = tuple(secrets)
        self.call_backs = CallBacks()
        self._own = OwnSessions(every=not in_cluster)
        self.queues = EndpointQueues(self._make_queue)
        self.endpoints = Endpoints(
            journal.store,
            settings,
            on_put=partial(self.poke, repaired=True),
            on_doubt=self._begin_again,
        )
        self.dead_letters = DeadLetterQueue(
            journal.store,
            self.endpoints,
            requeued=self._requeued,
            forget=self.queues.forget,
            expire=self.queues.expire,
            given_up=self.queues.given_up,
        )
        self._gate = SessionGate(journal.store, self.dead_letters, connection, self.queues.release)
        self._post = WebhookPost(
            self.endpoints, settings, instance_url=instance_url, wall=wall, timings=timings
        )
        self._ctx = DeliveryContext(
            store=journal.store,
            journal=journal,
            gate=self._gate.why_not,
            connection=connection,
            call_backs=self.call_backs,
            chance=random.Random(),  # noqa: S311 - jitter, no secret
            wall=wall,
            ages=ages or WallAges(wall),
            retry=timings.retry,
            tally=tally or Tally(),
        )
        self._policy = policy or (lambda: _policy(settings().give_up_after))
        self._window = window or MemoryWindow()
        self._table = table
        self.owned = OwnedWebhooks(
            self._own,
            journal,
            self.endpoints,
            self.queues,
            self._gate,
            table,
            last_answer=timings.last_answer,
        )
        self.rewinding = Rewinding(journal, self.queues, self._begin_again)
        self._beginning: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        journal.announcer.on_queued.append(self.poke)
        journal.announcer.on_resumed.extend((self.poke, self._begin_again))

    async def __aenter__(self) -> Self:
        await self._post.__aenter__()
        self.configure(self._secrets)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """What is not delivered yet stays in the database."""
        self._closing.set()
        await self._gate.close()
        if self._beginning:
            await asyncio.wait({self._beginning})
        await self.queues.close(self._timings.last_answer)
        await self._post.__aexit__(None, None, None)

    def configure(self, secrets: Sequence[bytes]) -> None:
        """Use new secrets, and whatever ``settings`` says now."""
        self._post.sign_with(secrets)
        if self._settings().url and not secrets:
            logger.warning(
                "webhooks are not signed: set webhook.secret_file", event="webhooks_unsigned"
            )
        self._begin_again(repaired=True)

    def _begin_again(self, *, repaired: bool = False) -> None:
        """Read again which endpoints there are, as soon as the database answers, and what each has to get."""
        begin = self._begin(after=self._beginning, repaired=repaired)
        self._beginning = asyncio.create_task(begin, name="webhooks begin")

    def poke(self, endpoint: str | None = None, *, repaired: bool = False) -> None:
        """The database has more for this endpoint; None: it may have for any, or takes results again. ``repaired``: what
        was refused is tried at once."""
        for name in self.endpoints.known() if endpoint is None else (endpoint,):
            if self.owned.delivers(name) and not self._closing.is_set():
                self.queues[name].poke()
                if repaired:
                    self.queues[name].post(Repaired())
            # else all are poked when it is known which there are

    def _requeued(self, endpoint: str, key: Key, newest: int) -> None:
        """Dead letters of a partition are pending again."""
        if self.owned.delivers(endpoint):
            self.queues.requeued(endpoint, key, newest)

    def _make_queue(self, endpoint: str) -> EndpointQueue:
        table = self._table if endpoint == GLOBAL else None

        def wanted(body: bytes) -> bytes:
            return (
                body
                if self.endpoints.fields(endpoint) is MessageFields.ALL
                else for_application(body)
            )

        async def complete(body: bytes) -> bytes:
            limit, deadline = self._settings().body_limit, self._timings.file
            return await completed(wanted(body), self._files, limit=limit, deadline=deadline)

        attempts = Attempts(
            self._ctx,
            complete=complete,
            post=partial(self._post.post, endpoint),
            table=table,
            smaller=lambda body: without_content(wanted(body)),
        )
        settings = Settings(
            policy=self._policy,
            holds=lambda: self.endpoints.holds(endpoint),
            uses_lookup=lambda: table is not None and table.uses_lookup,
            gets_ready=lambda: self.endpoints.gets_ready(endpoint),
            url=lambda: self.endpoints.url(endpoint),
        )
        acquired = self._own.acquired()
        return EndpointQueue(endpoint, self._ctx, attempts, settings, self._window, acquired)

    async def drain(self, timeout: float) -> bool:
        """Wait at most ``timeout`` s until all is delivered; whether it is."""
        try:
            async with asyncio.timeout(timeout):
                if self._beginning:
                    await asyncio.wait({self._beginning})
                await self.queues.drain()
        except TimeoutError:
            return False
        return True

    async def drain_sessions(self, timeout: float) -> None:
        """At the end: what says how sessions stand has ``timeout`` s."""
        await self.queues.wind_down(timeout)

    async def wind_down(self, *, begin: float, answer: float) -> None:
        """Before the sessions stop: what can be delivered may begin for ``begin`` s more, and what
        is in flight has ``answer`` s. Then only session events are delivered."""
        await self.queues.wind_down(begin)
        await self.queues.answered(answer)

    # ---- messages that wait for their session ----

    def check(self, session_id: str | None = None) -> None:
        """A tick, or how a session stands has changed: what waits for a session that is connected
        now goes on."""
        if session_id is not None:
            self._gate.why_not(session_id)
        for queue in self.queues:
            for waiting in list(queue.state.held):
                if not self.endpoints.holds(queue.endpoint) or self._may_go(queue, waiting):
                    queue.post(Released(session=waiting))

    def _may_go(self, queue: EndpointQueue, session_id: str) -> bool:
        own = self._table is None or queue.endpoint != GLOBAL
        if not own and self._table and self._table.is_wrong(session_id):
            return False
        return self._gate.why_not(session_id) is None

    async def check_receiver(self) -> None:
        """Each second or so: what waits for the receiver's own row of its session may go when that is right."""
        if self._table is None or GLOBAL not in self.queues:
            return
        queue = self.queues[GLOBAL]
        for session_id in await self._table.check(queue.state.held):
            queue.post(Released(session=session_id))

    def conditions(self) -> list[Condition]:
        """What is wrong with the receiver's database; without I/O."""
        return self._table.conditions() if self._table else []

    def expect_ready(self, session_id: str) -> None:
        """Expect the session's session_ready, which is on its way to the database: no message goes before it."""
        for endpoint in (GLOBAL, session_id):
            if session_id in self._own and self.endpoints.gets_ready(endpoint):
                self.queues[endpoint].post(ReadyExpected(session=session_id))

    def not_ready(self, session_id: str) -> None:
        """Expect session_ready no more: it was not stored, and will not come."""
        for queue in self.queues:
            queue.post(ReadyExpected(session=session_id, comes=False))

    # ---- endpoints ----

    async def delete_endpoint(self, session_id: str) -> bool:
        """Whether there was one. What it still should have got are dead letters."""

        async def clear() -> None:
            await self.queues.remove(session_id, self._timings.last_answer)
            await self.dead_letters.add(REMOVED, Cause.REMOVED, endpoint=session_id)

        return await self.endpoints.remove(session_id, clear)

    async def _begin(self, *, after: asyncio.Task[None] | None, repaired: bool) -> None:
        """Go on with what an earlier run left, or with what the configuration says now; ``repaired``: what was refused is
        tried at once."""
        if after:
            await asyncio.wait({after})
        while not await self._load():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timings.retry):
                    await self._closing.wait()
            if self._closing.is_set():
                return
        self.poke()
        for queue in self.queues if repaired else ():
            queue.post(Repaired())
        self.check()

    async def _load(self) -> bool:
        """Read the sessions' endpoints; what is left of one that is not set any more is dead."""
        try:
            await self.endpoints.load()
            await self.dead_letters.add_unset()
        except WaguardError as error:
            logger.debug("webhooks not begun, trying again", why=error.line())
            return False
        except Exception:  # noqa: BLE001 - nobody else would begin them
            logger.exception("a bug in waguard: webhooks not begun, trying again", event="bug")
            return False
        return True


@lru_cache(maxsize=1)
def _policy(give_up_after: float) -> DeliveryPolicy:
    return DeliveryPolicy(give_up_after=give_up_after)


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
