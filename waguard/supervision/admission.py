"""The places in which sessions start: every worker that is spawned has been admitted here.

Nothing here awaits: where a place is free and the host has enough, a session is admitted before
``ask`` returns. The others are looked at again when a place is given back, and with every tick.
"""

from collections.abc import Callable
from typing import Protocol

from loguru import logger

from waguard.config import Config
from waguard.policy.admission import Candidate, Cause, Limits, Reading, Wait, admit


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

    def __init__(self, config: Callable[[], Config], host: Callable[[], Reading]) -> None:
        self._config = config
        self._host = host
        self._starting: set[str] = set()
        self._waiting: dict[str, Applicant] = {}
        self._closed = False
        self.fleet: str | None = None
        """Why the fleet breaker lets nobody start that was not asked for; None: it is closed."""

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

    def look(self) -> None:
        """Admit whoever may start now, and tell the others why they wait."""
        if not self._waiting or self._closed:
            return
        config = self._config()
        free = len(self._starting) < config.restore.concurrency
        decision = admit(
            Limits(
                places=config.restore.concurrency,
                session_memory=config.admission.session_memory << 20,
                memory_reserve=config.admission.memory_reserve << 20,
                memory_pressure=config.admission.memory_pressure,
            ),
            self._host() if free else Reading(),
            [applicant.candidate() for applicant in self._waiting.values()],
            starting=len(self._starting),
            fleet=self.fleet,
        )
        admitted = [(name, self._waiting.pop(name)) for name in decision.admitted]
        self._starting.update(decision.admitted)
        for _, applicant in admitted:
            applicant.on_admitted()
        for name, wait in decision.waiting.items():
            if waiting := self._waiting.get(name):
                waiting.on_held_back(wait)


def say_held_back(session: str, wait: Wait) -> None:
    """A place comes by itself; for all else a person may have to do something."""
    log = logger.bind(session=session)
    if wait.cause is Cause.PLACE:
        log.info("start waits", why=wait.words)
    else:
        log.error("start held back", why=wait.words)
