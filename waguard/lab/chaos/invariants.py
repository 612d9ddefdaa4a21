"""What must hold while waguard heals, and when it has. Pure: facts and a harm in, sentences out.

An empty answer of ``unhealed`` is what a fault waits for; what ``always`` names is broken at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from waguard.lab.chaos.processes import Census

CLOCK: Final = 0.05  # s; the daemon's wall clock and ours are read at different moments
HEALS_WITHIN: Final = 120.0  # s; a silent page is given 30 s, its end 12, a start 55
ROW_LIMIT: Final = 2.0  # s for a row to follow


class BrokenError(Exception):
    """Invariants that did not hold, in sentences."""

    def __init__(self, broken: Sequence[str]) -> None:
        super().__init__("; ".join(broken))
        self.broken = list(broken)


class Harm(Struct, frozen=True, kw_only=True):
    """What a fault did, and what it may and may not lead to."""

    began: float
    """Unix time."""
    hurt: frozenset[str] = frozenset()
    """Sessions that left health: each must have an incident, which has ended."""
    gone: frozenset[int] = frozenset()
    """Processes that must be gone."""
    kept: frozenset[int] = frozenset()
    """Processes that nobody may end."""
    may_scan: frozenset[str] = frozenset()
    """Sessions that may need the person with the phone: unlinked, or lost without any copy."""
    arrived: tuple[tuple[str, str], ...] = ()
    """Session and text of messages that came meanwhile and are promised not to be lost."""
    watched: float = 0.0
    """Seconds over which it has to stay well: that nobody acts has no event."""
    within: float = HEALS_WITHIN
    """Seconds from the fault's end until all must be well."""
    not_before: float = 0.0
    """Unix time until which a hurt session cannot be connected: WhatsApp must be left alone."""
    restarts: Mapping[str, int] | None = None
    """For a cause that is no session's: how many restarts each may have had by then, and none may be
    parked; None: not checked."""
    fleet: str = ""
    """Words of an incident of all sessions, which must be there and have ended."""
    outdated: Mapping[str, int] = field(default_factory=dict)
    """Workers to be replaced, by session, ``at_once`` of them at a time."""
    at_once: int = 1


class ReportedSession(Struct, frozen=True, kw_only=True):
    """What the API says of a session."""

    status: str
    lifecycle: str
    link: str
    worker: int | None
    browser: int | None
    restarts: int = 0
    waits: str = ""
    """For what its start waits, in words."""
    conditions: frozenset[str] = frozenset()
    """Their types."""
    messages: tuple[str, ...] = ()
    """What they say."""


class Incident(Struct, frozen=True):
    """Unix times; ``ended`` None: it is open."""

    began: float
    ended: float | None
    cause: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """The world at one moment. None: it could not be read."""

    sessions: tuple[str, ...]
    at: float = 0.0
    """Unix time."""
    rows: Mapping[str, str] | None
    """Status by session, from the database itself."""
    reported: Mapping[str, ReportedSession] | None
    census: Census
    incidents: Mapping[str, tuple[Incident, ...]] = field(default_factory=dict)
    quarantined: frozenset[str] = frozenset()
    """Sessions whose profile was quarantined since the fault."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """QR codes that were announced since the fault, by session."""
    fleet: tuple[Incident, ...] = ()
    """Those that concern all sessions."""


def always(facts: Facts, harm: Harm) -> list[str]:
    """What must never be, not even while it heals."""
    return list(_always(facts, harm))


def _always(facts: Facts, harm: Harm) -> Iterator[str]:
    for session, pids in facts.census.browsers.items():
        if len(pids) > 1:
            yield f"{session}: {len(pids)} Chromiums on one profile ({_list(pids)})"
    if lost := harm.kept - set(facts.census.all):
        yield f"ended although nothing was wrong with them: {_list(lost)}"
    for session, count in facts.codes.items():
        if count and session not in harm.may_scan:
            yield f"{session}: a QR code is shown, its credentials were lost"
    if harm.restarts is not None:
        yield from _blameless(facts.reported or {}, harm.restarts)
    yield from _replacements(facts, harm)
    early = harm.not_before - facts.at
    for session, reported in (facts.reported or {}).items():
        if reported.status == "connected" and reported.worker is None:
            yield f"{session}: the API says connected, and there is no worker"
        if early > 0 and session in harm.hurt and reported.link == "connected":
            yield f"{session}: WhatsApp was asked again {early:.0f} s too early"


def _blameless(
    reported: Mapping[str, ReportedSession], restarts: Mapping[str, int]
) -> Iterator[str]:
    for session, it in reported.items():
        if it.lifecycle == "parked":
            yield f"{session}: it is parked, and nothing is wrong with it"
        if it.restarts > restarts.get(session, 0):
            yield f"{session}: {it.restarts} restarts, {restarts.get(session, 0)} were due"


def _replacements(facts: Facts, harm: Harm) -> Iterator[str]:
    """Whose old worker has gone, and who is not back yet."""
    if facts.reported is None:
        return
    between = sorted(
        session
        for session, pid in harm.outdated.items()
        if pid not in facts.census.workers.get(session, ())
        and facts.reported[session].link != "connected"
    )
    if len(between) > harm.at_once:
        yield f"replaced at the same time: {', '.join(between)}; at most {harm.at_once} may be"


class Rows(Struct):
    """For how long rows have said what is not so, over a series of facts."""

    limit: float = ROW_LIMIT
    _since: dict[str, float] = field(default_factory=dict)

    def wrong(self, facts: Facts, now: float) -> list[str]:
        """What they have said for too long; ``now`` in monotonic seconds."""
        if facts.rows is None or facts.reported is None:
            self._since.clear()  # nobody knows what was between
            return []
        found = {
            session: _lie(session, facts, facts.rows, facts.reported) for session in facts.reported
        }
        self._since = {s: self._since.get(s, now) for s, lie in found.items() if lie}
        return [
            f"{session}: {found[session]} for {now - since:.1f} s"
            for session, since in self._since.items()
            if now - since > self.limit
        ]


def _lie(
    session: str, facts: Facts, rows: Mapping[str, str], reported: Mapping[str, ReportedSession]
) -> str | None:
    row, status = rows.get(session), reported[session].status
    if row == "connected" and not facts.census.workers.get(session):
        return "the row says connected, and no worker lives"
    return f"the row says {row}, the API {status}" if row != status else None


def unhealed(facts: Facts, harm: Harm) -> list[str]:
    """What is not yet, or not any more, as it should be."""
    return [*_always(facts, harm), *_sources(facts), *_processes(facts, harm), *_trail(facts, harm)]


def _sources(facts: Facts) -> Iterator[str]:
    """Database = memory = processes, and all of them well."""
    if facts.rows is None:
        yield "the database cannot be read"
        return
    if facts.reported is None:
        yield "the API does not answer"
        return
    for session in facts.sessions:
        reported, row = facts.reported.get(session), facts.rows.get(session)
        if reported is None or row is None:
            yield f"{session}: not known to {'the database' if reported else 'the API'}"
            continue
        if (reported.status, reported.lifecycle, reported.link) != (
            "connected",
            "running",
            "connected",
        ):
            yield f"{session}: it is {reported.status}, {reported.lifecycle}, {reported.link}"
        if row != reported.status:
            yield f"{session}: the row says {row}, the API {reported.status}"
        for what, pid, seen in (
            ("worker", reported.worker, facts.census.workers.get(session, ())),
            ("browser", reported.browser, facts.census.browsers.get(session, ())),
        ):
            if seen != (pid,):
                yield f"{session}: the API says {what} {pid}, the host {_list(seen) or 'none'}"


def _processes(facts: Facts, harm: Harm) -> Iterator[str]:
    census = facts.census
    if len(census.daemons) != 1:
        yield f"{len(census.daemons)} daemons"
    if len(census.fork_servers) > 1:
        yield f"{len(census.fork_servers)} fork servers"
    if unknown := census.workers.keys() - set(facts.sessions):
        yield f"workers of unknown sessions: {', '.join(sorted(unknown))}"
    if census.stopped:
        yield f"stopped processes: {_list(census.stopped)}"
    for stray in census.strays:
        yield f"stray process {stray.pid}: {' '.join(stray.argv)[:200]}"
    if living := harm.gone & set(census.all):
        yield f"not replaced: {_list(living)}"


def _trail(facts: Facts, harm: Harm) -> Iterator[str]:
    """Each fault that hurt a session has its incident within its time."""
    for session in sorted(harm.hurt | facts.quarantined):
        known = facts.incidents.get(session, ())
        fitting = [one for one in known if one.began >= harm.began - CLOCK]
        if not fitting:
            yield f"{session}: no incident reports it"
        elif any(one.ended is None for one in fitting):
            yield f"{session}: its incident is open"
    if harm.fleet:
        fitting = [
            one
            for one in facts.fleet
            if harm.fleet in one.cause and one.began >= harm.began - CLOCK
        ]
        if not fitting:
            yield f"no incident of the fleet reports it: {harm.fleet}"
        elif any(one.ended is None for one in fitting):
            yield f"the fleet's incident is open: {harm.fleet}"


def _list(pids: object) -> str:
    return ", ".join(map(str, sorted(pids))) if isinstance(pids, frozenset | set | tuple) else ""
