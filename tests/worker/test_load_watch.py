"""What is noted of the answers while a page is loaded."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.documents import URL
from waguard.core.session.page_load import Answers, spent
from waguard.worker.browser.devtools import PageSession
from waguard.worker.page.load_watch import DocumentAnswer, LoadWatch

CDN = "static.whatsapp.net"
Listener = Callable[[dict[str, Any]], None]


class Session:
    """A page of which the test says what it does."""

    def __init__(self) -> None:
        self.listeners: dict[str, Listener] = {}
        self.said: list[str] = []

    def on(self, event: str, listener: Listener) -> None:
        self.listeners[event] = listener

    def off(self, event: str, listener: Listener) -> None:
        assert self.listeners.pop(event) == listener

    async def send(self, method: str, *, timeout: float) -> None:
        self.said.append(f"{method} {timeout:g}")

    def post(self, method: str) -> None:
        self.said.append(method)

    def asks(self, request: str, kind: str, url: str, loader: str = "d1") -> None:
        reported = {"requestId": request, "loaderId": loader, "type": kind, "request": {"url": url}}
        self.listeners["Network.requestWillBeSent"](reported)

    def answers(self, request: str, status: int = 200, **headers: str) -> None:
        response = {"status": status, "url": URL, "headers": headers}
        reported = {"requestId": request, "response": response}
        self.listeners["Network.responseReceived"](reported)


@pytest.fixture
async def page() -> Any:
    session, watch = Session(), LoadWatch()
    async with watch.watching(cast("PageSession", session)):
        session.asks("d1", "Document", URL)
        yield session, watch
    assert session.listeners == {}
    assert session.said == ["Network.enable 5", "Network.disable"]


async def test_the_document_and_its_headers(page: tuple[Session, LoadWatch]) -> None:
    session, watch = page
    assert watch.document is None
    session.answers("d1", 200, **{"Retry-After": "7", "x": "y"})
    assert watch.document == DocumentAnswer("d1", URL, 200, {"Retry-After": "7", "x": "y"})
    assert watch.answers == Answers(asked=True, status=200, retry_after=7.0)
    session.asks("f1", "Document", "https://frame.example/", loader="d1")  # a frame's
    session.answers("f1", 500)
    assert watch.answers.status == 200
    session.asks("d2", "Document", URL, loader="d2")
    assert (watch.document, watch.answers) == (None, Answers(asked=True))


async def test_scripts_inside_of_the_document_are_none_that_can_fail(
    page: tuple[Session, LoadWatch],
) -> None:
    session, watch = page
    session.answers("d1")
    session.asks("s1", "Script", f"https://{CDN}/a.js")
    session.asks("s2", "Script", "data:application/x-javascript;base64,YQ==")
    session.listeners["Page.loadEventFired"]({})
    assert (watch.answers.scripts, watch.answers.waiting) == (1, 1)
    session.listeners["Network.loadingFailed"](
        {"requestId": "s1", "errorText": "net::ERR_NAME_NOT_RESOLVED"}
    )
    assert watch.unrecoverable.is_set()
    assert (watch.answers.failed, watch.answers.gone) == (1, 0)
    assert spent(watch.answers) is None


async def test_scripts_that_their_server_has_not_got_are_gone(
    page: tuple[Session, LoadWatch],
) -> None:
    session, watch = page
    session.answers("d1")
    for number, status in enumerate((200, 404, 410)):
        session.asks(f"s{number}", "Script", f"https://{CDN}/{number}.js")
        session.answers(f"s{number}", status)
    assert (watch.answers.scripts, watch.answers.failed, watch.answers.gone) == (3, 2, 2)
    assert spent(watch.answers) == f"WhatsApp's scripts cannot be loaded ({CDN}: 2 of 3, HTTP 410)"
    session.asks("s3", "Script", f"https://{CDN}/3.js")
    session.answers("s3", 503)
    assert (watch.answers.failed, watch.answers.gone) == (3, 2)
    assert spent(watch.answers) is None
