"""The circuit in front of one receiver: when it is tried, and by how many at a time. Pure.

Closed: as many as there are places. After some failures in a row it opens, and nothing is tried
for a while; then one delivery is the probe. It closes with the first answer which shows that the
receiver works. A refusal (4xx) shows that too: the circuit is about the receiver, not about one message.
"""

from msgspec import Struct

from waguard.core.backoff import backoff
from waguard.core.replace import replace


class CircuitPolicy(Struct, frozen=True, kw_only=True):
    """Opens after ``trip_after`` failures in a row, for min(max_pause, base_pause · 2ⁿ) s at most.

    A receiver that answers with an error may fail at a few messages only: it is tried again after
    ``max_pause_answering`` s at the latest.
    """

    trip_after: int = 5
    base_pause: float = 1.0
    max_pause: float = 60.0
    max_pause_answering: float = 5.0


class Circuit(Struct, frozen=True):
    """``opened_until`` is monotonic time in seconds; None: closed."""

    failures: int = 0
    trips: int = 0
    opened_until: float | None = None
    quiet_until: float | None = None
    """The receiver asked for a pause (Retry-After): answers to requests that were in flight do not end it."""


CLOSED = Circuit()


def places(circuit: Circuit, *, now: float, most: int) -> int:
    """How many deliveries may run now."""
    if circuit.opened_until is None:
        return most
    return 0 if now < circuit.opened_until else 1


def failed(
    policy: CircuitPolicy, circuit: Circuit, *, now: float, jitter: float, answers: bool = False
) -> Circuit:
    """After a failure. ``jitter`` is uniform in [0, 1); at least half of the pause is waited.

    ``answers``: there was an answer, and it was a bad one.
    """
    if circuit.opened_until is not None and now < circuit.opened_until:
        return circuit  # that attempt began before the circuit opened
    failures = circuit.failures + 1
    if circuit.opened_until is None and failures < policy.trip_after:
        return replace(circuit, failures=failures)
    longest = min(policy.max_pause, policy.max_pause_answering if answers else policy.max_pause)
    pause = backoff(policy.base_pause, circuit.trips, longest=longest)
    until = now + pause * (0.5 + jitter / 2)
    return Circuit(failures=failures, trips=circuit.trips + 1, opened_until=until)


def quiet(circuit: Circuit, *, until: float) -> Circuit:
    """The receiver asks for a pause; a shorter one does not end a longer one."""
    until = max(circuit.opened_until or 0.0, until)
    return replace(circuit, opened_until=until, quiet_until=until)


def worked(circuit: Circuit, *, now: float) -> Circuit:
    """After an answer that shows that the receiver works."""
    return circuit if circuit.quiet_until is not None and now < circuit.quiet_until else CLOSED
