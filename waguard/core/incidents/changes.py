"""Changes that somebody asked for by the API, as the audit log has them: who, what, what came of it. Pure."""

import heapq
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from waguard.core.incidents.entries import Entry

CHANGE: Final = "change"
"""The kind of these entries. ``at`` is when it was asked for, ``reason`` who asked, ``before`` its route, ``after`` its outcome;
``evidence`` has its path and status, the id of the request, and the seconds that it took."""
DONE: Final = "done"
_OUTCOMES: Final = {2: DONE, 3: DONE, 4: "refused"}
SOON: Final = 30.0  # s after a change; what begins within them may be its effect

E = TypeVar("E", bound=Entry)

_ONE: Final = "/api/sessions/{session_id}"
STARTS: Final[Mapping[str, str]] = {
    "POST /api/sessions": "it was started by {}",
    f"POST {_ONE}/start": "it was started by {}",
    f"POST {_ONE}/restore": "it was started by {}",
    f"POST {_ONE}/reconnect": "it was restarted by {}",
}
OF_SESSION: Final[Mapping[str, str]] = {
    **STARTS,
    f"POST {_ONE}/stop": "it was stopped by {}",
    f"POST {_ONE}/move": "it was moved to another host by {}",
    f"POST {_ONE}/logout": "it was logged out by {}",
    "POST /sessions/{session_id}/logout": "it was logged out by {}",
    f"DELETE {_ONE}": "it was deleted by {}",
    f"POST {_ONE}/regenerate-qr": "a new QR code was asked for by {}",
    f"POST {_ONE}/pairing-code": "a pairing code was asked for by {}",
    f"PUT {_ONE}/webhook": "its receiver was set by {}",
    f"DELETE {_ONE}/webhook": "its receiver was removed by {}",
    f"PUT {_ONE}/proxy": "its proxy was set by {}",
    f"DELETE {_ONE}/proxy": "its proxy was removed by {}",
    "POST /api/webhooks/held/discard": "what waited was discarded by {}",
}
"""By route: what it does to a session, as far as that explains an incident."""
OF_FLEET: Final[Mapping[str, tuple[str, str]]] = {
    "POST /api/database/accept": ("database_known", "the database was accepted by {}"),
    "POST /api/webhooks/dead/replay": ("dead_letters_gone", "they were replayed by {}"),
    "POST /api/restored/webhooks/release": ("letters_released", "they were released by {}"),
    "POST /api/restored/groups/release": ("groups_released", "they were released by {}"),
}
"""By route: the kind of entry that ends the incident which it is part of, and what it does."""


EXPLAINING: Final = frozenset({*OF_SESSION, *OF_FLEET})
"""Routes whose changes explain incidents, once they are done; no others crowd these out."""


def outcome(status: int | None) -> str:
    """What came of a change that was answered with this status; None: it was cut off."""
    if status is None:
        return "unknown"
    return _OUTCOMES.get(status // 100, "failed")


def merged(entries: Iterable[E], changes: Iterable[E]) -> list[E]:
    """Both, each in its own order; a change comes before what happened after it was asked for."""
    return list(heapq.merge(changes, entries, key=lambda it: it.at or 0.0))


def done(change: Entry) -> str | None:
    """What was done to a session, and by whom; None: nothing that explains an incident."""
    words = OF_SESSION.get(change.before or "") if change.after == DONE else None
    return words and words.format(change.reason)


def done_to_all(change: Entry) -> tuple[str, str] | None:
    """As ``done``, to all sessions at once; before it the kind of entry that ends what it is part of."""
    if change.after != DONE or not (found := OF_FLEET.get(change.before or "")):
        return None
    end, words = found
    return end, words.format(change.reason)


def is_start(change: Entry) -> bool:
    """Whether somebody wanted a session up."""
    return change.before in STARTS


def may_explain(change: Entry, at: float) -> bool:
    """Whether what happened at ``at`` (unix time) may be an effect of the change."""
    took = change.evidence.get("seconds")
    ended = (change.at or 0.0) + (took if isinstance(took, int | float) else 0.0)
    return at <= ended + SOON
