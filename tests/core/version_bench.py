"""A fleet's versions by hand: facts are posted, what comes out is kept."""

from typing import Literal

from waguard.core.backoff import NEVER
from waguard.core.versions.effects import (
    Announce,
    Concluded,
    Discard,
    Kind,
    Reload,
    TrialResult,
    VersionEffect,
)
from waguard.core.versions.facts import (
    Acked,
    Captured,
    Evidence,
    Heard,
    Left,
    Loaded,
    TimerDue,
    Unhealthy,
    VersionFact,
    Well,
)
from waguard.core.versions.policy import advance, decode, encode, intended, next_deadline
from waguard.core.versions.state import TrialStage, VersionState, initial
from waguard.core.versions.version_rules import VersionRules

OLD, NEW, NEWER = 100, 200, 300
WAJS, OTHER = "a" * 64, "b" * 64
RULES = VersionRules(places=4)
Served = Literal["network", "store"]
MISSING = Evidence.EXPORTS_MISSING


class VersionBench:
    """``now`` is its clock."""

    def __init__(self, *sessions: str, rules: VersionRules = RULES) -> None:
        self.state: VersionState = initial(WAJS, rules)
        self.now = 1_000_000.0
        self.done: list[VersionEffect] = []
        self.newest = OLD
        for name in sessions:
            self.load(name, OLD, well=True)

    def post(self, fact: VersionFact) -> list[VersionEffect]:
        """What came out of it."""
        self.state, effects = advance(self.state, fact, self.now)
        self.done.extend(effects)
        return list(effects)

    def pass_time(self, seconds: float) -> None:
        """Timers fire when they are due."""
        end = self.now + seconds
        while (at := next_deadline(self.state)) <= end:
            assert at > self.now
            self.now = at
            self.post(TimerDue())
        self.now = end

    def load(self, name: str, revision: int | None = None, *, well: bool = False) -> None:
        """Its page becomes loaded, with what it is to have unless ``revision`` says otherwise. It takes a second."""
        self.pass_time(1)
        arm = intended(self.state, name)
        wanted = arm.revision if revision is None else revision
        if wanted is None or (arm.revision is None and revision is not None):
            served = wanted if wanted is not None else self.newest
            self.post(Loaded(name, served, arm.wajs, "network"))
            self.post(Captured(served))
        else:
            self.post(Loaded(name, wanted, arm.wajs, "store"))
        if well:
            self.well(name)

    def well(self, name: str) -> None:
        for fact in (Well(name), Acked(name), Heard(name)):
            self.post(fact)

    def unhealthy(self, *names: str, evidence: Evidence = Evidence.UNACKED) -> None:
        for name in names:
            self.post(Unhealthy(name, evidence))

    def restart(self) -> None:
        """Another daemon begins; no session has shown its page to it yet."""
        self.state = decode(encode(self.state), self.state.rules, now=self.now)

    def adopt(self, name: str, revision: int, *, served_by: Served = "network") -> None:
        """Its page stayed over the restart, and shows its version. It takes a second."""
        self.pass_time(1)
        self.post(Loaded(name, revision, WAJS, served_by, adopted=True))

    def leave(self, name: str) -> None:
        self.post(Left(name))

    def prove(self) -> None:
        """What all have is proven."""
        self.pass_time(self.state.rules.good_after)

    def release(self, revision: int, *names: str) -> None:
        """WhatsApp serves a new version, and these have it."""
        self.newest = revision
        for name in names:
            self.load(name)

    def unhealthy_with_new(self, *names: str, evidence: Evidence = Evidence.UNACKED) -> None:
        """They were well with the proven OLD, and are unhealthy with NEW."""
        self.prove()
        self.release(NEW, *names)
        self.unhealthy(*names, evidence=evidence)

    # ---- what came out ----

    @property
    def reloads(self) -> list[tuple[str, int | None]]:
        """Who was loaded anew, with which version."""
        return [(it.session, it.arm.revision) for it in self.done if isinstance(it, Reload)]

    @property
    def kinds(self) -> list[Kind]:
        """What was announced."""
        return [it.kind for it in self.done if isinstance(it, Announce)]

    def announced(self, kind: Kind) -> Announce:
        """The newest of them."""
        return [it for it in self.done if isinstance(it, Announce) and it.kind is kind][-1]

    @property
    def results(self) -> list[TrialResult]:
        return [it.result for it in self.done if isinstance(it, Concluded)]

    @property
    def why(self) -> str:
        """Of the newest result."""
        return [it.why for it in self.done if isinstance(it, Concluded)][-1]

    @property
    def discarded(self) -> list[int]:
        return [it.revision for it in self.done if isinstance(it, Discard)]

    def gets(self, name: str = "") -> int | None:
        """The version that it is to have; of nobody in particular: what all are to have."""
        return intended(self.state, name).revision

    @property
    def rests(self) -> bool:
        """Nothing is waited for."""
        return next_deadline(self.state) == NEVER


def broken(*names: str, evidence: Evidence = Evidence.UNACKED) -> VersionBench:
    """All were well with OLD; ``names`` are unhealthy with NEW."""
    bench = VersionBench("a", "b", "c", "d")
    bench.unhealthy_with_new(*names, evidence=evidence)
    return bench


def crossed(bench: VersionBench) -> str:
    """The subject of the trial is loaded with the older version and well there for long enough."""
    trial = bench.state.trial
    assert trial
    assert trial.stage is TrialStage.CROSSED
    bench.load(trial.session, well=True)
    bench.pass_time(RULES.well_for)
    return trial.session


def confirm(bench: VersionBench) -> str:
    """As ``crossed``, and it is unhealthy again where it has to go back."""
    name = crossed(bench)
    trial = bench.state.trial
    if trial and (trial.session, trial.stage) == (name, TrialStage.BACK):
        evidence = trial.evidence
        assert evidence
        bench.load(name)
        bench.unhealthy(name, evidence=evidence)
    assert bench.results[-1] is TrialResult.CONFIRMED
    return name


def rolled_back() -> VersionBench:
    """All four were unhealthy with NEW."""
    bench = broken("a", "b", "c", "d")
    confirm(bench)
    confirm(bench)
    assert bench.kinds == [Kind.SUSPECTED, Kind.ROLLED_BACK]
    return bench
