"""When a receiver is tried, and by how many."""

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.webhooks.circuit import CLOSED, Circuit, CircuitPolicy, failed, places, quiet

POLICY = CircuitPolicy(trip_after=3, base_pause=2.0, max_pause=10.0)


def after(failures: int, *, jitter: float = 1.0, gap: float = 100.0) -> Circuit:
    """After failures, each a ``gap`` after the one before; the first at 0."""
    circuit = CLOSED
    for number in range(failures):
        circuit = failed(POLICY, circuit, now=number * gap, jitter=jitter)
    return circuit


def test_some_failures_are_nothing() -> None:
    assert places(after(2), now=0.0, most=8) == 8


def test_the_circuit_opens_and_then_lets_one_through() -> None:
    circuit = after(3, gap=0.0)
    assert circuit.opened_until == 2.0
    assert [places(circuit, now=now, most=8) for now in (0.0, 1.9, 2.0, 99.0)] == [0, 0, 1, 1]


def test_a_failed_probe_opens_it_for_longer_up_to_a_limit() -> None:
    pauses = [(after(n).opened_until or 0.0) - (n - 1) * 100.0 for n in range(3, 8)]
    assert pauses == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_one_that_had_begun_before_changes_nothing() -> None:
    circuit = after(3, gap=0.0)
    assert failed(POLICY, circuit, now=1.0, jitter=0.0) == circuit


def test_a_requested_pause_is_kept_and_a_shorter_one_does_not_end_it() -> None:
    circuit = quiet(quiet(CLOSED, until=60.0), until=5.0)
    assert places(circuit, now=59.0, most=8) == 0
    assert places(circuit, now=60.0, most=8) == 1


@given(
    failures=st.integers(1, 2_000), jitter=st.floats(0, 1, exclude_max=True), now=st.floats(0, 1e9)
)
def test_the_circuit_is_never_closed_for_good(failures: int, jitter: float, now: float) -> None:
    circuit = CLOSED
    for _ in range(failures):
        circuit = failed(POLICY, circuit, now=now, jitter=jitter)
    until = circuit.opened_until
    if until is not None:
        assert now <= until <= now + POLICY.max_pause
        assert places(circuit, now=until, most=8) == 1
