"""Delivers events to the application, signed, in order per session, retried.

The queue is in memory; a durable one fills the same port ``Sink`` later.
"""

import asyncio
import hashlib
import hmac
import random
import time
from collections import deque
from typing import Any, Final, Self

import aiohttp
import msgspec
from loguru import logger

from waguard.policy import delivery
from waguard.policy.delivery import DeliveryPolicy, Drop, Retry
from waguard.ports import BusEvent

QUEUE_LIMIT: Final = 10_000  # events that wait in all
CONCURRENT: Final = 8  # deliveries at a time
ATTEMPT_DEADLINE: Final = 10.0  # s

WEBHOOK_EVENTS: Final = delivery.EVENTS


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the timestamp and the raw body, with nothing between them."""
    return hmac.new(secret, timestamp.encode() + body, hashlib.sha256).hexdigest()


class WebhookSink:
    """Fills ``ports.Sink``. One lane per session, so that a session's events stay in order."""

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        *,
        instance_url: str,
        policy: DeliveryPolicy | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._url = url
        self._secret = secret
        self._instance_url = instance_url
        self._policy = policy or DeliveryPolicy()
        self._chance = chance or random.Random()  # noqa: S311 - jitter, no secret
        self._lanes: dict[str | None, deque[BusEvent]] = {}
        self._tasks: dict[str | None, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(CONCURRENT)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_DEADLINE)
        self._http = aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "waguard"})
        if self._secret is None:
            logger.warning("webhooks are not signed: set webhook.secret_file")
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._http:
            await self._http.close()

    async def put(self, event: BusEvent) -> None:
        """Queue what the application knows; the oldest is dropped, and said, when full."""
        if event.event not in WEBHOOK_EVENTS:
            return
        if self.waiting() >= QUEUE_LIMIT:
            self._drop_oldest()
        lane = self._lanes.setdefault(event.session_id, deque())
        lane.append(event)
        if event.session_id not in self._tasks:
            task = asyncio.create_task(
                self._work(event.session_id), name=f"webhook {event.session_id}"
            )
            self._tasks[event.session_id] = task

    def waiting(self) -> int:
        """Events that are not delivered yet."""
        return sum(map(len, self._lanes.values()))

    async def drain(self, timeout: float) -> int:
        """Wait at most ``timeout`` seconds for the queue to empty; how many are left."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout)
        left = self.waiting()
        if left:
            logger.error("webhooks not delivered before the stop", count=left)
        return left

    def _drop_oldest(self) -> None:
        name = max(self._lanes, key=lambda lane: len(self._lanes[lane]))
        dropped = self._lanes[name].popleft()
        logger.error("webhook queue full: an event was dropped", event=dropped.event, session=name)

    async def _work(self, session_id: str | None) -> None:
        lane = self._lanes[session_id]
        try:
            while lane:
                event = lane[0]
                later = [waiting.event for waiting in list(lane)[1:]]
                if not delivery.outdated(event.event, later):
                    await self._deliver(event)
                if lane and lane[0] is event:
                    lane.popleft()
        finally:
            del self._tasks[session_id]
            if not lane:
                del self._lanes[session_id]

    async def _deliver(self, event: BusEvent) -> None:
        log = logger.bind(session=event.session_id, event=event.event, id=event.id)
        attempt = 0
        while True:
            attempt += 1
            async with self._places:
                status, retry_after = await self._attempt(event)
            verdict = delivery.judge(
                self._policy,
                attempt=attempt,
                status=status,
                retry_after=retry_after,
                jitter=self._chance.random(),
            )
            match verdict:
                case Retry(delay=delay):
                    log.warning(
                        "webhook not taken", status=status, attempt=attempt, delay=round(delay, 1)
                    )
                    await asyncio.sleep(delay)
                case Drop(why=why):
                    log.error("webhook given up", why=why)
                    return
                case _:
                    log.debug("webhook delivered", attempt=attempt)
                    return

    async def _attempt(self, event: BusEvent) -> tuple[int | None, float | None]:
        assert self._http  # noqa: S101 - entered
        body = msgspec.json.encode(payload(event))
        try:
            async with self._http.post(
                self._url, data=body, headers=self._headers(event, body), allow_redirects=False
            ) as response:
                await response.read()
                return response.status, _seconds(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError):
            return None, None

    def _headers(self, event: BusEvent, body: bytes) -> dict[str, str]:
        # the time of this attempt: the receiver takes ±300 s only
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Timestamp": timestamp,
            "X-Instance-Url": self._instance_url,
            "X-Waguard-Event-Id": str(event.id),
        }
        if self._secret is not None:
            headers["X-HMAC-Signature"] = sign(self._secret, timestamp, body)
        return headers


def payload(event: BusEvent) -> dict[str, Any]:
    """The body as the application knows it."""
    identity = {"workspace_id": event.workspace_id, "session_id": event.session_id}
    return {"event": event.event, "data": identity | dict(event.data)}


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdigit() else None
