"""How the daemon is asked to end, and until when another request changes that."""

import signal
from typing import TYPE_CHECKING

import pytest
from loguru import logger

from waguard.daemon.stop_request import StopRequest
from waguard.errors import InstanceHeldError, WaguardError

if TYPE_CHECKING:
    from loguru import Message


def test_a_stop_after_a_restart_closes_the_sessions_until_they_are_left() -> None:
    stop = StopRequest()
    stop.hand_over()
    stop.by_signal(signal.SIGTERM)
    assert not stop.decide()
    stop.hand_over()
    assert not stop.hands_over


def test_sessions_that_are_being_left_are_not_given_up_by_a_later_stop() -> None:
    """The lease would be released while their workers run on, and another daemon would start them again."""
    stop = StopRequest()
    stop.hand_over()
    assert stop.decide()
    stop.by_signal(signal.SIGTERM)
    assert stop.hands_over
    assert stop.why == "SIGTERM"


def test_a_stop_of_a_daemon_that_hands_over_for_an_error_is_one_in_order() -> None:
    """With a failure the service manager would start it again."""
    stop = StopRequest()
    stop.hand_over_after(error := WaguardError("its folder is another one"))
    assert (stop.error, stop.hands_over) == (error, True)
    stop.by_signal(signal.SIGTERM)
    assert (stop.error, stop.hands_over) == (None, False)


def test_a_stop_that_is_under_way_stays_one() -> None:
    stop = StopRequest()
    stop.by_signal(signal.SIGTERM)
    stop.hand_over_after(WaguardError("its folder is another one"))
    assert (stop.error, stop.hands_over) == (None, False)


@pytest.mark.parametrize(
    ("had", "line"), [(True, ("CRITICAL", "lease_lost")), (False, ("ERROR", "lease_refused"))]
)
def test_only_who_had_the_lease_has_lost_it(*, had: bool, line: tuple[str, str]) -> None:
    lines: list[tuple[str, str]] = []

    def record(it: "Message") -> None:
        lines.append((it.record["level"].name, it.record["extra"]["event"]))

    sink = logger.add(record)
    StopRequest().lose_database(InstanceHeldError("another instance holds it"), had=had)
    logger.remove(sink)
    assert lines == [line]
