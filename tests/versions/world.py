"""A fleet, WhatsApp and a machine in virtual time, around the decision about versions.

What nobody notices costs nothing: a session that is well has no events. What happens to a session is drawn
from (seed, session, purpose), so a run with ``mode = "off"`` meets the same world.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final, Literal

from tests.versions.invariants import check_step
from tests.versions.releases import Release
from waguard.core.session.restart import recent
from waguard.core.versions.cure import cures
from waguard.core.versions.effects import (
    Announce,
    Concluded,
    Discard,
    Kind,
    Reload,
    VersionEffect,
)
from waguard.core.versions.facts import (
    SHOWN_BY_ACKS,
    Acked,
    Captured,
    Discarded,
    Evidence,
    Heard,
    Left,
    Loaded,
    Refused,
    TimerDue,
    Unhealthy,
    Unreachable,
    VersionFact,
    Well,
)
from waguard.core.versions.page_loops import Chain, Version, follow, stays, well_from
from waguard.core.versions.policy import advance, initial, intended, next_deadline
from waguard.core.versions.version_rules import VersionRules

HOUR: Final = 3600.0
WAJS: Final = "a" * 64
SILENT: Final = 0.15  # share of sessions that send nothing
LATE: Final = 120.0  # s after which a send without an ack is evidence, as the ack watch has it
COMPARED: Final = 300.0  # s after which a message without an event is
NOT_READY: Final = 60.0  # s
CURE: Final = (
    120.0  # s until a page that never becomes ready, or throws at its load, is loaded anew
)
CURED_AGAIN: Final = 1800.0
CHECKED: Final = 60.0  # s
REPLACED: Final = 180.0  # s from one replacement for sends that fail to the next, of all sessions
COUNTED_FOR: Final = 300.0  # s; ``restart.period``
OFFERED: Final = 1800.0  # s, mean, until a page takes the new version


class Page:
    """What a session has open. A new one for each load."""

    def __init__(
        self, revision: int, at: float, served_by: Literal["network", "store"] = "network"
    ) -> None:
        self.revision = revision
        self.served_by = served_by
        self.at = at
        self.acked = self.heard = False
        self.reported: Evidence | None = None
        self.waits_since: float | None = None
        """Since when a send waits for its ack."""
        self.waits = False
        """To be replaced for sends that fail."""


class Account:
    """One session."""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.random = random
        silent = random.random() < SILENT
        self.sends = float("inf") if silent else random.choice((120.0, 400.0, 900.0, 2400.0))
        """Mean seconds between two sends, and between two received messages."""
        self.page: Page | None = None
        self.loading = False
        self.dead = False
        self.cured_at = float("-inf")
        self.unhelped = False
        """It was loaded anew while its sends failed, and none was acknowledged since."""
        self.own = False
        """Unhealthy for a reason of its own, which a load cures."""
        self.unhealthy_since: float | None = None
        self.workers = 0
        self.chain = Chain()
        self.loads: tuple[float, ...] = ()
        """Of its pages, by themselves."""


Truth = Callable[["World", Account, Page], Evidence | None]


class World:
    """``truth`` says what is wrong with a page now."""

    def __init__(
        self, seed: int, *, sessions: int, rules: VersionRules, builds: Sequence[Release]
    ) -> None:
        self.random = Random(f"world {seed}")
        self.now = builds[0].at
        self.began = self.now
        self.accounts = [Account(f"s{it}", Random(f"{seed} s{it}")) for it in range(sessions)]
        self.by_name = {it.name: it for it in self.accounts}
        self.state = initial(WAJS, rules)
        self.newest = builds[0].revision
        self.truths: list[Truth] = []
        self.load_time: Callable[[Account], float] = lambda it: it.random.uniform(5.0, 12.0)
        self.loops: Callable[[Account, Page], bool] = lambda _, __: False
        """Whether a page loads itself again, ``every`` so many seconds."""
        self.every = (5.0, 8.0)
        self.evaluated_after = 0.0
        """Seconds after a load in which a page may become unhealthy, or well."""
        self.seen: Counter[str] = Counter()
        self.announced: list[tuple[float, Announce]] = []
        self.unhealthy_seconds = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._replaced_at = float("-inf")
        self._loads: list[str] = []
        self._loading = 0
        self._checked = 0
        self._unhealthy: set[str] = set()
        """For no reason of their own."""
        self.first_unhealthy_at: float | None = None
        self.healed_at: float | None = None
        for it in builds[1:]:
            self.at(it.at, partial(self._release, it))
        for one in self.accounts:
            self.load(one)

    # ---- time ----

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self.at(self.now + seconds, what)

    def run(self, until: float) -> None:
        known, due = None, float("inf")
        while True:
            if self.state is not known:
                known, due = self.state, next_deadline(self.state)
            coming = self._queue[0][0] if self._queue else float("inf")
            if min(due, coming) > until:
                break
            if due <= coming:
                self.now = max(self.now, due)
                self.post(TimerDue())
            else:
                self.now, _, what = heapq.heappop(self._queue)
                what()
        self.now = until
        for it in self.accounts:
            self._count(it)

    # ---- the decision ----

    def post(self, fact: VersionFact) -> None:
        before = self.state
        self.state, effects = advance(before, fact, self.now)
        self._checked += 1
        if self.state is not before and (effects or self._checked % 64 == 0):
            check_step(before, fact, self.state, effects)
        for it in effects:
            self._perform(it)

    def _perform(self, effect: VersionEffect) -> None:
        match effect:
            case Reload(session=session):
                self.load(self.by_name[session])
            case Announce():
                self.seen[effect.kind] += 1
                self.announced.append((self.now, effect))
                if (
                    effect.kind is Kind.ROLLED_BACK
                    and not self._unhealthy
                    and self.healed_at is None
                ):
                    self.healed_at = self.now
            case Concluded(result=result, why=why):
                self.seen[f"{result}: {why}"] += 1
            case Discard(revision):
                self.post(Discarded(revision))

    def announced_at(self, kind: Kind) -> list[float]:
        return [at for at, it in self.announced if it.kind is kind]

    # ---- pages ----

    def load(self, it: Account) -> None:
        """As soon as a start slot is free."""
        if it.loading:
            return
        it.loading = True
        self._loads.append(it.name)
        self._next_load()

    def _next_load(self) -> None:
        while self._loads and self._loading < self.state.rules.places:
            it = self.by_name[self._loads.pop(0)]
            self._loading += 1
            self.post(Left(it.name))
            self.after(self.load_time(it), partial(self._loaded, it))

    def _loaded(self, it: Account) -> None:
        self._loading -= 1
        it.loading = False
        arm = intended(self.state, it.name)
        revision = self.newest if arm.revision is None else arm.revision
        self._count(it)
        it.unhelped = it.unhelped or (it.page and it.page.reported) in SHOWN_BY_ACKS
        served: Literal["network", "store"] = "network" if arm.revision is None else "store"
        page, it.own = Page(revision, self.now, served), False
        it.page = page
        missing = ("WPP.chat.send",) if self.truth(it) is Evidence.EXPORTS_MISSING else ()
        self.post(Loaded(it.name, revision, arm.wajs, served, missing))
        if arm.revision is None:
            self.post(Captured(revision))
        it.workers += 1
        self._follow(it, page)
        self.evaluate(it)
        if it.page is page:
            if self.evaluated_after:
                self.after(self.evaluated_after, partial(self._changed, it, page))
            self.after(2.0, partial(self._connects, it, page))
        self._next_load()

    def _connects(self, it: Account, page: Page) -> None:
        if it.page is not page or it.loading:
            return
        match self.truth(it):
            case Evidence.NEVER_READY:
                self.after(NOT_READY, partial(self._report, it, page, Evidence.NEVER_READY))
            case Evidence.TOO_OLD:
                self._report(it, page, Evidence.TOO_OLD)
                self.post(Refused(page.revision))
            case Evidence.EXPORTS_MISSING:
                self._report(it, page, Evidence.EXPORTS_MISSING)
            case _:
                self._stays(it, page)

    # ---- pages that load themselves ----

    def _follow(self, it: Account, page: Page) -> None:
        version = Version(it.workers, page.revision, WAJS)
        it.chain = follow(it.chain, version, it.loads, self.now)
        self.follow(it)

    def follow(self, it: Account) -> None:
        """Its page loads itself, where that goes on. In mode off nobody counts."""
        page = it.page
        if page and self.loops(it, page) and self.state.rules.mode != "off":
            self.after(it.random.uniform(*self.every), partial(self._loads_itself, it, page))

    def _loads_itself(self, it: Account, before: Page) -> None:
        if it.page is not before or it.loading or not self.loops(it, before):
            return
        it.loads = (*recent(it.loads, now=self.now, period=COUNTED_FOR), self.now)
        looped = it.chain.loops
        page = Page(before.revision, self.now, before.served_by)
        page.reported = before.reported
        it.page = page
        self._follow(it, page)
        if not looped and not it.chain.loops:
            self.post(Loaded(it.name, page.revision, WAJS, before.served_by))
        elif not looped:
            page.reported = Evidence.NEVER_READY
            self.post(Unhealthy(it.name, Evidence.NEVER_READY))
        self.evaluate(it)
        if it.page is page:
            self.after(2.0, partial(self._connects, it, page))

    def _stays(self, it: Account, page: Page) -> None:
        """Until then nothing shows that it is well."""
        wait = well_from(it.chain, page.at) - self.now
        if wait > 0:
            self.after(wait, partial(self._connects, it, page))
            return
        it.chain = stays(it.chain, page.at, self.now)
        if page.reported is Evidence.NEVER_READY:
            page.reported = None
        self.post(Well(it.name))

    def truth(self, it: Account) -> Evidence | None:
        """What is wrong with its page, noticed or not."""
        page = it.page
        if page is None:
            return None
        return next((found for one in self.truths if (found := one(self, it, page))), None)

    def evaluate(self, it: Account) -> None:
        """What is wrong may have changed: messages show it, sooner or later."""
        self._count(it)
        page = it.page
        if page is None:
            return
        self._expect(it, page)
        if self.truth(it) is Evidence.TOO_OLD:
            self.after(5.0, partial(self._connects, it, page))

    def _changed(self, it: Account, page: Page) -> None:
        if it.page is page:
            self.evaluate(it)
            self._connects(it, page)

    def evaluate_all(self) -> None:
        for it in self.accounts:
            self.evaluate(it)

    def _count(self, it: Account) -> None:
        """Seconds in which it was unhealthy, whoever knows; not of a dead account, and not for its own reasons."""
        was = it.unhealthy_since is not None
        if it.unhealthy_since is not None:
            self.unhealthy_seconds += self.now - it.unhealthy_since
        page = it.page
        wrong = page is not None and (self.truth(it) is not None or self.loops(it, page))
        unhealthy = wrong and not it.dead and not it.own
        it.unhealthy_since = self.now if unhealthy else None
        if unhealthy:
            self._unhealthy.add(it.name)
            self.first_unhealthy_at = (
                self.now if self.first_unhealthy_at is None else self.first_unhealthy_at
            )
        else:
            self._unhealthy.discard(it.name)
        if was and not self._unhealthy and self.healed_at is None and self.seen[Kind.ROLLED_BACK]:
            self.healed_at = self.now

    # ---- messages ----

    def _expect(self, it: Account, page: Page) -> None:
        if it.sends == float("inf"):
            return
        wait = it.random.expovariate(1 / it.sends)
        self.after(wait, partial(self._sends, it, page))
        self.after(it.random.expovariate(1 / it.sends), partial(self._receives, it, page))

    def _sends(self, it: Account, page: Page) -> None:
        if it.page is not page or it.loading:
            return
        match self.truth(it):
            case None | Evidence.DEAF:
                self._acked(it, page)
                return
            case Evidence.SEND_THROWS:
                self._report(it, page, Evidence.SEND_THROWS)
            case Evidence.UNACKED:
                page.waits_since = self.now if page.waits_since is None else page.waits_since
                self.after(LATE, partial(self._late, it, page))
            case _:
                return
        self.after(it.random.expovariate(1 / it.sends), partial(self._sends, it, page))

    def _acked(self, it: Account, page: Page) -> None:
        page.waits_since = None
        if self.now < well_from(it.chain, page.at):
            return
        it.chain = stays(it.chain, page.at, self.now)
        page.acked, page.reported, it.unhelped = True, None, False
        self.post(Well(it.name))
        self.post(Acked(it.name))

    def _late(self, it: Account, page: Page) -> None:
        if it.page is not page or page.waits_since is None:
            return
        if self.truth(it) is None:  # the page sends again what waits
            self._acked(it, page)
        else:
            self._report(it, page, Evidence.UNACKED)

    def _receives(self, it: Account, page: Page) -> None:
        if it.page is not page or it.loading:
            return
        if self.truth(it) is Evidence.DEAF:
            self.after(COMPARED, partial(self._report, it, page, Evidence.DEAF))
        elif self.truth(it) is None:
            page.heard = True
            self.post(Heard(it.name))

    def _report(self, it: Account, page: Page, evidence: Evidence) -> None:
        if it.page is not page or it.loading or self.truth(it) is not evidence:
            return
        page.reported, page.acked, page.heard = evidence, False, False
        self.post(Unhealthy(it.name, evidence))
        if evidence is Evidence.DEAF or it.page is not page:
            return
        if evidence in SHOWN_BY_ACKS:
            self._replace(it, page)
        elif self.now >= it.cured_at + CURED_AGAIN:
            it.cured_at = self.now
            self.after(CURE, partial(self._cure, it, page))

    def _cure(self, it: Account, page: Page) -> None:
        """The session's own: its page is loaded anew."""
        if it.page is page and page.reported and not it.loading:
            self.load(it)

    def _replace(self, it: Account, page: Page) -> None:
        """What the fleet does where sends fail, and the decision does nothing: one at a time, each once."""
        if it.page is not page or it.loading or it.unhelped or not page.reported:
            return
        next_at = self._replaced_at + REPLACED
        if self.now < next_at or cures(self.state, it.name, self.now):
            if not page.waits:
                page.waits = True
                self.at(max(next_at, self.now + CHECKED), partial(self._replace_later, it, page))
            return
        self._replaced_at = self.now
        self.load(it)

    def _replace_later(self, it: Account, page: Page) -> None:
        page.waits = False
        self._replace(it, page)

    def recover(self, seconds: float = 30.0) -> None:
        """What was wrong is over: what waits is sent again."""
        for it in self.accounts:
            self.evaluate(it)
            page = it.page
            if page and (page.waits_since is not None or page.reported) and not self.truth(it):
                self.after(it.random.uniform(1.0, seconds), partial(self._again, it, page))

    def _again(self, it: Account, page: Page) -> None:
        if it.page is page and not it.loading and self.truth(it) is None:
            self._acked(it, page)
            self.post(Heard(it.name))

    def all_away(self) -> None:
        """They lost WhatsApp."""
        for it in self.accounts:
            self.post(Unreachable(it.name))

    # ---- WhatsApp ----

    def _release(self, build: Release) -> None:
        self.newest = build.revision
        for it in self.accounts:
            wait = it.random.expovariate(1 / OFFERED)
            self.after(wait, partial(self._takes, it, build))

    def _takes(self, it: Account, build: Release) -> None:
        """Its page offers the new version, and it is idle."""
        fixed = intended(self.state, it.name).revision is not None
        if (
            build.revision == self.newest
            and not fixed
            and it.page
            and it.page.revision < self.newest
        ):
            self.load(it)
