"""A webhook on its way to its endpoint: the address, the signatures, the request."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

from waguard.config.sections import Webhook
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.pending import Pending
from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhooks.dead_letters import REMOVED, UNSET
from waguard.messaging.webhooks.endpoints import Endpoints
from waguard.messaging.webhooks.sender import WebhookSender
from waguard.messaging.webhooks.signing import headers
from waguard.ports.webhooks import GLOBAL


class WebhookPost:
    """An async context manager. ``secrets`` sign what goes to ``webhook.url``; ``wall`` is unix time."""

    def __init__(
        self,
        endpoints: Endpoints,
        settings: Callable[[], Webhook],
        *,
        instance_url: str,
        wall: Callable[[], float],
        timings: WebhookTimings,
    ) -> None:
        self._endpoints = endpoints
        self._settings = settings
        self._instance_url = instance_url
        self._wall = wall
        self._secrets: tuple[bytes, ...] = ()
        # the configured address was chosen by whoever runs this machine, the others by a caller
        self._for_global = WebhookSender(lambda: True, wall=wall, timings=timings)
        self._for_own = WebhookSender(lambda: settings().allow_private, wall=wall, timings=timings)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._for_global)
        await self._stack.enter_async_context(self._for_own)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def sign_with(self, secrets: Sequence[bytes]) -> None:
        """From now on; the first one is the old service's signature."""
        self._secrets = tuple(secrets)

    async def post(self, endpoint: str, item: Pending, body: bytes) -> Answer:
        """One attempt."""
        if endpoint == GLOBAL:
            url, secrets, sender = self._settings().url, self._secrets, self._for_global
        else:
            own = self._endpoints.own(endpoint)
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
