"""The configuration as it is now, and a reload of it (SIGHUP); which sections take effect stands in config/sections.py."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
from loguru import logger

from waguard.config.checks import require_sandbox
from waguard.config.reading import read
from waguard.config.sections import RELOADABLE, SECTIONS, Config
from waguard.errors import WaguardError
from waguard.host.configuration_file import hidden_lines
from waguard.supervision.log_control import LogControl

Changed = Callable[[Collection[str]], None]


class CurrentConfig:
    """Call it for the configuration as it is now: who keeps a part of it misses a reload."""

    def __init__(self, config: Config) -> None:
        self._now = config

    def __call__(self) -> Config:
        """As it is now."""
        return self._now

    def replace(self, **sections: Any) -> None:
        """From now on these sections are others."""
        self._now = msgspec.structs.replace(self._now, **sections)


class Reload:
    """Reads the configuration again, and applies what a running daemon can change."""

    def __init__(self, config: CurrentConfig, path: Path | None, log: LogControl) -> None:
        """``path``: what is read again."""
        self._config = config
        self._path = path
        self._log = log
        self._listeners: list[Changed] = []

    def subscribe(self, listener: Changed) -> None:
        """Call it after each reload with the names of the sections that changed; files that the
        configuration only names may have changed too."""
        self._listeners.append(listener)

    def run(self) -> str:
        """What came of it, for the service manager. A wrong configuration changes nothing."""
        try:
            reading = read(self._path, os.environ)
            require_sandbox(reading.config.browser, root=os.geteuid() == 0)
        except WaguardError as error:
            kept = f"the configuration is unchanged: {error.line()}"
            logger.error("{}", kept, event="config_rejected", every=True)
            return kept
        self._apply(reading.config)
        for line in hidden_lines(reading):
            logger.warning("{}", line, event="config_hidden", every=True)
        for line in reading.retired:
            logger.warning("{}", line, event="config_retired", every=True)
        return "configuration read again"

    def _apply(self, fresh: Config) -> None:
        configured = msgspec.structs.replace(self._config(), log=self._log.configured)
        changed = {name for name in SECTIONS if getattr(fresh, name) != getattr(configured, name)}
        applied = {name: getattr(fresh, name) for name in changed & RELOADABLE}
        self._config.replace(**applied | {"log": self._log.effective})
        self._log.configure(fresh.log)
        for listener in self._listeners:
            listener(applied.keys())
        logger.info(
            "configuration read again", event="config_reloaded", every=True, changed=sorted(applied)
        )
        if later := sorted(changed - RELOADABLE):
            logger.warning(
                "these sections need a restart of waguard: {}",
                ", ".join(later),
                event="restart_needed",
                every=True,
            )
