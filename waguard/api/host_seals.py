"""Requests that hosts forward to each other: each is sealed for one host, and taken once. Only in a cluster."""

import secrets
from collections import deque
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from waguard.api.deps import CALLER, Cluster
from waguard.api.local_socket import is_trusted
from waguard.core.cluster import forwarded_request
from waguard.core.cluster.forwarded_request import MARK, MOST_OFF, ForwardedRequest
from waguard.core.keys import Caller, Right
from waguard.ports.clock import Clock

REMEMBERED: Final = 2 * MOST_OFF  # s
_NONCE_BYTES: Final = 16


class HostSeals:
    """Those of one host. All calls are of the event loop."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._seen: set[str] = set()
        self._oldest: deque[tuple[float, str]] = deque()
        """Nonces with the monotonic time after which a copy is refused for its age."""
        # what was taken before a restart is not known any more, and is refused
        self._since, self._began = clock.wall(), clock.monotonic()

    def of(self, request: web.Request, to: str, *, session: str | None) -> str:
        """The seal with which it is forwarded as it is, without a key in its query."""
        caller = request.get(CALLER)
        return self._sealed(
            ForwardedRequest(
                method=request.method,
                target=target_of(request),
                to=to,
                at=self._clock.wall(),
                nonce=secrets.token_hex(_NONCE_BYTES),
                caller=forwarded_request.concerning(caller, session)
                if caller and session
                else caller,
                on_socket=is_trusted(request),
                client=request.remote or None,
            )
        )

    def of_this_host(self, method: str, target: str, to: str) -> str:
        """The seal of a request of its own, which may read everything."""
        return self._sealed(
            ForwardedRequest(
                method=method,
                target=target,
                to=to,
                at=self._clock.wall(),
                nonce=secrets.token_hex(_NONCE_BYTES),
                caller=Caller(name=self._cluster.hosts.view().host, right=Right.ADMIN),
            )
        )

    def _sealed(self, it: ForwardedRequest) -> str:
        return forwarded_request.sealed(it, self._cluster.key)

    def is_one(self, text: str) -> bool:
        """See ``Seals``."""
        return self._valid(text) is not None

    def opened(self, request: web.Request, shown: Sequence[str]) -> ForwardedRequest | None:
        """See ``Seals``."""
        for text in shown:
            if text.startswith(MARK) and (it := self._valid(text)):
                if (it.method, it.target) != (request.method, request.raw_path):
                    return None
                return it if self._is_first(it) else None
        return None

    def _valid(self, text: str) -> ForwardedRequest | None:
        it = forwarded_request.opened(text, self._cluster.key)
        if it is None or it.to != self._cluster.address:
            return None
        # for so long only: a wall clock that is set back later must not keep all others out
        is_new = self._clock.monotonic() - self._began < REMEMBERED
        if is_new and it.at < self._since:
            return None
        return it if forwarded_request.is_in_time(it, now=self._clock.wall()) else None

    def _is_first(self, it: ForwardedRequest) -> bool:
        now = self._clock.monotonic()
        while self._oldest and self._oldest[0][0] < now:
            self._seen.discard(self._oldest.popleft()[1])
        if it.nonce in self._seen:
            return False
        self._seen.add(it.nonce)
        self._oldest.append((now + REMEMBERED, it.nonce))
        return True


def target_of(request: web.Request) -> str:
    """Path and query, without a key."""
    url = request.rel_url
    return str(url.without_query_params("api_key") if "api_key" in url.query else url)
