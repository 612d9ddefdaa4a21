"""WhatsApp's versions in the shell: what is seen of the sessions goes in, what is decided is performed.

It decides nothing: ``core/versions.py`` does. It runs to completion, as the mailbox does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, assert_never

from loguru import logger

from waguard.config import Config, version_rules
from waguard.core import version_views, version_wave, version_words, versions
from waguard.core.blame import Condition
from waguard.core.facts import RestartRequested
from waguard.core.page_signs import Page, Seen, Watched, read
from waguard.core.replace import replace
from waguard.core.state import Intent
from waguard.core.version_effects import (
    Announce,
    Concluded,
    Discard,
    Keep,
    Reload,
    VersionEffect,
)
from waguard.core.version_facts import (
    Arm,
    BundleAdded,
    BundleRemoved,
    Captured,
    Discarded,
    Loaded,
    Pin,
    RulesChanged,
    TimerDue,
    Try,
    Unpin,
    UseBundle,
    VersionFact,
)
from waguard.core.version_state import VersionState
from waguard.errors import ConflictError, NotFoundError
from waguard.host.documents import FOLDER, Document, DocumentError
from waguard.host.version_memory import VersionMemory
from waguard.host.wajs_store import Bundle, WajsStore
from waguard.ports.clock import Clock
from waguard.ports.versions import BundleRow, Listing
from waguard.supervision.fleet import Fleet
from waguard.supervision.mailbox import Mailbox
from waguard.wire.protocol import StoredDocument

Noted = Literal[
    "version_pinned",
    "version_unpinned",
    "version_asked",
    "bundle_asked",
    "bundle_used",
    "bundle_added",
]
"""Kinds of entries of the fleet's trail: what a person did."""
_AUDITS: Final = 32  # versions


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


class Versions:
    """Fills ``ports.versions.VersionControl``. ``packed`` is the SHA-256 of the wa-js that waguard ships,
    ``documents`` where the stored documents lie."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        fleet: Fleet,
        mailbox: Mailbox,
        *,
        packed: str,
        documents: Documents,
    ) -> None:
        self._config = config
        self._known = config()
        self._clock = clock
        self._fleet = fleet
        self._mailbox = mailbox
        self._packed = packed
        self._documents = documents
        state = self._known.paths.state
        self.memory = VersionMemory(state)
        self._store = WajsStore(state)
        self._bundles: Mapping[str, str] = {}
        """wa-js's own words for the versions of the bundles that were added."""
        self._began = clock.wall() - clock.monotonic()
        self._watched: dict[str, Watched] = {}
        self._lacks: dict[int, frozenset[str]] = {}
        """What pages of each version lack of that which waguard calls."""
        self._given: dict[str, int | None] = {}
        """By session: the stored revision that its worker was to serve."""
        self._waiting: deque[VersionFact] = deque()
        self._busy = False
        self._saving: asyncio.Task[None] | None = None
        self._stopping = False
        self.state = self._remembered()
        if not self.memory.written:  # nothing is known that is worth a file
            self.memory.written = versions.encode(self.state)

    def _remembered(self) -> VersionState:
        rules, now = version_rules(self._known), self._clock.wall()
        found = self.memory.load(lambda content: versions.decode(content, rules, now=now))
        state = found or versions.initial(self._packed, rules)
        self._bundles = {it.sha256: it.version for it in self._store.listing()}
        state = replace(state, bundles=state.bundles | {self._packed})
        if state.wajs not in {
            self._packed,
            *self._bundles,
        }:  # of an earlier version of waguard, or removed
            state = replace(state, wajs=self._packed)
        return state

    # ---- what sessions say ----

    @property
    def _on(self) -> bool:
        return self.state.rules.mode != "off"

    def begin(self) -> None:
        """Compare what is remembered with what lies here; blocks."""
        self._handle_bundles(self._store.listing())
        self._handle_documents()

    def watch(self, session: str, seen: Seen) -> bool:
        """Take what is seen of it now; only a change is news. Whether its page is another version."""
        if not self._on or self._stopping:
            return False
        before = self._watched.get(session, Watched())
        if seen.page is not None:
            page = seen.page
            if self._config().whatsapp.wajs is not None:
                # that one wins over all others: for the decision all have the same
                page = replace(page, wajs=self.state.wajs)
            seen = replace(seen, page=page, missing=self._lost(page, seen.missing))
        after, facts = read(session, before, seen, self._clock.monotonic())
        if after is before and not facts:
            return False
        self._watched[session] = after
        for fact in facts:
            if isinstance(fact, Loaded) and fact.served_by == "network":
                self._handle_documents()
            self._post(fact)
        return after.page is not None and _version(after.page) != _version(before.page)

    def _lost(self, page: Page, missing: tuple[str, ...]) -> tuple[str, ...]:
        """What the last good version had; nothing where that is unknown."""
        self._lacks[page.revision] = frozenset(missing)
        while len(self._lacks) > _AUDITS:
            del self._lacks[min(self._lacks)]
        last = max((it for it in self.state.good if it != page.revision), default=None)
        if not missing or last is None:
            return ()
        if last not in self._lacks:
            try:
                self._lacks[last] = frozenset(self._documents.load(last).missing)
            except DocumentError:
                return ()
        return tuple(it for it in missing if it not in self._lacks[last])

    def begin_stop(self) -> None:
        """Sessions stop now: nothing follows from that."""
        self._stopping = True

    def forget(self, session: str) -> None:
        """It is no more."""
        self.watch(session, Seen(wanted=False, worker=0, lives=False))
        self._watched.pop(session, None)
        self._given.pop(session, None)

    def has_other(self, session: str, page: Page | None) -> bool:
        """Whether the next load may get it another version than this page, which is too old."""
        if page is None or not self._on:
            return False
        wanted = versions.intended(self.state, session).revision
        if wanted is not None:
            return wanted != page.revision
        if page.stored or page.revision < (self.state.newest or 0):
            return True
        if page.revision != self.state.refused:
            return True  # it is news that WhatsApp refuses it: it is asked once for a newer one
        known = self._watched.get(session, Watched()).page
        member = self.state.members.get(session)
        if page != known or member is None:
            return False
        return version_wave.is_outdated(self.state, member)

    def given(self, session: str) -> int | None:
        """The stored revision that its worker was to serve; None: none."""
        return self._given.get(session)

    def for_worker(self, session: str) -> Given:
        """What its next worker loads its page with."""
        config = self._config()
        arm = versions.intended(self.state, session)
        revision = arm.revision if self._on else None
        self._given[session] = revision
        documents = config.paths.state / FOLDER if self._on else None
        document = None
        if revision is not None:
            path = str(self._documents.path(revision))
            document = StoredDocument(revision=revision, path=path)
        if config.whatsapp.wajs is not None:
            return Given(document, documents, config.whatsapp.wajs, None)
        if arm.wajs == self._packed or arm.wajs not in self._bundles:
            return Given(document, documents, None, self._packed)
        return Given(document, documents, self._store.path(arm.wajs), arm.wajs)

    # ---- time ----

    def tick(self) -> None:
        """Each second: the configuration, deadlines, what is to be written."""
        if (config := self._config()) is not self._known:
            self._known = config
            if (rules := version_rules(config)) != self.state.rules:
                if "off" in {rules.mode, self.state.rules.mode}:
                    self._watched.clear()  # what was seen meanwhile is reported again
                self._post(RulesChanged(rules))
        if self._on and not self._stopping and versions.next_deadline(self.state) <= self._now():
            self._post(TimerDue())
        self._report()
        self._save()

    def _now(self) -> float:
        """Unix time that does not follow a step of the clock."""
        return self._began + self._clock.monotonic()

    def _save(self) -> None:
        if self._saving and not self._saving.done():
            return
        if (content := versions.encode(self.state)) != self.memory.written:
            self._saving = asyncio.create_task(
                asyncio.to_thread(self.memory.save, content), name="versions"
            )

    async def close(self) -> None:
        """Have it written."""
        if self._saving:
            await self._saving
        await asyncio.to_thread(self.memory.save, versions.encode(self.state))

    # ---- one fact ----

    def _post(self, fact: VersionFact) -> None:
        self._waiting.append(fact)
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                it = self._waiting.popleft()
                self.state, effects = versions.advance(self.state, it, self._now())
                for effect in effects:
                    self._alone(effect)
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
                    self._mailbox.post(session, RestartRequested(why=f"{why} ({_named(arm)})"))
            case Announce():
                self._announce(effect)
            case Concluded(session, arm, outcome, why):
                logger.info(
                    "a trial of a version has ended",
                    event="version_trial_ended",
                    session=session,
                    tried=_named(arm),
                    verdict=str(outcome),
                    why=why,
                )
            case Keep():
                pass  # what is not needed is discarded one by one
            case Discard(revision):
                self._discard(revision)
            case _:
                assert_never(effect)

    def _is_wanted(self, session: str) -> bool:
        if session not in self._mailbox.actors:
            return False
        return self._mailbox.state(session).intent is Intent.UP

    def _discard(self, revision: int) -> None:
        try:
            self._documents.discard(revision)
        except OSError as error:
            why = f"{self._documents.path(revision)}: {error.strerror}"
            logger.warning("a document is not deleted", event="document_not_deleted", why=why)
            return
        self._post(Discarded(revision))

    def _announce(self, it: Announce) -> None:
        words, about = version_words.announced(it), version_words.evidence(it)
        if begins := version_words.OF_CONDITION.get(it.kind):
            found = self._conditions().get(begins)
            if found:
                self._fleet.outages.report(replace(found, message=words), about)
            return
        kind = version_words.ENTRIES[it.kind]
        level = "ERROR" if it.person else "WARNING"
        logger.log(level, kind.replace("_", " "), event=kind, why=words, **about)
        self._fleet.trail.record(kind, reason=words, evidence=dict(about))

    def _conditions(self) -> dict[str, Condition]:
        return {it.type: it for it in version_words.conditions(self.state)}

    def _report(self) -> None:
        """What goes on, in the one list of conditions."""
        found = self._conditions()
        for kind in version_views.CONDITIONS:
            if it := found.get(kind):
                self._fleet.outages.report(it)
            else:
                self._fleet.outages.update(kind, None)

    # ---- what lies here ----

    def _handle_documents(self) -> None:
        there = frozenset(self._documents.known())
        for revision in sorted(there - self.state.stored):
            self._post(Captured(revision))
        for revision in sorted(self.state.stored - there):
            self._post(Discarded(revision))

    def _handle_bundles(self, found: Iterable[Bundle]) -> None:
        self._bundles = {it.sha256: it.version for it in found}
        there = {self._packed, *self._bundles}
        for sha256 in sorted(there - self.state.bundles):
            self._post(BundleAdded(sha256))
            self._record("bundle_added", f"{version_words.bundle(sha256)} can be used now")
        for sha256 in sorted(self.state.bundles - there):
            self._post(BundleRemoved(sha256))

    # ---- what operators ask for ----

    def listing(self) -> Listing:
        """See ``ports.versions.VersionControl``."""
        state, configured = self.state, self._config().whatsapp.wajs
        return Listing(
            mode=state.rules.mode,
            newest=state.newest,
            pin=state.pin,
            held_from=state.hold.boundary if state.hold else None,
            trial=state.trial.session if state.trial else None,
            rows=version_views.rows(state),
            configured=str(configured) if configured else None,
            bundles=[self._bundle_row(it) for it in sorted({self._packed, *self._bundles})],
        )

    def _bundle_row(self, sha256: str) -> BundleRow:
        state = self.state
        having = (
            name
            for name, it in state.members.items()
            if it.left_at is None and it.arm.wajs == sha256
        )
        return BundleRow(
            sha256=sha256,
            version=self._bundles.get(sha256),
            packed=sha256 == self._packed,
            in_use=sha256 == state.wajs,
            candidate=sha256 == state.candidate,
            rolled_back=state.rejected.get(sha256),
            sessions=tuple(sorted(having)),
        )

    def pin(self, revision: int, *, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        self._require_known(revision)
        self._ask(Pin(revision), "revision", revision)
        self._record("version_pinned", f"{by} pinned WhatsApp Web {revision}", revision=revision)

    def unpin(self, *, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        if (before := self.state.pin) is None:
            raise ConflictError("no version is pinned", remedy="see `waguard versions list`")
        self._post(Unpin())
        self._record("version_unpinned", f"{by} ended the pin of {before}", revision=before)

    def try_version(self, revision: int | None, *, session: str | None, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        if revision is not None and revision != self.state.newest:
            self._require_known(revision)
        self._ask(Try(revision=revision, session=session), "revision", revision)
        what = "what WhatsApp serves" if revision is None else f"WhatsApp Web {revision}"
        self._record("version_asked", f"{by} asked to try {what} with {session or 'any session'}")

    async def try_bundle(self, sha256: str, *, session: str | None, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_on()
        self._require_unconfigured()
        found = await self._require_bundle(sha256)
        self._ask(Try(wajs=found, session=session), "sha256", sha256)
        what = version_words.bundle(found)
        self._record("bundle_asked", f"{by} asked to try {what} with {session or 'any session'}")

    async def use_bundle(self, sha256: str, *, by: str) -> None:
        """See ``ports.versions.VersionControl``."""
        self._require_unconfigured()
        found = await self._require_bundle(sha256)
        self._ask(UseBundle(found), "sha256", sha256)
        self._record("bundle_used", f"{by} has all sessions get {version_words.bundle(found)}")

    async def refresh_bundles(self) -> None:
        """See ``ports.versions.VersionControl``."""
        self._handle_bundles(await asyncio.to_thread(self._store.listing))

    def _ask(self, fact: Pin | Try | UseBundle, field: str, value: object) -> None:
        """Post it. Raises ``ConflictError`` where it cannot be fulfilled."""
        if why := versions.refusal(self.state, fact):
            raise ConflictError(why, field=field, value=value, remedy="see `waguard versions list`")
        self._post(fact)

    def _record(self, kind: Noted, words: str, **about: object) -> None:
        logger.warning(kind.replace("_", " "), event=kind, every=True, why=words)
        self._fleet.trail.record(kind, reason=words, evidence=dict(about))

    def _require_on(self) -> None:
        if not self._on:
            raise ConflictError(
                "versions.mode is off: every session gets what WhatsApp serves",
                field="versions.mode",
                value="off",
                remedy='set versions.mode to "react" or "guard" and reload waguard',
            )

    def _require_unconfigured(self) -> None:
        if (path := self._config().whatsapp.wajs) is not None:
            raise ConflictError(
                f"all sessions get {path}, which the configuration names",
                field="whatsapp.wajs",
                value=str(path),
                remedy="take whatsapp.wajs out of the configuration and reload waguard",
            )

    def _require_known(self, revision: int) -> None:
        known = sorted(self.state.stored, reverse=True)
        if revision in known:
            return
        raise NotFoundError(
            f"version {revision} is not stored here",
            field="revision",
            value=revision,
            remedy=f"stored are {', '.join(map(str, known))}" if known else "none is stored yet",
        )

    async def _require_bundle(self, sha256: str) -> str:
        """The whole digest; its beginning is enough where it names one bundle."""
        await self.refresh_bundles()
        known = sorted({self._packed, *self._bundles})
        found = [it for it in known if it.startswith(sha256)] if sha256 else []
        if len(found) == 1:
            return found[0]
        raise NotFoundError(
            "there is no such bundle" if not found else "more than one bundle begins so",
            field="sha256",
            value=sha256,
            remedy=f"known are {', '.join(it[: version_words.SHORT] for it in known)}",
        )


def _version(page: Page | None) -> object:
    return page and (page.revision, page.wajs, page.stored)


def _named(arm: Arm) -> str:
    version = "what WhatsApp serves" if arm.revision is None else f"WhatsApp Web {arm.revision}"
    return f"{version}, {version_words.bundle(arm.wajs)}"
