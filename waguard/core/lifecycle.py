"""The lifecycle of a session, in the words of the API; ``views.lifecycle`` derives it from the state."""

from enum import StrEnum, auto
from typing import Final


class State(StrEnum):
    """What a worker is doing, as shown by the API."""

    STOPPED = auto()
    STARTING = auto()
    RUNNING = auto()
    RECYCLING = auto()
    BACKOFF = auto()
    STOPPING = auto()
    PARKING = auto()
    PARKED = auto()


HAS_PROCESS: Final = frozenset(
    {State.STARTING, State.RUNNING, State.RECYCLING, State.STOPPING, State.PARKING}
)
WANTED_UP: Final = frozenset({State.STARTING, State.RUNNING, State.RECYCLING, State.BACKOFF})


def stays_down(state: State, *, wanted: bool) -> bool:
    """Whether only a person can start it again; ``wanted``: the row wants it up."""
    return state not in WANTED_UP and not (wanted and state in {State.STOPPED, State.STOPPING})
