"""What is written each minute: the history of the fleet and its sessions, and the clock's file."""

import asyncio
import time
from typing import Final

from waguard.api.health import memory_used
from waguard.core.history import NAN
from waguard.core.metrics.families import SEND
from waguard.core.metrics.tally import Histogram
from waguard.daemon.foundation import Foundation
from waguard.messaging.health import MessageHealth
from waguard.messaging.outbox.outbox import Outbox
from waguard.supervision.supervisor import Supervisor

SENT, RECEIVED = "message_sent", "message_received"
_MINUTE: Final = 60.0  # s


class HistoryRecorder:
    """Call ``tick`` each minute. What is not known is left out."""

    def __init__(
        self,
        base: Foundation,
        supervisor: Supervisor,
        outbox: Outbox,
        messages: MessageHealth,
    ) -> None:
        self._supervisor = supervisor
        self._outbox = outbox
        self._messages = messages
        self._file, self._bus = base.history, base.bus
        self._ages, self._clock, self._tally = base.ages, base.clock, base.tally
        self._at, self._counts = self._count()
        self._sends = self._send_times()

    async def tick(self) -> None:
        """A disk that hangs holds up this tick alone. First what deadlines are counted by, whatever the history costs."""
        await asyncio.to_thread(self._ages.save)
        fleet = {**self._of_sessions(), **self._of_messages(), **self._rates(), **self._sending()}
        fleet["daemon_memory"] = memory_used()
        each = {
            session.name: (float(it.memory), NAN if it.cpu_percent is None else it.cpu_percent)
            for session in self._supervisor.registry.sessions
            if (it := session.runner.usage)
        }
        await asyncio.to_thread(self._file.write, fleet, each)

    def _of_sessions(self) -> dict[str, float]:
        state, health = self._supervisor.state, self._supervisor.health.read()
        if not state.loaded or state.waits_for_lease:
            return {}
        running = [it.runner for it in self._supervisor.registry.sessions if it.runner.process]
        used = [it.usage for it in running if it.usage]
        found: dict[str, float] = {
            "sessions": health.total,
            "connected": health.connected,
            "conditions": len(health.conditions),
            "workers": len(running),
        }
        if used or not running:
            found["memory"] = sum(it.memory for it in used)
            found["cpu"] = sum(it.cpu_percent or 0.0 for it in used)
        return found

    def _of_messages(self) -> dict[str, float]:
        queued: dict[str, float] = {"queued": self._outbox.waiting()}
        if self._messages.queued is None:  # the database counts the others
            return queued
        receivers = self._messages.receivers
        oldest = [it.oldest for it in receivers if it.oldest]
        return queued | {
            "webhooks_waiting": sum(it.waiting for it in receivers),
            "webhooks_age": max(0.0, self._clock.wall() - min(oldest)) if oldest else 0.0,
            "dead_letters": self._messages.dead,
        }

    def _rates(self) -> dict[str, float]:
        """Counts of a minute, as they were since the last tick; CPU in percent of a core."""
        before, at = self._counts, self._at
        self._at, self._counts = self._count()
        passed = self._at - at
        if passed <= 0:
            return {}
        each = {name: max(0.0, now - before[name]) for name, now in self._counts.items()}
        cpu = each.pop("daemon_cpu") * 100 / passed
        return {"daemon_cpu": cpu, **{name: it * _MINUTE / passed for name, it in each.items()}}

    def _sending(self) -> dict[str, float]:
        """The mean of the outcomes since the last tick; without one it is unknown."""
        before, self._sends = self._sends, self._send_times()
        outcomes, seconds = (now - then for now, then in zip(self._sends, before, strict=True))
        return {"send_seconds": seconds / outcomes} if outcomes else {}

    def _send_times(self) -> tuple[int, float]:
        """Since the start: outcomes, and the sum of their seconds."""
        found = [it for it in self._tally.series[SEND].values() if isinstance(it, Histogram)]
        return sum(it.count for it in found), sum(it.sum for it in found)

    def _count(self) -> tuple[float, dict[str, float]]:
        """Since the start, and the monotonic time."""
        published = self._bus.published
        restarts = sum(it.state.restarts for it in self._supervisor.registry.sessions)
        return self._clock.monotonic(), {
            "restarts": restarts,
            "sent": published[SENT],
            "received": published[RECEIVED],
            "daemon_cpu": time.process_time(),
        }
