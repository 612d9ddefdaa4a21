"""What is known of WhatsApp's versions, as a value. Maps are replaced, never changed. Unix time."""

from collections.abc import Mapping
from enum import StrEnum, auto
from itertools import islice
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from waguard.core.backoff import backoff
from waguard.core.replace import replace
from waguard.core.versions.facts import Arm, Evidence, Try
from waguard.core.versions.version_rules import VersionRules

EARLIER_LIMIT: Final = 4096  # pages that are remembered: the file is small


class StateError(ValueError):
    """What was kept is no state of versions."""


class Member(Struct, frozen=True, kw_only=True):
    """A session that has a page, or had one a moment ago.

    An *episode* is the time in which it is not healthy, over all loads: from the first sign of a failure until it
    is healthy again.
    """

    arm: Arm
    """As its page says: the revision is known."""
    served_by: Literal["network", "store"]
    loaded_at: float
    well_at: float | None = None
    """Since when it is healthy; None: it is unhealthy, or nothing is known."""
    acked: bool = False
    """An ack came for what this page sent, and it was not unhealthy since."""
    heard: bool = False
    """As ``acked``, for an event of a received message."""
    unhealthy: Evidence | None = None
    """Evidence of this page."""
    last_unhealthy: Evidence | None = None
    """The newest of the episode, which says what shows that it is over."""
    unhealthy_from: int | None = None
    """The lowest revision with which it was unhealthy in the episode; None: there is none."""
    unhealthy_loads: int = 0
    """Pages of the episode that were unhealthy."""
    unhealthy_after: float = 0.0
    """Seconds from the load of this page until it was unhealthy: who sends much shows it soon."""
    worked: bool = False
    """What fails worked with this page: it broke while the page was open."""
    well_with: Arm | None = None
    """What it was well with last."""
    left_at: float | None = None
    """Since when it has no page."""
    tried_at: float = 0.0
    """When it was chosen for a trial last."""
    moved_at: float = 0.0
    """When it was loaded again last because it is to get another arm."""
    moves: int = 0
    """How often that was, without the wanted arm."""


class Earlier(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an earlier daemon knew of a session's page."""

    revision: int
    acked: bool = False
    heard: bool = False
    moves: int = 0
    moved_at: float = 0.0


class Good(Struct, frozen=True):
    """A proven version."""

    at: float
    """Since when."""
    wajs: str
    """The bundle it was proven with."""


class Confirmation(Struct, frozen=True):
    """A session is unhealthy with ``bad`` and well with ``good``, which differ in one of both alone."""

    session: str
    bad: Arm
    good: Arm
    evidence: Evidence
    at: float

    @property
    def of_bundle(self) -> bool:
        """Whether wa-js is to blame, not WhatsApp."""
        return self.bad.wajs != self.good.wajs


class Hold(Struct, frozen=True, kw_only=True):
    """Versions from ``boundary`` on are held back."""

    boundary: int
    since: float
    evidence: Evidence
    confirmed: tuple[str, ...]
    """Sessions of which it is proven that it makes them unhealthy: they are the canaries."""
    affected: tuple[str, ...]
    """These, and others that were unhealthy with it."""
    reported_at: float
    """When it was announced last."""


class Schedule(Struct, frozen=True):
    """When canaries try, and how the last ones did."""

    at: float = 0.0
    """When the next one is due."""
    failures: int = 0
    """Since the last that was healthy."""
    passed: tuple[str, ...] = ()
    """Those that were healthy, in a row."""


class TrialStage(StrEnum):
    """Where a trial stands."""

    CROSSED = auto()
    """An unhealthy session is loaded with what was good."""
    BACK = auto()
    """The session was well there, and is loaded again with what all have: a load alone may have been the cure."""
    CANARY = auto()
    """A session is loaded with what is held back or new."""
    ASKED = auto()
    """A session is loaded with what an operator asked for."""


class Trial(Struct, frozen=True, kw_only=True):
    """One session, another arm. There is one at a time."""

    session: str
    stage: TrialStage
    arm: Arm
    """What it is to be loaded with."""
    bad: Arm | None
    """What is suspected: unhealthy with it, well without it. None: a canary, which is not unhealthy yet."""
    good: Arm
    """What it is compared with."""
    began: float
    """This stage."""
    limit: float
    """Seconds until this stage is over without evidence."""
    evidence: Evidence | None = None
    repeated: bool = False
    """The session was unhealthy with two loads, or is unhealthy with each: no load of the same is the cure."""
    loaded_at: float | None = None
    """When the page of this stage became loaded."""
    control: str | None = None
    """Another unhealthy session, which was loaded again with what it had: is a load the cure? If not, it comes next."""
    control_at: float = 0.0
    """When it was to be loaded."""
    recovered: bool = False
    """Another session became well with what is suspected."""


class Acquittal(Struct, frozen=True):
    """A session was unhealthy with the older version, too: no trial of this one before ``until``."""

    revision: int
    """The newest revision that is meant; older ones are, too."""
    count: int
    until: float
    unhealthy: int = field(name="ill")  # so it is stored
    """Sessions that were unhealthy then; where they become twice as many the pause ends."""


class Loss(Struct, frozen=True):
    """What an earlier daemon knew could not be read: whether a version was pinned or held is unknown."""

    at: float
    file: str
    """Where the damaged file lies now."""


class VersionState(Struct, frozen=True, kw_only=True):
    """Everything that the decision may read."""

    wajs: str
    """The bundle that all get."""
    rules: VersionRules = field(default_factory=VersionRules)
    at: float = 0.0
    """When the last fact came."""
    members: Mapping[str, Member] = field(default_factory=dict)
    earlier: Mapping[str, Earlier] = field(default_factory=dict)
    """What is known of pages that no session has reported to this daemon yet."""
    newest: int | None = None
    """The highest revision that the network served."""
    seen_at: Mapping[int, float] = field(default_factory=dict)
    """When the newest revisions were seen first."""
    stored: frozenset[int] = frozenset()
    good: Mapping[int, Good] = field(default_factory=dict)
    floor: int = 0
    """WhatsApp refuses this one and older ones."""
    refused: int | None = None
    """The revision that was refused although it was the newest: a person has to see it."""
    refused_at: float = 0.0
    spent: frozenset[int] = frozenset()
    """Stored ones whose scripts left the CDN."""
    pin: int | None = None
    pinned_at: float = 0.0
    hold: Hold | None = None
    canary: Schedule = Schedule()
    """The canaries of what is held back; mode guard: of what is new."""
    trial: Trial | None = None
    confirmations: tuple[Confirmation, ...] = ()
    acquittal: Acquittal | None = None
    doubted: Mapping[int, float] = field(default_factory=dict)
    """Good ones with which an unhealthy session was unhealthy, too, and until when others are preferred."""
    suspected: int | None = None
    """The newest revision of a crossover."""
    voids: int = 0
    """Crossovers in a row without a result."""
    next_trial_at: float = 0.0
    bundles: frozenset[str] = frozenset()
    """Those that can be injected; ``wajs`` is one of them."""
    previous: str | None = None
    """The bundle that all had before."""
    bundle_pause: Acquittal | None = None
    """As ``acquittal``, for crossovers of the bundle in use."""
    candidate: str | None = None
    """The bundle that canaries get."""
    bundle_canary: Schedule = Schedule()
    rejected: Mapping[str, float] = field(default_factory=dict)
    """Bundles that were rolled back, and when."""
    requested: Try | None = None
    """What an operator asked to try; it waits for the trial that runs."""
    lost: Loss | None = None
    """None: nothing was lost, or an operator has decided on a pin since."""
    forgotten: Try | None = None
    """What an operator asked an earlier daemon to try, and what ended with that daemon; until it is on the trail."""


def initial(wajs: str, rules: VersionRules | None = None) -> VersionState:
    """Nothing is known yet; ``wajs`` is the bundle that waguard ships."""
    return VersionState(wajs=wajs, bundles=frozenset({wajs}), rules=rules or VersionRules())


class _Kept(Struct, frozen=True, kw_only=True):
    """What survives a restart of the daemon: no pages, no trial."""

    format: Literal[1]
    wajs: str
    newest: int | None
    seen_at: dict[int, float]
    stored: frozenset[int]
    good: dict[int, Good]
    floor: int
    refused: int | None
    refused_at: float
    spent: frozenset[int]
    pin: int | None
    pinned_at: float
    hold: Hold | None
    canary: Schedule
    confirmations: tuple[Confirmation, ...]
    acquittal: Acquittal | None
    suspected: int | None
    bundles: frozenset[str]
    previous: str | None
    bundle_pause: Acquittal | None
    candidate: str | None
    bundle_canary: Schedule
    rejected: dict[str, float]
    # an earlier release writes none of these
    earlier: dict[str, Earlier] = field(default_factory=dict)
    doubted: dict[int, float] = field(default_factory=dict)
    voids: int = 0
    next_trial_at: float = 0.0
    lost: Loss | None = None
    forgotten: Try | None = None


_FIELDS: Final = tuple(name for name in _Kept.__struct_fields__ if name != "format")
_DECODER: Final = msgspec.json.Decoder(_Kept)


def encode(state: VersionState) -> bytes:
    """For the disk. Without what lives only as long as the daemon: pages, the trial, the rules."""
    trial = state.trial
    if trial and trial.bad:  # the next daemon forgets the trial: as one without a result
        state = without_result(state, trial.began)
    fields = {name: getattr(state, name) for name in _FIELDS}
    fields |= {"format": 1, "earlier": _of_pages(state), "forgotten": _asked(state)}
    return msgspec.json.encode(fields)


def _asked(state: VersionState) -> Try | None:
    """What an operator asked to try, and what the next daemon does not: what waits, or runs."""
    trial = state.trial
    if state.requested or not trial or trial.stage is not TrialStage.ASKED:
        return state.requested or state.forgotten
    wajs = None if trial.arm.wajs == state.wajs else trial.arm.wajs
    return Try(revision=trial.arm.revision, wajs=wajs, session=trial.session)


def without_result(state: VersionState, at: float) -> VersionState:
    """One more crossover showed nothing: the next one waits, ever longer."""
    rules, voids = state.rules, state.voids + 1
    wait = backoff(rules.well_for, voids - 1, longest=rules.pause_limit)
    return replace(state, voids=voids, next_trial_at=at + wait)


def _of_pages(state: VersionState) -> dict[str, Earlier]:
    """What keeps a page from being loaded again: without it the next daemon would load it at once."""
    found = {} if not (state.hold or state.rejected) else dict(state.earlier)
    for name, it in state.members.items():
        # one that is about to be loaded is loaded by the next daemon, where this one cannot any more
        moves = it.moves if it.moved_at < it.loaded_at else 0
        works = it.acked and _is_kept_from(state, it.arm)
        if it.left_at is None and (moves or works):
            found[name] = Earlier(
                revision=it.arm.revision or 0,
                acked=works,
                heard=works and it.heard,
                moves=moves,
                moved_at=it.moved_at if moves else 0.0,
            )
    return dict(islice(found.items(), EARLIER_LIMIT))


def _is_kept_from(state: VersionState, arm: Arm) -> bool:
    held = state.hold is not None and (arm.revision or 0) >= state.hold.boundary
    return held or arm.wajs in state.rejected


def decode(data: bytes, rules: VersionRules, *, now: float) -> VersionState:
    """What was kept; sessions report their pages again. Times in the future become now.

    Raises ``StateError`` with a reason for what is no such state.
    """
    try:
        kept = _DECODER.decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise StateError(f"it is not a state of versions: {error}") from None
    fields = {name: getattr(kept, name) for name in _FIELDS}
    state = VersionState(rules=rules, at=now, **fields)
    if state.wajs not in state.bundles:
        raise StateError("it is not a state of versions: the bundle in use is none of the bundles")
    return _not_of_the_future(state, now)


def _not_of_the_future(state: VersionState, now: float) -> VersionState:
    """The clock may have been set back: what is dated later would be waited for."""
    rules, longest = state.rules, max(state.rules.canary_limit, state.rules.pause_limit)
    hold, pause, bundle_pause = state.hold, state.acquittal, state.bundle_pause
    return replace(
        state,
        hold=hold
        and replace(hold, since=min(hold.since, now), reported_at=min(hold.reported_at, now)),
        canary=replace(state.canary, at=min(state.canary.at, now + longest)),
        bundle_canary=replace(state.bundle_canary, at=min(state.bundle_canary.at, now + longest)),
        confirmations=tuple(replace(it, at=min(it.at, now)) for it in state.confirmations),
        acquittal=pause and replace(pause, until=min(pause.until, now + rules.pause_limit)),
        bundle_pause=bundle_pause
        and replace(bundle_pause, until=min(bundle_pause.until, now + rules.pause_limit)),
        good={revision: replace(it, at=min(it.at, now)) for revision, it in state.good.items()},
        refused_at=min(state.refused_at, now),
        lost=state.lost and replace(state.lost, at=min(state.lost.at, now)),
        earlier={
            name: replace(it, moved_at=min(it.moved_at, now)) for name, it in state.earlier.items()
        },
        doubted={it: min(until, now + rules.pause_limit) for it, until in state.doubted.items()},
        next_trial_at=min(state.next_trial_at, now + rules.pause_limit),
    )
