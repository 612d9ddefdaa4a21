"""Who gets webhooks: ``webhook.url``, and sessions' own receivers, which are kept in the database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

from waguard.config.sections import Webhook
from waguard.core.webhooks.delivery import READY, MessageFields
from waguard.errors import DatabaseUnavailableError
from waguard.ports.messages import MessageStore
from waguard.ports.webhooks import GLOBAL, Endpoint


class Endpoints:
    """``settings`` is read at each use, a reload reaches it; ``on_put`` gets the session whose own was set, ``on_doubt`` is
    called when one may have been changed: then ``load``."""

    def __init__(
        self,
        store: MessageStore,
        settings: Callable[[], Webhook],
        *,
        on_put: Callable[[str], object],
        on_doubt: Callable[[], object],
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_put = on_put
        self._on_doubt = on_doubt
        self._own: dict[str, Endpoint] | None = None
        self._changing = asyncio.Lock()  # ``_own`` and the database say the same

    async def load(self) -> None:
        """Read the sessions' own. Raises ``DatabaseUnavailableError``."""
        async with self._changing:
            found = await self._store.endpoints()
            self._own = {endpoint.session_id: endpoint for endpoint in found}

    @property
    def is_loaded(self) -> bool:
        """Whether it is known which there are."""
        return self._own is not None

    @property
    def global_is_set(self) -> bool:
        """Whether ``webhook.url`` is."""
        return self._settings().url is not None

    @property
    def global_has_table(self) -> bool:
        """Whether ``webhook.stored`` names where its receiver keeps messages."""
        return self._settings().stored is not None

    def __contains__(self, endpoint: str) -> bool:
        if endpoint == GLOBAL:
            return self.global_is_set
        return self._own is not None and endpoint in self._own

    def own(self, session_id: str) -> Endpoint | None:
        """A session's own, as far as they are known."""
        return (self._own or {}).get(session_id)

    def known(self) -> tuple[str, ...]:
        """All that webhooks may be pending for."""
        return (GLOBAL, *(self._own or ()))

    def gets_ready(self, endpoint: str) -> bool:
        """Whether it gets ``session_ready``."""
        if endpoint not in self:
            return False
        own = self.own(endpoint)
        events: Collection[str] = own.events if own else self._settings().events
        return READY in events

    def holds(self, endpoint: str) -> bool:
        """Whether messages for it wait for their session: it calls back."""
        if endpoint == GLOBAL:
            return self._settings().hold
        own = self.own(endpoint)
        return own is None or own.hold

    def url(self, endpoint: str) -> str | None:
        """The address that it has; None: it has none, or that is not known yet."""
        if endpoint == GLOBAL:
            url = self._settings().url
            return None if url is None else str(url)
        own = self.own(endpoint)
        return own.url if own else None

    def fields(self, endpoint: str) -> MessageFields:
        """What it gets of a message."""
        own = self.own(endpoint)
        return own.fields if own else MessageFields(self._settings().fields)

    async def every(self) -> list[Endpoint]:
        """The sessions' own, as the database knows them."""
        return await self._store.endpoints()

    async def receivers(self) -> list[str]:
        """Those that the database knows now."""
        own = [endpoint.session_id for endpoint in await self.every()]
        return [GLOBAL, *own] if self.global_is_set else own

    async def find(self, session_id: str) -> Endpoint | None:
        """A session's own, as the database knows it."""
        return next((one for one in await self.every() if one.session_id == session_id), None)

    async def put(self, endpoint: Endpoint) -> None:
        """Set or replace a session's own; its address was checked before."""
        async with self._change():
            await self._store.put_endpoint(endpoint)
            if self._own is not None:
                self._own[endpoint.session_id] = endpoint
        self._on_put(endpoint.session_id)  # some may wait, of one whose commit's answer was lost

    async def remove(self, session_id: str, after: Callable[[], Awaitable[None]]) -> bool:
        """Whether there was one; ``after`` is awaited before another one can be set."""
        async with self._change():
            was_there = await self._store.delete_endpoint(session_id)
            if self._own is not None:
                self._own.pop(session_id, None)
            await after()
        return was_there

    @contextlib.asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        async with self._changing:
            try:
                yield
            except DatabaseUnavailableError:
                self._on_doubt()
                raise
