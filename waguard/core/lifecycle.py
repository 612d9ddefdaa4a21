"""The lifecycle of one worker: ``step(state, event) -> (state, effects)``.

Everything that decides what a worker does next lives in ``TRANSITIONS``; the diagram in
docs/architecture.md is drawn from it. Nothing here awaits, sleeps, logs or reads a clock.
"""

from enum import StrEnum, auto
from typing import Final, NamedTuple


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


class Event(StrEnum):
    """Something that happened to a worker, or was asked of it."""

    START_REQUESTED = auto()
    STOP_REQUESTED = auto()
    RESTART_REQUESTED = auto()
    PARK = auto()
    ADOPTED = auto()
    BECAME_READY = auto()
    BECAME_UNHEALTHY = auto()
    EXITED = auto()
    BACKOFF_ELAPSED = auto()


class Effect(StrEnum):
    """Something the shell must now do."""

    SPAWN = auto()
    TERMINATE = auto()
    ARM_BACKOFF = auto()
    DISARM_BACKOFF = auto()


class Transition(NamedTuple):
    """Where to go and what to do on the way."""

    target: State
    effects: tuple[Effect, ...] = ()


class IllegalEventError(Exception):
    """The event has no meaning in this state: a bug in the caller."""


S, E, F, T = State, Event, Effect, Transition
TRANSITIONS: Final[dict[State, dict[Event, Transition]]] = {
    S.STOPPED: {
        E.START_REQUESTED: T(S.STARTING, (F.SPAWN,)),
        E.RESTART_REQUESTED: T(S.STARTING, (F.SPAWN,)),
        E.STOP_REQUESTED: T(S.STOPPED),
        E.PARK: T(S.PARKED),
        E.ADOPTED: T(S.STARTING),
    },
    S.STARTING: {
        E.START_REQUESTED: T(S.STARTING),
        E.RESTART_REQUESTED: T(S.RECYCLING, (F.TERMINATE,)),
        E.BECAME_READY: T(S.RUNNING),
        E.BECAME_UNHEALTHY: T(S.RECYCLING, (F.TERMINATE,)),
        E.EXITED: T(S.BACKOFF, (F.ARM_BACKOFF,)),
        E.STOP_REQUESTED: T(S.STOPPING, (F.TERMINATE,)),
        E.PARK: T(S.PARKING, (F.TERMINATE,)),
    },
    S.RUNNING: {
        E.START_REQUESTED: T(S.RUNNING),
        E.RESTART_REQUESTED: T(S.RECYCLING, (F.TERMINATE,)),
        E.BECAME_READY: T(S.RUNNING),
        E.BECAME_UNHEALTHY: T(S.RECYCLING, (F.TERMINATE,)),
        E.EXITED: T(S.BACKOFF, (F.ARM_BACKOFF,)),
        E.STOP_REQUESTED: T(S.STOPPING, (F.TERMINATE,)),
        E.PARK: T(S.PARKING, (F.TERMINATE,)),
    },
    S.RECYCLING: {
        E.START_REQUESTED: T(S.RECYCLING),
        E.RESTART_REQUESTED: T(S.RECYCLING),
        E.EXITED: T(S.BACKOFF, (F.ARM_BACKOFF,)),
        E.STOP_REQUESTED: T(S.STOPPING),
        E.PARK: T(S.PARKING),
    },
    S.BACKOFF: {
        E.START_REQUESTED: T(S.STARTING, (F.DISARM_BACKOFF, F.SPAWN)),
        E.RESTART_REQUESTED: T(S.STARTING, (F.DISARM_BACKOFF, F.SPAWN)),
        E.BACKOFF_ELAPSED: T(S.STARTING, (F.SPAWN,)),
        E.STOP_REQUESTED: T(S.STOPPED, (F.DISARM_BACKOFF,)),
        E.PARK: T(S.PARKED, (F.DISARM_BACKOFF,)),
    },
    S.STOPPING: {
        E.START_REQUESTED: T(S.RECYCLING),
        E.RESTART_REQUESTED: T(S.RECYCLING),
        E.EXITED: T(S.STOPPED),
        E.STOP_REQUESTED: T(S.STOPPING),
        E.PARK: T(S.PARKING),
    },
    S.PARKING: {
        E.START_REQUESTED: T(S.RECYCLING),
        E.RESTART_REQUESTED: T(S.RECYCLING),
        E.EXITED: T(S.PARKED),
        E.STOP_REQUESTED: T(S.STOPPING),
        E.PARK: T(S.PARKING),
    },
    S.PARKED: {
        E.START_REQUESTED: T(S.STARTING, (F.SPAWN,)),
        E.RESTART_REQUESTED: T(S.STARTING, (F.SPAWN,)),
        E.STOP_REQUESTED: T(S.STOPPED),
        E.PARK: T(S.PARKED),
    },
}

HAS_PROCESS: Final = frozenset({S.STARTING, S.RUNNING, S.RECYCLING, S.STOPPING, S.PARKING})
WANTED_UP: Final = frozenset({S.STARTING, S.RUNNING, S.RECYCLING, S.BACKOFF})


def stays_down(state: State, *, wanted: bool) -> bool:
    """Whether only a person brings it up again; ``wanted``: it is to be up, by its row."""
    return state not in WANTED_UP and not (wanted and state in {S.STOPPED, S.STOPPING})


def step(state: State, event: Event) -> Transition:
    """Return the transition for ``event`` in ``state``.

    Raises ``IllegalEventError`` when the table has no such row.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalEventError(f"{event} is not accepted in {state}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    for state, row in TRANSITIONS.items():
        for event, (target, effects) in row.items():
            if target is not state or effects:
                doing = f" / {', '.join(effects)}" if effects else ""
                lines.append(f"    {state} --> {target}: {event}{doing}")
    return "\n".join(lines)
