"""The tick of each second: what was removed is made again, conditions are renewed, systemd is notified."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.api import LocalApi
from waguard.core.blame import Condition
from waguard.daemon.restore_loop import RestoreLoop
from waguard.daemon.restored import RestoredInstallation
from waguard.daemon.runtime_folder import RuntimeFolder
from waguard.host.system import logs
from waguard.host.system.systemd import SystemdNotifier
from waguard.host.ticker import Ticker
from waguard.messaging.alerts.alerts import Alerts
from waguard.messaging.health import MessageHealth
from waguard.messaging.stored import StoredMessages
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.supervision.fleet.disk_reserve import DiskReserve
from waguard.supervision.fleet.readiness import status_line
from waguard.supervision.outages import Outages
from waguard.supervision.supervisor import Supervisor

INTERVAL: Final = 1.0  # s
HANGS_AFTER: Final = 900  # ticks of ours, so that a standstill of the daemon does not count; to compact a database takes minutes
ROLLED_BACK: Final = "share/waguard/rolled-back"  # below a release, as systemd/release.py has it
_WORDS: Final = 500  # characters of it


def rolled_back(release: Path = Path(sys.prefix)) -> str | None:
    """Why this release runs although a newer one was installed; None: none was."""
    try:
        with open(f"{release}/{ROLLED_BACK}", errors="replace") as file:  # noqa: PTH123 - each second, for nothing
            return file.readline(_WORDS).rstrip("\n")
    except OSError:
        return None


class Watch:
    """Call ``tick`` each ``INTERVAL``."""

    def __init__(  # noqa: PLR0913 - what is watched
        self,
        supervisor: Supervisor,
        outages: Outages,
        notifier: SystemdNotifier,
        *,
        ticker: Ticker,
        runtime: RuntimeFolder,
        local: LocalApi,
        disk: DiskReserve,
        webhooks: Webhooks,
        messages: MessageHealth,
        stored: StoredMessages,
        restore: RestoreLoop,
        alerts: Alerts,
        restored: RestoredInstallation,
    ) -> None:
        self._supervisor = supervisor
        self._outages = outages
        self._notifier = notifier
        self._ticker = ticker
        self._seen: dict[tuple[str, float], int] = {}
        """In how many ticks in a row each tick of another part was seen under way."""
        self._runtime = runtime
        self._local = local
        self._disk = disk
        self._webhooks = webhooks
        self._messages = messages
        self._stored = stored
        self._restore = restore
        self._alerts = alerts
        self._restored = restored
        self._broken: set[str] = set()
        """Parts that failed the last time."""

    async def tick(self) -> None:
        """What hangs here has the daemon killed by systemd."""
        logs.tick()
        self._outages.update("runtime_removed", self._runtime.restore())
        self._outages.update("release_rolled_back", rolled_back())
        self._outages.update("task_hangs", self._hanging())
        await self._local.keep()
        self._disk.check()
        self._webhooks.check()
        health = self._supervisor.health
        known = [it.row.session_id for it in self._supervisor.registry.by_id]
        parts: dict[str, Callable[[], Iterable[Condition]]] = {
            "messages": self._messages.conditions,
            "stored": self._stored.conditions,
            "alerts": self._alerts.conditions,
            "restored": lambda: self._restored.conditions(known),
        }
        for part, conditions in parts.items():
            self._alone(part, lambda: health.report(part, conditions()))  # noqa: B023 - called at once
        await self._supervisor.watchdog.watch()
        now = health.newest()
        self._notifier.status(self._restore.why_not or status_line(now))
        self._alone("alerts sent", lambda: self._alerts.tick(now))
        # only here: the watchdog learns that supervision moves, not that a timer fires
        self._notifier.alive()

    def _hanging(self) -> str | None:
        """Scheduled work that does not end, and so is never begun again: what it keeps in order is nobody's meanwhile."""
        under_way = self._ticker.under_way.items()
        self._seen = {one: self._seen.get(one, 0) + 1 for one in under_way}
        hang = sorted(name for (name, _), ticks in self._seen.items() if ticks > HANGS_AFTER)
        return f"{', '.join(hang)}: not ended after {HANGS_AFTER // 60} minutes" if hang else None

    def _alone(self, part: str, work: Callable[[], None]) -> None:
        """A bug in one part is logged once, and must not have systemd kill the daemon again and again."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, supervision goes on
            if part not in self._broken:
                logger.opt(exception=error).critical("a bug in waguard", event="bug", part=part)
            self._broken.add(part)
        else:
            self._broken.discard(part)
