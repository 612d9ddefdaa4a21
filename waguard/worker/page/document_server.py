"""A stored document of WhatsApp's page is served in place of the network's.

It is served by Fetch for the page's own URL alone, in the top frame, with its headers. The page's service
worker would answer before that: it is bypassed while the worker loads the page (Network.disable ends that),
and a page that it gave when WhatsApp reloaded itself is loaded once more. That this worked is never taken for
granted: the page itself says which version runs (``page_document``).
"""

import asyncio
import base64
import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from loguru import logger

from waguard.core.versions.documents import OK
from waguard.host.memory import documents
from waguard.host.memory.documents import Document, DocumentError
from waguard.wire.worker import StoredDocument
from waguard.worker.browser.devtools import DevToolsError, PageSession
from waguard.worker.page.page_document import DEADLINE, PageDocument


class DocumentServer:
    """Serves the document of one page; made before its first navigation."""

    def __init__(self, session: PageSession, document: PageDocument) -> None:
        self._session = session
        self._document = document
        self._answers: set[asyncio.Task[None]] = set()
        self._coming = False
        """The next document is the stored one."""
        self.served = False
        """The one that is there is."""

    async def attach(self) -> None:
        """Answer for the network from now on, where something is to be served."""
        if stored := self._document.serve:
            self._session.on("Page.frameStartedNavigating", self._on_started)
            self._session.on("Page.frameNavigated", self._on_navigated)
            self._session.on("Fetch.requestPaused", partial(self._on_paused, stored))
        if self._document.serves:
            await self._intercept()

    async def _intercept(self) -> None:
        pattern = {"urlPattern": self._document.url, "resourceType": "Document"}
        await self._session.send("Fetch.enable", {"patterns": [pattern]}, timeout=DEADLINE)

    async def before_load(self) -> None:
        """While Network is enabled."""
        if self._document.serve:
            await self._session.send(
                "Network.setBypassServiceWorker",
                {"bypass": self._document.serves},
                timeout=DEADLINE,
            )

    async def give_up(self, why: str) -> None:
        """Serve it no more: it is spent."""
        self._document.spend(why)
        await self._session.send("Fetch.disable", timeout=DEADLINE)
        await self.before_load()

    async def serve_again(self) -> None:
        """The network's own document is no better off."""
        if self._document.spent:
            self._document.renew()
            await self._intercept()

    def _on_started(self, params: dict[str, Any]) -> None:
        """Whatever was served before came to nothing."""
        if params["frameId"] == self._session.target_id:
            self._coming = False

    def _on_navigated(self, params: dict[str, Any]) -> None:
        if params["frame"]["id"] == self._session.target_id:
            self.served, self._coming = self._coming, False

    def _on_paused(self, stored: StoredDocument, params: dict[str, Any]) -> None:
        answer = asyncio.create_task(self._answer(stored, params), name="serve the document")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, stored: StoredDocument, params: dict[str, Any]) -> None:
        request = {"requestId": params["requestId"]}
        ours = params["frameId"] == self._session.target_id and params["request"]["method"] == "GET"
        with contextlib.suppress(DevToolsError):  # it is gone, and what waited for it
            if ours and (document := await _read(stored, self._document.url)):
                self._coming = True  # the page may be heard of before the answer
                try:
                    await self._fulfil(request, document)
                except DevToolsError as error:
                    self._coming = False
                    _log_unreadable(document.revision, str(error))
                else:
                    return
            await self._session.send("Fetch.continueRequest", request, timeout=DEADLINE)

    async def _fulfil(self, request: dict[str, Any], document: Document) -> None:
        headers = [{"name": name, "value": value} for name, value in document.headers]
        answer = {"responseCode": OK, "responseHeaders": headers}
        body = base64.b64encode(document.body).decode()
        await self._session.send(
            "Fetch.fulfillRequest", request | answer | {"body": body}, timeout=DEADLINE
        )


async def _read(stored: StoredDocument, url: str) -> Document | None:
    """None: it cannot be served, and the network has to."""
    try:
        document = await asyncio.to_thread(documents.load, Path(stored.path), stored.revision)
    except (DocumentError, OSError) as error:
        _log_unreadable(stored.revision, str(error))
        return None
    if document.url != url:
        _log_unreadable(stored.revision, f"it is of {document.url}")
        return None
    return document


def _log_unreadable(revision: int, why: str) -> None:
    logger.warning(
        "a stored document cannot be served",
        event="document_unreadable",
        revision=revision,
        why=why,
    )
