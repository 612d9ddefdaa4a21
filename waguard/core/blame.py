"""Whose fault a failure is, and conditions: the one answer to why a session is not healthy. Pure."""

import signal
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.exits import (
    EXIT_BAD_SPEC,
    EXIT_BROWSER_GONE,
    EXIT_BROWSER_KILLED,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_BROWSER_UNUSABLE,
    EXIT_CREDENTIALS_LOST,
    EXIT_DISK_FULL,
    EXIT_EXPORTS_MISSING,
    EXIT_LEASE_EXPIRED,
    EXIT_MEANINGS,
    EXIT_ORPHANED,
    EXIT_PAGE_NOT_READY,
    EXIT_PROFILE_HELD,
    EXIT_PROFILE_LOCKED,
    EXIT_STORAGE_CLOSED,
)
from waguard.core.needs_person import needs_person


class Blame(StrEnum):
    """Only ``SESSION`` spends the restart budget."""

    SESSION = auto()
    """The session's page or profile; also where there is no evidence of another cause."""
    HOST = auto()
    """An executable, a disk, memory, a folder that is not mounted, a fork that is refused."""
    NETWORK = auto()
    WHATSAPP = auto()
    """HTTP status 400 or above, no answer, a block, a version that wa-js does not know."""
    OPERATOR = auto()
    """A person requested it, or waguard waits for a person."""


class Failure(Struct, frozen=True):
    """Why a worker ended, or could not start."""

    blame: Blame
    reason: str
    """One word for machines."""
    cause: str
    """In words, and without anything specific to one session: failures of two sessions are compared by it."""
    message: str = ""
    """What happened to this session, in words; empty: ``cause`` says it."""
    place: str = ""
    """The folder or the file that it is about."""

    def __str__(self) -> str:
        return self.message or self.cause


class Condition(Struct, frozen=True, kw_only=True):
    """One thing that is not healthy now, or that a person should know."""

    type: str
    blame: Blame
    reason: str
    message: str
    since: float
    """Monotonic seconds in the core; unix time where it is shown."""
    remedy: str
    until: float | None = None
    """Unix time at which it ends by itself, where that is known."""
    expires_in: float | None = None
    """Seconds until then, where it is shown."""
    stage: str | None = None
    """How far it is, where it has stages (``core.passkey_link.PasskeyStage``)."""
    unattended_until: float | None = None
    """Unix time until which a linking needs no code that a person compares."""
    unattended_expires_in: float | None = None
    """Seconds until then, where it is shown."""
    session: str | None = None
    """The session that it concerns; None: all sessions."""
    degrades: bool = True
    """False: it is only a step to a session's first connection, or of a session that was deleted."""

    @property
    def needs_person(self) -> bool:
        """Whether a person must act, because waguard cannot end it by itself."""
        return needs_person(self.type, self.reason)

    def __str__(self) -> str:
        return f"{self.session}: {self.message}" if self.session else self.message


NOT_STARTED: Final = "browser_not_started"
_OF_EXIT: Final = {
    0: (Blame.OPERATOR, "ended"),
    EXIT_BROWSER_NOT_STARTED: (Blame.SESSION, NOT_STARTED),
    EXIT_PROFILE_LOCKED: (Blame.HOST, "profile_locked"),
    EXIT_PAGE_NOT_READY: (Blame.SESSION, "page_not_ready"),
    EXIT_BROWSER_GONE: (Blame.SESSION, "browser_gone"),
    EXIT_ORPHANED: (Blame.HOST, "orphaned"),
    EXIT_BAD_SPEC: (Blame.SESSION, "bad_spec"),
    EXIT_PROFILE_HELD: (Blame.HOST, "profile_held"),
    EXIT_CREDENTIALS_LOST: (Blame.SESSION, "credentials_lost"),
    EXIT_STORAGE_CLOSED: (Blame.SESSION, "storage_closed"),
    EXIT_EXPORTS_MISSING: (Blame.WHATSAPP, "exports_missing"),
    EXIT_BROWSER_UNUSABLE: (Blame.HOST, "browser_unusable"),
    EXIT_BROWSER_KILLED: (Blame.SESSION, "browser_killed"),
    EXIT_DISK_FULL: (Blame.HOST, "disk_full"),
    EXIT_LEASE_EXPIRED: (Blame.HOST, "lease_expired"),
}
MAY_BE_OUT_OF_MEMORY: Final = frozenset({-signal.SIGKILL, EXIT_BROWSER_KILLED})
"""The kernel may have killed it, or its browser, because of its memory: that is not free for the next one."""


def describe_exit(code: int | None) -> str:
    """A worker's exit code in words; None: unknown; negative: a signal."""
    if code is None:
        return "its exit code is unknown (adopted)"
    if code < 0:
        named = {number.value: number.name for number in signal.Signals}
        return f"the worker was ended by {named.get(-code, f'signal {-code}')}"
    return EXIT_MEANINGS.get(code, f"the worker failed with exit code {code}")


def of_exit(code: int | None, details: str | None = None) -> Failure:
    """Blame an exit. ``code``: as for ``describe_exit``; ``details``: the worker's own explanation."""
    cause = describe_exit(code)
    if code is None or code < 0:
        reason = "worker_gone" if code is None else "worker_killed"
        return Failure(Blame.SESSION, reason, cause, details or "")
    blame, reason = _OF_EXIT.get(code, (Blame.SESSION, "worker_failed"))
    return Failure(blame, reason, cause, details or "")
