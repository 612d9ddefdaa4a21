"""What the application's rows say of a send, and how messages are shared out."""

import pytest

from waguard.lab.application import Row
from waguard.lab.chaos.reading import answer
from waguard.lab.chaos.traffic import _share


@pytest.mark.parametrize(
    ("answers", "status", "expected"),
    [
        ([200], "sent", "sent"),
        ([503, None, 200], "sent", "sent"),
        ([202], "sent", "uncertain"),  # for the application it is sent: the outbox knows better
        ([422], "failed", "refused"),
        ([503, 503, 503], "failed", "none"),
        ([None, None, None], "failed", "none"),
        ([], "failed", "refused"),  # by the application itself: no account was connected
    ],
)
def test_what_a_send_came_to(answers: list[int | None], status: str, expected: str) -> None:
    row = Row(session="s1", direction="out", chat="62", body="hi", at=0.0, status=status)
    row.answers = answers
    assert answer(row) == expected


def test_the_shares_are_all_of_it() -> None:
    assert sum(_share(10, part, 3) for part in range(3)) == 10
