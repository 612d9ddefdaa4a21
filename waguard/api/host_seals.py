"""Requests that hosts forward to each other: each is sealed for one start of one host, and taken once. Only in a cluster."""

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from aiohttp import web

from waguard.api.body import LARGE
from waguard.api.deps import BODY_BYTES, CALLER, Cluster
from waguard.api.local_socket import is_trusted
from waguard.core.cluster import forwarded_request
from waguard.core.cluster.forwarded_request import MARK, MOST_OFF, START, ForwardedRequest
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.errors import UnauthorizedError
from waguard.ports.clock import Clock

REMEMBERED: Final = 2 * MOST_OFF + 2.0  # s; a wall clock that is set back by more is a new start
_NONCE_BYTES: Final = 16


class AnotherStartError(UnauthorizedError):
    """The request is sealed for another start of this host. Nothing of it was done."""

    def __init__(self, correction: str) -> None:
        super().__init__(
            "the request is sealed for another start of this host",
            remedy=f"seal it once more, for the start that {START} names",
        )
        self.headers = {START: correction}


async def digest(headers: Mapping[str, str], body: bytes | bytearray) -> str:
    """What a request with these carries: see ``forwarded_request.digest``."""
    kind, name = (headers.get(it, "") for it in ("Content-Type", "Idempotency-Key"))
    of = partial(forwarded_request.digest, body, content_type=kind, idempotency_key=name)
    return await asyncio.to_thread(of) if len(body) > LARGE else of()


class HostSeals:
    """Those of one host. All calls are of the event loop."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._seen: set[str] = set()
        self._oldest: deque[tuple[float, str]] = deque()
        """Nonces with the monotonic time after which a copy is refused for its age."""
        # of form 1 what was taken before a restart is not known any more, and is refused
        self._since, self._began = clock.wall(), clock.monotonic()

    def of(self, request: web.Request, to: str, *, session: str | None) -> ForwardedRequest:
        """What is said of a request that is forwarded as it is, without a key in its query; but for its content."""
        caller = request.get(CALLER)
        return ForwardedRequest(
            method=request.method,
            target=target_of(request),
            to=to,
            at=self._clock.wall(),
            nonce=secrets.token_hex(_NONCE_BYTES),
            caller=forwarded_request.concerning(caller, session) if caller and session else caller,
            on_socket=is_trusted(request),
            client=request.remote or None,
            confirms=True,
        )

    def of_this_host(self, method: str, target: str, to: str) -> ForwardedRequest:
        """What is said of a request of its own, which may do everything; but for its content."""
        return ForwardedRequest(
            method=method,
            target=target,
            to=to,
            at=self._clock.wall(),
            nonce=secrets.token_hex(_NONCE_BYTES),
            caller=Caller(name=self._cluster.hosts.view().host, right=Right.ADMIN),
        )

    def for_start(self, it: ForwardedRequest, content: str) -> ForwardedRequest:
        """The request with its content, for the receiver's start as its record has it; of form 1 where that has none."""
        hosts = [found.record for found in self._cluster.hosts.view().hosts]
        starts = (record.start for record in hosts if record.alive and record.address == it.to)
        return replace(it, start=next(starts, ""), content=content)

    def sealed(self, it: ForwardedRequest) -> str:
        """As it is shown."""
        return forwarded_request.sealed(it, self._cluster.key)

    def corrected(self, said: str, it: ForwardedRequest) -> ForwardedRequest | None:
        """The request for the start that its receiver says to have; None: it has not said so."""
        return forwarded_request.corrected(said, it, self._cluster.key)

    def is_one(self, text: str) -> bool:
        """See ``Seals``."""
        return self._valid(text) is not None

    def opened(self, request: web.Request, shown: Sequence[str]) -> ForwardedRequest | None:
        """See ``Seals``."""
        for text in shown:
            if text.startswith(MARK) and (it := self._valid(text)):
                if (it.method, it.target) != (request.method, request.raw_path):
                    return None
                start = self._cluster.start()
                if it.start != start and (it.start or not self._may_be_of_form_1(it)):
                    said = forwarded_request.correction(it.nonce, start, self._cluster.key)
                    raise AnotherStartError(said)
                return it if self._is_first(it) else None
        return None

    async def carries(self, it: ForwardedRequest, request: web.Request) -> bool:
        """See ``Seals``."""
        return not it.start or it.content == await digest(request.headers, request[BODY_BYTES])

    def _valid(self, text: str) -> ForwardedRequest | None:
        it = forwarded_request.opened(text, self._cluster.key)
        if it is None or it.to != self._cluster.address:
            return None
        return it if forwarded_request.is_in_time(it, now=self._clock.wall()) else None

    def _may_be_of_form_1(self, it: ForwardedRequest) -> bool:
        view = self._cluster.hosts.view()
        others = [found.record for found in view.hosts if found.record.host != view.host]
        if not any(record.alive and not record.start for record in others):
            return False
        # for so long only: a wall clock that is set back later must not keep all others out
        is_new = self._clock.monotonic() - self._began < REMEMBERED
        return not is_new or it.at >= self._since

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
    """Path and query, without a key. What a request line has behind a ``#`` would be sealed, and not sent."""
    url = request.rel_url.with_fragment(None)
    return str(url.without_query_params("api_key") if "api_key" in url.query else url)
