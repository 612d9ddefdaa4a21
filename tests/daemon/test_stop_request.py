"""How the daemon is asked to end, and until when another request changes that."""

import signal

from waguard.daemon.stop_request import StopRequest


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
