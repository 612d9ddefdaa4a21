"""wa-js is injected into a document that goes away meanwhile, or that takes no calls."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from waguard.worker.browser.devtools import (
    DevToolsClosedError,
    DevToolsError,
    PageSession,
    TargetCrashedError,
)
from waguard.worker.page.page_document import PageDocument
from waguard.worker.page.page_errors import PageNotReadyError
from waguard.worker.page.page_loader import PageLoader
from waguard.worker.timings import TIMINGS

URL = "https://web.whatsapp.com/"


class Session:
    """Every call of the page fails with this."""

    def __init__(self, error: DevToolsError) -> None:
        self._error = error

    async def evaluate(self, expression: str, *, timeout: float) -> Any:
        raise self._error


async def injected(error: DevToolsError) -> tuple[PageLoader, asyncio.Task[None]]:
    """Into the page of a load event."""
    loader = PageLoader(
        cast("PageSession", Session(error)),
        url=URL,
        bundle="",
        report=cast("Callable[[str, Any], None]", lambda *_: None),
        document=PageDocument(URL),
        timings=TIMINGS.load,
    )
    loader._on_load()
    (task,) = loader._injecting
    await asyncio.wait([task])
    return loader, task


@pytest.mark.parametrize("kind", [DevToolsClosedError, TargetCrashedError])
async def test_a_document_that_goes_says_nothing_of_the_one_that_comes(
    kind: type[DevToolsError],
) -> None:
    loader, task = await injected(kind("the page is gone"))
    assert task.exception() is None, "nobody would retrieve it"
    assert not loader._ready.done()


async def test_a_page_that_takes_no_call_is_not_ready() -> None:
    loader, task = await injected(DevToolsError("it cannot be done"))
    assert task.exception() is None
    assert isinstance(loader._ready.exception(), PageNotReadyError)
