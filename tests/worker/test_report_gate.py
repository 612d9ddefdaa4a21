"""What a hostile page reports: messages come through, all else within its allowance, and nothing that no page
of ours reports."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any, Final, cast

import pytest
from loguru import logger

from waguard.core.session.report_quota import Quota
from waguard.worker.browser.page import PageSession
from waguard.worker.browser.pipe import Pipe
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page.report_gate import LARGEST, SORTS, ReportGate

TEXT: Final = "x" * 65_000


@pytest.fixture
def events() -> Iterator[list[str]]:
    """Of the lines of the log."""
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["extra"]["event"]), level="INFO")
    yield found
    logger.remove(sink)


class Session:
    """Has the page wait."""

    def __init__(self) -> None:
        self.rested: list[float] = []

    def rest(self, seconds: float) -> None:
        self.rested.append(seconds)


class Page:
    """A page in other hands. ``heard``: what came through."""

    def __init__(self) -> None:
        self.now = 0.0
        self.gate = ReportGate(clock=lambda: self.now)
        self.session = Session()
        self.heard: list[str] = []
        self._page = WhatsAppPage(
            cast("PageSession", self.session),
            report=lambda kind, _: self.heard.append(kind),
            gate=self.gate,
        )

    def calls(self, payload: str, times: int = 1) -> None:
        for _ in range(times):
            self._page._on_binding(payload)

    def says(self, kind: str, times: int = 1, **data: Any) -> None:
        self.calls(json.dumps({"kind": kind, "data": data}), times)


def test_floods_of_what_is_no_message_end_at_its_allowance() -> None:
    page = Page()
    page.says("edit", 2_000, body=TEXT)  # 130 MB
    assert len(page.heard) * len(TEXT) <= Quota().beside.burst
    assert page.gate.floods
    page.says("message", body=TEXT)
    assert page.heard[-1] == "message"
    page.says("logout")
    assert page.heard[-1] == "logout"


def test_messages_are_all_heard_and_the_page_waits() -> None:
    page = Page()
    page.says("message", 2_000, body=TEXT)
    assert len(page.heard) == 2_000
    assert page.session.rested
    assert page.gate.floods


def test_what_no_page_of_ours_reports_is_refused(events: list[str]) -> None:
    page = Page()
    for kind in ("unusable", "evaded", "loaded", "settling", "rm -rf", ""):
        page.says(kind)
    page.calls("no JSON")
    page.calls(json.dumps({"kind": "message", "data": "x" * LARGEST}))
    assert page.heard == []
    assert events == ["page_odd"] * 8
    page.calls("no JSON", 1_000)
    assert len(events) < 250, "and there is an end of lines"
    assert page.gate.floods


@pytest.mark.parametrize("kind", sorted(set(SORTS) - {"standing"}))
def test_what_our_page_reports_is_heard(kind: str) -> None:
    page = Page()
    page.says(kind)
    assert page.heard == [kind]


async def test_while_a_pipe_rests_nothing_is_read_and_then_all() -> None:
    ours, theirs = os.pipe(), os.pipe()
    got: list[bytes] = []
    pipe = await Pipe.open(
        ours[0], theirs[1], deliver=got.append, oversize=lambda *_: None, lost=lambda: None
    )
    pipe.rest(0.2)
    pipe.rest(0.05)  # the longer one holds
    os.write(ours[1], b"late\0")
    assert pipe.resting
    while not got:
        await asyncio.sleep(0.01)
    assert (got, pipe.resting) == ([b"late"], False)
    pipe.abort()
    await pipe.wait_closed()
    os.close(ours[1])
    os.close(theirs[0])
