"""The decision about WhatsApp's versions in the shell: facts go in, what is decided is performed.

It decides nothing: ``core/versions/policy.py`` does. It runs to completion, as the mailbox does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, assert_never

from loguru import logger

from waguard.config.sections import Config, version_rules
from waguard.core.blame import Condition
from waguard.core.replace import replace
from waguard.core.session.facts import RestartRequested
from waguard.core.session.state import Intent
from waguard.core.versions import policy as versions
from waguard.core.versions import views as version_views
from waguard.core.versions import words as version_words
from waguard.core.versions.effects import (
    Announce,
    Concluded,
    Discard,
    Reload,
    VersionEffect,
)
from waguard.core.versions.facts import (
    Arm,
    BundleAdded,
    BundleRemoved,
    Captured,
    Discarded,
    RulesChanged,
    TimerDue,
    Unpin,
    VersionFact,
)
from waguard.core.versions.state import Loss, VersionState
from waguard.host.memory.documents import Document
from waguard.host.memory.version_memory import VersionMemory
from waguard.host.memory.wajs_store import Bundle, WajsStore
from waguard.ports.clock import Clock
from waguard.supervision.fleet_effects import Fleet
from waguard.supervision.mailbox import Mailbox

Noted = Literal[
    "version_pinned",
    "version_unpinned",
    "version_asked",
    "version_forgotten",
    "bundle_asked",
    "bundle_used",
    "bundle_added",
]
"""Kinds of entries of the fleet's trail: what a person did."""


class Documents(Protocol):
    """Stored index documents of WhatsApp Web. All calls block."""

    def known(self) -> Collection[int]:
        """The revisions that lie here."""

    def path(self, revision: int) -> Path:
        """Where that one lies, or would."""

    def discard(self, revision: int) -> None:
        """Delete it, where it is there. Raises ``OSError``."""

    def load(self, revision: int) -> Document:
        """Read and check it. Raises ``DocumentError``."""


class Packed(NamedTuple):
    """The wa-js that waguard ships; ``version`` is its own word."""

    sha256: str
    version: str


class VersionDecision:
    """The state of ``core.versions``, kept over restarts. ``documents`` is where the stored documents lie."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        fleet: Fleet,
        mailbox: Mailbox,
        *,
        packed: Packed,
        documents: Documents,
    ) -> None:
        self.config = config
        self.clock = clock
        self.packed, self.packed_version = packed
        self.documents = documents
        self.fleet = fleet
        self._known = config()
        self._mailbox = mailbox
        state = self._known.paths.state
        self.memory = VersionMemory(state)
        self.store = WajsStore(state)
        self.bundles: Mapping[str, str | None] = {}
        """wa-js's own words for the versions of the bundles that were added; None: they cannot be read now."""
        self._began = clock.wall() - clock.monotonic()
        self._waiting: deque[VersionFact] = deque()
        self._busy = False
        self._saving: asyncio.Task[None] | None = None
        self._spared = frozenset[int]()
        """Documents that are not deleted: which of them are proven or pinned was not read."""
        self.stopping = False
        self.state = self._remembered()
        if not self.memory.written and not self.state.lost:  # nothing is known that is worth a file
            self.memory.written = versions.encode(self.state)

    def _remembered(self) -> VersionState:
        rules, now = version_rules(self._known), self.clock.wall()
        found = self.memory.load(lambda content: versions.decode(content, rules, now=now))
        state = found or versions.initial(self.packed, rules)
        if self.memory.quarantined:
            state = replace(state, lost=Loss(now, str(self.memory.quarantined)))
        there = bundles_here(self.store)
        self.bundles = (
            dict.fromkeys(state.bundles - {self.packed})
            if there is None
            else {it.sha256: it.version for it in there}
        )
        state = replace(state, bundles=state.bundles | {self.packed})
        here = {self.packed, *self.bundles}
        if state.wajs not in here:  # of an earlier version of waguard, or removed
            state = replace(state, wajs=self.packed)
        # the packed one may be what was to be tried, or was in use before: nothing is compared with itself
        candidate = None if state.candidate == state.wajs else state.candidate
        previous = None if state.previous == state.wajs else state.previous
        return replace(state, candidate=candidate, previous=previous)

    @property
    def on(self) -> bool:
        """Whether anything is observed, kept or served."""
        return self.state.rules.mode != "off"

    def begin(self) -> None:
        """Compare what is remembered with what lies here; blocks."""
        if it := self.state.forgotten:
            self.state = replace(self.state, forgotten=None)
            words = f"a restart of waguard ended the try of {version_words.tried(it)}: ask again if it is still wanted"
            self.record("version_forgotten", words)
        self.handle_bundles(bundles_here(self.store))
        try:
            if self.memory.lost:
                self._spared = frozenset(self.documents.known())
            self.handle_documents()
        except OSError as error:  # sessions are served all the same
            logger.error(
                "the documents of WhatsApp Web cannot be read now; those that are known stay",
                event="file_unreadable",
                file=str(self.documents.path(0).parent),
                why=str(error),
            )

    def begin_stop(self) -> None:
        """Sessions stop now: nothing follows from that."""
        self.stopping = True

    # ---- time ----

    def tick(self) -> None:
        """Each second: the configuration, deadlines, what is to be written."""
        if (config := self.config()) is not self._known:
            self._known = config
            if (rules := version_rules(config)) != self.state.rules:
                self.post(RulesChanged(rules))
        if self.on and not self.stopping and versions.next_deadline(self.state) <= self.now():
            self.post(TimerDue())
        self._report()
        self._save()

    def now(self) -> float:
        """Unix time that does not follow a step of the clock."""
        return self._began + self.clock.monotonic()

    def _save(self, state: VersionState | None = None) -> None:
        if self._saving and not self._saving.done():
            return
        if (content := versions.encode(state or self.state)) != self.memory.written:
            self._saving = asyncio.create_task(
                asyncio.to_thread(self.memory.save, content), name="versions"
            )

    async def save(self, state: VersionState | None = None) -> None:
        """Have it written now, or what is about to become the state; who is cancelled meanwhile ends no write."""
        while self._saving and not self._saving.done():
            await asyncio.wait({self._saving})
        self._save(state)
        if self._saving:
            await asyncio.wait({self._saving})

    # ---- one fact ----

    def post(self, fact: VersionFact) -> None:
        """Decide, and perform what follows."""
        self._waiting.append(fact)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                it, before = self._waiting.popleft(), self.state.pin
                self.state, effects = versions.advance(self.state, it, self.now())
                for effect in effects:
                    self._alone(effect)
                if before and self.state.pin is None and not isinstance(it, Unpin):
                    why = versions.unservable(self.state, before)
                    words = f"the pin of {before} ended by itself: {why}"
                    self.record("version_unpinned", words, revision=before)
        finally:
            self._busy = False
        self._report()

    def _alone(self, effect: VersionEffect) -> None:
        """One effect that fails must not cost the others."""
        try:
            self._perform(effect)
        except Exception as error:  # noqa: BLE001 - whatever it is, the decision goes on
            name = type(effect).__name__
            logger.opt(exception=error).critical("a bug in waguard", event="bug", effect=name)

    def _perform(self, effect: VersionEffect) -> None:
        match effect:
            case Reload(session, arm, why):
                # one that was stopped or parked meanwhile gets it at its next start
                if self._is_wanted(session):
                    said = f"{why} ({_named(arm)})"
                    self._mailbox.post(session, RestartRequested(why=said, urgent=True))
            case Announce():
                self._announce(effect)
            case Concluded(session, arm, outcome, why):
                logger.info(
                    "a trial of a version has ended",
                    event="version_trial_ended",
                    session=session,
                    tried=_named(arm),
                    result=str(outcome),
                    why=why,
                )
            case Discard(revision):
                self._discard(revision)
            case _:
                assert_never(effect)

    def _is_wanted(self, session: str) -> bool:
        if session not in self._mailbox.actors:
            return False
        return self._mailbox.state(session).intent is Intent.UP

    def _discard(self, revision: int) -> None:
        if revision in self._spared:
            return
        try:
            self.documents.discard(revision)
        except OSError as error:
            why = f"{self.documents.path(revision)}: {error.strerror}"
            logger.warning("a document is not deleted", event="document_not_deleted", why=why)
            return
        self.post(Discarded(revision))

    def _announce(self, it: Announce) -> None:
        words, about = version_words.announced(it), version_words.evidence(it)
        if begins := version_words.OF_CONDITION.get(it.kind):
            found = self._conditions().get(begins)
            if found:
                self.fleet.outages.report(replace(found, message=words), about)
            return
        kind = version_words.ENTRIES[it.kind]
        level = "ERROR" if it.person else "WARNING"
        logger.log(level, kind.replace("_", " "), event=kind, why=words, **about)
        self.fleet.trail.record(kind, reason=words, evidence=dict(about))

    def _conditions(self) -> dict[str, Condition]:
        return {it.type: it for it in version_words.conditions(self.state)}

    def _report(self) -> None:
        """What goes on, in the one list of conditions."""
        found = self._conditions()
        for kind in version_views.CONDITIONS:
            if it := found.get(kind):
                self.fleet.outages.report(it)
            else:
                self.fleet.outages.update(kind, None)

    # ---- what lies here ----

    def handle_documents(self) -> None:
        """Compare what is known with what lies here."""
        there = frozenset(self.documents.known())
        for revision in sorted(there - self.state.stored):
            self.post(Captured(revision))
        for revision in sorted(self.state.stored - there):
            self.post(Discarded(revision))

    def handle_bundles(self, found: Iterable[Bundle] | None) -> None:
        """Compare what is known with these; None: they are unknown, and it stays."""
        if found is None:
            return
        self.bundles = {it.sha256: it.version for it in found}
        there = {self.packed, *self.bundles}
        for sha256 in sorted(there - self.state.bundles):
            self.post(BundleAdded(sha256))
            self.record("bundle_added", f"{version_words.bundle(sha256)} can be used now")
        for sha256 in sorted(self.state.bundles - there):
            self.post(BundleRemoved(sha256))

    def record(self, kind: Noted, words: str, **about: object) -> None:
        """What a person did or has to know of, in the log and on the fleet's trail."""
        logger.warning(kind.replace("_", " "), event=kind, every=True, why=words)
        self.fleet.trail.record(kind, reason=words, evidence=dict(about))


def bundles_here(store: WajsStore) -> Sequence[Bundle] | None:
    """The bundles that were added; None: they cannot be read now, which is logged. Blocks."""
    try:
        return store.listing()
    except OSError as error:
        logger.error(
            "the bundles of wa-js cannot be read now; those that are known stay",
            event="file_unreadable",
            file=str(store.folder),
            why=str(error),
        )
        return None


def _named(arm: Arm) -> str:
    version = "what WhatsApp serves" if arm.revision is None else f"WhatsApp Web {arm.revision}"
    return f"{version}, {version_words.bundle(arm.wajs)}"
