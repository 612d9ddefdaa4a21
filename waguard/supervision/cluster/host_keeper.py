"""This host's lease, kept alive: performs what ``core/cluster/host_lease.py`` decides."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Final, assert_never

from loguru import logger

from waguard.core.cluster import host_lease
from waguard.core.cluster.host_lease import LeaseState, LeaseStep, LeaseTerms, LeaseView
from waguard.core.cluster.lease_facts import (
    CloseAll,
    DeclareDead,
    Exit,
    KillAll,
    LeaseEffect,
    LeaseFact,
    Lend,
    NoAnswer,
    OwnRead,
    PeersSeen,
    ReadOwn,
    Refused,
    Renew,
    Renewed,
    Sweep,
    Swept,
    TimerDue,
)
from waguard.core.cluster.records import Found
from waguard.core.replace import replace
from waguard.core.session.facts import Moment
from waguard.errors import EngineUnavailableError
from waguard.host.clock import since_boot
from waguard.ports.cluster import HostLeases, SeenHost
from waguard.supervision.cluster.engine_calls import EngineCalls
from waguard.supervision.cluster.host_duties import HostDuties, HostReports, sweep
from waguard.supervision.cluster.peer_watch import PeerWatch

CALL_SHARE: Final = 0.75  # of the renewal interval: an answer that is later is unknown
SHORTEST_NAP: Final = 0.001  # s; two clocks round differently
LONGEST_NAP: Final = 1.0  # s; the loop's clock stops in a suspend, the boot clock does not
NUMBER_BITS: Final = 62


class HostKeeper:
    """``changed`` is called after each fact. ``clock`` is CLOCK_BOOTTIME, in seconds."""

    def __init__(
        self,
        host: str,
        terms: LeaseTerms,
        duties: HostDuties,
        reports: HostReports,
        *,
        changed: Callable[[], None],
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._host = host
        self.terms = terms
        self._duties = duties
        self.settings = duties.settings
        """What of this host's configuration all hosts have to have alike, as digests."""
        self._reports = reports
        self._changed = changed
        self._clock = clock
        self.within = CALL_SHARE * terms.renewed_every
        """Seconds after which the answer of a call is unknown."""
        self._calls = EngineCalls()
        self._leases: HostLeases | None = None
        self._state: LeaseState | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ended = False
        self.is_list_read = False
        """Whether all hosts were seen since ``begin``, the others too."""
        self._moved = asyncio.Event()

    def begin(self, leases: HostLeases, *, adopts: str | None) -> None:
        """Begin to hold it, after ``end`` in another cluster. ``adopts``: the incarnation that the daemon before has left
        here; None: everything of before is swept first."""
        self._leases, self._ended, self.is_list_read = leases, False, False
        number = random.SystemRandom().getrandbits(NUMBER_BITS)
        now = moment(self._clock())
        self._follow(
            host_lease.begin(self._host, self.terms, number=number, adopts=adopts, now=now)
        )
        watch = PeerWatch(
            leases,
            self._calls,
            lambda found: self._post(PeersSeen(tuple(found))),
            renewed_every=self.terms.renewed_every,
            chance=random.random,
        )
        self._watching = asyncio.create_task(watch.run(), name="hosts")

    async def renew_last(self) -> None:
        """Renew it once more where it is held, and wait for that as long as for any renewal: the next daemon here has all of
        the time that this one can leave it."""
        began = self._clock()
        if self._state is None or not self.is_held:
            return
        self._state = host_lease.at_once(self._state)
        self._post(TimerDue())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.within):
                while not self._state.unanswered and (self._state.confirmed or 0.0) < began:
                    await self._moved.wait()

    async def end(self, *, gives_up: bool) -> None:
        """Renew it no more. ``gives_up``: nothing runs here any more, so nobody has to wait until it is over; else the
        next daemon here goes on with it."""
        self._ended = True
        if self._timer:
            self._timer.cancel()
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._calls.end()
        if gives_up:
            await self._end_incarnation()
        if self._leases:
            await self._leases.close()

    # ---- what others read ----

    @property
    def lent_until(self) -> float:
        """Until when workers may live, by CLOCK_BOOTTIME; without a lease that is over: 0."""
        until = host_lease.lent_until(self._state) if self._state else None
        return 0.0 if until is None else until

    @property
    def view(self) -> LeaseView:
        """The leases as they are known now."""
        if self._state is None:
            return LeaseView(
                host=self._host, incarnation=None, held_since=None, newer_format=False, peers={}
            )
        return host_lease.view(self._state, moment(self._clock()))

    @property
    def is_held(self) -> bool:
        """Whether sessions may run and be claimed here."""
        return self.view.held_since is not None

    def seen(self) -> list[SeenHost]:
        """All hosts that have a lease, by name, with how long ago theirs was renewed."""
        state, now = self._state, self._clock()
        if state is None:
            return []
        known = [(it.found.record, it.since) for it in state.peers.values()]
        if state.incarnation is not None and state.confirmed is not None:
            own = self._duties.record(state.incarnation, state.number)
            known.append((own, state.confirmed))
        return [
            SeenHost(
                record=it,
                renewed_ago=now - since,
                lease_left=host_lease.left(it, self.terms, now - since),
            )
            for it, since in sorted(known, key=lambda one: one[0].host)
        ]

    @property
    def leases(self) -> HostLeases:
        """The engine. Raises ``EngineUnavailableError`` before ``begin``."""
        if self._leases is None:
            raise EngineUnavailableError("the engine is not used yet", retry_after=5)
        return self._leases

    async def held(self) -> None:
        """Wait until it is held."""
        while not self.is_held:
            await self._moved.wait()

    # ---- facts and effects ----

    def _post(self, fact: LeaseFact) -> None:
        self.is_list_read |= isinstance(fact, PeersSeen)
        if self._state and not self._ended:
            self._follow(host_lease.advance(self._state, fact, moment(self._clock())))

    def _follow(self, step: LeaseStep) -> None:
        self._state = step.state
        self._wake_up()
        for effect in step.effects:
            try:
                self._perform(effect)
            except Exception as error:  # noqa: BLE001 - without the next one nothing may ever run here again
                logger.opt(exception=error).critical(
                    "a bug in waguard", event="bug", call=type(effect).__name__
                )
        self._changed()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        self._reports.changed(self.view)

    def _wake_up(self) -> None:
        if self._timer:
            self._timer.cancel()
        due = host_lease.due_at(self._state) if self._state else None
        left = LONGEST_NAP if due is None else due - self._clock()
        nap = min(max(SHORTEST_NAP, left), LONGEST_NAP)
        self._timer = asyncio.get_running_loop().call_later(nap, self._woken)

    def _woken(self) -> None:
        due = host_lease.due_at(self._state) if self._state else None
        if due is not None and self._clock() >= due:
            self._post(TimerDue())
        elif not self._ended:
            self._wake_up()

    def _perform(self, effect: LeaseEffect) -> None:
        match effect:
            case Renew():
                self._calls.begin(self._renew(effect), "renew")
            case ReadOwn(call=call):
                self._calls.begin(self._read_own(call), "read own")
            case Lend(until=until):
                self._duties.lend(until)
            case CloseAll():
                self._duties.close_all()
            case KillAll():
                self._duties.kill_all()
            case Sweep():
                self._calls.begin(
                    sweep(self._duties, lambda name: self._post(Swept(name))), "sweep"
                )
            case DeclareDead(found=found):
                self._reports.declared_dead(found)
                self._calls.begin(self._declare_dead(found), "declare dead")
            case Exit(why=why):
                self._duties.exit(why)
            case _:
                assert_never(effect)

    async def _renew(self, it: Renew) -> None:
        async def put() -> int | None:
            record = self._duties.record(it.incarnation, it.number)
            return await self.leases.put(record, it.revision)

        try:
            revision = await self._calls.answer(put(), "put", within=self.within)
        except EngineUnavailableError as error:
            self._unanswered(it.number, error)
            return
        self._reports.answered(None)
        if revision is None:
            self._post(Refused(it.incarnation, it.number))
        else:
            self._post(Renewed(it.incarnation, it.number, revision))

    async def _read_own(self, call: int) -> None:
        read = self.leases.read(self._host)
        try:
            found = await self._calls.answer(read, "read", within=self.within)
        except EngineUnavailableError as error:
            self._unanswered(call, error)
        else:
            self._reports.answered(None)
            self._post(OwnRead(call, found))

    def _unanswered(self, call: int, error: EngineUnavailableError) -> None:
        self._reports.answered(error.message)
        self._post(NoAnswer(call))

    async def _declare_dead(self, found: Found) -> None:
        dead = replace(found.record, alive=False)
        try:
            await self._calls.answer(
                self.leases.put(dead, found.revision), "put", within=self.within
            )
        except EngineUnavailableError as error:
            logger.debug("a host is not declared dead", host=dead.host, why=error.message)

    async def _end_incarnation(self) -> None:
        """Where nobody hears of it, the others wait until it is over."""
        state = self._state
        if state is None or state.incarnation is None or not self.is_held:
            return
        record = self._duties.record(state.incarnation, state.number)
        dead = replace(record, alive=False, drain=True, owned=0, room=0)
        try:
            # the answer to the last renewal may not have been heard
            read = self.leases.read(self._host)
            found = await self._calls.answer(read, "read", within=self.within)
            if found and found.record.incarnation == state.incarnation:
                put = self.leases.put(dead, found.revision)
                await self._calls.answer(put, "put", within=self.within)
        except EngineUnavailableError as error:
            logger.warning(
                "the host's lease is not released", event="host_not_released", why=error.message
            )


def moment(at: float) -> Moment:
    """A decision's time and chance."""
    return Moment(at, random.random(), time.time())  # noqa: S311 - no secret
