"""Sessions' own proxies: their files are changed here, and their workers follow."""

import asyncio
from collections.abc import Awaitable, Callable

from waguard.core.proxy import Proxy, same
from waguard.core.session.facts import ProxyChanged, RestartRequested
from waguard.core.session.state import Intent
from waguard.errors import UnavailableError
from waguard.host.memory import proxies
from waguard.host.memory.proxies import ProxyUnreadableError
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.worker_spec import OTHER_PROXY, has_proxy


class ProxyFiles:
    """Changes them; those of one session one after the other."""

    def __init__(self, ctx: SessionContext, registry: Registry) -> None:
        self._ctx = ctx
        self._registry = registry

    async def write(self, session_id: str, proxy: Proxy | None) -> None:
        """Set a session's, whether it is there or not. Raises ``UnavailableError``."""
        state, known = self._ctx.config().paths.state, self._ctx.proxies
        async with known.changing(session_id):
            self._registry.require_staying(session_id)  # who is purged now would leave it behind
            await known.confirm(session_id)
            try:
                known_there = proxy is None or known.is_published(session_id)
                if known_there and same(known.read(session_id), proxy):
                    return
            except ProxyUnreadableError:
                pass  # what is set now replaces it
            await known.publish(session_id, proxy)
            try:
                await _on_disk(proxies.write, state, session_id, proxy)
            except UnavailableError:
                await known.publish_again(session_id)
                raise
        if session := self._registry.get(session_id):
            session.post(ProxyChanged(proxied=proxy is not None))
            if session.state.intent is Intent.UP:
                session.post(RestartRequested(why=OTHER_PROXY))

    async def purge(self, session_id: str) -> None:
        """Remove all of a session that is gone, or goes. Raises ``UnavailableError``."""
        known = self._ctx.proxies
        async with known.changing(session_id):
            await known.confirm(session_id)
            if known.is_published(session_id) and has_proxy(self._ctx, session_id):
                await known.publish(session_id, None)  # another host may still have a file
            await _on_disk(proxies.purge, self._ctx.config().paths.state, session_id)
        if session := self._registry.get(session_id):
            session.post(ProxyChanged(proxied=False))


async def _on_disk(change: Callable[..., None], *about: object) -> None:
    try:
        await asyncio.to_thread(change, *about)
    except OSError as error:
        why = error.strerror or str(error)
        raise UnavailableError(
            f"the session's proxy cannot be stored: {why}",
            remedy="`waguard doctor` checks `paths.state`",
            retry_after=60,
        ) from None


class OwnProxies:
    """Fills ``ports.proxies.Proxies``."""

    def __init__(
        self,
        ctx: SessionContext,
        files: ProxyFiles,
        find: Callable[[str], Awaitable[SessionActor]],
    ) -> None:
        self._ctx = ctx
        self._files = files
        self._find = find

    async def find(self, session_id: str) -> Proxy | None:
        """See ``ports.proxies.Proxies``."""
        name = (await self._find(session_id)).name
        try:
            await self._ctx.proxies.have_newest(name)
            return self._ctx.proxies.read(name)
        except ProxyUnreadableError as error:
            raise UnavailableError(error.message, remedy="set it again, or remove it") from None

    async def put(self, session_id: str, proxy: Proxy | None) -> None:
        """See ``ports.proxies.Proxies``."""
        await self._files.write((await self._find(session_id)).name, proxy)
