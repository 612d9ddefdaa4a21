"""For how long a row was wrong, told from what was seen of it."""

from waguard.lab.application.hooks import Written
from waguard.lab.chaos.books import Span
from waguard.lab.chaos.rows import BLIND, Look, wrong


def look(at: float, row: str | None, told: str | None) -> Look:
    """Of one session; None: not known."""
    return Look(at=at, rows={"s1": row} if row else {}, told={"s1": told} if told else {})


def test_rows_that_are_right() -> None:
    assert wrong([look(0.0, "connected", "connected"), look(0.5, "failed", "failed")], ()) == []


def test_from_the_first_check_to_the_one_that_agrees() -> None:
    looks = [
        look(0.0, "connected", "connected"),
        look(0.5, "connected", "disconnected"),
        look(1.0, "connected", "qr_scanning"),  # still wrong, whatever it should be now
        look(1.5, "qr_scanning", "qr_scanning"),
    ]
    (span,) = wrong(looks, ())
    assert span == Span(
        session="s1", row="connected", told="disconnected", began=0.5, seconds=1.0, own=False
    )


def test_until_the_end() -> None:
    looks = [look(at / 2, "connected", "disconnected") for at in range(5)]
    assert [span.seconds for span in wrong(looks, ())] == [2.0]


def test_what_was_not_seen_is_not_known() -> None:
    later = 0.5 + BLIND + 0.1
    looks = [look(0.5, "connected", "failed"), look(later, "connected", "failed")]
    assert [span.seconds for span in wrong(looks, ())] == [0.0]
    looks = [look(0.0, "connected", "failed"), look(0.5, None, "failed")]
    assert [span.seconds for span in wrong(looks, ())] == [0.5]


def test_what_the_application_wrote_itself() -> None:
    looks = [look(5.0, "disconnected", "connected"), look(5.5, "connected", "connected")]
    assert wrong(looks, (Written("s1", "disconnected", 4.9),))[0].own
    assert not wrong(looks, (Written("s1", "disconnected", 1.0),))[0].own
    assert not wrong(looks, (Written("s2", "disconnected", 4.9),))[0].own


def test_what_the_application_wrote_into_a_row_that_was_wrong_is_its_own_wrong() -> None:
    looks = [
        look(5.0, "connected", "disconnected"),
        look(5.5, "disconnected", "connected"),
        look(6.0, "connected", "connected"),
    ]
    mine, its = wrong(looks, (Written("s1", "disconnected", 5.4),))
    assert (mine.row, mine.seconds, mine.own) == ("connected", 0.5, False)
    assert (its.row, its.seconds, its.own) == ("disconnected", 0.5, True)
    (both,) = wrong(looks, ())
    assert (both.seconds, both.own) == (1.0, False)
