"""Whether a received message may leave, by the application's own row of its session. Pure.

The application stores a message only where its row says connected. Jobs of its queue that are late flip the
row back, and then it answers 200 and stores nothing. So the row is read before the message leaves; where it
is wrong it is corrected, and the message waits. Times are monotonic seconds.
"""

from typing import Final

from msgspec import Struct

from waguard.core.replace import replace
from waguard.core.row_status import Reason, Status
from waguard.core.webhooks.stored import Unknown

DISPUTED: Final = "somebody else writes its row"


class AccountRow(Struct, frozen=True, kw_only=True):
    """The application's row of a session, as it was read."""

    status: str
    generation: int
    active: bool = True
    """The application has not switched the account off."""
    deleted: bool = False
    wanted: bool = True
    """The desired state is up."""
    reason: str | None = None
    """``disconnect_reason``."""
    phone: str | None = None
    displaced: bool = False
    """Another row has its number, and a unique index leaves no room for it in this one."""

    @property
    def lacks_number(self) -> bool:
        """Whether ``session_ready`` would give it one, and take it from no other row."""
        return not self.phone and not self.displaced


class Known(Struct, frozen=True, kw_only=True):
    """What waguard itself knows of the session."""

    why_not: str | None = None
    """Why it is not connected; None: it is."""
    row_pending: bool = False
    """The newest status is on its way into the row."""


class GateLimits(Struct, frozen=True, kw_only=True):
    """In seconds. After ``corrections`` within ``period`` somebody else writes the row: it is corrected once
    in a ``period``, and trusted when it was right for a whole one."""

    between_corrections: float = 1.0
    corrections: int = 5
    period: float = 60.0
    between_ready: float = 60.0


LIMITS: Final = GateLimits()


class RowHistory(Struct, frozen=True, kw_only=True):
    """What was done to the row of one session, as far as it still matters."""

    tried_at: float | None = None
    """The last attempt at a correction."""
    corrected: tuple[float, ...] = ()
    """Corrections that changed the row, within the period."""
    owes_ready: bool = False
    """The row was corrected since the last ``session_ready``."""
    ready_at: float | None = None
    disputed_since: float | None = None
    wrong_at: float | None = None
    """When the row was wrong last, while it is disputed."""


NEW: Final = RowHistory()


class Send(Struct, frozen=True):
    """The message may leave."""


class Hold(Struct, frozen=True):
    """The message waits. ``until``: when the row may be corrected; None: nothing is to be done."""

    why: str
    until: float | None = None


class Correct(Struct, frozen=True):
    """Correct the row where it still says ``said``, then read it again; the message waits."""

    said: str
    generation: int


class RepeatReady(Struct, frozen=True):
    """Publish ``session_ready`` again, before the message: the row lacks the number."""


Decision = Send | Hold | Correct | RepeatReady
Read = AccountRow | Unknown | None
"""A row; that it could not be read; that there is none."""


def evaluate(
    read: Read, known: Known, history: RowHistory, *, now: float, limits: GateLimits = LIMITS
) -> tuple[Decision, RowHistory]:
    """What to do with messages of a session, and its history after that. ``read`` is of a moment ago."""
    history = _renewed(history, now, limits)
    match read:
        case Unknown(reason):
            return Hold(f"its row cannot be read: {reason}"), history
        case None:
            return Hold("the application has no row of it"), history
        case AccountRow():
            why = _why_nothing_helps(read, known)
            return (Hold(why), history) if why else _by_row(read, history, now, limits)


def disputed_since(history: RowHistory, *, now: float) -> float | None:
    """Since when somebody else writes the row; None: nobody does."""
    return _renewed(history, now, LIMITS).disputed_since


def corrected(history: RowHistory, *, now: float) -> RowHistory:
    """The correction changed the row."""
    return replace(history, corrected=(*history.corrected, now), owes_ready=True)


def _why_nothing_helps(row: AccountRow, known: Known) -> str | None:
    """Why the message waits, and nothing is done to the row."""
    if row.deleted:
        return "the application has deleted its row"
    if not row.active:
        return "the application has switched it off"
    if not row.wanted:
        return "it is wanted down"
    if row.status == Status.DISCONNECTED and row.reason == Reason.USER_INITIATED:
        return "a person disconnected it"
    return known.why_not or ("its row is being written" if known.row_pending else None)


def _by_row(
    row: AccountRow, history: RowHistory, now: float, limits: GateLimits
) -> tuple[Decision, RowHistory]:
    """The session is connected, and is to be."""
    if row.status != Status.CONNECTED:
        return _wrong(row, history, now, limits)
    if history.disputed_since is not None:
        return Hold(DISPUTED), history
    if not (history.owes_ready and row.lacks_number):
        return Send(), replace(history, owes_ready=False)
    if history.ready_at is not None and now < history.ready_at + limits.between_ready:
        return Send(), history
    return RepeatReady(), replace(history, owes_ready=False, ready_at=now)


def _wrong(
    row: AccountRow, history: RowHistory, now: float, limits: GateLimits
) -> tuple[Decision, RowHistory]:
    """The row says something else, and waguard knows better."""
    disputed = history.disputed_since is not None or len(history.corrected) >= limits.corrections
    if disputed:
        since = now if history.disputed_since is None else history.disputed_since
        history = replace(history, disputed_since=since, wrong_at=now)
    pause = limits.period if disputed else limits.between_corrections
    until = now if history.tried_at is None else history.tried_at + pause
    if now < until:
        return Hold(DISPUTED if disputed else f"its row says {row.status}", until), history
    return Correct(row.status, row.generation), replace(history, tried_at=now)


def _renewed(history: RowHistory, now: float, limits: GateLimits) -> RowHistory:
    """Without what is over: it is disputed until the row was right for a whole period."""
    recent = tuple(at for at in history.corrected if now < at + limits.period)
    history = replace(history, corrected=recent)
    if history.wrong_at is not None and now >= history.wrong_at + limits.period:
        return replace(history, disputed_since=None)
    return history
