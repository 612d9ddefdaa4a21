"""Delivers events to the application: signed, in order per session, retried.

Theory of operation: one lane per session, one task per lane, so a session's events never
overtake each other and a slow session holds up no other one. Only a few deliveries run at a time.
The receiver's limiter counts all of them, so after a 429 every lane is quiet. The queue is
bounded and in memory; a durable one fills the same port ``Sink`` later.
"""

import asyncio
import hashlib
import hmac
import io
import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import aiohttp
import msgspec
from loguru import logger

from waguard.policy import delivery
from waguard.policy.delivery import Delivered, DeliveryPolicy, Drop, Retry
from waguard.ports import BusEvent

QUEUE_LIMIT: Final = 10_000  # events that wait in all
QUEUE_BYTES: Final = 256 << 20  # their bodies; a received file travels inside its event
CONCURRENT: Final = 8  # deliveries at a time
# s; the application works within its answer, and does not notice a repetition: none too early
ATTEMPT_DEADLINE: Final = 30.0
CONNECT_DEADLINE: Final = 10.0  # s
TOLD_AT: Final = frozenset({1, 2, 5, 10, 30, 60, 120})  # failed attempts that are worth a line

WEBHOOK_EVENTS: Final = delivery.EVENTS


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the timestamp and the raw body, with nothing between them."""
    return hmac.new(secret, timestamp.encode() + body, hashlib.sha256).hexdigest()


def payload(event: BusEvent) -> dict[str, Any]:
    """The body as the application knows it."""
    identity = {"workspace_id": event.workspace_id, "session_id": event.session_id}
    return {"event": event.event, "data": identity | dict(event.data)}


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    id: int
    event: str
    body: bytes = field(repr=False)


class _Lane:
    """What one session still has to deliver; the first is being delivered."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.task: asyncio.Task[None] | None = None

    def outdated(self) -> bool:
        """Whether what is being delivered says nothing any more."""
        later = itertools.islice(self.waiting, 1, None)
        return delivery.outdated(self.waiting[0].event, (item.event for item in later))


class WebhookSink:
    """Fills ``ports.Sink``; use it as an async context manager. ``wall`` is unix time."""

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        *,
        instance_url: str,
        policy: DeliveryPolicy | None = None,
        chance: random.Random | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._secret = secret or None
        self._instance_url = instance_url
        self._policy = policy or DeliveryPolicy()
        self._chance = chance or random.Random()  # noqa: S311 - jitter, no secret
        self._wall = wall
        self._lanes: dict[str | None, _Lane] = {}
        self._places = asyncio.Semaphore(CONCURRENT)
        self._count = self._bytes = 0
        self._quiet_until = 0.0  # of the loop's clock
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_DEADLINE, sock_connect=CONNECT_DEADLINE),
            headers={"User-Agent": "waguard"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        if self._secret is None:
            logger.warning("webhooks are not signed: set webhook.secret_file")
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks = [lane.task for lane in self._lanes.values() if lane.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http:
            await self._http.close()

    async def put(self, event: BusEvent) -> None:
        """Queue what the application knows; the oldest is dropped, and said, when full."""
        if event.event not in WEBHOOK_EVENTS:
            return
        try:
            body = msgspec.json.encode(payload(event))
        except (TypeError, ValueError):
            logger.exception("event is no JSON, event={} id={}", event.event, event.id)
            return
        while self._count and not self._fits(body):
            self._drop_oldest()
        lane = self._lanes.setdefault(event.session_id, _Lane())
        self._leave_out_outdated(lane, event.event)
        lane.waiting.append(_Waiting(event.id, event.event, body))
        self._account(1, len(body))
        if lane.task is None:
            lane.task = asyncio.create_task(
                self._work(event.session_id, lane), name=f"webhook {event.session_id}"
            )

    def waiting(self) -> int:
        """Events that are not delivered yet."""
        return self._count

    async def drain(self, timeout: float) -> int:
        """Wait at most ``timeout`` seconds for the queue to empty; how many are left."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        if self._count:
            logger.error("webhooks not delivered before the stop", count=self._count)
        return self._count

    # ---- the queue ----

    def _fits(self, body: bytes) -> bool:
        return self._count < QUEUE_LIMIT and self._bytes + len(body) <= QUEUE_BYTES

    def _account(self, count: int, size: int) -> None:
        self._count += count
        self._bytes += size

    def _leave_out_outdated(self, lane: _Lane, newest: str) -> None:
        if newest not in delivery.SESSION_EVENTS:
            return  # without a look at what may be thousands
        # the first is in delivery: its task sees before the next attempt that it is outdated
        for item in list(lane.waiting)[1:]:
            if delivery.outdated(item.event, (newest,)):
                lane.waiting.remove(item)
                self._account(-1, -len(item.body))

    def _drop_oldest(self) -> None:
        """From the longest lane, and not the one in delivery unless it is alone."""
        session_id, lane = max(self._lanes.items(), key=lambda item: len(item[1].waiting))
        position = min(1, len(lane.waiting) - 1)
        dropped = lane.waiting[position]
        del lane.waiting[position]
        self._account(-1, -len(dropped.body))
        logger.error(
            "webhook queue full: an event was dropped", what=dropped.event, session=session_id
        )

    # ---- delivery ----

    async def _work(self, session_id: str | None, lane: _Lane) -> None:
        while lane.waiting:
            item = lane.waiting[0]
            try:
                await self._deliver(session_id, lane, item)
            except Exception:  # noqa: BLE001 - one event must not end the lane
                logger.bind(session=session_id).exception("webhook ended in a bug")
            if lane.waiting and lane.waiting[0] is item:
                lane.waiting.popleft()
                self._account(-1, -len(item.body))
        del self._lanes[session_id]

    async def _deliver(self, session_id: str | None, lane: _Lane, item: _Waiting) -> None:
        log = logger.bind(session=session_id, what=item.event, id=item.id)
        for attempt in itertools.count(1):
            async with self._places:
                await self._quiet_is_over()
                if not lane.waiting or lane.waiting[0] is not item or lane.outdated():
                    log.debug("webhook left out: outdated")
                    return
                status, retry_after = await self._attempt(item)
            verdict = delivery.judge(
                self._policy,
                attempt=attempt,
                status=status,
                retry_after=retry_after,
                jitter=self._chance.random(),
            )
            match verdict:
                case Delivered():
                    log.debug("webhook delivered", attempt=attempt)
                    return
                case Drop(why=why):
                    log.error("webhook given up", why=why)
                    return
                case Retry(delay=delay, everyone=everyone):
                    if attempt in TOLD_AT:
                        log.warning("webhook not taken", status=status, attempt=attempt)
                    if everyone:
                        self._be_quiet(delay)
                    await asyncio.sleep(delay)

    async def _quiet_is_over(self) -> None:
        now = asyncio.get_running_loop().time
        while self._quiet_until > now():  # noqa: ASYNC110 - it can move on meanwhile
            await asyncio.sleep(self._quiet_until - now())

    def _be_quiet(self, delay: float) -> None:
        until = asyncio.get_running_loop().time() + delay
        self._quiet_until = max(self._quiet_until, until)

    async def _attempt(self, item: _Waiting) -> tuple[int | None, float | None]:
        """Status and Retry-After; the status line decides, the answer's body is not awaited."""
        assert self._http  # noqa: S101 - entered
        try:
            async with self._http.post(
                self._url,
                data=io.BytesIO(item.body),  # written in pieces: a file may be inside
                headers=self._headers(item),
                allow_redirects=False,
            ) as response:
                return response.status, self._seconds(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None, None

    def _headers(self, item: _Waiting) -> dict[str, str]:
        # the time of this attempt: the receiver takes ±300 s only
        timestamp = str(int(self._wall()))
        headers = {
            "Content-Type": "application/json",
            "X-Timestamp": timestamp,
            "X-Instance-Url": self._instance_url,
            "X-Waguard-Event-Id": str(item.id),
        }
        if self._secret is not None:
            headers["X-HMAC-Signature"] = sign(self._secret, timestamp, item.body)
        return headers

    def _seconds(self, header: str | None) -> float | None:
        """Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
        if header is None:
            return None
        if header.isascii() and header.isdigit():
            return float(header[:9])
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - self._wall())
