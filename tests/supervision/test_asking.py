"""Questions to a session's page: how many at a time, when none, and what becomes of a change without an answer."""

import asyncio
from typing import Any

import pytest

from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.messages.first_contact_pauses import LOOKUPS_REST
from waguard.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UncertainError,
    WaguardError,
)
from waguard.supervision.session.asking import AT_ONCE
from waguard.wire.calls import Ask, Call, Failed, Value


class Page:
    """``says`` is its answer; None: it never comes."""

    def __init__(self) -> None:
        self.says: Value | Failed | None = Value(answer="[]")
        self.asked: list[str] = []

    async def answer(self, call: Call) -> Value | Failed | None:
        if not isinstance(call, Ask):
            return Value()
        self.asked.append(call.name)
        return self.says


@pytest.fixture
async def page(empty: Bench, world: World) -> Page:
    made = Page()
    reports: Any = (CONNECTED | {"answers": True},)
    world.spawn.script = Script(reports=reports, answer=made.answer)
    await empty.create("s")
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    return made


async def ask(bench: Bench, name: str, *, timeout: float = 9.0) -> Value:
    call = Ask(name=name, given="[]", timeout=timeout, changes=name == "add")
    return await bench.it.sessions.call("s", call, wait=0)


async def test_a_page_that_does_not_answer_takes_so_many_places(empty: Bench, page: Page) -> None:
    page.says = None
    waiting = [asyncio.create_task(ask(empty, "chats")) for _ in range(AT_ONCE)]
    await wait_until(lambda: len(page.asked) == AT_ONCE, "all were asked")
    with pytest.raises(UnavailableError, match="4 questions to this session are under way") as no:
        await ask(empty, "chats")
    assert no.value.retry_after == 2.0
    empty.process().exit(-9)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [UnavailableError] * AT_ONCE


async def test_each_failure_is_the_right_error(empty: Bench, page: Page) -> None:
    errors: dict[str, type[WaguardError]] = {
        "absent": NotFoundError,
        "refused": RefusedError,
        "error": WaguardError,
        "later": UnavailableError,
        "timeout": UnavailableError,
        "not_ready": UnavailableError,
        "uncertain": UncertainError,
        "too_often": UnavailableError,
    }
    for kind, error in errors.items():
        page.says = Failed(kind=kind, error="why")
        with pytest.raises(error) as raised:
            await ask(empty, "add")
        assert type(raised.value) is error, kind
    assert page.asked == ["add"] * len(errors), "nothing is repeated"


async def test_a_change_without_an_answer_is_uncertain(empty: Bench, page: Page) -> None:
    page.says = None
    changing = asyncio.create_task(ask(empty, "add"))
    await wait_until(lambda: page.asked, "it was asked")
    empty.process().hang_up()
    with pytest.raises(UncertainError, match="the worker is gone; it may have been done") as error:
        await changing
    assert (error.value.status, page.asked) == (202, ["add"])


@pytest.mark.timings(reply_margin=0.01)
async def test_no_answer_by_the_deadline(empty: Bench, page: Page) -> None:
    page.says = None
    with pytest.raises(UncertainError):
        await ask(empty, "add", timeout=0.01)
    with pytest.raises(UnavailableError):
        await ask(empty, "chats", timeout=0.01)


async def test_a_429_pauses_first_contacts_and_what_asks_about_numbers(
    empty: Bench, world: World, page: Page
) -> None:
    held = ("numbers", "create", "picture", "add")
    for name in ("numbers", "picture", "add", "call"):
        page.asked.clear()
        page.says = Failed(kind="too_often", error="WhatsApp answers 429")
        with pytest.raises(UnavailableError, match="WhatsApp answers 429") as raised:
            await ask(empty, name)
        assert raised.value.retry_after == LOOKUPS_REST
        assert empty.it.sessions.first_contacts_pause("s") == LOOKUPS_REST
        page.says = Value(answer="[]")
        for other in held:
            with pytest.raises(UnavailableError, match="asked for too many new numbers"):
                await ask(empty, other)
        assert page.asked == [name], "none of these while they pause"
        assert await ask(empty, "chats") == page.says, "other questions go on"
        world.clock.advance(LOOKUPS_REST)
    for name in held:
        assert await ask(empty, name) == page.says


async def test_one_number_check_at_a_time(empty: Bench, page: Page) -> None:
    page.says = None
    first = asyncio.create_task(ask(empty, "numbers"))
    await wait_until(lambda: page.asked, "it was asked")
    with pytest.raises(UnavailableError, match="numbers are being looked up"):
        await ask(empty, "numbers")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    page.says = Value(answer="[]")
    assert await ask(empty, "numbers") == page.says


async def test_a_worker_of_an_earlier_version_is_not_asked(empty: Bench, page: Page) -> None:
    process = empty.process()
    process.report(phone=CONNECTED["phone"], answers=False, details="older")
    await until(
        empty.session(), lambda s: bool(s.runner.report and s.runner.report.details == "older")
    )
    with pytest.raises(ConflictError, match="of an earlier version") as raised:
        await ask(empty, "chats")
    assert "waguard sessions restart s" in str(raised.value.remedy)
    assert page.asked == []
