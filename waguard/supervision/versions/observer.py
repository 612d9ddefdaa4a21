"""What sessions show of their pages' versions, and what their next workers load."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from waguard.core.replace import replace
from waguard.core.versions import cure as version_cure
from waguard.core.versions import policy as versions
from waguard.core.versions import wave as version_wave
from waguard.core.versions.facts import (
    Left,
    Loaded,
    VersionFact,
)
from waguard.core.versions.page_facts import Page, Seen, Watched, read
from waguard.host.memory.documents import FOLDER, DocumentError
from waguard.supervision.versions.decision import VersionDecision
from waguard.wire.worker import StoredDocument

_AUDITS: Final = 32  # versions


class Given(NamedTuple):
    """What a worker loads its page with."""

    document: StoredDocument | None
    """None: what the network serves."""
    documents: Path | None
    """Where new documents are kept; None: they are not."""
    wajs: Path | None
    """None: the packed bundle."""
    sha256: str | None
    """That must be; None: the configuration names a file of its own."""


class VersionObserver:
    """Turns what sessions show into facts of the decision; a session's next worker asks it what to load."""

    def __init__(self, decision: VersionDecision) -> None:
        self.decision = decision
        self._watched: dict[str, Watched] = {}
        self._shown: dict[str, object] = {}
        """By session: the version of its last page."""
        self._lacks: dict[int, frozenset[str]] = {}
        """What pages of each version lack of that which waguard calls."""
        self._given: dict[str, int | None] = {}
        """By session: the stored revision that its worker was to serve."""

    def watch(self, session: str, seen: Seen, *, adopted: bool = False) -> bool:
        """Take what is seen of it now; only a change is news. Whether its page is another version: the first one of
        an ``adopted`` worker is not, an earlier daemon published it."""
        if not self.decision.on:
            for one in self._watched:  # it may be gone when it is on again: then it is not reported
                self.decision.post(Left(one))
            self._watched.clear()  # what is seen meanwhile is reported when it is on again
            return False
        if self.decision.stopping:
            return False
        before = self._watched.get(session, Watched())
        if seen.page is not None:
            page = seen.page
            if self.decision.config().whatsapp.wajs is not None:
                # that one wins over all others: for the decision all have the same
                page = replace(page, wajs=self.decision.state.wajs)
            seen = replace(seen, page=page, missing=self._lost(page, seen.missing))
        after, facts = read(session, before, seen, self.decision.clock.monotonic())
        if after is before and not facts:
            return False
        self._watched[session] = after
        for fact in _with_origin(facts, adopted=adopted):
            if isinstance(fact, Loaded) and fact.served_by == "network":
                with contextlib.suppress(
                    OSError
                ):  # unknown changes nothing; the next load has them listed again
                    self.decision.handle_documents()
            self.decision.post(fact)
        if after.page is None:
            return False
        known, shown = self._shown.get(session), _version(after.page)
        self._shown[session] = shown
        return shown != known and not (known is None and adopted)

    def _lost(self, page: Page, missing: tuple[str, ...]) -> tuple[str, ...]:
        """What the last good version had; nothing where that is unknown."""
        self._lacks[page.revision] = frozenset(missing)
        while len(self._lacks) > _AUDITS:
            del self._lacks[min(self._lacks)]
        last = max((it for it in self.decision.state.good if it != page.revision), default=None)
        if not missing or last is None:
            return ()
        if last not in self._lacks:
            try:
                self._lacks[last] = frozenset(self.decision.documents.load(last).missing)
            except DocumentError:
                return ()
        return tuple(it for it in missing if it not in self._lacks[last])

    def forget(self, session: str) -> None:
        """Forget a session that is no more."""
        self.watch(session, Seen(wanted=False, worker=0, lives=False))
        self._watched.pop(session, None)
        self._given.pop(session, None)
        self._shown.pop(session, None)

    def has_other(self, session: str, page: Page | None) -> bool:
        """Whether the next load may get it another version than this page, which is too old."""
        if page is None or not self.decision.on:
            return False
        wanted = versions.intended(self.decision.state, session).revision
        if wanted is not None:
            return wanted != page.revision
        if page.stored or page.revision < (self.decision.state.newest or 0):
            return True
        if page.revision != self.decision.state.refused:
            return True  # it is news that WhatsApp refuses it: it is asked once for a newer one
        known = self._watched.get(session, Watched()).page
        member = self.decision.state.members.get(session)
        if page != known or member is None:
            return False
        return version_wave.is_outdated(self.decision.state, member)

    def cures(self, session: str) -> bool:
        """Whether the decision loads it again because its page is unhealthy: nobody else is to."""
        return version_cure.cures(self.decision.state, session, self.decision.now())

    def has_other_arm(self, session: str) -> bool:
        """Whether it is to have another version or bundle than all."""
        return version_cure.has_other_arm(self.decision.state, session)

    def given(self, session: str) -> int | None:
        """The stored revision that its worker was to serve; None: none."""
        return self._given.get(session)

    def for_worker(self, session: str) -> Given:
        """What its next worker loads its page with."""
        config = self.decision.config()
        arm = versions.intended(self.decision.state, session)
        revision = arm.revision if self.decision.on else None
        self._given[session] = revision
        documents = config.paths.state / FOLDER if self.decision.on else None
        document = None
        if revision is not None:
            path = str(self.decision.documents.path(revision))
            document = StoredDocument(revision=revision, path=path)
        if config.whatsapp.wajs is not None:
            return Given(document, documents, config.whatsapp.wajs, None)
        if arm.wajs == self.decision.packed or arm.wajs not in self.decision.bundles:
            return Given(document, documents, None, self.decision.packed)
        return Given(document, documents, self.decision.store.path(arm.wajs), arm.wajs)


def _with_origin(facts: Iterable[VersionFact], *, adopted: bool) -> Iterator[VersionFact]:
    for fact in facts:
        yield replace(fact, adopted=adopted) if isinstance(fact, Loaded) else fact


def _version(page: Page) -> object:
    return page.revision, page.wajs, page.stored
