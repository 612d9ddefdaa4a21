"""The daemon's alerts: what the core decides is delivered here, and what became of it goes back to the core.

``tick`` only starts tasks: no destination, database or disk holds it up, and destinations do not wait for each other.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from loguru import logger

from waguard.config.sections import Config
from waguard.core.alerts import alerts as core
from waguard.core.alerts import notice, quiet
from waguard.core.alerts.alerts import (
    AlertState,
    Delivered,
    Destination,
    Failed,
    Notification,
    Now,
    Observed,
)
from waguard.core.alerts.destinations import AlertDestination
from waguard.core.alerts.notice import Notice
from waguard.core.blame import Condition
from waguard.core.incidents.folding import fleet_condition
from waguard.errors import ConfigError, WaguardError
from waguard.host.memory.alert_memory import AlertMemory
from waguard.host.system import logs
from waguard.messaging.alerts import delivery, destination_file
from waguard.ports.clock import Clock
from waguard.ports.sessions import Health
from waguard.ports.store import AuditEntry

BEAT_EVERY: Final = 60.0  # s
_HISTORY_WITHIN: Final = 3.0  # s for the database to say what was tried
ANSWER_WITHIN: Final = 1.0  # s that the end of the daemon waits for answers
SAVED_WITHIN: Final = 3.0  # s that it waits for a small file
_ASKED: Final = 6  # sessions whose history is read for one notice

Deliver = Callable[[AlertDestination, Notice], Awaitable[str | None]]


class AuditReader(Protocol):
    """The audit log, as ``ports.store.Audit`` has it."""

    async def audit(self, session_id: str | None) -> Sequence[AuditEntry]: ...


class SeveralHosts(Protocol):
    """The hosts of a cluster, of which one sends alerts for all."""

    def observed(self, own: Observed, state: AlertState, at: float) -> Observed | None:
        """What all hosts say at this unix time, with what this one does; None: another one sends, or it is not known yet."""

    async def sent(self, state: AlertState) -> None:
        """Keep for the next host that sends what each destination has got now."""


class Alerts:
    """``host``: this machine's name, or the host's in its cluster. ``configure`` comes first."""

    def __init__(
        self,
        config: Callable[[], Config],
        memory: AlertMemory,
        trail: AuditReader,
        clock: Clock,
        *,
        host: str,
        deliver: Deliver = delivery.deliver,
    ) -> None:
        self._config = config
        self._memory = memory
        self._trail = trail
        self._clock = clock
        self._host = host
        self._deliver = deliver
        self._destinations: Mapping[str, AlertDestination] = {}
        self._refused: Condition | None = None
        """What is wrong with the file of destinations."""
        self._began = clock.wall()
        self._state = core.dated(memory.load(), self._began, began=self._began)
        self._tasks: set[asyncio.Task[None]] = set()
        self.several: SeveralHosts | None = None
        """None: this host is alone."""
        self._holds = False
        """Whether another host sends."""
        self._beat_at: float | None = None
        self._beats = True
        self._saving = asyncio.Lock()
        self._complete_at: float | None = None
        """Since when what is not among the conditions can be over; monotonic."""

    def configure(self) -> None:
        """Read the destinations, at the start and at a reload. Until all of the file is right, its good lines are used
        beside those that were known, and what is wrong is a condition."""
        found, refused = destination_file.read(self._config().alerts.destination_file)
        for it in found:
            logs.hide(*it.secrets)
        known = self._destinations if refused else {}
        self._destinations = {**known, **{it.id: it for it in found}}
        self._state = core.configured(self._state, self._destinations, complete=not refused)
        self._refused = self._condition(refused) if refused else None

    def _condition(self, refused: ConfigError) -> Condition:
        logger.error(
            "the file of destinations is wrong: {}",
            refused.line(),
            event="alerts_rejected",
            every=True,
        )
        since = self._refused.since if self._refused else self._clock.wall()
        return fleet_condition(core.UNDELIVERABLE, refused.message, since=since)

    @property
    def can_send(self) -> bool:
        """Whether there is a destination."""
        return bool(self._destinations)

    def tick(self, health: Health) -> None:
        """Take in what waguard knows of itself now. Returns at once."""
        if self._destinations:
            complete = health.supervising and health.restored
            age, at = self._age(complete=complete), self._clock.wall()
            own = core.of_one_host(
                health.conditions, self._state, complete=complete, age=age, at=at
            )
            fact = self.several.observed(own, self._state, at) if self.several else own
            self._holds = fact is None
            if fact:
                self._handle(fact)
        # what supervises no session until a person acts is as good as dead
        if health.supervising and not any(it.type == "begin_failed" for it in health.conditions):
            self._beat()

    def _age(self, *, complete: bool) -> float:
        now = self._clock.monotonic()
        if not complete:
            self._complete_at = None
        elif self._complete_at is None:
            self._complete_at = now
        return now - self._complete_at if self._complete_at is not None else 0.0

    def adopt(self, sent: Mapping[str, Destination]) -> None:
        """Go on where another host has ended: each destination has got so much, by its id."""
        state = core.adopted(self._state, sent)
        self._state = core.dated(state, self._clock.wall(), began=self._began)

    def conditions(self) -> list[Condition]:
        """Alerts that cannot be delivered."""
        said = {
            f"{self._destinations[id_].name}: {it.error}": it.failing_since
            for id_, it in core.undelivered(self._state).items()
        }
        if self._refused:
            said[self._refused.message] = self._refused.since
        if not said:
            return []
        return [fleet_condition(core.UNDELIVERABLE, "; ".join(said), since=min(said.values()))]

    async def close(self) -> None:
        """End what is on its way, after a moment for its answer: the next daemon delivers what had none."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ANSWER_WITHIN)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(SAVED_WITHIN):
                await self._save()
        except TimeoutError:  # its disk hangs: what follows, as a last lease, must not wait for it
            logger.warning("the alerts that were sent are not kept", event="state_not_written")
        except Exception:  # noqa: BLE001 - nor be left out for a bug
            logger.exception("waguard failed at an alert", event="alert_failed")

    # ---- one notification ----

    def _handle(self, fact: core.Fact) -> None:
        at = self._clock.wall()
        local = time.localtime(at)
        hours = quiet.parse(self._config().alerts.quiet)
        is_quiet = quiet.holds(hours, local.tm_hour * 60 + local.tm_min)
        now = Now(at, is_quiet or self._holds)
        self._state, sends = core.advance(self._state, fact, now)
        for send in sends:
            self._start(self._send(self._destinations[send.destination], send.notification))

    async def _send(self, to: AlertDestination, notification: Notification) -> None:
        why = await self._attempt(to, notification)
        self._handle(Failed(to.id, why) if why else Delivered(to.id))
        if why is None:
            logger.info(
                "an alert is sent",
                event="alert_sent",
                destination=to.name,
                begun=len(notification.begun),
                ended=len(notification.ended),
            )
        await self._save()
        if self.several and why is None:
            await self.several.sent(self._state)

    async def _save(self) -> None:
        async with self._saving:
            await asyncio.to_thread(self._memory.save, self._state)

    async def _attempt(self, to: AlertDestination, it: Notification) -> str | None:
        """Why it failed; None: it is delivered."""
        try:
            return await self._deliver(to, await self._compose(it))
        except Exception:  # noqa: BLE001 - a bug here must not keep all later alerts from this destination
            logger.exception("waguard failed at an alert", event="alert_failed")
            return "waguard failed at it: its log has why"

    async def _compose(self, it: Notification) -> Notice:
        sessions = dict.fromkeys(one.session for one in it.begun if one.session)
        tried = await self._tried([*sessions][:_ASKED])
        page = page_of(self._config())
        return notice.of_notification(it, host=self._host, page=page, tried=tried)

    async def _tried(self, sessions: Iterable[str]) -> Mapping[str | None, Sequence[str]]:
        """What waguard did for each; a database that does not answer delays no alert for long."""
        found: dict[str | None, Sequence[str]] = {}
        with contextlib.suppress(WaguardError, TimeoutError):
            async with asyncio.timeout(_HISTORY_WITHIN):
                for session in sessions:
                    found[session] = notice.tried(await self._trail.audit(session), session)
        return found

    # ---- the heartbeat ----

    def _beat(self) -> None:
        url, now = self._config().alerts.heartbeat_url, self._clock.monotonic()
        if url is None or (self._beat_at is not None and now - self._beat_at < BEAT_EVERY):
            return
        self._beat_at = now
        self._start(self._call(url))

    async def _call(self, url: str) -> None:
        try:
            async with delivery.sender() as http:
                answer = await http.get(url)
        except Exception as error:  # noqa: BLE001 - a bug here must not be silent
            accepted, why = False, f"waguard failed at it: {type(error).__name__}"
        else:
            accepted = answer.accepted
            why = answer.error if answer.status is None else f"it answered {answer.status}"
        if not accepted and self._beats:
            logger.warning("the heartbeat does not arrive", event="heartbeat_failed", why=why)
        self._beats = accepted

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work, name="alerts")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def page_of(config: Config) -> str | None:
    """The status page's address, where one is known that others can open."""
    return config.alerts.page_url or config.api.public_url
