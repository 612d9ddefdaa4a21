"""Webhooks: one line for each endpoint that has something to deliver, and who may be called.

An endpoint is the configured ``webhook.url`` or a session's own, kept in the database. At least
once, and once where nothing crashes between the receiver's 2xx and the next commit.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

from loguru import logger

from waguard.config import Webhook
from waguard.errors import WaguardError
from waguard.messaging.courier import Courier
from waguard.messaging.files import with_content
from waguard.messaging.journal import Journal
from waguard.messaging.line import Line, Means
from waguard.messaging.signing import headers
from waguard.policy.delivery import Answer, DeliveryPolicy
from waguard.ports import GLOBAL, Endpoint, MessageStore, Pending

RETRY: Final = 1.0  # s until the database is asked again
LAST_ANSWER: Final = 5.0  # s at the end for what is in flight: cut off, it would be repeated

REMOVED: Final = "its endpoint was removed"
UNSET: Final = "webhook.url is not set any more"


class Webhooks:
    """An async context manager. ``settings`` is read at each use, a reload reaches it."""

    def __init__(
        self,
        store: MessageStore,
        journal: Journal,
        settings: Callable[[], Webhook],
        secrets: Sequence[bytes],
        *,
        instance_url: str,
        policy: Callable[[], DeliveryPolicy] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._files = journal.files
        self._settings = settings
        self._secrets = tuple(secrets)
        self._instance_url = instance_url
        self._wall = wall
        self._means = Means(
            store=store,
            journal=journal,
            policy=policy or (lambda: DeliveryPolicy(give_up_after=settings().give_up_after)),
            chance=random.Random(),  # noqa: S311 - jitter, no secret
            wall=wall,
        )
        journal.poke = self.poke
        self._lines: dict[str, Line] = {}
        self._own: dict[str, Endpoint] | None = None
        self._changing = asyncio.Lock()  # ``_own`` and the database say the same
        # the configured address was chosen by whoever runs this machine, the others by a caller
        self._for_global = Courier(lambda: True, wall=wall)
        self._for_own = Courier(lambda: settings().allow_private, wall=wall)
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
        if self._beginning:
            await asyncio.wait({self._beginning})
        await asyncio.gather(*(line.close(LAST_ANSWER) for line in self._lines.values()))
        await self._stack.aclose()

    def configure(self, secrets: Sequence[bytes]) -> None:
        """Take over new secrets, and whatever ``settings`` says now."""
        self._secrets = tuple(secrets)
        if self._settings().url and not self._secrets:
            logger.warning("webhooks are not signed: set webhook.secret_file")
        self._beginning = asyncio.create_task(
            self._begin(after=self._beginning), name="webhooks begin"
        )

    def poke(self, endpoint: str) -> None:
        """The database has more for this endpoint."""
        if self._own is None or not self._known(endpoint):
            return  # all are looked at when the database has told which there are
        if endpoint not in self._lines:
            self._lines[endpoint] = Line(
                endpoint, lambda *it: self._post(endpoint, *it), self._means
            )
        self._lines[endpoint].poke()

    async def drain(self, timeout: float) -> bool:
        """Wait at most ``timeout`` s until all is delivered; whether it is."""
        try:
            async with asyncio.timeout(timeout):
                if self._beginning:
                    await asyncio.wait({self._beginning})
                await asyncio.gather(*(line.drain() for line in self._lines.values()))
        except TimeoutError:
            return False
        return True

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
        if line := self._lines.pop(session_id, None):
            await line.close(LAST_ANSWER)
        return was_there

    async def replay(self, number: int | None = None) -> int:
        """Queue a dead letter anew, or all that there are now; how many."""
        first, last, count = number or 0, number, 0
        if last is None:  # those that die again meanwhile have higher ids
            last = next((letter.id for letter in await self._store.dead(limit=1)), 0)
        while found := await self._store.replay(first, last):
            count += len(found)
            for endpoint in sorted(set(found)):
                self.poke(endpoint)
        return count

    def _known(self, endpoint: str) -> bool:
        if endpoint == GLOBAL:
            return self._settings().url is not None
        return self._own is not None and endpoint in self._own

    async def _begin(self, *, after: asyncio.Task[None] | None) -> None:
        """Go on with what an earlier run left, or with what the configuration says now."""
        if after:
            await asyncio.wait({after})
        while not await self._looked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._closing.wait()
            if self._closing.is_set():
                return
        for endpoint in (GLOBAL, *(self._own or ())):
            self.poke(endpoint)

    async def _looked(self) -> bool:
        """Read the sessions' endpoints, and bury what is left of one that is not set any more."""
        try:
            async with self._changing:
                found = await self._store.endpoints()
                self._own = {endpoint.session_id: endpoint for endpoint in found}
            if self._settings().url is None and (count := await self._store.bury(GLOBAL, UNSET)):
                logger.warning("webhooks are dead letters now", why=UNSET, count=count)
        except WaguardError as error:
            logger.debug("webhooks not begun, trying again", why=error.line())
            return False
        return True

    async def _post(self, endpoint: str, item: Pending, body: bytes) -> Answer:
        if endpoint == GLOBAL:
            url, secrets, courier = self._settings().url, self._secrets, self._for_global
        else:
            own = (self._own or {}).get(endpoint)
            url, courier = own.url if own else None, self._for_own
            secrets = (own.secret.encode(),) if own and own.secret else ()
        if url is None:
            return Answer(error=UNSET if endpoint == GLOBAL else REMOVED, refused=True)
        body = await with_content(body, self._files)
        return await courier.post(
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
