"""For how long a row was wrong, told from what was seen of it."""

from waguard.lab.application.records import Written
from waguard.lab.chaos.message_check import Span
from waguard.lab.chaos.rows import BLIND, Observation, wrong


def observation(at: float, row: str | None, reported: str | None) -> Observation:
    """Of one session; None: not known."""
    return Observation(
        at=at, rows={"s1": row} if row else {}, reported={"s1": reported} if reported else {}
    )


def test_rows_that_are_right() -> None:
    assert (
        wrong(
            [observation(0.0, "connected", "connected"), observation(0.5, "failed", "failed")], ()
        )
        == []
    )


def test_from_the_first_check_to_the_one_that_agrees() -> None:
    observations = [
        observation(0.0, "connected", "connected"),
        observation(0.5, "connected", "disconnected"),
        observation(1.0, "connected", "qr_scanning"),  # still wrong, whatever it should be now
        observation(1.5, "qr_scanning", "qr_scanning"),
    ]
    (span,) = wrong(observations, ())
    assert span == Span(
        session="s1",
        row="connected",
        reported="disconnected",
        began=0.5,
        seconds=1.0,
        seen=2,
        own=False,
    )


def test_until_the_end() -> None:
    observations = [observation(at / 2, "connected", "disconnected") for at in range(5)]
    assert [(span.seconds, span.seen) for span in wrong(observations, ())] == [(2.0, 5)]


def test_what_was_not_seen_is_not_known() -> None:
    later = 0.5 + BLIND + 0.1
    observations = [
        observation(0.5, "connected", "failed"),
        observation(later, "connected", "failed"),
    ]
    assert [(span.seconds, span.seen) for span in wrong(observations, ())] == [(0.0, 1)]
    observations = [observation(0.0, "connected", "failed"), observation(0.5, None, "failed")]
    assert [span.seconds for span in wrong(observations, ())] == [0.5]


def test_what_the_application_wrote_itself() -> None:
    observations = [
        observation(5.0, "disconnected", "connected"),
        observation(5.5, "connected", "connected"),
    ]
    assert wrong(observations, (Written("s1", "disconnected", 4.9),))[0].own
    assert not wrong(observations, (Written("s1", "disconnected", 1.0),))[0].own
    assert not wrong(observations, (Written("s2", "disconnected", 4.9),))[0].own


def test_what_the_application_wrote_into_a_row_that_was_wrong_is_its_own_wrong() -> None:
    observations = [
        observation(5.0, "connected", "disconnected"),
        observation(5.5, "disconnected", "connected"),
        observation(6.0, "connected", "connected"),
    ]
    mine, its = wrong(observations, (Written("s1", "disconnected", 5.4),))
    assert (mine.row, mine.seconds, mine.own) == ("connected", 0.5, False)
    assert (its.row, its.seconds, its.own) == ("disconnected", 0.5, True)
    (both,) = wrong(observations, ())
    assert (both.seconds, both.own) == (1.0, False)
