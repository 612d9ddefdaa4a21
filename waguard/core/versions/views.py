"""How WhatsApp's versions stand: rows for ``waguard versions list``, and what concerns all sessions. Pure."""

from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.blame import Blame
from waguard.core.versions.arms import of_all, proven, unservable
from waguard.core.versions.facts import Evidence
from waguard.core.versions.state import Hold, Member, TrialStage, VersionState

EVIDENCE: Final = {
    Evidence.EXPORTS_MISSING: "wa-js lacks functions that waguard calls",
    Evidence.SEND_THROWS: "its page throws at sends",
    Evidence.NEVER_READY: "its page never becomes ready, or does not stay",
    Evidence.UNACKED: "WhatsApp acknowledges nothing that it sends",
    Evidence.DEAF: "no event arrives for messages that its chats have",
    Evidence.TOO_OLD: "WhatsApp refuses it as too old",
}
"""What is wrong with a session, for people."""


class VersionStatus(StrEnum):
    """The status of one version; the first that fits."""

    REFUSED = auto()
    """WhatsApp does not take it."""
    SPENT = auto()
    """The version's scripts left the CDN."""
    PINNED = auto()
    """An operator wants it for all."""
    CANARY = auto()
    """One session tries it."""
    SUSPECTED = auto()
    """A crossover is under way, or one has confirmed it."""
    HELD = auto()
    """The version is held back."""
    GOOD = auto()
    """The version is proven."""
    LATEST = auto()
    """The newest that the network served, not proven yet."""
    UNPROVEN = auto()


class VersionRow(Struct, frozen=True, kw_only=True):
    """One version."""

    revision: int
    status: VersionStatus
    since: float | None
    """Unix time of its status; None: unknown."""
    why: str
    sessions: tuple[str, ...]
    """Whose pages have it."""
    wajs: tuple[str, ...]
    """The bundles of these pages."""
    stored: bool
    latest: bool
    """The newest that the network served."""
    served: bool
    """All sessions get it at their next load."""


class VersionCondition(Struct, frozen=True, kw_only=True):
    """One thing that concerns all sessions; its remedy is the business of ``remedies``."""

    type: str
    """One of ``CONDITIONS``."""
    blame: Blame
    reason: str
    message: str
    since: float
    """Unix time."""


CONDITIONS: Final = ("version_held", "version_refused", "bundle_rolled_back", "versions_lost")


def rows(state: VersionState) -> list[VersionRow]:
    """All versions that somebody has, that are stored or pinned, and the newest; the newest first."""
    having: dict[int, list[str]] = {}
    for name, it in state.members.items():
        if it.arm.revision is not None and it.left_at is None:
            having.setdefault(it.arm.revision, []).append(name)
    known = {*having, *state.stored, *(it for it in (state.pin, state.newest) if it is not None)}
    return [_row(state, it, having.get(it, [])) for it in sorted(known, reverse=True)]


def _row(state: VersionState, revision: int, sessions: list[str]) -> VersionRow:
    status, since, why = _status(state, revision)
    arm = of_all(state)
    latest = revision == state.newest
    return VersionRow(
        revision=revision,
        status=status,
        since=since,
        why=why,
        sessions=tuple(sorted(sessions)),
        wajs=tuple(sorted({state.members[name].arm.wajs for name in sessions})),
        stored=revision in state.stored,
        latest=latest,
        served=latest if arm.revision is None else arm.revision == revision,
    )


def _status(state: VersionState, revision: int) -> tuple[VersionStatus, float | None, str]:
    seen = state.seen_at.get(revision)
    if revision <= state.floor or revision == state.refused:
        return VersionStatus.REFUSED, seen, "WhatsApp refuses it as too old"
    if revision in state.spent:
        return VersionStatus.SPENT, seen, "its scripts are not on WhatsApp's CDN any more"
    if revision == state.pin:
        return VersionStatus.PINNED, state.pinned_at, "an operator pinned it"
    if found := _on_trial(state, revision):
        return found
    hold = state.hold
    if hold and revision >= hold.boundary:
        return (
            VersionStatus.HELD,
            hold.since,
            _held_words(hold.boundary, hold.evidence, hold.affected),
        )
    if good := state.good.get(revision):
        return VersionStatus.GOOD, good.at, "it worked, with acks"
    if revision == state.newest:
        return VersionStatus.LATEST, seen, "the newest that WhatsApp serves; it is not proven yet"
    return VersionStatus.UNPROVEN, seen, "it was replaced before it was proven"


def _on_trial(state: VersionState, revision: int) -> tuple[VersionStatus, float, str] | None:
    trial = state.trial
    it = state.members.get(trial.session) if trial else None
    if trial and it and trial.stage in {TrialStage.CANARY, TrialStage.ASKED} and _has(it, revision):
        return VersionStatus.CANARY, trial.began, f"session {trial.session} tries it"
    if trial and trial.bad and trial.bad.revision == revision:
        return VersionStatus.SUSPECTED, trial.began, _suspected(trial.session, trial.evidence)
    for one in state.confirmations:
        if one.bad.revision == revision:
            return VersionStatus.SUSPECTED, one.at, _suspected(one.session, one.evidence)
    return None


def _has(it: Member, revision: int) -> bool:
    return it.arm.revision == revision and it.left_at is None


def _suspected(session: str, evidence: Evidence | None) -> str:
    words = EVIDENCE[evidence] if evidence else "it is unhealthy"
    return f"session {session}: {words}"


def _held_words(boundary: int, evidence: Evidence, affected: tuple[str, ...]) -> str:
    count = len(affected)
    sessions = "1 session was" if count == 1 else f"{count} sessions were"
    return f"{sessions} unhealthy with versions from {boundary} on: {EVIDENCE[evidence]}"


def conditions(state: VersionState) -> list[VersionCondition]:
    """What concerns all sessions."""
    if state.rules.mode == "off":
        return []
    found = []
    if state.hold:
        found.append(_held(state, state.hold))
    if state.refused is not None and state.refused == state.newest:
        found.append(
            VersionCondition(
                type="version_refused",
                blame=Blame.WHATSAPP,
                reason="newest_refused",
                message=f"WhatsApp refuses version {state.refused} as too old, and serves no newer one",
                since=state.refused_at,
            )
        )
    if state.rejected:
        wajs, at = max(state.rejected.items(), key=lambda it: it[1])
        found.append(
            VersionCondition(
                type="bundle_rolled_back",
                blame=Blame.OPERATOR,
                reason="bundle_rolled_back",
                message=f"wa-js {wajs[:12]} broke sessions; all get {state.wajs[:12]}",
                since=at,
            )
        )
    if state.lost:
        found.append(
            VersionCondition(
                type="versions_lost",
                blame=Blame.HOST,
                reason="file_damaged",
                message="what was known of WhatsApp's versions was damaged: if one was pinned or held, sessions get"
                f" another one now; the damaged file is {state.lost.file}",
                since=state.lost.at,
            )
        )
    return found


def _held(state: VersionState, hold: Hold) -> VersionCondition:
    instead = proven(state, below=hold.boundary)
    words = _held_words(hold.boundary, hold.evidence, hold.affected)
    if state.pin is not None and unservable(state, state.pin) is None:
        gets = f"all sessions get version {state.pin}, which an operator pinned"
    elif instead is None:
        gets = "no older version can be served, so sessions get the newest all the same"
    else:
        gets = f"all sessions get version {instead}"
    return VersionCondition(
        type="version_held",
        blame=Blame.WHATSAPP,
        reason="version_held" if instead is not None else "nothing_older",
        message=f"{words}; {gets}",
        since=hold.since,
    )
