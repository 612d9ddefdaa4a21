"""When which destination gets an alert: conditions come in, notifications go out. Pure. Times are unix time.

Each destination knows what was reported to it, so a notification is the difference between that and what is true now:
one that could not be delivered is made again, and says what is true then. What begins and ends unreported is never
reported.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from waguard.core.backoff import backoff
from waguard.core.blame import Condition
from waguard.core.replace import replace

FOLD: Final = 60.0  # s from the first news to its notification: what comes meanwhile is in it
APART: Final = 600.0  # s between two notifications about the begin of one cause
RETRY: Final = 30.0  # s until a destination that failed is tried again; doubled each time up to …
RETRY_LONGEST: Final = 900.0  # s
FOUND_AGAIN: Final = (
    1800.0  # s in which a daemon finds again what lasts and has to show itself first
)
_LATER: Final = 0.001  # s between two deliveries, at least: a clock may be set back
UNDELIVERABLE: Final = "alerts_undeliverable"
"""The condition of destinations that fail; it is no alert."""
WAITS: Final = "standby"
OF_DAEMON: Final = frozenset(
    {
        *("begin_failed", "database_down", "database_unfit", "database_unknown", "disk_low"),
        *("keys_unreadable", "lease_held", "release_rolled_back", "runtime_removed", "task_hangs"),
    }
)
"""What a standby sees of itself and of the database. Of the rest, sessions and messages, the other daemon knows."""
_SHOWS_ITSELF: Final = frozenset(
    {
        *("webhooks_down", "webhooks_late", "dead_letters", "letters_restored"),
        *("letters_uncertain", "letters_stored", "letters_undecryptable"),
        *("sends_throw_everywhere", "pages_restart_everywhere"),
    }
)
"""What is of all sessions, and found when enough has failed or was counted; the rest a daemon sees as it begins."""
_SAY_MORE: Final = frozenset({"link_stuck", "passkey_required", "whatsapp_refuses"})
_NOT_CONNECTED: Final = _SAY_MORE | {"start", "link"}
"""A session with one of these is not connected."""
_NOT_YET: Final = _NOT_CONNECTED | {"parked", "unlinked"}
"""None of these is found in a session that is connected."""


class Alert(Struct, frozen=True, kw_only=True):
    """A condition that a person must act on."""

    type: str
    reason: str
    session: str | None
    message: str
    remedy: str
    since: float
    seen: float
    """When it came here."""
    ended: float | None = None
    """When it was gone."""
    host: str | None = None
    """The host that says so, where there are several; None: it is of all of them."""

    @property
    def cause(self) -> str:
        """What it has in common with those of other sessions."""
        return f"{self.type}/{self.reason}"


class Notification(Struct, frozen=True):
    """What one destination gets at once."""

    begun: tuple[Alert, ...] = ()
    ended: tuple[Alert, ...] = ()


class Destination(Struct, frozen=True, kw_only=True):
    """What is known of a destination."""

    reported: Mapping[str, Alert] = {}
    """Alerts whose begin was delivered and whose end was not."""
    causes: Mapping[str, float] = {}
    """When the begin of each cause was last delivered."""
    sending: Notification | None = None
    failures: int = 0
    """In a row."""
    failing_since: float = 0.0
    error: str = ""
    retry_at: float = 0.0
    at: float = 0.0
    """When it last accepted something; each time later than before, whatever the clock says."""


class AlertState(Struct, frozen=True):
    """Open alerts and destinations, each by its key."""

    open: Mapping[str, Alert] = {}
    destinations: Mapping[str, Destination] = {}
    unlisted: Mapping[str, Destination] = {}
    """What is known of those that a wrong line may mean: they get nothing."""


class Now(Struct, frozen=True):
    """The time, and whether quiet hours hold everything back."""

    at: float
    quiet: bool = False


class OfHost(NamedTuple):
    """A condition, and the host of the cluster that says so."""

    host: str
    condition: Condition


class Observed(Struct, frozen=True):
    """All conditions; ``complete``: what is missing is over, not unknown, but for the alerts whose keys are ``unknown``."""

    conditions: Iterable[Condition]
    complete: bool
    of_hosts: Sequence[OfHost] = ()
    unknown: frozenset[str] = frozenset()

    def is_over(self, key: str) -> bool:
        """Whether an alert that is not among the conditions has ended."""
        return self.complete and key not in self.unknown


def of_one_host(
    conditions: Sequence[Condition],
    state: "AlertState",
    *,
    complete: bool,
    age: float = 0.0,
    at: float = math.inf,
) -> Observed:
    """What one daemon says alone. A standby never says all, and what it does know of may end all the same. ``age``:
    seconds since it says all, ``at``: unix time."""
    if complete:
        return Observed(conditions, complete, unknown=undecided(conditions, state, age=age, at=at))
    if not any(it.type == WAITS for it in conditions):
        return Observed(conditions, complete)
    unknown = {key for key, it in pending(state).items() if it.type not in OF_DAEMON}
    return Observed(conditions, complete=True, unknown=frozenset(unknown))


def undecided(
    conditions: Iterable[Condition], state: "AlertState", *, age: float, at: float
) -> frozenset[str]:
    """What an earlier daemon reported, and this one cannot have found again yet: it has said all for ``age`` seconds, until
    ``at``."""
    reported = {
        key: alert
        for it in state.destinations.values()
        for key, alert in it.reported.items()
        if (alert.session is not None or alert.type in _SHOWS_ITSELF)
        and key not in state.open
        and alert.seen < at - age
    }
    if not reported:
        return frozenset()
    away = not_connected(conditions)
    return frozenset(
        key for key, it in reported.items() if age < found_within(it, away=it.session in away)
    )


def not_connected(conditions: Iterable[Condition]) -> set[str | None]:
    """The sessions of which these say so."""
    return {it.session for it in conditions if it.type in _NOT_CONNECTED}


def found_within(it: Alert, *, away: bool) -> float:
    """Seconds in which a daemon that begins to supervise finds it again. ``away``: its session is not connected."""
    return FOLD if it.type in _NOT_YET and not away else FOUND_AGAIN


class Delivered(Struct, frozen=True):
    """A destination accepted what was sent to it."""

    destination: str


class Failed(Struct, frozen=True):
    """A destination did not."""

    destination: str
    why: str


class Send(Struct, frozen=True):
    """Send it; ``Delivered`` or ``Failed`` is to follow."""

    destination: str
    notification: Notification


Fact = Observed | Delivered | Failed


def advance(state: AlertState, fact: Fact, now: Now) -> tuple[AlertState, Sequence[Send]]:
    """Take a fact in; what follows from it."""
    match fact:
        case Observed():
            state = _observed(state, fact, now.at)
        case Delivered(destination=name) if it := state.destinations.get(name):
            state = _with(state, name, _delivered(it, now.at))
        case Failed(destination=name, why=why) if it := state.destinations.get(name):
            state = _with(state, name, _failed(it, why, now.at))
        case _:  # a destination that is not configured any more
            return state, ()
    sends = [
        Send(name, found)
        for name, it in state.destinations.items()
        if (found := _due(it, state.open, now))
    ]
    for send in sends:
        it = state.destinations[send.destination]
        state = _with(state, send.destination, replace(it, sending=send.notification))
    return state, sends


def configured(state: AlertState, names: Iterable[str], *, complete: bool = True) -> AlertState:
    """The state with these destinations: a new one gets what is open. Not ``complete``: there may be others."""
    known = {**state.unlisted, **state.destinations}
    chosen = {it: known.get(it, Destination()) for it in names}
    rest = {} if complete else {name: it for name, it in known.items() if name not in chosen}
    return replace(state, destinations=chosen, unlisted=rest)


def undelivered(state: AlertState) -> Mapping[str, Destination]:
    """Destinations that fail."""
    return {name: it for name, it in state.destinations.items() if it.failures}


def adopted(state: AlertState, sent: Mapping[str, Destination]) -> AlertState:
    """The state of a host that goes on where another one has ended: these destinations have got what that one says."""
    return AlertState(
        {},
        *(
            {name: _later(it, sent.get(name)) for name, it in some.items()}
            for some in (state.destinations, state.unlisted)
        ),
    )


def _later(known: Destination, sent: Destination | None) -> Destination:
    if known.sending:  # its answer is still to come
        return known
    later = sent if sent and sent.at >= known.at else known
    return Destination(reported=later.reported, causes=later.causes, at=later.at)


def dated(state: AlertState, at: float, *, began: float) -> AlertState:
    """The state of an earlier daemon or another host as of ``at``: what was seen later than now, by a clock that was set
    back, counts as seen when this daemon ``began``."""
    return AlertState(
        state.open,
        *(
            {name: _dated(it, at, began) for name, it in some.items()}
            for some in (state.destinations, state.unlisted)
        ),
    )


def _dated(it: Destination, at: float, began: float) -> Destination:
    later = {key: replace(one, seen=began) for key, one in it.reported.items() if one.seen > at}
    return replace(it, reported={**it.reported, **later})


def pending(state: AlertState) -> dict[str, Alert]:
    """By key, all that is open, or whose end has still to be sent."""
    reported = [it.reported for it in state.destinations.values()]
    return {key: alert for some in (*reported, state.open) for key, alert in some.items()}


def _with(state: AlertState, name: str, it: Destination) -> AlertState:
    return replace(state, destinations={**state.destinations, name: it})


def _observed(state: AlertState, fact: Observed, at: float) -> AlertState:
    found = {key: it for key, it in state.open.items() if not fact.is_over(key)}
    of_all = ((None, it) for it in fact.conditions)
    for host, it in (*of_all, *fact.of_hosts):
        if it.needs_person and it.type != UNDELIVERABLE:
            alert = _alert(it, host, seen=at)
            before = state.open.get(_key(alert))
            found[_key(alert)] = replace(alert, seen=min(before.seen, at)) if before else alert
    if not found and not any(it.reported or it.failures for it in state.destinations.values()):
        return state if not state.open else replace(state, open=found)
    destinations = {name: _compared(it, found, fact, at) for name, it in state.destinations.items()}
    return replace(state, open=found, destinations=destinations)


def _alert(it: Condition, host: str | None, *, seen: float) -> Alert:
    return Alert(
        host=host,
        type=it.type,
        reason=it.reason,
        session=it.session,
        message=it.message,
        remedy=it.remedy,
        since=it.since,
        seen=seen,
    )


def _compared(
    it: Destination, found: Mapping[str, Alert], fact: Observed, at: float
) -> Destination:
    """The destination with what is over marked, and without failures where nothing is left to deliver."""
    for key, alert in it.reported.items():
        ended = None if key in found else alert.ended
        if key not in found and fact.is_over(key):
            ended = min(alert.ended or at, at)
        if ended != alert.ended:
            it = replace(it, reported={**it.reported, key: replace(alert, ended=ended)})
    if it.failures and not it.sending and not (found.keys() ^ it.reported.keys()):
        return replace(it, failures=0)
    return it


def _due(it: Destination, found: Mapping[str, Alert], now: Now) -> Notification | None:
    if it.sending or now.quiet or 0 < it.retry_at - now.at <= RETRY_LONGEST:
        return None
    begun = tuple(
        alert
        for key, alert in found.items()
        if key not in it.reported and not _is_recent(it.causes.get(alert.cause), now.at)
    )
    ended = tuple(alert for alert in it.reported.values() if alert.ended is not None)
    first = min(
        [alert.seen for alert in begun] + [alert.ended or 0.0 for alert in ended], default=now.at
    )
    return Notification(begun, ended) if now.at - first >= FOLD else None


def _is_recent(reported_at: float | None, at: float) -> bool:
    """Whether that was less than ``APART`` ago; a clock that was set back makes nothing recent."""
    return reported_at is not None and 0 <= at - reported_at < APART


def _delivered(it: Destination, at: float) -> Destination:
    sent = it.sending or Notification()
    over = {_key(alert) for alert in sent.ended}
    reported = {key: alert for key, alert in it.reported.items() if key not in over}
    causes = {cause: then for cause, then in it.causes.items() if _is_recent(then, at)}
    return Destination(
        at=max(at, it.at + _LATER),
        reported=reported | {_key(alert): alert for alert in sent.begun},
        causes=causes | {alert.cause: at for alert in sent.begun},
    )


def _failed(it: Destination, why: str, at: float) -> Destination:
    return replace(
        it,
        sending=None,
        failures=it.failures + 1,
        failing_since=it.failing_since if it.failures else at,
        error=why,
        retry_at=at + backoff(RETRY, it.failures, longest=RETRY_LONGEST),
    )


def _key(it: Alert) -> str:
    """What is of a session stays the same as another host has it."""
    of_host = f"@{it.host}" if it.host else ""
    return f"{it.cause}/{it.session or of_host}"
