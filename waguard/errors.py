"""Errors that name what was wrong and what to do about it."""

from collections.abc import Mapping
from typing import ClassVar

from waguard.core.exits import EXIT_FAILED, EXIT_HELD, EXIT_LEASE_LOST, EXIT_PORT, EXIT_USAGE


class WaguardError(Exception):
    """Something that a person or a program outside can act on.

    ``field`` is the key, argument or column that was wrong, ``value`` what it held, ``remedy`` the
    next step in one sentence. ``code`` is the exit code of the command line, ``status`` the HTTP
    status of the API, ``retry_after`` seconds after which the same request may succeed.
    """

    code: ClassVar[int] = EXIT_FAILED
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        remedy: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = value
        self.remedy = remedy
        self.retry_after = retry_after
        self.headers: Mapping[str, str] = {}
        """Further headers of the API's answer."""

    def line(self) -> str:
        """One line for a terminal or a log: what, where, what to do."""
        where = f"{self.field}: " if self.field else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return printable(f"{where}{self.message}{remedy}")


def printable(text: str) -> str:
    """Line ends and other control characters as escapes: what comes from outside may hold any."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(error: BaseException) -> str:
    """``WaguardError.line``; of any other error its text."""
    return error.line() if isinstance(error, WaguardError) else printable(str(error))


class ConfigError(WaguardError):
    """A configuration key is unknown or has a wrong value."""

    code = EXIT_USAGE


class InstanceHeldError(WaguardError):
    """Another daemon holds the instance lock, or the database's lease."""

    code = EXIT_HELD


class LeaseLostError(InstanceHeldError):
    """Another host has taken the lease over: started again, this daemon is its standby."""

    code = EXIT_LEASE_LOST


class StateReplacedError(WaguardError):
    """What this daemon has read at its start lies in another folder than ``paths.state`` is now."""


class PortInUseError(WaguardError):
    """The API's port belongs to another process."""

    code = EXIT_PORT


class InvalidInputError(WaguardError):
    """A request that can never succeed as it is."""

    status = 400


class UnauthorizedError(WaguardError):
    """No key, or a wrong one."""

    status = 401


class ForbiddenError(WaguardError):
    """A good key that may not do this."""

    status = 403


class NotFoundError(WaguardError):
    """There is no such session."""

    status = 404


class ConflictError(WaguardError):
    """The request contradicts the state, until a person acts: the application never repeats it."""

    status = 409


class NoObjectError(ConflictError):
    """The application's metadata of a session are something else: merged or shown as empty, they would be lost."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"the metadata of {session_id} in the database are no JSON object",
            field="metadata",
            value=session_id,
            remedy='correct the row in the application, or replace them: PUT with {"metadata": {...}}',
        )


class UncertainError(WaguardError):
    """A change that may have been done: its answer never came. It must not be repeated."""

    status = 202


class NotYetError(WaguardError):
    """Asked too early; try again after ``retry_after`` seconds."""

    status = 425


class RefusedError(WaguardError):
    """WhatsApp refused it, or another host; sending the same again will be refused too."""

    status = 422


class UnavailableError(WaguardError):
    """Something needed is down or not ready; try again after ``retry_after`` seconds."""

    status = 503


class DatabaseUnavailableError(UnavailableError):
    """The database does not answer: what it holds is unknown, which is never empty."""


class NotOwnedError(UnavailableError):
    """Another host of the cluster owns the session, or none does for the moment. ``address``: the base URL of its owner's
    API; None: it is not known."""

    def __init__(self, message: str, *, address: str | None = None) -> None:
        super().__init__(message, retry_after=5)
        self.address = address


class EngineUnavailableError(UnavailableError):
    """The engine of the hosts' leases does not answer: whether a write took place is unknown."""


class DatabaseUnfitError(DatabaseUnavailableError):
    """The database answers and refuses what no row is to blame for: a table, a column or a right is missing."""


class DatabaseUnknownError(DatabaseUnavailableError):
    """The database answers, and is not known to be ours: nobody uses it until a person says so."""


def is_outage(error: BaseException) -> bool:
    """Whether it passes by itself, and is reported once for all: the database does not answer, or may not be used."""
    return isinstance(error, DatabaseUnavailableError) and not isinstance(error, DatabaseUnfitError)


class OutageLevels:
    """The levels of one task's failures: DEBUG for what is reported once for all, and for what the database still lacks."""

    is_unfit = False
    """The database lacked something at the last try; to be reset by one that succeeds."""

    def level(self, error: WaguardError) -> str:
        """Another failure's."""
        was, self.is_unfit = self.is_unfit, isinstance(error, DatabaseUnfitError)
        return "DEBUG" if is_outage(error) or (was and self.is_unfit) else "ERROR"


class TooManyError(UnavailableError):
    """More of this at a time than is allowed. No 429: that is final for the application."""


class TooLargeError(WaguardError):
    """The file is larger than it may be."""

    status = 413


class NoRoomError(WaguardError):
    """The disk is too full to begin anything new."""

    status = 507


class SessionIdTakenError(ConflictError):
    """The id belongs to a session of another workspace."""


class NumberLinkedError(ConflictError):
    """Another session is linked to the number; ``session`` None: who asks may not know which one."""

    def __init__(self, phone: str, session: str | None = None) -> None:
        name = f"session {session}" if session else "another session"
        super().__init__(
            f"{name} is linked to this number, and a code for it may unlink that",
            field="phone_number",
            value=phone,
            remedy="scan the QR code instead"
            + (f", or log {session} out first" if session else ""),
        )
        self.session = session


class OtherNumberError(ConflictError):
    """The message belongs to another number than the one that the session is linked to now."""

    def __init__(self, its: str | None, now: str | None) -> None:
        super().__init__(
            f"the message was accepted for +{its}, and the session is linked to +{now} now",
            remedy="send it as a new message, or link the old number again",
        )
