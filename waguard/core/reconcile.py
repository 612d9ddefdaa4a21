"""The differences between the rows, the sessions in memory and the host, as a list of actions. Pure.

What only a person can decide is not an action but a finding: it is reported, and nothing is changed.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import assert_never

from msgspec import Struct, field

from waguard.core import remedies
from waguard.core.lifecycle import HAS_PROCESS, WANTED_UP, State
from waguard.core.phone_number import number_of
from waguard.core.row_status import LIVE_STATUSES, SWITCHED_OFF, Status

_STOPPABLE = WANTED_UP | {State.PARKED, State.PARKING}
_LINKED = frozenset({Status.CONNECTED, Status.AUTHENTICATED})


class Wanted(Struct, frozen=True, kw_only=True):
    """One row of the database."""

    up: bool
    status: str
    workspace: int = 1
    phone: str | None = None
    paired: bool
    """There is a profile to miss."""
    switched_off: bool = False
    """The application has switched the account off."""


class Observed(Struct, frozen=True, kw_only=True):
    """One session in memory."""

    state: State
    generation: int
    status: str
    row_pending: bool
    """The newest status is not in the row yet."""
    worker: int | None = None
    """The worker's pid."""
    phone: str | None = None
    """Digits of the number that it is linked to."""


class Stored(Struct, frozen=True, kw_only=True):
    """What the disk has of one session."""

    profile: bool
    copies: bool
    """There is a snapshot to restore."""


_NOTHING = Stored(profile=False, copies=False)


class Worker(Struct, frozen=True, kw_only=True):
    """A living worker process."""

    session: str
    ours: bool
    """This daemon started it."""


class Host(Struct, frozen=True, kw_only=True):
    """Profiles and workers on this host. None: they could not be read; unknown is not empty."""

    profiles: Mapping[tuple[int, str], Stored] | None = None
    """By workspace and session."""
    workers: Mapping[int, Worker] | None = None
    """By pid."""
    remains: Mapping[int, str] = field(default_factory=dict)
    """What a dead Chromium left running: session by pid."""


class Add(Struct, frozen=True):
    """A row without a session in memory: add the session; a start follows where the row wants it up."""

    session: str


class Remove(Struct, frozen=True):
    """A session whose row is gone: stop it and forget it."""

    session: str


class Lose(Struct, frozen=True):
    """A session that another host of the cluster owns: end its worker at once, and forget it."""

    session: str


class Start(Struct, frozen=True):
    """The session is wanted up, and is not up."""

    session: str


class Stop(Struct, frozen=True):
    """The session is up, and not wanted up."""

    session: str


class EndWorker(Struct, frozen=True):
    """A living worker that serves no session in memory."""

    session: str
    pid: int


class EndRemains(Struct, frozen=True):
    """A process whose Chromium is gone: a stopped renderer does not notice that."""

    session: str
    pid: int


class Renew(Struct, frozen=True):
    """The session runs, and its profile was removed: a planned restart restores it."""

    session: str


class CorrectRow(Struct, frozen=True):
    """The row does not say what is true."""

    session: str


Action = Add | Remove | Lose | Start | Stop | EndWorker | EndRemains | Renew | CorrectRow


class Kind(StrEnum):
    """What is reported and not changed."""

    PROFILE_WITHOUT_ROW = "profile_without_row"
    RUNS_WITHOUT_PROFILE = "runs_without_profile"
    SAME_PHONE = "same_phone"


class Finding(Struct, frozen=True, order=True):
    """``about``: what was found, ``remedy``: what to do, each in a sentence."""

    session: str
    kind: Kind
    about: str
    remedy: str


def plan(
    wanted: Mapping[str, Wanted],
    observed: Mapping[str, Observed],
    host: Host,
    ours: Callable[[str], bool] = lambda _: True,
) -> list[Action]:
    """List what to do, stops first, in a stable order. ``wanted`` are all rows, ``ours`` those of this host.

    There is at most one action on a session itself. ``CorrectRow`` may follow it: a start or a stop need not change
    the status, and a wrong row must not stay until the next comparison.
    """
    lost = sorted(name for name in observed if not ours(name))
    served = observed
    wanted = {name: row for name, row in wanted.items() if ours(name)}
    observed = {name: session for name, session in observed.items() if ours(name)}
    both = sorted(wanted.keys() & observed.keys())
    return [
        *map(Lose, lost),
        *_unserved(served, host),
        *(EndRemains(s, pid) for pid, s in sorted(host.remains.items())),
        *(Remove(s) for s in sorted(observed.keys() - wanted.keys())),
        *(Stop(s) for s in both if not wanted[s].up and observed[s].state in _STOPPABLE),
        *(Add(s) for s in sorted(wanted.keys() - observed.keys())),
        *(Start(s) for s in both if wanted[s].up and observed[s].state is State.STOPPED),
        *(Renew(s) for s in both if _renewable(wanted[s], observed[s], _stored(s, wanted, host))),
        *(CorrectRow(s) for s in both if _is_wrong(wanted[s], observed[s])),
    ]


def _unserved(observed: Mapping[str, Observed], host: Host) -> list[EndWorker]:
    found = []
    for pid, worker in sorted((host.workers or {}).items()):
        session = observed.get(worker.session)
        if session is None:
            found.append(EndWorker(worker.session, pid))
        elif session.worker != pid and not (worker.ours and session.state in HAS_PROCESS):
            # a worker that this daemon is starting may be in the host's list first
            found.append(EndWorker(worker.session, pid))
    return found


def _stored(session: str, wanted: Mapping[str, Wanted], host: Host) -> Stored | None:
    """None: unknown."""
    if host.profiles is None:
        return None
    own = host.profiles.get((wanted[session].workspace, session), _NOTHING)
    return own if own.profile else next(iter(_elsewhere(session, wanted[session], host)), own)


def _elsewhere(session: str, row: Wanted, host: Host) -> list[Stored]:
    """The profiles in other workspaces of one that has none in its own: the application may have moved a paired session,
    whose profile follows at the next start. Nothing of a session that was not paired lies elsewhere."""
    if not row.paired or _has_own(session, row, host):
        return []
    others = (stored for (_, name), stored in (host.profiles or {}).items() if name == session)
    return [stored for stored in others if stored.profile]


def _has_own(session: str, row: Wanted, host: Host) -> bool:
    return (host.profiles or {}).get((row.workspace, session), _NOTHING).profile


def _without_profile(row: Wanted, session: Observed, stored: Stored | None) -> bool:
    return stored is not None and not stored.profile and row.up and session.state is State.RUNNING


def _renewable(row: Wanted, session: Observed, stored: Stored | None) -> bool:
    """Whether a restart loses nothing: there is a snapshot, or the session is neither paired nor being paired."""
    if stored is None or not _without_profile(row, session, stored):
        return False
    return stored.copies or not (row.paired or session.status in _LINKED)


def _is_wrong(row: Wanted, session: Observed) -> bool:
    if session.row_pending:
        return False
    promises = session.state is State.STOPPED and not row.up and row.status in LIVE_STATUSES
    return promises or row.status != session.status or _lost_its_number(row, session)


def _lost_its_number(row: Wanted, session: Observed) -> bool:
    return session.status == Status.CONNECTED and bool(session.phone) and not row.phone


def findings(
    wanted: Mapping[str, Wanted],
    observed: Mapping[str, Observed],
    host: Host,
    ours: Callable[[str], bool] = lambda _: True,
) -> list[Finding]:
    """What a person has to decide, in a stable order; ``wanted`` and ``ours``: as for ``plan``. What another host has of
    its sessions is not this one's to report, nor what this one has kept of them."""
    found = [
        *(it for it in _same_phones(wanted) if ours(it.session)),
        *(it for it in _without_rows(wanted, host) if it.session not in wanted or ours(it.session)),
        *(
            Finding(
                name,
                Kind.RUNS_WITHOUT_PROFILE,
                "its profile folder was removed while it runs, and there is no snapshot: it works"
                " until its next start, which shows a QR code",
                remedies.text(remedies.FINDINGS[Kind.RUNS_WITHOUT_PROFILE], name),
            )
            for name in wanted.keys() & observed.keys()
            if ours(name)
            and _without_profile(
                wanted[name], observed[name], stored := _stored(name, wanted, host)
            )
            and not _renewable(wanted[name], observed[name], stored)
        ),
    ]
    return sorted(found)


def _without_rows(wanted: Mapping[str, Wanted], host: Host) -> list[Finding]:
    owned = {(row.workspace, name) for name, row in wanted.items()}
    return [
        Finding(
            _as_text(name),
            Kind.PROFILE_WITHOUT_ROW,
            f"there is a profile in workspace {workspace}, and no row",
            remedies.text(
                _remedy_of_stray(name, wanted.get(name), host), _as_text(name), w=workspace
            ),
        )
        for (workspace, name), stored in (host.profiles or {}).items()
        if stored.profile and (workspace, name) not in owned and not _follows(name, wanted, host)
    ]


def _remedy_of_stray(name: str, row: Wanted | None, host: Host) -> str:
    if row is None:
        return remedies.FINDINGS[Kind.PROFILE_WITHOUT_ROW]
    return remedies.PROFILE_ELSEWHERE if _has_own(name, row, host) else remedies.PROFILE_IN_DOUBT


def _as_text(name: str) -> str:
    """The name of a folder, which may be no UTF-8: no alert could be sent, and no reply given, with such a name."""
    return name.encode(errors="backslashreplace").decode()


def _follows(name: str, wanted: Mapping[str, Wanted], host: Host) -> bool:
    """Whether the profile belongs to a session that was moved into another workspace. None of several follows."""
    row = wanted.get(name)
    return row is not None and len(_elsewhere(name, row, host)) == 1


def _same_phones(wanted: Mapping[str, Wanted]) -> list[Finding]:
    by_phone: defaultdict[str, list[str]] = defaultdict(list)
    for name, row in sorted(wanted.items()):
        if (phone := number_of(row.phone)) and row.up and row.status in _LINKED:
            by_phone[phone].append(name)
    return [
        Finding(
            name,
            Kind.SAME_PHONE,
            # whoever may know of this session may not know of the others by name
            f"{len(names)} sessions have its phone number: each message comes in on every one",
            remedies.text(remedies.FINDINGS[Kind.SAME_PHONE], name),
        )
        for names in by_phone.values()
        if len(names) > 1
        for name in names
    ]


class Correction(Struct, frozen=True, kw_only=True):
    """An action in words: the state before and after, and why."""

    session: str
    action: str
    before: str
    after: str
    reason: str


def explain(
    action: Action, wanted: Mapping[str, Wanted], observed: Mapping[str, Observed]
) -> Correction:
    """An action of ``plan`` in words, for the audit log and for people."""
    name = action.session
    row, session = wanted.get(name), observed.get(name)
    state = str(session.state) if session else "not in memory"
    match action:
        case Add():
            after = "added and started" if row and row.up else "added"
            reason = f"the row says {row.status if row else 'nothing'}, memory had no such session"
        case Remove():
            after, reason = "stopped and removed", "its row is gone or deleted"
        case Lose():
            after, reason = "ended and forgotten", "another host owns it"
        case Start():
            after, reason = "started", "the row wants it up, and it was stopped"
        case Stop():
            after, reason = "stopped", _why_down(row)
        case EndWorker(pid=pid):
            state, after = f"worker {pid} runs", "ended"
            reason = "this worker serves no session of this daemon"
        case EndRemains(pid=pid):
            state, after = f"process {pid} runs", "ended"
            reason = "its Chromium is gone"
        case Renew():
            after, reason = "restarted as planned", "its profile folder was removed while it runs"
        case CorrectRow():
            state = row.status if row else "no row"
            after = session.status if session else "disconnected"
            lost = state == after
            reason = "the row had lost the phone number" if lost else "the row was wrong"
        case _:
            assert_never(action)
    return Correction(
        session=name, action=WORDS[type(action)], before=state, after=after, reason=reason
    )


def _why_down(row: Wanted | None) -> str:
    off = row is not None and row.switched_off
    return SWITCHED_OFF if off else "it was up, and the row does not want it up"


WORDS: dict[type[Action], str] = {
    Add: "add",
    Remove: "remove",
    Lose: "lose",
    Start: "start",
    Stop: "stop",
    EndWorker: "end worker",
    EndRemains: "end what a Chromium left",
    Renew: "renew",
    CorrectRow: "correct row",
}
