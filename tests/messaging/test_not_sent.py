"""What was not sent is written as such, however long that takes."""

import asyncio
from typing import Any

import pytest

from waguard.errors import NotOwnedError, WaguardError
from waguard.messaging.outbox.send_context import NotSentWrites
from waguard.messaging.timings import SendTimings
from waguard.ports.outbox import UNDECIDED, Withdrawal


class FakeJournal:
    """Answers each update with the next of ``answers``."""

    def __init__(self, *answers: int | WaguardError) -> None:
        self.answers = [*answers]
        self.asked: list[object] = []

    def update(self, item: object) -> "asyncio.Future[tuple[int, ...]]":
        self.asked.append(item)
        done = asyncio.get_running_loop().create_future()
        answer = self.answers.pop(0)
        if isinstance(answer, WaguardError):
            done.set_exception(answer)
        else:
            done.set_result((answer,))
        return done


@pytest.mark.parametrize("last", [0, 1, NotOwnedError("another host has it")])
async def test_a_message_is_withdrawn_until_it_is_decided(last: int | WaguardError) -> None:
    journal: Any = FakeJournal(UNDECIDED, UNDECIDED, last)
    writes = NotSentWrites(journal, SendTimings(undecided=0.0))
    gone = Withdrawal("m")
    writes.withdraw(gone)
    assert await writes.written(60.0)
    assert journal.asked == [gone] * 3


async def test_a_transaction_of_which_the_server_hears_no_more_ends_it() -> None:
    journal: Any = FakeJournal(*[UNDECIDED] * 4)
    writes = NotSentWrites(journal, SendTimings(undecided=0.0, undecided_times=3))
    writes.withdraw(Withdrawal("m"))
    assert await writes.written(60.0)
    assert journal.answers == []


async def test_nobody_waits_longer_than_agreed_for_what_is_undecided() -> None:
    journal: Any = FakeJournal(UNDECIDED)
    writes = NotSentWrites(journal, SendTimings())
    writes.withdraw(Withdrawal("m"))
    assert not await writes.written(0.01)
