"""A page that is not WhatsApp's any more: it is asked nothing, it is not heard, and its worker ends."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.host.processes import worker_spec
from tests.worker.browser_fixtures import Web, web  # noqa: F401  # a fixture
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.exits import EXIT_PAGE_NOT_READY
from waguard.core.link import Link
from waguard.lab.standin import Policy, StandIn
from waguard.profile.lock import ProfileLock
from waguard.wire.calls import Failed, SendMedia, SendText
from waguard.worker.browser.connection import PipeSession
from waguard.worker.browser.devtools import ElsewhereError, EvaluationError, PageSession
from waguard.worker.ending import WorkerEndError
from waguard.worker.link_reader import LinkReader
from waguard.worker.messages import sending
from waguard.worker.page.page import WhatsAppPage
from waguard.worker.page_host import PageHost
from waguard.worker.profile_care import ProfileCare
from waguard.worker.worker_context import WorkerContext

OURS = "https://web.whatsapp.com"
ELSEWHERE = "https://elsewhere.example"
TEXT = SendText(chat="49170@c.us", text="secret", message_id="true_49170@c.us_3EB0", timeout=20.0)
FILE = SendMedia(
    chat=TEXT.chat,
    content=b"secret",
    mimetype="image/png",
    kind="image",
    message_id=TEXT.message_id,
    timeout=20.0,
)


class Pipe:
    """The DevTools of a page that is somewhere, as Chromium answers."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}
        self.at = OURS
        self.asked: list[str] = []
        self.thrown: dict[str, Any] | None = None
        self.throws_at = ""
        """What an expression has in it that throws."""
        self.crashed = self.ended = None

    def on(self, event: str, listener: Any) -> None:
        self.listeners[event] = listener

    def send(
        self, method: str, params: dict[str, Any] | None = None
    ) -> asyncio.Future[dict[str, Any]]:
        answered = asyncio.get_running_loop().create_future()
        answered.set_result(self._answer(method, params))
        return answered

    def _answer(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        if method != "Runtime.evaluate" or params is None:
            return {}
        self.asked.append(params["expression"])
        if self.thrown and self.throws_at in params["expression"]:
            return {"exceptionDetails": {"exception": self.thrown}}
        if json.dumps(self.at) not in params["expression"] and "origin" in params["expression"]:
            value = f"elsewhere: {self.at}"
            return {"exceptionDetails": {"exception": {"type": "string", "value": value}}}
        return {"result": {"value": 1}}

    def context(self, number: int, origin: str) -> None:
        reported = {"context": {"id": number, "origin": origin}}
        self.listeners["Runtime.executionContextCreated"](reported)

    def bind(self, number: int, text: str) -> None:
        reported = {"name": "tell", "payload": text, "executionContextId": number}
        self.listeners["Runtime.bindingCalled"](reported)


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


@pytest.fixture
async def session(pipe: Pipe) -> PageSession:
    """Kept to WhatsApp's place."""
    made = PageSession(cast("PipeSession", pipe), "target")

    class Identity:
        override: dict[str, Any] = {}  # noqa: RUF012 - never changed

    await made.prepare(cast("Any", Identity()), timeout=1)
    made.keep_to(f"{OURS}/")
    return made


async def test_what_is_asked_is_asked_at_whatsapps_place_only(
    pipe: Pipe, session: PageSession
) -> None:
    assert await session.evaluate("facts()", timeout=1) == 1
    [asked] = pipe.asked
    assert asked.startswith(f'if (location.origin !== "{OURS}") throw ')
    assert asked.endswith(";\nfacts()")
    pipe.at = ELSEWHERE
    with pytest.raises(ElsewhereError, match=f"^the page navigated to {ELSEWHERE}$"):
        await session.evaluate("facts()", timeout=1)
    await session.ping(1)  # it lives, wherever it is


async def test_what_whatsapps_page_throws_is_no_departure(pipe: Pipe, session: PageSession) -> None:
    pipe.thrown = {"description": "Error: elsewhere: x"}
    with pytest.raises(EvaluationError) as raised:
        await session.evaluate("facts()", timeout=1)
    assert not isinstance(raised.value, ElsewhereError)


async def test_only_whatsapps_own_contexts_are_heard(pipe: Pipe, session: PageSession) -> None:
    reported: list[str] = []
    await session.add_binding("tell", reported.append)
    pipe.bind(1, "before anything is known")
    pipe.context(1, OURS)
    pipe.context(2, ELSEWHERE)  # a frame
    pipe.bind(1, "ours")
    pipe.bind(2, "theirs")
    pipe.listeners["Runtime.executionContextDestroyed"]({"executionContextId": 1})
    pipe.bind(1, "of one that is gone")
    pipe.context(3, OURS)
    pipe.listeners["Runtime.executionContextsCleared"]({})
    pipe.bind(3, "of a page that is gone")
    assert reported == ["ours"]


async def gone(*_: Any, **__: Any) -> Any:
    raise ElsewhereError(ELSEWHERE)


async def test_a_worker_whose_page_left_ends_and_says_where_it_is(
    tmp_path: Path,
) -> None:
    ctx = WorkerContext.of(worker_spec(tmp_path))
    host = cast("PageHost", SimpleNamespace(page=SimpleNamespace(read=gone)))
    care = ProfileCare(ctx.spec, ProfileLock(tmp_path / "profile"), ctx.daemon.event)
    reader = LinkReader(ctx, care, host, asyncio.Event())
    with pytest.raises(WorkerEndError, match=f"navigated to {ELSEWHERE}, which is not") as raised:
        await reader.read()
    assert raised.value.code == EXIT_PAGE_NOT_READY


@pytest.mark.parametrize("call", [TEXT, FILE], ids=["text", "file"])
async def test_what_was_not_given_to_the_page_was_surely_not_sent(
    pipe: Pipe, session: PageSession, call: SendText | SendMedia
) -> None:
    pipe.at = ELSEWHERE
    page = WhatsAppPage(session, report=print)
    outcome = await sending.send(page, call)
    assert outcome == Failed(kind="not_ready", error=f"the page navigated to {ELSEWHERE}")


@pytest.mark.parametrize("at", ["= []", ".push(", ".join("])
async def test_a_file_that_met_another_document_on_its_way_was_surely_not_sent(
    pipe: Pipe, session: PageSession, at: str
) -> None:
    """Its parts went with the page that was reloaded."""
    broken = "TypeError: Cannot read properties of undefined (reading 'push')"
    pipe.thrown, pipe.throws_at = {"description": f"{broken}\n    at <anonymous>:1:30"}, at
    outcome = await sending.send(WhatsAppPage(session, report=print), FILE)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.thrown) == ("not_ready", None)
    assert outcome.error.startswith(f"the file did not reach the page: the page threw {broken}")


@pytest.fixture
async def browser() -> AsyncIterator[BrowserSession]:
    policy = Policy(sync=0.1, reconnect_delay=0.05)
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        async with StandIn(policy=policy) as standin:
            made = BrowserSession(standin, Path(folder) / "w/s", Path(folder) / "t")
            await made.open()
            yield made
            await made.close()


@pytest.mark.chromium
@pytest.mark.timeout(240)
async def test_a_real_page_that_navigates_itself_away(browser: BrowserSession, web: Web) -> None:  # noqa: F811  # a fixture
    await browser.pair("6281180001")
    assert await browser.link() is Link.CONNECTED
    there = await browser.session.evaluate("location.origin", timeout=LONG)
    heard = len(browser.reports)
    away = web.url.rstrip("/")
    await browser.session.evaluate(f"void (location.href = '{web.url}')", timeout=LONG)

    async def shown() -> Any:
        return await browser.session._evaluate("location.origin", LONG, await_promise=False)

    shows: list[Any] = []
    while not shows or shows[-1] == there:
        shows.append(await shown())
    with pytest.raises(ElsewhereError, match=f"navigated to {away}"):
        await browser.page.read(timeout=LONG)
    fake = '{"kind": "message", "data": {"id": "1"}}'
    reported = f"window.waguardReport ? (waguardReport({json.dumps(fake)}), true) : false"
    assert await browser.session._evaluate(reported, LONG, await_promise=False) is True
    assert await shown() == away  # answered after what the binding told
    assert "message" not in [kind for kind, _ in browser.reports[heard:]]
    assert await sending.send(browser.page, TEXT) == Failed(
        kind="not_ready", error=f"the page navigated to {away}"
    )
    assert browser.standin.phone.messages("6281180001") == []
    await browser.loader.load()
    assert await browser.link() is Link.CONNECTED
