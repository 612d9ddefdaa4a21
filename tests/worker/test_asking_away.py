"""Questions to a page that is gone, or elsewhere."""

from typing import cast

import pytest

from waguard.errors import WaguardError
from waguard.wire.calls import Ask, Failed
from waguard.worker.browser.devtools import (
    DevToolsTimeoutError,
    ElsewhereError,
    EvaluationError,
    PageSession,
)
from waguard.worker.browser.errors import DevToolsClosedError, TargetCrashedError
from waguard.worker.messages import asking
from waguard.worker.page.page_errors import PageLoadingError


class Away:
    """A page that is gone, or elsewhere."""

    def __init__(self, error: WaguardError) -> None:
        self.error = error

    async def evaluate(self, expression: str, *, timeout: float) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "of_read", "of_change"),
    [
        (DevToolsClosedError("gone"), "timeout", "uncertain"),
        (TargetCrashedError("crashed"), "timeout", "uncertain"),
        (DevToolsTimeoutError("late"), "timeout", "uncertain"),
        (EvaluationError("x" * 9_999), "error", "uncertain"),
        (EvaluationError(PageLoadingError.TEXT), "not_ready", "not_ready"),
        (ElsewhereError("https://other.example"), "not_ready", "not_ready"),
    ],
    ids=lambda it: type(it).__name__ if isinstance(it, WaguardError) else it,
)
async def test_what_was_surely_not_begun_is_no_uncertain_change(
    error: WaguardError, of_read: str, of_change: str
) -> None:
    page = cast("PageSession", Away(error))
    for changes, expected in ((False, of_read), (True, of_change)):
        call = Ask(name="add", given="[]", timeout=1.0, changes=changes)
        failed = await asking.answer(page, call, now=0.0)
        assert isinstance(failed, Failed)
        assert failed.kind == expected
        assert len(failed.error) <= 500
