"""Signals that arrive while ``waguard run`` begins: remembered until the daemon has its handlers.

Without this a SIGTERM in the first half second ends it with -15, and a SIGHUP kills it. Stdlib only, for
it is the first thing that is imported. A signal before that ends the interpreter itself.
"""

import signal
from types import FrameType
from typing import Final

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)

_arrived: list[signal.Signals] = []


def remember() -> None:
    """From now on they end nothing; a program that is executed gets the system's handlers."""
    for number in HANDLED:
        signal.signal(number, _record)


def drain() -> list[signal.Signals]:
    """What arrived so far, in order; each is given once."""
    drained = list(_arrived)
    del _arrived[: len(drained)]
    return drained


def ignore() -> None:
    """At the very end, when the event loop takes its handlers away: all is stopped already."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)


def _record(number: int, _: FrameType | None) -> None:
    _arrived.append(signal.Signals(number))
