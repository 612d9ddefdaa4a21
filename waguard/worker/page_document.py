"""The index document of WhatsApp's page: a stored one instead of the network's, a new one kept, and which one
a page has.

A stored one is served by Fetch for the page's own URL alone, in the top frame, with its headers. The page's
service worker would answer before that: it is bypassed while the worker loads the page (Network.disable ends
that), and a page that it gave when WhatsApp reloaded itself is loaded once more. That this worked is never
taken for granted: the page itself says which version runs.
"""

import asyncio
import base64
import contextlib
import time
from pathlib import Path
from typing import Any, Final, Literal

from loguru import logger

from waguard.core.versions.documents import (
    OK,
    Refused,
    check,
    page_url,
    replayed,
    revision_of_manifest,
    revision_of_version,
)
from waguard.host import documents
from waguard.host.documents import Document, DocumentError, Documents
from waguard.wire.protocol import PageVersion, StoredDocument
from waguard.worker.browser.devtools import DevToolsError, PageSession
from waguard.worker.load_watch import DocumentAnswer
from waguard.worker.page_reports import word

DEADLINE: Final = 15.0  # s; each takes some ms, on a busy machine longer

_READ: Final = """(() => {
  const attempt = (read) => { try { return read() ?? null; } catch { return null; } };
  return {
    page: attempt(() => WPP.conn.getBuildConstants().VERSION_STR) ?? attempt(() => Debug.VERSION),
    document: attempt(() => document.querySelector('[data-btmanifest]').dataset.btmanifest),
    wajs: attempt(() => WPP.version),
    url: location.href,
  };
})()"""


class PageDocument:
    """Of one session, whichever page it has. ``serve``: what is served; ``folder``: where new ones are kept."""

    def __init__(
        self, url: str, *, serve: StoredDocument | None = None, folder: str | None = None
    ) -> None:
        # another address is not WhatsApp's page: pinned at ``/?post_logout=1`` it would link forever
        self._url = page_url(url) or ""
        self._serve = serve if self._url else None
        self._store = Documents(Path(folder)) if folder and self._url else None
        self._session: PageSession
        self._answers: set[asyncio.Task[None]] = set()
        self._coming = self._served = False
        """The next document, and the one that is there, are the stored one."""
        self.spent: str | None = None
        """Why the stored one is not served any more."""
        self.evaded = False
        """The page that is there should have been the stored one: its service worker came first, or it cannot
        be served."""

    @property
    def serves(self) -> bool:
        """Whether the next load gets the stored one."""
        return self._serve is not None and self.spent is None

    async def attach(self, session: PageSession) -> None:
        """From now on it is about this page. Before its first navigation."""
        self._session, self._coming, self._served = session, False, False
        if self._serve:
            session.on("Page.frameStartedNavigating", self._on_started)
            session.on("Page.frameNavigated", self._on_navigated)
            session.on("Fetch.requestPaused", self._on_paused)
        if self.serves:
            await self._intercept()

    async def _intercept(self) -> None:
        pattern = {"urlPattern": self._url, "resourceType": "Document"}
        await self._session.send("Fetch.enable", {"patterns": [pattern]}, timeout=DEADLINE)

    async def before_load(self) -> None:
        """While Network is enabled."""
        if self._serve:
            await self._session.send(
                "Network.setBypassServiceWorker", {"bypass": self.serves}, timeout=DEADLINE
            )

    async def give_up(self, why: str) -> None:
        """Serve it no more: it is spent."""
        self.spent = why
        await self._session.send("Fetch.disable", timeout=DEADLINE)
        await self.before_load()

    async def serve_again(self) -> None:
        """The network's own document is no better off."""
        if self.spent:
            self.spent = None
            await self._intercept()

    def _on_started(self, params: dict[str, Any]) -> None:
        """Whatever was served before came to nothing."""
        if params["frameId"] == self._session.target_id:
            self._coming = False

    def _on_navigated(self, params: dict[str, Any]) -> None:
        if params["frame"]["id"] == self._session.target_id:
            self._served, self._coming = self._coming, False

    def _on_paused(self, params: dict[str, Any]) -> None:
        answer = asyncio.create_task(self._answer(params), name="serve the document")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, params: dict[str, Any]) -> None:
        request = {"requestId": params["requestId"]}
        ours = params["frameId"] == self._session.target_id and params["request"]["method"] == "GET"
        with contextlib.suppress(DevToolsError):  # it is gone, and what waited for it
            if ours and (document := await self._stored()):
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

    async def _stored(self) -> Document | None:
        """None: it cannot be served, and the network has to."""
        assert self._serve  # noqa: S101 - else nothing is paused
        revision = self._serve.revision
        try:
            document = await asyncio.to_thread(documents.load, Path(self._serve.path), revision)
        except (DocumentError, OSError) as error:
            _log_unreadable(revision, str(error))
            return None
        if document.url != self._url:
            _log_unreadable(revision, f"it is of {document.url}")
            return None
        return document

    async def version(self, *, wajs: str, missing: tuple[str, ...]) -> PageVersion:
        """Of the page that is there. ``wajs``: SHA-256 of what was injected; ``missing`` as in the report."""
        reported = await self._session.evaluate(_READ, timeout=DEADLINE)
        reported = reported if isinstance(reported, dict) else {}
        revision = revision_of_manifest(word(reported.get("document")) or "")
        served_by: Literal["store", "network"] = "store" if self._served else "network"
        self.evaded = self.serves and served_by == "network" and reported.get("url") == self._url
        return PageVersion(
            page=revision_of_version(word(reported.get("page")) or ""),
            document=revision,
            wajs=wajs,
            wajs_version=word(reported.get("wajs")),
            served_by=served_by,
            kept=revision is not None and self._store is not None and self._store.has(revision),
            missing=missing,
            spent=self.spent,
        )

    async def body(self, answer: DocumentAnswer | None, version: PageVersion) -> bytes | None:
        """The document that came, where it is to be kept. While Network is enabled."""
        if answer is None or self._store is None or version.kept or version.document is None:
            return None
        try:
            reported = await self._session.send(
                "Network.getResponseBody", {"requestId": answer.request}, timeout=DEADLINE
            )
        except DevToolsError as error:
            _log_not_kept(version.document, str(error))
            return None
        body = str(reported["body"])
        return (
            base64.b64decode(body) if reported["base64Encoded"] else body.encode(errors="replace")
        )

    async def keep(self, answer: DocumentAnswer, version: PageVersion, body: bytes) -> bool:
        """Whether it is stored now; where it is not, the log says why."""
        assert self._store  # noqa: S101 - it has a body
        headers = replayed(answer.headers)
        checked = check(
            url=answer.url, wanted=self._url, status=answer.status, headers=headers, body=body
        )
        if isinstance(checked, Refused):
            _log_not_kept(version.document, f"it {checked.why}")
            return False
        document = Document(
            revision=checked,
            url=self._url,
            at=time.time(),
            headers=headers,
            wajs=version.wajs,
            missing=version.missing,
            body=body,
        )
        try:
            await asyncio.to_thread(self._store.keep, document)
        except (DocumentError, OSError) as error:
            _log_not_kept(checked, str(error))
            return False
        logger.debug("the document of this version is stored", revision=checked)
        return checked == version.document


def _log_unreadable(revision: int, why: str) -> None:
    logger.warning(
        "a stored document cannot be served",
        event="document_unreadable",
        revision=revision,
        why=why,
    )


def _log_not_kept(revision: int | None, why: str) -> None:
    logger.warning(
        "WhatsApp's document is not stored", event="document_not_kept", revision=revision, why=why
    )
