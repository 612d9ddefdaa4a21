"""What must hold while waguard heals, and when it has. Pure: facts and a harm in, sentences out.

An empty answer of ``settled`` is what a fault waits for; what ``always`` names is broken at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from waguard.chaos.processes import Census

CLOCK: Final = 0.05  # s; the daemon's wall clock and ours are read at different moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the API says of a session."""

    status: str
    lifecycle: str
    link: str
    worker: int | None
    browser: int | None


@dataclass(frozen=True, slots=True)
class Incident:
    """Unix times; ``ended`` None: it goes on."""

    began: float
    ended: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The world at one moment. None: it could not be read."""

    sessions: tuple[str, ...]
    rows: Mapping[str, str] | None
    """Status by session, from the database itself."""
    told: Mapping[str, Told] | None
    census: Census
    incidents: Mapping[str, tuple[Incident, ...]] = field(default_factory=dict)
    aside: frozenset[str] = frozenset()
    """Sessions whose profile was moved aside since the fault."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """QR codes that were announced since the fault, by session."""


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


def settled(facts: Facts, harm: Harm) -> list[str]:
    """What is not yet, or not any more, as it should be."""
    return [*_always(facts, harm), *_sources(facts), *_processes(facts, harm), *_trail(facts, harm)]


def _sources(facts: Facts) -> Iterator[str]:
    """Database = memory = processes, and all of them well."""
    if facts.rows is None:
        yield "the database cannot be read"
        return
    if facts.told is None:
        yield "the API does not answer"
        return
    for session in facts.sessions:
        told, row = facts.told.get(session), facts.rows.get(session)
        if told is None or row is None:
            yield f"{session}: not known to {'the database' if told else 'the API'}"
            continue
        if (told.status, told.lifecycle, told.link) != ("connected", "running", "connected"):
            yield f"{session}: it is {told.status}, {told.lifecycle}, {told.link}"
        if row != told.status:
            yield f"{session}: the row says {row}, the API {told.status}"
        for what, pid, seen in (
            ("worker", told.worker, facts.census.workers.get(session, ())),
            ("browser", told.browser, facts.census.browsers.get(session, ())),
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
    for session in sorted(harm.hurt | facts.aside):
        known = facts.incidents.get(session, ())
        fitting = [one for one in known if one.began >= harm.began - CLOCK]
        if not fitting:
            yield f"{session}: no incident tells of it"
        elif any(one.ended is None for one in fitting):
            yield f"{session}: its incident goes on"


def _list(pids: object) -> str:
    return ", ".join(map(str, sorted(pids))) if isinstance(pids, frozenset | set | tuple) else ""
