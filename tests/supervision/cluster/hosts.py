"""Hosts with real keepers on doubles: an engine, owners' rows, and sessions that only have a time until they end."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tests.supervision.cluster.engine import Engine, EngineLine
from waguard.core.cluster.host_lease import LeaseTerms, LeaseView
from waguard.core.cluster.records import FORMAT, Found, HostRecord, Owner
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.supervision.cluster.host_keeper import HostKeeper
from waguard.supervision.cluster.hosts_here import HostsHere
from waguard.supervision.cluster.owner_keeper import OwnerKeeper
from waguard.supervision.cluster.ownership import HostOwnership

TERMS: Final = LeaseTerms(10.0)
CLOSES_IN: Final = 0.5  # s that an end in order takes
SAMPLED_EVERY: Final = 0.05  # s
_LIVES: Final = count(1)


def now() -> float:
    """The clock of all hosts, in virtual seconds."""
    return asyncio.get_running_loop().time()


@dataclass
class Rows:
    """``ports.cluster.Owners`` in memory; set ``down`` and every call raises."""

    rows: dict[str, Owner] = field(default_factory=dict)
    down: bool = False
    sessions: set[str] = field(default_factory=set)
    """Those that the application has; one may be without an owner's row."""
    undelivered: set[str] = field(default_factory=set)
    """Those with webhooks that wait."""
    held: set[str] = field(default_factory=set)
    """Those whose rows somebody holds: who claims one waits."""
    together: list[int] = field(default_factory=list)
    """How many each ``claim_free`` was asked for."""

    async def owners(self) -> Sequence[Owner]:
        await self._connect()
        nobody = (Owner(session=it, host=None, incarnation=None, epoch=0) for it in self.sessions)
        found = [self.rows.get(it.session, it) for it in sorted(nobody, key=lambda it: it.session)]
        deleted = self.rows.keys() - self.sessions
        return [*found, *(replace(self.rows[it], deleted=True) for it in sorted(deleted))]

    async def claim(self, seen: Owner, host: str, incarnation: str) -> int | None:
        await self._connect()
        return self._claim(seen, host, incarnation)

    async def claim_free(
        self, seen: Collection[Owner], host: str, incarnation: str
    ) -> Mapping[str, int]:
        await self._connect()
        self.together.append(len(seen))
        free = [it for it in seen if it.session in self.rows and it.session not in self.held]
        epochs = {it.session: self._claim(it, host, incarnation) for it in free}
        return {session: epoch for session, epoch in epochs.items() if epoch is not None}

    def _claim(self, seen: Owner, host: str, incarnation: str) -> int | None:
        found = self.rows.get(seen.session)
        if (found.epoch if found else 0) != seen.epoch:
            return None
        row = replace(seen, host=host, incarnation=incarnation, epoch=seen.epoch + 1, to_host=None)
        self.rows[seen.session] = row
        return row.epoch

    async def release(self, session: str, epoch: int, *, to_host: str | None) -> bool:
        await self._connect()
        found = self.rows.get(session)
        if found is None or found.epoch != epoch:
            return False
        self.rows[session] = replace(found, host=None, incarnation=None, to_host=to_host)
        return True

    async def drop(self, sessions: Collection[str]) -> None:
        await self._connect()
        for session in set(sessions) - self.sessions - self.undelivered:
            self.rows.pop(session, None)

    async def _connect(self) -> None:
        await asyncio.sleep(0.005)
        if self.down:
            raise DatabaseUnavailableError("the database does not answer")


@dataclass
class Log:
    """``host_duties.HostReports`` and ``owner_keeper.OwnerReports``."""

    claims: list[tuple[str, int]] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    unanswered: int = 0
    shown: set[str] = field(default_factory=set)

    def answered(self, why_not: str | None) -> None:
        self.unanswered = self.unanswered + 1 if why_not else 0

    def changed(self, view: LeaseView) -> None:
        del view

    def declared_dead(self, found: Found) -> None:
        self.dead.append(found.record.host)

    def conditions(self, found: Mapping[str, str | None]) -> None:
        self.shown = {kind for kind, why in found.items() if why}

    def claimed(self, seen: Owner, epoch: int) -> None:
        self.claims.append((seen.session, epoch))


class Host:
    """One daemon after the other; what runs outlives them, until its time is over."""

    def __init__(self, name: str, engine: Engine, rows: Rows, *, capacity: int = 100) -> None:
        self.name = name
        self.line = EngineLine(engine)
        self.rows = rows
        self.capacity = capacity
        self.closes_in = CLOSES_IN
        self.running: dict[str, float] = {}
        """Until when each session's worker lives."""
        self.kept: str | None = None
        """The file with the incarnation."""
        self.happened: list[str] = []
        self.exits: list[str] = []
        self.refuses: set[str] = set()
        """Sessions that cannot be released."""
        self.not_admitted_here: set[str] = set()
        self.drained = False
        """The file that says so."""
        self.configured: dict[str, str] = {}
        """Digests of its settings."""
        self.failures = 0
        """So often bringing sessions up fails."""
        self.boot()

    def boot(self) -> None:
        """A new daemon, which has not begun."""
        self.log = Log()
        self.keeper = HostKeeper(
            self.name,
            TERMS,
            self,
            self.log,
            changed=lambda: self.owners.lease_changed(),  # noqa: PLW0108 - it is made below
            clock=now,
        )
        self.owners = OwnerKeeper(
            self.keeper, self.rows, self, self, self.log, drained=self.drained, clock=now
        )
        self.ownership = HostOwnership(self.keeper, self.owners, self.rows)
        self.people = HostsHere(self.keeper, self.owners, keep_drain=self.keep_drain, clock=now)

    async def start(self) -> None:
        """Begin, as the daemon does."""
        self.keeper.begin(self.line, adopts=self.kept)
        await self.keeper.held()
        self.owners.begin(list(self.alive))
        await self.owners.first()
        self.owners.pop_waiting()
        for session in self.owners.load:
            self.running.setdefault(session, self.keeper.lent_until)
        self.owners.open()

    async def keep_drain(self, drained: bool) -> None:  # noqa: FBT001 - as it is called
        self.drained = drained

    async def stop(self, *, hands_over: bool = False) -> None:
        """End the daemon in order."""
        if not hands_over:
            await self.owners.end(releases=True)
            self.running.clear()
        await self.owners.end(releases=False)
        if hands_over:
            await self.keeper.renew_last()
        await self.keeper.end(gives_up=not hands_over)

    async def crash(self) -> None:
        """The daemon is gone from one moment to the next; what it ran lives until its time is over."""
        self.line.cut = True
        await self.owners.end(releases=False)
        await self.keeper.end(gives_up=False)
        self.line = EngineLine(self.line.engine)
        self.boot()

    @property
    def alive(self) -> set[str]:
        """Sessions whose workers live."""
        return {session for session, until in self.running.items() if until > now()}

    # ---- host_duties.HostDuties ----

    def record(self, incarnation: str, number: int) -> HostRecord:
        owned = self.owners.load
        return HostRecord(
            format=FORMAT,
            host=self.name,
            incarnation=incarnation,
            number=number,
            alive=True,
            address=f"http://{self.name}",
            version="1",
            room=self.room(owned),
            owned=len(owned),
            drain=self.owners.drained,
            settings=self.configured,
        )

    def settings(self) -> Mapping[str, str]:
        return self.configured

    def lend(self, until: float) -> None:
        for session in self.alive:
            if not self.owners.is_closing(session):
                self.running[session] = until

    def close_all(self) -> None:
        self.happened.append("close all")
        self.owners.close_all()

    def kill_all(self) -> None:
        self.happened.append("kill all")
        self.running.clear()

    async def sweep(self) -> str:
        self.happened.append("sweep")
        await asyncio.sleep(0.1)
        self.running.clear()
        self.kept = f"{self.name}-{next(_LIVES)}"
        return self.kept

    def exit(self, why: str) -> None:
        self.exits.append(why)

    # ---- ports.cluster.OwnedSessions ----

    async def acquire(self, sessions: Collection[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailableError("the database does not answer")
        for session in sessions:
            if session in self.ownership.owned():
                if session in self.rows.sessions:
                    self.running.setdefault(session, self.keeper.lent_until)
                self.happened.append(f"acquired {session}")

    async def release(self, session: str) -> None:
        if session in self.refuses:
            raise UnavailableError("its credentials are not shared", retry_after=3.0)
        await asyncio.sleep(self.closes_in)
        self.running.pop(session, None)
        self.happened.append(f"released {session}")

    async def lose(self, sessions: Collection[str]) -> None:
        for session in sessions:
            self.running.pop(session, None)
            self.happened.append(f"lost {session}")

    # ---- session_use.SessionUse ----

    def room(self, owned: Collection[str]) -> int:
        return max(0, self.capacity - len(owned))

    def idle(self) -> frozenset[str]:
        return frozenset(self.alive)

    def not_admitted(self) -> Collection[str]:
        return self.not_admitted_here

    def knows(self, session: str) -> bool:
        return session in self.running


class Cluster:
    """Some hosts, and a referee that knows nothing of leases."""

    def __init__(self, *names: str, sessions: int, capacity: int = 100) -> None:
        self.engine, self.rows = Engine(), Rows()
        self.rows.sessions = {f"s{number}" for number in range(sessions)}
        self.hosts = [Host(name, self.engine, self.rows, capacity=capacity) for name in names]
        self.overlaps: list[str] = []

    async def watch(self) -> None:
        """Note each session that runs twice, until cancelled."""
        while True:
            for session in self.rows.sessions:
                on = [host.name for host in self.hosts if session in host.alive]
                if len(on) > 1:
                    self.overlaps.append(f"{now():.2f} s: {session} on {on}")
            await asyncio.sleep(SAMPLED_EVERY)

    def owner_of(self, session: str) -> str | None:
        """By the database."""
        row = self.rows.rows.get(session)
        return row.host if row else None

    @property
    def run(self) -> bool:
        """Whether each session runs, on its owner."""
        by_name = {host.name: host for host in self.hosts}
        owners = {session: self.owner_of(session) for session in self.rows.sessions}
        return all(host and it in by_name[host].alive for it, host in owners.items())

    def moved_from(self, host: str) -> bool:
        """Whether all run, and none of them there."""
        return self.run and host not in map(self.owner_of, self.rows.sessions)

    async def until(self, condition: Callable[[], bool], *, within: float) -> float:
        """Wait for it; the virtual seconds that it took."""
        began = now()
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(SAMPLED_EVERY)
        return now() - began
