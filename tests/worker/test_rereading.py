"""Messages are looked up by their ids, on a page that may go away."""

from typing import Any

import pytest

from waguard.core.messages.undecryptable import Outcome
from waguard.wire.calls import Reread
from waguard.worker.browser.devtools import DevToolsClosedError, EvaluationError
from waguard.worker.messages.inbound import Inbound
from waguard.worker.messages.rereading import reread
from waguard.worker.page.page_errors import PageLoadingError


class Page:
    """Answers each look-up with this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def message(self, message_id: str, aliases: tuple[str, ...]) -> None:
        raise self._error


async def reread_on(error: Exception) -> dict[str, str]:
    async def room() -> None:
        return

    page: Any = Page(error)
    return await reread(page, Reread(ids=("a",), aliases={}), Inbound(list[Any]().append), room)


@pytest.mark.parametrize("lost", [PageLoadingError(), DevToolsClosedError("the page is gone")])
async def test_a_page_that_goes_away_says_nothing_of_a_message(lost: Exception) -> None:
    with pytest.raises(type(lost)):
        await reread_on(lost)


async def test_one_that_cannot_be_found_is_reported_as_such() -> None:
    assert await reread_on(EvaluationError("TypeError: x")) == {"a": str(Outcome.FAILED)}
