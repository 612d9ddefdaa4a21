"""Whether the network is away: only ever an explanation of sessions that are offline."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.fleet.network import AT_ONCE, Reading, outage, shown
from waguard.core.replace import replace

GOOD = Reading(route=True, carrier=True)
NO_ROUTE = Reading(route=False)
UNREACHABLE = Reading(route=True, reachable=False, error="web.whatsapp.com:443: refused")
READINGS = st.builds(
    Reading,
    route=st.none() | st.booleans(),
    carrier=st.none() | st.booleans(),
    reachable=st.none() | st.booleans(),
)
AGES = st.lists(st.floats(0, 1e6), max_size=10)


def outage_of(
    offline: Sequence[float],
    connected: int = 0,
    *,
    reading: Reading = GOOD,
    before: str | None = None,
) -> str | None:
    return outage(before, reading, offline=offline, connected=connected, threshold=0.5)


def test_whatsapp_cannot_be_reached() -> None:
    why = "WhatsApp cannot be reached from this host: web.whatsapp.com:443: refused"
    assert outage_of([1.0], reading=UNREACHABLE) == why
    assert outage_of([1.0, 9e4], reading=replace(UNREACHABLE, route=False)) == (
        f"{why}; the host has no default route"
    )
    no_carrier = replace(UNREACHABLE, carrier=False)
    assert (
        outage_of([1.0], reading=no_carrier)
        == f"{why}; the host's network interface has no carrier"
    )


def test_a_missing_route_alone_proves_nothing() -> None:
    assert outage_of([1.0], reading=NO_ROUTE) is None
    assert outage_of([1.0, 9.0], reading=NO_ROUTE) == (
        "2 of 2 sessions lost WhatsApp at once; the host has no default route"
    )


@given(AGES, READINGS, st.integers(1, 10), st.none() | st.just("why"))
def test_a_connected_session_refutes_it(
    offline: list[float], reading: Reading, connected: int, before: str | None
) -> None:
    assert outage_of(offline, connected, reading=reading, before=before) is None


@given(AGES, st.none() | st.just("why"))
def test_a_connection_that_can_be_opened_refutes_it(
    offline: list[float], before: str | None
) -> None:
    assert outage_of(offline, reading=Reading(reachable=True, route=False), before=before) is None


def test_many_that_lost_it_at_once() -> None:
    assert outage_of([1.0, 3.0]) == "2 of 2 sessions lost WhatsApp at once"
    assert outage_of([1.0]) is None  # one alone may be its own fault
    assert outage_of([1.0, 1.5 + AT_ONCE]) is None  # one after the other
    assert outage_of([1.0, 2.0], reading=Reading()) is not None  # whatever can be read


def test_one_that_is_off_since_yesterday_hides_no_outage() -> None:
    assert outage_of([9e4, 1.0, 3.0, 4.0]) == "3 of 4 sessions lost WhatsApp at once"
    assert outage_of([9e4, 8e4, 1.0, 3.0]) is None  # half is not more than half


def test_an_outage_lasts_until_one_is_connected() -> None:
    why = outage_of([1.0, 1.0, 1.0])
    assert why
    assert outage_of([90.0, 200.0, 90.0], before=why) == "3 of 3 sessions are without WhatsApp"
    assert outage_of([90.0, 90.0], 1, before=why) is None
    assert outage_of([], 4, before=why) is None


def test_while_it_is_asked_nothing_changes() -> None:
    pending = Reading(pending=True)
    assert outage_of([1.0, 1.0], reading=pending) is None
    assert outage_of([1.0, 90.0], reading=pending, before="why") == "why"


def test_a_link_that_is_shown_beats_unknown_ones() -> None:
    assert shown([]) is None
    assert shown([None]) is None
    assert shown([False, None]) is False
    assert shown([False, True]) is True


@given(READINGS, st.integers(0, 10), st.none() | st.just("why"))
def test_without_a_lost_socket_there_is_nothing_to_explain(
    reading: Reading, connected: int, before: str | None
) -> None:
    assert outage_of([], connected, reading=reading, before=before) is None


@given(AGES, st.integers(0, 10), READINGS)
def test_one_that_is_there_is_reported_until_it_ends(
    offline: list[float], connected: int, reading: Reading
) -> None:
    first = outage_of(offline, connected, reading=reading)
    if first:
        assert outage_of(offline, connected, reading=reading, before=first)
