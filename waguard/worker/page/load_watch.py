"""What the network answers while a page is loaded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from waguard.core.replace import replace
from waguard.core.session.page_load import REFUSED, Answers, is_gone, is_unrecoverable
from waguard.worker.browser.devtools import PageSession

DEADLINE: Final = 5.0  # s


class DocumentAnswer(Struct, frozen=True):
    """What came for the document; ``request`` is DevTools' id, which is that of its loader, too."""

    request: str
    url: str
    status: int
    headers: dict[str, str]


class LoadWatch:
    """``answers`` are those since the last document was asked for, ``unrecoverable`` is set where they say that
    it will not become usable."""

    def __init__(self) -> None:
        self.answers = Answers()
        self.document: DocumentAnswer | None = None
        self.unrecoverable = asyncio.Event()
        self._scripts: dict[str, str] = {}
        """The host of each, by its request."""
        self._waiting: set[str] = set()
        self._request: str | None = None
        """The request of the document."""

    @contextlib.asynccontextmanager
    async def watching(self, session: PageSession) -> AsyncIterator[None]:
        """Listen inside; a page that is loaded makes many requests that concern nobody here."""
        listeners = {
            "Network.requestWillBeSent": self._on_request,
            "Network.responseReceived": self._on_response,
            "Network.loadingFailed": self._on_failed,
            "Page.loadEventFired": self._on_loaded,
        }
        for event, listener in listeners.items():
            session.on(event, listener)
        await session.send("Network.enable", timeout=DEADLINE)
        try:
            yield
        finally:
            for event, listener in listeners.items():
                session.off(event, listener)
            session.post("Network.disable")

    def _on_request(self, params: dict[str, Any]) -> None:
        kind, request = params.get("type"), str(params.get("requestId"))
        # a frame has a document too, and is none of ours
        if kind == "Document" and params.get("requestId") == params.get("loaderId"):
            if request != self._request:  # one that is redirected keeps its id
                self._request, self.document = request, None
                self._scripts.clear()
                self._waiting.clear()
                self.unrecoverable.clear()
                self.answers = Answers(asked=True)
        elif kind == "Script" and (host := urlsplit(str(params["request"]["url"])).netloc):
            self._scripts[request] = host  # one without a host is part of the document (data:)
            self._waiting.add(request)
            self._count()

    def _on_response(self, params: dict[str, Any]) -> None:
        response, request = params["response"], params.get("requestId")
        status = int(response["status"])
        if request == self._request:
            headers = {str(name): str(value) for name, value in response["headers"].items()}
            self.document = DocumentAnswer(str(request), str(response["url"]), status, headers)
            after = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
            self.answers = replace(
                self.answers,
                status=status,
                retry_after=float(after) if after.isascii() and after.isdecimal() else None,
            )
        elif request in self._scripts:
            self._waiting.discard(str(request))
            if status >= REFUSED:
                self._failed(str(request), f"HTTP {status}", gone=is_gone(status))
            self._count()

    def _on_failed(self, params: dict[str, Any]) -> None:
        if (request := params.get("requestId")) in self._scripts:
            self._waiting.discard(str(request))
            if not params.get("canceled"):
                self._failed(str(request), str(params.get("errorText")))
            self._count()

    def _on_loaded(self, _: dict[str, Any]) -> None:
        self.answers = replace(self.answers, loaded=True)
        self._count()

    def _count(self) -> None:
        self.answers = replace(self.answers, scripts=len(self._scripts), waiting=len(self._waiting))
        if is_unrecoverable(self.answers):
            self.unrecoverable.set()
        else:
            self.unrecoverable.clear()

    def _failed(self, request: str, error: str, *, gone: bool = False) -> None:
        self.answers = replace(
            self.answers,
            failed=self.answers.failed + 1,
            gone=self.answers.gone + gone,
            host=self._scripts[request],
            error=error.removeprefix("net::")[:80],
        )
