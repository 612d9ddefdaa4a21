"""The places in which sessions start: every worker that is spawned has been admitted here.

Nothing here awaits: where a place is free and the host has enough, a session is admitted before
``ask`` returns. The others are looked at again when a place is given back, and with every tick.
"""

import time
from collections.abc import Callable
from typing import Protocol

from loguru import logger

from waguard.config import Config
from waguard.core.admission import (
    TRIAL,
    Broken,
    Candidate,
    Cause,
    Limits,
    Reading,
    Wait,
    admit,
    sessions_folder,
)


class Applicant(Protocol):
    """A session that is to start."""

    def candidate(self) -> Candidate:
        """How it stands now."""

    def on_admitted(self) -> None:
        """It has a place: spawn."""

    def on_held_back(self, wait: Wait) -> None:
        """It waits, and that is why."""


class Admission:
    """Shared by all sessions. ``host`` is read where somebody waits and a place is free."""

    def __init__(
        self,
        config: Callable[[], Config],
        host: Callable[[], Reading],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._host = host
        self._now = now
        self._starting: set[str] = set()
        self._waiting: dict[str, Applicant] = {}
        self._closed = False
        self.fleet: str | None = None
        """Why the fleet breaker lets nobody start that was not asked for; None: it is closed."""
        self.paired: Callable[[], bool] = lambda: False
        """Whether any session was ever paired: then the folder of all profiles is not empty."""
        self.report: Callable[[str, str | None], None] = lambda _kind, _why: None
        """Reports what all sessions wait for; None: it is there again. Kinds of ``FLEET_ENDS``."""
        self._broken: Broken | None = None

    def ask(self, session: str, applicant: Applicant) -> None:
        """Have ``applicant`` admitted, now or later."""
        self._waiting[session] = applicant
        self.look()

    def withdraw(self, session: str) -> bool:
        """It does not want to start any more; whether it was waiting."""
        return self._waiting.pop(session, None) is not None

    def give_back(self, session: str) -> None:
        """It leaves the cores to the next one; harmless where it has no place."""
        if session in self._starting:
            self._starting.remove(session)
            logger.bind(session=session).debug("place given back")
            self.look()

    def close(self) -> None:
        """The daemon stops: who waits now waits in vain."""
        self._closed = True

    @property
    def profiles_unknown(self) -> str | None:
        """Why it is unknown which profiles there are, read now; None: it is known."""
        return sessions_folder(self._host(), paired=self.paired())

    def browser_failed(self, why: str) -> None:
        """Chromium could not be executed, or started on no profile: all wait for it."""
        trial = self._broken.trial if self._broken else None
        self._broken = Broken(why, self._now(), trial)

    def browser_started(self, session: str) -> None:
        """It runs in ``session``: where that was the trial, all may start."""
        if self._broken and self._broken.trial == session and session in self._starting:
            self._broken = None
            self.look()

    def look(self) -> None:
        """Admit whoever may start now, and tell the others why they wait."""
        if self._closed:
            return
        if not self._waiting:
            self._nobody_waits()
            return
        config, now = self._config(), self._now()
        free = len(self._starting) < config.restore.concurrency
        host, paired = self._host() if free else Reading(), self.paired()
        if free:
            self._report(host, paired=paired)
        decision = admit(
            Limits(
                places=config.restore.concurrency,
                session_memory=config.admission.session_memory << 20,
                memory_reserve=config.admission.memory_reserve << 20,
                memory_pressure=config.admission.memory_pressure,
            ),
            host,
            [applicant.candidate() for applicant in self._waiting.values()],
            starting=len(self._starting),
            fleet=self.fleet,
            paired=paired,
            trial=self._broken.at(now) if self._broken else None,
        )
        admitted = [(name, self._waiting.pop(name)) for name in decision.admitted]
        self._starting.update(decision.admitted)
        if self._broken and decision.admitted:
            self._broken = Broken(self._broken.why, now, decision.admitted[0])
        for _, applicant in admitted:
            applicant.on_admitted()
        for name, wait in decision.waiting.items():
            if waiting := self._waiting.get(name):
                waiting.on_held_back(wait)

    def _report(self, host: Reading, *, paired: bool) -> None:
        if host.executable:
            self._broken = None  # what it was is gone: what takes its place is not judged by it
        broken = self._broken.why if self._broken else None
        self.report("browser_missing", host.executable or broken)
        self.report("sessions_folder_missing", sessions_folder(host, paired=paired))

    def _nobody_waits(self) -> None:
        """Nobody reads the host then, so nothing is known to be missing."""
        self.report("sessions_folder_missing", None)
        # a session on its way from a failure to the next try waits for nothing for a moment
        if self._broken and (self._starting or self._now() - self._broken.tried_at < 2 * TRIAL):
            return
        self._broken = None
        self.report("browser_missing", None)


def say_held_back(session: str, wait: Wait) -> None:
    """A place comes by itself; for all else a person may have to do something."""
    log = logger.bind(session=session)
    if wait.cause is Cause.PLACE:
        log.info("start waits", why=wait.words)
    else:
        log.error("start held back", why=wait.words)
