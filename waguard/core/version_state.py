"""What is known of WhatsApp's versions, as a value. Maps are replaced, never changed. Unix time."""

from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final, Literal

from msgspec import Struct, field

from waguard.core.version_facts import Arm, Evidence, Try
from waguard.core.version_rules import VersionRules

NEVER: Final = float("inf")


class StateError(ValueError):
    """What was kept is no state of versions."""


class Member(Struct, frozen=True, kw_only=True):
    """A session with a page."""

    arm: Arm
    """As its page says: the revision is known."""
    served_by: Literal["network", "store"]
    loaded_at: float
    well_at: float | None = None
    """Since when it is well; None: nothing is known, or it is ill."""
    acked_at: float | None = None
    """The newest ack of this page."""
    ill: Evidence | None = None
    ill_from: int | None = None
    """The lowest revision that it was ill with since it was well last."""
    ill_since: float | None = None
    ill_loads: int = 0
    """Loads since it was well last with which it was ill."""
    well_with: Arm | None = None
    """What it was well with last."""
    tried_at: float = 0.0
    """When it was chosen for a trial last."""
    moved_at: float = 0.0
    """When it was loaded anew last because all get another arm."""
    moves: int = 0
    """How often that was in vain."""


class Good(Struct, frozen=True):
    """A proven version."""

    at: float
    """Since when."""
    wajs: str
    """The bundle it was proven with."""


class Confirmation(Struct, frozen=True):
    """A session is ill with ``bad`` and well with ``good``, and one of both alone was changed."""

    session: str
    bad: Arm
    good: Arm
    evidence: Evidence
    at: float


class Hold(Struct, frozen=True, kw_only=True):
    """Versions from ``boundary`` on are held back."""

    boundary: int
    since: float
    evidence: Evidence
    affected: tuple[str, ...]
    """Sessions that were ill with it."""
    canary_at: float
    """When the next canary is due."""
    failures: int = 0
    """Canaries that failed."""
    passed: tuple[str, ...] = ()
    """Canaries that were well, of the last two."""
    reported_at: float = 0.0


class Stage(StrEnum):
    """Where a trial stands."""

    CROSSED = auto()
    """An ill session is loaded with what was good."""
    BACK = auto()
    """It was well there, and is loaded again with what it was ill with."""
    CANARY = auto()
    """A session is loaded with what is held back, new, or asked for by an operator."""


class Trial(Struct, frozen=True, kw_only=True):
    """One session, another arm. There is one at a time."""

    session: str
    stage: Stage
    arm: Arm
    """What it is to be loaded with."""
    other: Arm
    """The one it is compared with: crossed over: what it was ill with; a canary: what all have."""
    began: float
    evidence: Evidence | None = None
    """Of a crossover."""
    loaded_at: float | None = None
    """When the page of this trial became loaded."""
    control: str | None = None
    """An ill session that was loaded anew with what it had: a load alone may be the cure."""
    recovered: bool = False
    """Another session became well with what is blamed: it is no fault of the version."""
    asked: bool = False
    """By an operator."""


class Acquittal(Struct, frozen=True):
    """A session was ill with the older version, too: no trial of these before ``until``."""

    revision: int
    """The newest one that this is about."""
    count: int
    until: float
    ill: int
    """Sessions that were ill then; many more end the pause early."""


class VersionState(Struct, frozen=True, kw_only=True):
    """Everything that the decision may read."""

    wajs: str
    """The bundle that all get."""
    rules: VersionRules = field(default_factory=VersionRules)
    members: Mapping[str, Member] = field(default_factory=dict)
    newest: int | None = None
    """The highest revision that the network served."""
    seen_at: Mapping[int, float] = field(default_factory=dict)
    """When the newest revisions were seen first."""
    stored: frozenset[int] = frozenset()
    good: Mapping[int, Good] = field(default_factory=dict)
    floor: int = 0
    """WhatsApp refuses this one and older ones."""
    refused: int | None = None
    """The newest one was refused: a person has to see it."""
    spent: frozenset[int] = frozenset()
    pin: int | None = None
    hold: Hold | None = None
    canary_at: float = 0.0
    """Mode guard: when the next canary of the newest is due."""
    trial: Trial | None = None
    confirmations: tuple[Confirmation, ...] = ()
    acquittal: Acquittal | None = None
    voids: int = 0
    """Trials in a row without evidence."""
    next_trial_at: float = 0.0
    bundles: frozenset[str] = frozenset()
    """Those that can be injected; the one in use is one of them."""
    previous: str | None = None
    """The bundle that all had before."""
    candidate: str | None = None
    """The bundle that canaries have."""
    candidate_passed: tuple[str, ...] = ()
    rejected: frozenset[str] = frozenset()
    """Bundles that were rolled back."""
    requested: Try | None = None
    """What an operator asked to try; it waits for the trial that runs."""
    kept: tuple[int, ...] = ()
    """As the shell heard it last."""


def initial(wajs: str, rules: VersionRules | None = None) -> VersionState:
    """Nothing is known yet; ``wajs`` is the bundle that waguard ships."""
    return VersionState(wajs=wajs, bundles=frozenset({wajs}), rules=rules or VersionRules())
