"""Whose fault a failure is, and the one answer to "why is it not well". Pure."""

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
    EXIT_MEANINGS,
    EXIT_ORPHANED,
    EXIT_PAGE_NOT_READY,
    EXIT_PROFILE_HELD,
    EXIT_PROFILE_LOCKED,
    EXIT_STORAGE_CLOSED,
)


class Blame(StrEnum):
    """Only ``SESSION`` spends the restart budget."""

    SESSION = auto()
    """Its page or its profile; also where nothing shows whose fault it is."""
    HOST = auto()
    """An executable, a disk, memory, a folder that is not mounted, a fork that is refused."""
    NETWORK = auto()
    WHATSAPP = auto()
    """HTTP status 400 or above, no answer, a block, a version that wa-js does not know."""
    OPERATOR = auto()
    """A person asked for it, or is waited for."""


class Failure(Struct, frozen=True):
    """Why a worker ended, or could not start."""

    blame: Blame
    reason: str
    """One word for machines."""
    cause: str
    """What two sessions can have in common, in words: nothing in it is of one session alone."""
    message: str = ""
    """What happened to this one, in words; empty: ``cause`` says it all."""

    def __str__(self) -> str:
        return self.message or self.cause


class Condition(Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be, or that a person should know."""

    type: str
    blame: Blame
    reason: str
    message: str
    since: float
    """In the core: monotonic seconds; as it is shown: unix time."""
    remedy: str
    until: float | None = None
    """Unix time at which it ends by itself, where that is known."""
    expires_in: float | None = None
    """Seconds until then, as it is shown."""
    session: str | None = None
    """Whose; None: of all sessions at once."""
    degrades: bool = True
    """False: nothing is wrong, it is on the way to a session's first connection."""

    def __str__(self) -> str:
        return f"{self.session}: {self.message}" if self.session else self.message


_OF_EXIT: Final = {
    0: (Blame.OPERATOR, "ended"),
    EXIT_BROWSER_NOT_STARTED: (Blame.SESSION, "browser_not_started"),
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
}
MAY_BE_OUT_OF_MEMORY: Final = frozenset({-signal.SIGKILL, EXIT_BROWSER_KILLED})
"""The kernel may have ended it, or its browser, for its memory, which is not there for the next one."""


def describe_exit(code: int | None) -> str:
    """A worker's exit code in words; None: unknown; negative: a signal."""
    if code is None:
        return "its exit code is unknown (adopted)"
    if code < 0:
        named = {number.value: number.name for number in signal.Signals}
        return f"the worker was ended by {named.get(-code, f'signal {-code}')}"
    return EXIT_MEANINGS.get(code, f"the worker failed with exit code {code}")


def of_exit(code: int | None, details: str | None = None) -> Failure:
    """Blame an exit. ``code``: as ``describe_exit`` has it; ``details``: the worker's own last words."""
    cause = describe_exit(code)
    if code is None or code < 0:
        reason = "worker_gone" if code is None else "worker_killed"
        return Failure(Blame.SESSION, reason, cause, details or "")
    blame, reason = _OF_EXIT.get(code, (Blame.SESSION, "worker_failed"))
    return Failure(blame, reason, cause, details or "")
