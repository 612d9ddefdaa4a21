"""Facts in any order, some of them true: what must never be so is looked for after each.

A small world has versions and bundles that are broken for some sessions. Pages are loaded when they are to be,
or not, and say how they stand, or lie. In the end everything works again: then all has to come to rest.
"""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final, get_args

from msgspec import structs

from tests.versions.invariants import Violation, check_rest, check_step
from waguard.core.backoff import NEVER
from waguard.core.replace import replace
from waguard.core.versions.effects import (
    Announce,
    Concluded,
    Discard,
    Reload,
    VersionEffect,
)
from waguard.core.versions.facts import (
    Acked,
    BundleAdded,
    Captured,
    Discarded,
    Evidence,
    Heard,
    Left,
    Loaded,
    Refused,
    RulesChanged,
    TimerDue,
    Try,
    Unhealthy,
    Unpin,
    Unreachable,
    UseBundle,
    VersionFact,
    Well,
)
from waguard.core.versions.policy import advance, decode, encode, initial, intended, next_deadline
from waguard.core.versions.state import VersionState
from waguard.core.versions.version_rules import Mode, VersionRules

DAY: Final = 86_400.0
BUNDLES: Final = ("a" * 64, "b" * 64, "c" * 64)
EVIDENCE: Final = tuple(Evidence)
OF_PAGES: Final[Mapping[str, tuple[object, ...]]] = {
    "served_by": ("network", "store"),
    "missing": ((), ("WPP.chat.send",)),
    "adopted": (False, True),
}
KINDS: Final = get_args(VersionFact)
RARE: Final = {Refused: 0.3, RulesChanged: 0.3}
OFTEN: Final = {Unpin: 3.0, Try: 4.0} | dict.fromkeys(
    (Left, Unreachable, Loaded, BundleAdded, UseBundle), 2.0
)
WEIGHTS: Final = [(RARE | OFTEN).get(it, 1.0) for it in KINDS]
MODES: Final[tuple[Mode, ...]] = ("off", "react", "react", "guard")
STORM: Final = 20_000  # timers in two days without a fact: one each 9 s


class Fuzz:
    """One fleet of few sessions; ``seed`` decides everything."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.sessions = [f"s{it}" for it in range(self.random.choice((1, 2, 3, 5)))]
        mode: Mode = self.random.choice(("react", "react", "guard"))
        # what takes minutes takes seconds: more happens in as many steps
        self.rules = VersionRules(
            mode=mode,
            places=self.random.choice((1, 2)),
            good_after=100.0,
            well_for=10.0,
            trial_limit=100.0,
            remember=20_000.0,
            pause=60.0,
            pause_limit=960.0,
            canary_after=200.0,
            canary_limit=2400.0,
            canary_for=100.0,
            report_held_after=DAY,
        )
        self.now = 1e9
        self.state: VersionState = initial(BUNDLES[0], self.rules)
        self.newest = 10
        self.broken: dict[int, set[str]] = {}
        """Sessions that are unhealthy with a version."""
        self.bad_bundles: set[str] = set()
        self.pages: dict[str, Loaded] = {}
        self.wanted: set[str] = set()
        """They were asked to load anew, and have not yet."""
        self.seen: Counter[str] = Counter()

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._step()
        self._end()

    def post(self, fact: VersionFact) -> None:
        before = self.state
        self.state, effects = advance(before, fact, self.now)
        self.seen[type(fact).__name__] += 1
        check_step(before, fact, self.state, effects)
        for it in effects:
            self._perform(it)

    def _perform(self, effect: VersionEffect) -> None:
        match effect:
            case Reload(session=session):
                self.wanted.add(session)
            case Announce(kind=kind):
                self.seen[kind] += 1
            case Concluded(result=result, why=why):
                self.seen[f"{result}: {why}"] += 1
            case Discard(revision):
                if self.random.random() < 0.9:
                    self.post(Discarded(revision))

    # ---- what happens ----

    def _step(self) -> None:
        draw = self.random.random()
        if draw < 0.55:
            self._true()
        elif draw < 0.72 and self.wanted:
            self._load(self.random.choice(sorted(self.wanted)))
        elif draw < 0.74:
            self._load(self.random.choice(self.sessions))
        elif draw < 0.95:
            self._pass_time(self.random.choice((1, 1, 5, 11, 30, 110, 300, 2000)))
        elif draw < 0.985:
            self.post(self._any())
        else:
            self._world()

    def _true(self) -> None:
        """A page says how it stands."""
        session = self.random.choice(self.sessions)
        if session not in self.pages:
            self._load(session)
        elif evidence := self._ails(session):
            self.post(Unhealthy(session, evidence))
        else:
            self.post(Well(session))
            if self.random.random() < 0.7:
                self.post(Acked(session))
                self.post(Heard(session))

    def _ails(self, session: str) -> Evidence | None:
        page = self.pages[session]
        if page.wajs in self.bad_bundles:
            return Evidence.EXPORTS_MISSING
        if session in self.broken.get(page.revision, ()):
            return EVIDENCE[page.revision % len(EVIDENCE)]
        return None

    def _load(self, session: str) -> None:
        self.wanted.discard(session)
        arm = intended(self.state, session)
        if self.random.random() < 0.05:  # it is served something else
            arm = replace(arm, revision=None)
        if arm.revision is None:
            page = Loaded(session, self.newest, arm.wajs, "network")
        else:
            page = Loaded(session, arm.revision, arm.wajs, "store")
        self.pages[session] = page
        self.post(page)
        if arm.revision is None:
            self.post(Captured(page.revision))

    def _world(self) -> None:
        """WhatsApp serves a new version; something breaks, or works again; the daemon is started anew."""
        match self.random.randrange(10):
            case 6:  # it is withdrawn
                self.newest = max(1, self.newest - 1)
            case 7 | 8:  # all versions of late are broken for all
                first = self.newest - self.random.randint(0, 2)
                late = {it: set(self.sessions) for it in range(first, self.newest + 1)}
                self.broken |= late
            case 0 | 1:
                self.newest += self.random.randint(1, 3)
                share = self.random.choice((0.0, 0.0, 0.4, 1.0))
                unhealthy = {it for it in self.sessions if self.random.random() < share}
                self.broken[self.newest] = unhealthy
            case 2:
                self.broken = {it: set() for it in self.broken}
            case 3:  # an outage, or its end
                unhealthy = set() if self.random.random() < 0.7 else set(self.sessions)
                self.broken = dict.fromkeys(range(self.newest + 1), unhealthy)
            case 4:
                self.bad_bundles = {self.random.choice((*BUNDLES[1:], self.state.wajs))}
            case 5:
                self.state = decode(encode(self.state), self.state.rules, now=self.now)
                self.seen["restart"] += 1
            case _:
                mode: Mode = self.random.choice(MODES)
                self.post(RulesChanged(replace(self.rules, mode=mode)))

    def _any(self) -> VersionFact:
        """Whatever comes, true or not."""
        kind = self.random.choices(KINDS, WEIGHTS)[0]
        drawn = {it.name: self._draw(kind, it) for it in structs.fields(kind)}
        fact: VersionFact = kind(**drawn)
        return fact

    def _draw(self, kind: type, it: structs.FieldInfo) -> object:
        """What stands in a field; often nothing where it may be left out."""
        random = self.random
        if not it.required and random.random() < 0.5:
            return it.default
        match it.name:
            case "session":
                return random.choice([*self.sessions, "nobody"])
            case "evidence":
                return random.choice(EVIDENCE)
            case "revision" if kind is Refused:  # which all older ones are with it
                return random.randint(0, max(1, self.newest - 4))
            case "revision":
                return random.randint(max(1, self.newest - 9), self.newest + 1)
            case "wajs":
                return random.choice(BUNDLES)
            case name if name in OF_PAGES:
                return random.choice(OF_PAGES[name])
            case "rules":
                return replace(self.rules, mode=random.choice(MODES))
            case _:
                raise AssertionError(f"nothing is drawn for {it.name} of {kind.__name__}")

    def _pass_time(self, seconds: float) -> int:
        """Fire the timers until then; how many."""
        end, fired = self.now + seconds, 0
        while (at := next_deadline(self.state)) <= end:
            if at <= self.now and at <= self.state.at:
                raise Violation(f"a timer is due at {at}, and was handled")
            self.now = max(self.now, at)
            self.post(TimerDue())
            fired += 1
            if fired > STORM:
                raise Violation(f"{fired} timers in {seconds / DAY:.1f} days")
        self.now = end
        return fired

    # ---- the end ----

    def _end(self) -> None:
        """Nobody does anything for long; then all that is loaded works."""
        self._pass_time(2 * DAY)
        self.broken, self.bad_bundles = {}, set()
        self.newest += 1
        self.post(RulesChanged(replace(self.rules, mode="react")))
        self.post(Unpin())
        for session in self.sessions:
            self._load(session)
        for _ in range(4_000):
            if self.wanted:
                self.now += 1
                self._load(min(self.wanted))
            for session in self.sessions:
                if self._ails(session) is None:
                    self.post(Well(session))
                    self.post(Acked(session))
                    self.post(Heard(session))
            at = next_deadline(self.state)
            if at == NEVER and not self.wanted:
                break
            if not self.wanted:
                self._pass_time(max(1.0, at - self.now))
        check_rest(self.state, self.sessions)
