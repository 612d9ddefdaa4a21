"""Signals: SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR2 hands the workers over."""

import asyncio
import signal
from collections.abc import Callable

from loguru import logger

from waguard.daemon.reload import Reload
from waguard.daemon.stop_request import StopRequest
from waguard.host.process import early_signals
from waguard.host.system.systemd import SystemdNotifier


class Signals:
    """``kill`` ends every worker at once, for a second Ctrl-C."""

    def __init__(
        self, stop: StopRequest, reload: Reload, notifier: SystemdNotifier, kill: Callable[[], None]
    ) -> None:
        self._stop = stop
        self._reload = reload
        self._notifier = notifier
        self._kill = kill
        self._stops = 0
        self._up = False

    def listen(self) -> None:
        """Those that came before are handled at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        loop.add_signal_handler(signal.SIGUSR2, self._stop.hand_over)
        for number in early_signals.drain():
            match number:
                case signal.SIGHUP:
                    self._on_reload()
                case signal.SIGUSR2:
                    self._stop.hand_over()
                case _:
                    self._on_stop(number)

    def report_reloads(self) -> None:
        """The service manager knows that the daemon is up: from now on it is notified of a reload."""
        self._up = True

    def _on_stop(self, number: signal.Signals) -> None:
        self._stops += 1
        if self._stops > 1 and number == signal.SIGINT:
            logger.warning("second interrupt: workers are killed", event="workers_killed")
            self._kill()
        self._stop.by_signal(number)

    def _on_reload(self) -> None:
        if self._stop.requested:
            return  # nothing would come of it
        if self._up:
            self._notifier.reloading()
        result = self._reload.run()
        if self._up:
            self._notifier.ready(result)
