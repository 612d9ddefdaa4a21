"""The index document of WhatsApp's page: whether a stored one is served (``document_server``), a new one is
kept, and which one a page has."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from loguru import logger
from msgspec import Struct

from waguard.core.versions.documents import (
    Refused,
    check,
    page_url,
    replayed,
    revision_of_manifest,
    revision_of_version,
)
from waguard.host.memory.documents import Document, DocumentError, Documents
from waguard.wire.reports import PageVersion
from waguard.wire.worker import StoredDocument
from waguard.worker.browser.devtools import DevToolsError, PageSession
from waguard.worker.page.load_watch import DocumentAnswer
from waguard.worker.page.values import word

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


class NewDocument(Struct, frozen=True):
    """One that the store does not have; ``version`` is its page's."""

    store: Documents
    url: str
    answer: DocumentAnswer
    version: PageVersion
    body: bytes

    async def keep(self) -> bool:
        """Whether it is stored now; where it is not, the log says why."""
        answer, version = self.answer, self.version
        headers = replayed(answer.headers)
        checked = check(
            url=answer.url, wanted=self.url, status=answer.status, headers=headers, body=self.body
        )
        if isinstance(checked, Refused):
            _log_not_kept(version.document, f"it {checked.why}")
            return False
        document = Document(
            revision=checked,
            url=self.url,
            at=time.time(),
            headers=headers,
            wajs=version.wajs,
            missing=version.missing,
            body=self.body,
        )
        try:
            await asyncio.to_thread(self.store.keep, document)
        except (DocumentError, OSError) as error:
            _log_not_kept(checked, str(error))
            return False
        logger.debug("the document of this version is stored", revision=checked)
        return checked == version.document


class PageDocument:
    """A session's document, whichever page it has. ``serve``: what is served; ``folder``: where new ones are kept."""

    def __init__(
        self, url: str, *, serve: StoredDocument | None = None, folder: str | None = None
    ) -> None:
        # another address is not WhatsApp's page: pinned at ``/?post_logout=1`` it would link forever
        self.url = page_url(url) or ""
        self.serve = serve if self.url else None
        self._store = Documents(Path(folder)) if folder and self.url else None
        self.spent: str | None = None
        """Why the stored one is not served any more."""
        self.version: PageVersion | None = None
        """The version of the page that is there; None: none is, or it is not known yet."""
        self.evaded = False
        """The page that is there should have been the stored one: its service worker came first, or it cannot
        be served."""

    @property
    def serves(self) -> bool:
        """Whether the next load gets the stored one."""
        return self.serve is not None and self.spent is None

    def spend(self, why: str) -> None:
        """What is stored cannot be used any more."""
        self.spent = why

    def renew(self) -> None:
        """Whether the document can be renewed, as well as the network's."""
        self.spent = None

    def forget(self) -> None:
        """The page that was there is gone."""
        self.version = None

    async def read_version(
        self, session: PageSession, *, served: bool, wajs: str, missing: tuple[str, ...]
    ) -> None:
        """Know the page that is there. ``served``: with the stored document; ``wajs``: SHA-256 of what was
        injected; ``missing`` as in the report."""
        reported = await session.evaluate(_READ, timeout=DEADLINE)
        reported = reported if isinstance(reported, dict) else {}
        revision = revision_of_manifest(word(reported.get("document")) or "")
        served_by: Literal["store", "network"] = "store" if served else "network"
        self.evaded = self.serves and not served and reported.get("url") == self.url
        self.version = PageVersion(
            page=revision_of_version(word(reported.get("page")) or ""),
            document=revision,
            wajs=wajs,
            wajs_version=word(reported.get("wajs")),
            served_by=served_by,
            kept=revision is not None and self._store is not None and self._store.has(revision),
            missing=missing,
            spent=self.spent,
        )

    async def to_keep(
        self, session: PageSession, answer: DocumentAnswer | None
    ) -> NewDocument | None:
        """What came, where it is to be stored. While Network is enabled."""
        version, store = self.version, self._store
        if version is None or answer is None or store is None:
            return None
        if version.kept or version.document is None:
            return None
        try:
            reported = await session.send(
                "Network.getResponseBody", {"requestId": answer.request}, timeout=DEADLINE
            )
        except DevToolsError as error:
            _log_not_kept(version.document, str(error))
            return None
        body = _body(reported)
        return NewDocument(store, self.url, answer, version, body) if body else None

    def kept(self, version: PageVersion) -> bool:
        """The document of this version is stored: whether it is that of the page that is there."""
        if self.version is not version:
            return False
        self.version = msgspec.structs.replace(version, kept=True)
        return True


def _body(reported: dict[str, Any]) -> bytes:
    body = str(reported["body"])
    return base64.b64decode(body) if reported["base64Encoded"] else body.encode(errors="replace")


def _log_not_kept(revision: int | None, why: str) -> None:
    logger.warning(
        "WhatsApp's document is not stored", event="document_not_kept", revision=revision, why=why
    )
