"""The difference between the rows and the sessions in memory, as a list of actions."""

from collections.abc import Mapping
from dataclasses import dataclass

from waguard.policy.lifecycle import WANTED_UP, State
from waguard.policy.status import LIVE_STATUSES

_SETTLED = WANTED_UP | {State.PARKED, State.PARKING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One row."""

    up: bool
    generation: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One session in memory."""

    state: State
    generation: int
    status: str
    row_pending: bool
    """Its newest status is still on the way to the row."""


@dataclass(frozen=True, slots=True)
class Add:
    """A row without a session in memory: take it in (its desired state follows)."""

    session: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A session whose row is gone: stop it and forget it."""

    session: str


@dataclass(frozen=True, slots=True)
class Start:
    """Wanted up and not."""

    session: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Up and not wanted."""

    session: str


@dataclass(frozen=True, slots=True)
class CorrectRow:
    """The row says something else than what is so."""

    session: str


Action = Add | Remove | Start | Stop | CorrectRow


def plan(wanted: Mapping[str, Wanted], observed: Mapping[str, Observed]) -> list[Action]:
    """List what to do, stops first, in a stable order.

    At most one action on a session itself; ``CorrectRow`` may follow it, since what it starts or
    stops need not change the status, and a lie must not stand until the next comparison.
    """
    both = sorted(wanted.keys() & observed.keys())
    return [
        *(Remove(s) for s in sorted(observed.keys() - wanted.keys())),
        *(Stop(s) for s in both if not wanted[s].up and observed[s].state in _SETTLED),
        *(Add(s) for s in sorted(wanted.keys() - observed.keys())),
        *(Start(s) for s in both if wanted[s].up and observed[s].state is State.STOPPED),
        *(CorrectRow(s) for s in both if _lies(wanted[s], observed[s])),
    ]


def _lies(row: Wanted, session: Observed) -> bool:
    if session.row_pending:
        return False
    promises = session.state is State.STOPPED and not row.up and row.status in LIVE_STATUSES
    return promises or row.status != session.status
