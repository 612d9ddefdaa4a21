"""Several hosts: sessions that come to this one, leave it in order, or are lost, while it runs."""

import asyncio
import contextlib
import datetime as dt
import shutil
from collections.abc import AsyncIterator, Collection
from random import Random

import pytest

from tests.supervision.bench import CONNECTED, PHONE, QR_SHOWN, TEXT, Bench
from tests.supervision.fake_ownership import FakeOwnership
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import connected, parked, until, written
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core.blame import Failure
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.proxy import Recorded
from waguard.core.row_status import MOVES, ParkCause
from waguard.core.session import views
from waguard.core.session.facts import ParkRequested
from waguard.core.session.restart import Remembered
from waguard.errors import (
    DatabaseUnavailableError,
    NotFoundError,
    NotOwnedError,
    NumberLinkedError,
    SessionIdTakenError,
    UnavailableError,
)
from waguard.ports.cluster import OwnedSessions
from waguard.ports.outcomes import NotSent, Uncertain
from waguard.ports.sessions import REMOVED
from waguard.profile import layout, leaving_mark, quarantine
from waguard.profile.layout import Places
from waguard.profile.leaving_mark import Leaving
from waguard.profile.lock import ProfileLock
from waguard.supervision.fleet import leaving
from waguard.supervision.session.actor import SessionActor
from waguard.wire.calls import Call, Failed, PairingCode, Sent, Unlink, Value
from waguard.wire.worker import WorkerRecord, WorkerSpec

OTHER = "http://b:3001"


class Shared:
    """What supervision asks of ``CredentialShipping``; ``why`` something cannot be handed over."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.why: str | None = None
        self.gate: asyncio.Event | None = None

    async def load(
        self, paired: Collection[str] = (), sessions: Collection[str] | None = None
    ) -> None:
        self.calls += [f"load {name}" for name in sorted(sessions or ())]

    def has(self, session: str) -> bool:
        return f"load {session}" in self.calls

    async def prepare(self, at: Places, *, unpaired: bool) -> Failure | None:
        if self.gate:
            self.calls.append(f"prepare {at.session}")
            await self.gate.wait()
        at.profile.mkdir(parents=True, exist_ok=True)
        return None

    def began(self, at: Places) -> None:
        self.calls.append(f"began {at.session}")

    def changed(self, session: str) -> None:
        pass

    def ended(self, session: str) -> None:
        self.calls.append(f"ended {session}")

    def stop(self, session: str) -> None:
        self.calls.append(f"stop {session}")

    async def hand_over(self, at: Places) -> str | None:
        self.calls.append(f"hand over {at.session}")
        return self.why

    async def forget(self, session: str) -> None:
        self.calls.append(f"forget {session}")

    async def clear(self, at: Places) -> None:
        self.calls.append(f"clear {at.session}")

    async def close(self, within: float) -> None:
        pass


@pytest.fixture
def ownership(world: World) -> FakeOwnership:
    return world.in_cluster()


@pytest.fixture
def shared(world: World) -> Shared:
    made = world.shipping = Shared()
    return made


@pytest.fixture
async def host(ownership: FakeOwnership, bench: Bench, world: World) -> AsyncIterator[Bench]:
    """One that owns nothing so far."""
    world.spawn.script = Script(reports=(CONNECTED,))
    assert await bench.restore() == "no session to restore"
    yield bench
    await bench.it.reconciler.correct()
    assert await bench.it.reconciler.correct() == [], "memory, rows and host agree"


def owned(bench: Bench) -> OwnedSessions:
    assert bench.it.owned
    return bench.it.owned


async def acquired(bench: Bench, name: str = "s") -> FakeProcess:
    """A session that has come from another host, and is up."""
    ownership = bench.world.ownership
    assert ownership
    if name not in bench.world.store.accounts:
        await bench.row(name)
    ownership.claim(name)
    await owned(bench).acquire([name])
    await until(bench.session(name), connected)
    return bench.process(name)


# ---- acquire ----


async def test_an_acquired_session_is_brought_up_as_at_a_start(
    ownership: FakeOwnership, shared: Shared, host: Bench, world: World
) -> None:
    world.remembered = {"s": Remembered(counted=(world.clock.wall(),), restarts=7, tries=3)}
    world.profile("here before")  # and so the folder is not empty
    await host.row("s", profile=False)
    await host.row("down", up=False)
    await host.row("of another host")
    for name in ("s", "down"):
        ownership.claim(name)
    await owned(host).acquire(["s", "down", "unknown"])
    await until(host.session(), connected)
    assert "load s" in shared.calls
    assert host.session().state.restarts == 0, "what was counted here was long ago"
    assert host.session("down").lifecycle is State.STOPPED
    await host.until_written("down")
    assert world.row_status("down")[0] == "disconnected", "nobody runs it"
    assert [p.spec.session for p in world.spawn.started] == ["s"]
    health = host.it.health.read()
    assert (health.total, health.connected) == (2, 1), "others are not missing"


async def test_an_acquired_session_without_a_profile_waits_for_a_person(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    """Nothing was shipped of it, and it was paired elsewhere."""
    world.profile("another")
    await host.row("s", profile=False)
    ownership.claim("s")
    await owned(host).acquire(["s"])
    await until(host.session(), parked)
    assert world.spawn.started == []


async def test_acquiring_is_repeated_when_the_database_answers(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    await host.row("s")
    ownership.claim("s")
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await owned(host).acquire(["s"])
    assert "s" not in host.it.registry
    with pytest.raises(UnavailableError):
        await host.it.sessions.view("s")
    world.store.down = False
    await owned(host).acquire(["s"])
    await owned(host).acquire(["s"])
    await until(host.session(), connected)
    assert len(world.spawn.started) == 1


async def test_nothing_is_acquired_before_the_restore_has_read_its_rows_nor_at_the_end(
    ownership: FakeOwnership, bench: Bench
) -> None:
    await bench.row("s")
    ownership.claim("s")
    with pytest.raises(UnavailableError):
        await owned(bench).acquire(["s"])
    assert await bench.restore() == "restored 1"
    bench.it.state.begin_stop()
    with pytest.raises(UnavailableError):
        await owned(bench).acquire(["s"])


async def test_one_that_is_lost_while_its_row_is_read_is_not_begun(
    ownership: FakeOwnership, host: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.row("s")
    ownership.claim("s")
    sessions = world.store.sessions

    async def slowly() -> object:
        rows = await sessions()
        await owned(host).lose(["s"])
        return rows

    monkeypatch.setattr(world.store, "sessions", slowly)
    await owned(host).acquire(["s"])
    assert "s" not in host.it.registry
    ownership.leave("s")
    assert world.spawn.started == []


async def test_a_removal_that_is_cut_off_is_finished_when_acquiring_is_repeated(
    ownership: FakeOwnership, host: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one of the batch was lost: the others are acquired again."""
    await host.row("s")
    await world.store.leave("s", removed=True)
    ownership.claim("s")
    began = asyncio.Event()

    async def cut_off(session: object) -> None:
        began.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(leaving, "finish", cut_off)
        acquiring = asyncio.create_task(owned(host).acquire(["s"]))
        await began.wait()
        acquiring.cancel()
        await asyncio.wait([acquiring])
    profile = host.session().profile.at.profile
    assert profile.exists()
    await owned(host).acquire(["s"])
    assert not profile.exists(), "its pairing never comes back"
    assert set(world.abandoned) == {("s", REMOVED)}
    await host.until_written("s")


# ---- release ----


@pytest.mark.timings(stop_grace=DEADLINE)  # however slow the machine is
async def test_a_released_session_ends_in_order_and_is_forgotten(
    ownership: FakeOwnership, shared: Shared, host: Bench, world: World
) -> None:
    process = await acquired(host)
    slot = host.session().runner.slot.number
    profile = host.session().profile.at.profile
    await owned(host).release("s")
    assert process.signals == ["TERM"]
    assert shared.calls[-3:] == ["ended s", "hand over s", "forget s"]
    assert world.row_status("s") == ("disconnected", "instance_restart")
    assert world.store.accounts["s"].disconnect_details == MOVES
    assert "s" not in host.it.registry
    assert profile.exists()
    assert slot not in host.it.registry._ctx.heartbeats._taken
    # the owner's row is written a moment later
    await host.it.reconciler.correct()
    assert "s" not in host.it.registry, "it is not taken back"
    for call in (host.it.sessions.view("s"), host.create("s")):
        with pytest.raises(NotOwnedError):
            await call
    ownership.leave("s", OTHER)
    await owned(host).release("s")
    assert len(world.spawn.started) == 1


async def test_one_whose_credentials_cannot_be_shared_goes_on_here(
    shared: Shared, host: Bench, world: World
) -> None:
    await acquired(host)
    shared.why = "the database is away"
    with pytest.raises(UnavailableError, match="the database is away"):
        await owned(host).release("s")
    await until(host.session(), connected)
    assert host.session().state.restarts == 0
    assert len(world.spawn.alive) == 1
    shared.why = None
    await owned(host).release("s")
    assert world.spawn.alive == []


async def cannot_leave(bench: Bench, shared: Shared) -> None:
    """Its host is drained: it is tried again and again."""
    shared.why = "the database is away"
    for _ in range(2):
        bench.world.clock.advance(60)
        with pytest.raises(UnavailableError, match="the database is away"):
            await owned(bench).release("s")
    shared.why = None


@pytest.mark.parametrize("cause", [it for it in ParkCause if it is not ParkCause.RESTART_BUDGET])
async def test_one_that_waits_for_a_person_and_cannot_leave_waits_on(
    shared: Shared, host: Bench, world: World, cause: ParkCause
) -> None:
    await acquired(host)
    session = host.session()
    session.post(ParkRequested(cause=cause, details="found"))
    if cause is ParkCause.PROFILE_MISSING:
        shutil.rmtree(session.profile.at.profile)
    await until(session, parked)
    await written(session)
    before, shown = world.row_status("s"), views.conditions(session.state)
    published = len(world.events("session_disconnected"))
    await cannot_leave(host, shared)
    await written(session)
    assert parked(session)
    assert views.conditions(session.state) == shown
    assert world.row_status("s") == before
    assert len(world.events("session_disconnected")) == published
    assert len(world.audited("parked")) == 1
    assert len(world.spawn.started) == 1


async def test_one_that_has_spent_its_restarts_and_cannot_leave_is_tried_once_in_its_time(
    shared: Shared, host: Bench, world: World
) -> None:
    world.change("restart", intensity=1, base_delay=0.0, max_delay=0.0)
    await acquired(host)
    world.spawn.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    host.process().exit(EXIT_BROWSER_NOT_STARTED)
    session = host.session()
    await until(session, lambda it: it.lifecycle is State.PARKED)
    await written(session)
    before, shown, started = session.state, world.row_status("s"), len(world.spawn.started)
    assert before.retries.at is not None
    await cannot_leave(host, shared)
    await written(session)
    assert len(world.spawn.started) == started
    assert world.row_status("s") == shown
    assert views.conditions(session.state) == views.conditions(before)
    world.clock.advance(before.retries.at - world.clock.monotonic())
    await host.it.watchdog.watch()
    await until(session, lambda it: it.state.retries.tries == 1 and it.lifecycle is State.PARKED)
    assert len(world.spawn.started) == started + 1


async def test_one_whose_credentials_cannot_be_shared_is_not_started_again_at_a_stop(
    ownership: FakeOwnership, shared: Shared, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.restore()
    await acquired(bench)
    shared.why = "the database is away"
    bench.it.begin_stop()
    with pytest.raises(UnavailableError, match="the database is away"):
        await owned(bench).release("s")
    await bench.it.stop()
    assert (len(world.spawn.started), world.spawn.alive) == (1, [])


async def test_what_is_asked_of_a_session_that_moves_is_refused(
    shared: Shared, host: Bench, world: World
) -> None:
    process = await acquired(host)
    process.script.obeys = False
    releasing = asyncio.create_task(owned(host).release("s"))
    await wait_until(lambda: "TERM" in process.signals, "it is asked to end")
    for call in (
        host.it.sessions.start("s", restart=False),
        host.it.sessions.stop("s"),
        host.it.sessions.logout("s"),
        host.create("s"),
        host.it.sessions.delete("s", purge=True),
    ):
        with pytest.raises(UnavailableError, match=MOVES):
            await call
    sending = asyncio.create_task(host.it.sessions.send("s", TEXT, wait=DEADLINE))
    await asyncio.sleep(0)
    process.exit(0)
    await releasing
    outcome = await sending
    assert isinstance(outcome, NotSent)
    assert isinstance(outcome.error, NotOwnedError), "at once, not at the end of its wait"


async def test_one_that_is_released_for_nothing_is_acquired_again(
    shared: Shared, host: Bench, world: World
) -> None:
    """The owner's row could not be written: it is still this host's."""
    await acquired(host)
    await owned(host).release("s")
    await owned(host).acquire(["s"])
    await until(host.session(), connected)
    assert len(world.spawn.alive) == 1


async def test_one_that_is_lost_while_it_is_released_is_not_handed_over(
    ownership: FakeOwnership, shared: Shared, host: Bench
) -> None:
    process = await acquired(host)
    process.script.obeys = False
    releasing = asyncio.create_task(owned(host).release("s"))
    await wait_until(lambda: "TERM" in process.signals, "it is asked to end")
    ownership.leave("s", OTHER)
    await owned(host).lose(["s"])
    await releasing
    assert process.signals[:2] == ["TERM", "KILL"]
    assert "hand over s" not in shared.calls
    assert shared.calls[-1] == "forget s"


# ---- lose ----


async def test_a_lost_session_is_killed_at_once_and_nothing_of_it_is_written(
    ownership: FakeOwnership, shared: Shared, host: Bench, world: World
) -> None:
    process = await acquired(host)
    await host.until_written()
    profile, slot = host.session().profile.at.profile, host.session().runner.slot.number
    before, entries = world.row_status("s"), len(world.store.entries)
    published = world.names("session_disconnected")
    host.session().publisher.writer.record("page_version", reason="what was seen before")
    ownership.leave("s", OTHER)
    losing = asyncio.create_task(owned(host).lose(["s"]))
    await asyncio.sleep(0)
    assert process.signals == ["KILL"], "before anything is awaited"
    await losing
    assert world.row_status("s") == before == ("connected", None)
    assert [it.kind for it in world.store.entries[entries:]] == ["page_version"]
    assert profile.exists()
    assert not profile.with_name("quarantine").exists()
    assert slot not in host.it.registry._ctx.heartbeats._taken
    assert "s" not in host.it.mailbox.actors
    assert "s" not in host.it.mailbox.fleet.members
    assert "s" not in host.it.mailbox._armed
    assert {process.pid, process.pid + 1} <= set(world.spawn.cleared), "and what it left"
    assert shared.calls[-1] == "forget s"
    assert host.it.health.read().total == 0
    world.bus.publish("change", None, None, {})
    await wait_until(lambda: world.names("change"), "all that was published is heard")
    assert world.names("session_disconnected") == published, "the next owner says what it does"
    await owned(host).lose(["s"])


async def test_a_lost_session_that_is_claimed_again_spends_no_restart(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    await acquired(host)
    for _ in range(10):
        ownership.leave("s")
        await owned(host).lose(["s"])
        await acquired(host)
    assert host.session().state.restarts == 0
    assert len(world.spawn.alive) == 1


async def comes_back(ownership: FakeOwnership, host: Bench) -> SessionActor:
    """It was lost, and is claimed again."""
    ownership.leave("s")
    await owned(host).lose(["s"])
    host.world.clock.advance(60)
    ownership.claim("s")
    await owned(host).acquire(["s"])
    return host.session()


async def waits(host: Bench) -> SessionActor:
    await acquired(host)
    session = host.session()
    session.post(ParkRequested(cause=ParkCause.CONFLICT, details="found"))
    await until(session, parked)
    await written(session)
    return session


async def test_one_that_is_lost_while_it_waits_for_a_person_and_comes_back_waits_on(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    before, row = await waits(host), world.row_status("s")
    (shown,), published = views.conditions(before.state), world.names("session_disconnected")
    for _ in range(2):
        session = await comes_back(ownership, host)
        assert views.parked_for(session.state) is ParkCause.CONFLICT
        (again,) = views.conditions(session.state)
        assert (again.reason, again.message) == (shown.reason, shown.message)
        assert abs(again.since - shown.since) <= 1
    await written(session)
    assert len(world.spawn.started) == 1
    assert world.row_status("s") == row
    assert world.names("session_disconnected") == published


async def test_one_that_connected_on_another_host_meanwhile_does_not_wait(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    await waits(host)
    at = dt.datetime.fromtimestamp(world.clock.wall() + 30, dt.UTC)
    world.store.accounts["s"].last_connected_at = at
    await until(await comes_back(ownership, host), connected)


async def test_all_are_killed_before_the_first_is_waited_for(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    names = [f"s{number}" for number in range(5)]
    processes = [await acquired(host, name) for name in names]
    ownership.epochs.clear()
    losing = asyncio.create_task(owned(host).lose(names))
    await asyncio.sleep(0)
    assert all(process.signals == ["KILL"] for process in processes)
    await losing


async def test_a_start_under_way_leaves_no_worker(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    world.spawn.script = Script(held=asyncio.Event())
    await host.row("s")
    ownership.claim("s")
    await owned(host).acquire(["s"])
    await wait_until(lambda: world.spawn.starting == 1, "its process is being started")
    ownership.leave("s")
    losing = asyncio.create_task(owned(host).lose(["s"]))
    await asyncio.sleep(0)
    assert not losing.done()
    assert world.spawn.script.held
    world.spawn.script.held.set()
    await losing
    assert world.spawn.alive == []
    assert not host.it.registry._ctx.heartbeats._taken


async def test_one_whose_credentials_are_being_laid_down_is_not_started_and_the_next_time_waits(
    ownership: FakeOwnership, shared: Shared, host: Bench, world: World
) -> None:
    shared.gate = asyncio.Event()
    await host.row("s")
    ownership.claim("s")
    await owned(host).acquire(["s"])
    await wait_until(lambda: "prepare s" in shared.calls, "its profile is being changed")
    ownership.leave("s")
    losing = asyncio.create_task(owned(host).lose(["s"]))
    await asyncio.sleep(0)
    ownership.claim("s")
    again = asyncio.create_task(owned(host).acquire(["s"]))
    await asyncio.sleep(0)
    assert "s" not in host.it.registry, "nobody else changes it meanwhile"
    shared.gate.set()
    await asyncio.gather(losing, again)
    await until(host.session(), connected)
    assert len(world.spawn.started) == 1, "the first one was not"


async def test_a_send_under_way_is_uncertain_and_who_waits_is_sent_away(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    async def never(call: Call) -> Sent | Value | Failed | None:
        return None

    world.spawn.scripts["s"] = Script(reports=(CONNECTED,), answer=never)
    process = await acquired(host)
    sending = asyncio.create_task(host.it.sessions.send("s", TEXT, wait=DEADLINE))
    await wait_until(lambda: TEXT.message_id in map(_id, process.calls), "the worker has it")
    ownership.leave("s", OTHER)
    await owned(host).lose(["s"])
    assert isinstance(await sending, Uncertain)
    refused = await host.it.sessions.send("s", TEXT, wait=DEADLINE)
    assert isinstance(refused, NotSent)
    assert isinstance(refused.error, NotOwnedError)
    assert refused.error.address == OTHER


def _id(call: Call) -> str | None:
    return getattr(call, "message_id", None)


async def test_who_waits_for_a_session_is_answered_when_it_is_lost(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    world.spawn.scripts["s"] = Script(reports=({"phase": "loading", "link": "unknown"},))
    await host.row("s")
    ownership.claim("s")
    await owned(host).acquire(["s"])
    sessions = host.it.sessions
    waiting = [
        asyncio.create_task(call)
        for call in (
            sessions.qr("s", wait=DEADLINE),
            sessions.ready("s", wait=DEADLINE),
            sessions.call("s", Unlink(), wait=DEADLINE),
        )
    ]
    sending = asyncio.create_task(sessions.send("s", TEXT, wait=DEADLINE))
    await asyncio.sleep(0)
    ownership.leave("s")
    await owned(host).lose(["s"])
    async with asyncio.timeout(DEADLINE / 4):
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, NotOwnedError), error
        outcome = await sending
    assert isinstance(outcome, NotSent)
    assert isinstance(outcome.error, NotOwnedError)
    assert outcome.error.address is None


async def test_a_logout_of_a_session_that_is_lost_touches_no_profile(
    ownership: FakeOwnership, shared: Shared, host: Bench, world: World
) -> None:
    async def never(call: Call) -> Sent | Value | Failed | None:
        return None

    world.spawn.scripts["s"] = Script(reports=(CONNECTED,), answer=never)
    process = await acquired(host)
    profile = host.session().profile.at.profile
    leaving = asyncio.create_task(host.it.sessions.logout("s"))
    await wait_until(lambda: any(isinstance(it, Unlink) for it in process.calls), "it is asked")
    ownership.leave("s", OTHER)
    await owned(host).lose(["s"])
    with pytest.raises(UnavailableError):
        await leaving
    assert profile.exists()
    assert "clear s" not in shared.calls


async def test_the_restore_does_not_wait_for_one_that_is_lost(
    ownership: FakeOwnership, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=({"phase": "loading", "link": "unknown"},))
    for name in ("a", "b", "c"):
        await bench.row(name)
        ownership.claim(name)
    restoring = asyncio.create_task(bench.restore())
    await wait_until(lambda: len(world.spawn.started) >= 2, "two of them are started")
    names = list(ownership.epochs)
    ownership.epochs.clear()
    await owned(bench).lose(names)
    assert await restoring == "interrupted 3"


class Busy(Shared):
    """What changes a profile takes a few turns of the loop, and is never done by two at a time."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self.changed_by: set[str] = set()

    @contextlib.asynccontextmanager
    async def alone(self, session: str) -> AsyncIterator[None]:
        assert session not in self.changed_by
        self.changed_by.add(session)
        for _ in range(self._chance.randrange(8)):
            await asyncio.sleep(0)
        yield
        self.changed_by.discard(session)

    async def prepare(self, at: Places, *, unpaired: bool) -> Failure | None:
        async with self.alone(at.session):
            return await super().prepare(at, unpaired=unpaired)

    async def hand_over(self, at: Places) -> str | None:
        async with self.alone(at.session):
            return self._chance.choice([None, None, "the database is away"])


async def turns(chance: Random, most: int) -> None:
    for _ in range(chance.randrange(most)):
        await asyncio.sleep(0)


async def moves(bench: Bench, name: str, chance: Random) -> asyncio.Task[None]:
    """It comes, and goes again in order or not, each before the other is over; what is still under way."""
    ownership = bench.world.ownership
    assert ownership
    ownership.claim(name)
    acquiring = asyncio.create_task(owned(bench).acquire([name]))
    await turns(chance, 40)
    releasing = None
    if chance.random() < 0.5:
        releasing = asyncio.create_task(owned(bench).release(name))
        await (turns(chance, 10) if chance.random() < 0.5 else asyncio.wait([releasing]))
    ownership.leave(name)
    losing = asyncio.create_task(owned(bench).lose([name]))
    await asyncio.sleep(0)  # the next claim is made after it has begun: it asks the database
    if releasing:
        with contextlib.suppress(UnavailableError):
            await releasing
    if chance.random() < 0.5:
        await losing
    await acquiring
    return losing


@pytest.mark.parametrize("seed", [0, 3, 103])
async def test_whatever_comes_in_between_a_session_runs_once_and_only_where_it_is_owned(
    ownership: FakeOwnership, bench: Bench, world: World, seed: int
) -> None:
    chance, begin, under_way = Random(seed), world.spawn.begin, list[asyncio.Task[None]]()
    world.shipping = shared = Busy(chance)
    bench.it._trail.cancel()
    bench.it = world.supervisor()
    world.spawn.script = Script(reports=(CONNECTED,))
    assert await bench.restore() == "no session to restore"

    async def one_at_a_time(spec: WorkerSpec | WorkerRecord, script: Script) -> FakeProcess:
        assert spec.session in ownership.epochs
        assert not any(process.alive for process in world.spawn.of(spec.session))
        assert spec.session not in shared.changed_by
        return await begin(spec, script)

    world.spawn.begin = one_at_a_time  # type: ignore[method-assign]

    async def keeper(name: str) -> None:
        await bench.row(name)
        for _ in range(15):
            under_way.append(await moves(bench, name, chance))
        await acquired(bench, name)

    names = [f"s{number}" for number in range(4)]
    await asyncio.gather(*map(keeper, names))
    await asyncio.gather(*under_way)
    assert [bench.session(name).state.restarts for name in names] == [0] * 4
    assert len(world.spawn.alive) == 4


# ---- at a start ----


async def test_only_owned_sessions_are_restored_and_a_worker_of_another_is_killed(
    ownership: FakeOwnership, bench: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,), obeys=False)
    await bench.row("mine")
    await bench.row("another's")
    mine, foreign = await world.left_behind("mine"), await world.left_behind("another's")
    ownership.claim("mine")
    ownership.addresses["another's"] = OTHER
    left = [(it.record, it.process) for it in (mine, foreign)]
    assert await bench.restore(*left) == "restored 1"
    assert mine.process.alive
    assert foreign.process.signals[0] == "KILL", "its new owner may run it already"
    assert bench.it.registry.by_id == [bench.session("mine")]
    mine.process.script.obeys = True


# ---- the reconciler ----


async def test_the_reconciler_loses_what_is_not_owned_and_adds_nothing_of_others(
    ownership: FakeOwnership, shared: Shared, host: Bench, world: World
) -> None:
    await host.row("another's")
    process = await acquired(host)
    ownership.leave("s", OTHER)
    (correction,) = await host.it.reconciler.correct()
    assert (correction.session, correction.action) == ("s", "lose")
    assert process.signals[0] == "KILL"
    assert world.spawn.alive == []
    assert shared.calls[-1] == "forget s"
    _, found = await host.it.reconciler.difference()
    assert found == [], "profiles that it has kept of them are no findings"


async def test_the_reconciler_acquires_what_is_owned_and_not_in_memory(
    ownership: FakeOwnership, shared: Shared, host: Bench
) -> None:
    await host.row("s")
    ownership.claim("s")
    (correction,) = await host.it.reconciler.correct()
    assert correction.action == "add"
    assert "load s" in shared.calls
    await until(host.session(), connected)


@pytest.mark.timings(stop_grace=DEADLINE)  # however slow the machine is
async def test_a_session_whose_row_was_deleted_is_removed_as_on_one_host(
    host: Bench, world: World
) -> None:
    process = await acquired(host)
    del world.store.accounts["s"]
    (correction,) = await host.it.reconciler.correct()
    assert correction.action == "remove"
    assert process.signals == ["TERM"]


# ---- what is asked of sessions ----


async def test_a_session_of_another_host_is_never_started_by_a_question(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    await host.row("s")
    ownership.addresses["s"] = OTHER
    await host.row("nobody's")
    for name, address in (("s", OTHER), ("nobody's", None)):
        for call in (
            host.it.sessions.view(name),
            host.it.sessions.start(name, restart=False),
            host.it.sessions.stop(name),
            host.it.sessions.logout(name),
            host.it.sessions.qr(name, wait=0.0),
            host.it.proxies.find(name),
        ):
            with pytest.raises(NotOwnedError) as raised:
                await call
            assert raised.value.status == 503
            assert raised.value.retry_after
            assert raised.value.address == address
    with pytest.raises(NotFoundError):
        await host.it.sessions.view("unknown")
    assert world.spawn.started == []
    assert await host.it.sessions.is_in("s", [7])
    assert not await host.it.sessions.is_in("s", [8])


async def test_a_list_has_the_sessions_of_all_hosts_where_it_is_asked_for(
    ownership: FakeOwnership, host: Bench
) -> None:
    await host.row("a")
    await host.row("c", status="odd")
    ownership.addresses["a"] = OTHER
    await acquired(host, "b")
    sessions = host.it.sessions
    assert [it.session_id for it in await sessions.views()] == ["b"]
    listed = await sessions.views(elsewhere=True)
    assert [(it.session_id, it.status, it.lifecycle, it.address) for it in listed] == [
        ("a", "connected", "elsewhere", OTHER),
        ("b", "connected", "running", None),
        ("c", "disconnected", "elsewhere", None),
    ]
    host.world.store.down = True
    assert [it.session_id for it in await sessions.views()] == ["b"]
    with pytest.raises(DatabaseUnavailableError):  # unknown is not empty
        await sessions.views(elsewhere=True)
    host.world.store.down = False


async def test_a_code_for_a_number_that_is_linked_on_another_host_is_refused(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    """It may unlink that one (OpenWA#1653)."""
    world.spawn.script = Script(reports=(QR_SHOWN,))
    await host.create()
    await until(host.session(), lambda s: s.link is Link.QR_PENDING)
    for name in ("linked", "logged out"):
        await host.row(name)
        ownership.addresses[name] = OTHER
    world.store.accounts["linked"].phone_number = f"+{PHONE}"
    world.store.accounts["logged out"].phone_number = "4915100000001"
    await world.store.leave("logged out", removed=False)
    sessions, call = host.it.sessions, PairingCode(phone=PHONE)
    with pytest.raises(NumberLinkedError, match="session linked is linked to this number"):
        await sessions.call("s", call, wait=0)
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):  # unknown is not free
        await sessions.call("s", call, wait=0)
    world.store.down = False
    assert host.process().calls == []
    await sessions.call("s", PairingCode(phone="4915100000001"), wait=0)


async def test_a_new_session_is_owned_before_its_row_is_made(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    _, is_new = await host.create("s")
    assert is_new
    assert ownership.epoch("s") == 1
    await until(host.session(), connected)
    assert await host.create("s")
    ownership.refuses = True
    with pytest.raises(UnavailableError):
        await host.create("t")
    assert "t" not in world.store.accounts
    # in the middle of it the host loses it again
    ownership.refuses = False
    create = world.store.create

    async def slowly(session_id: str, *args: int, **more: int | None) -> object:
        row = await create(session_id, *args, **more)  # type: ignore[arg-type]
        ownership.leave(session_id, OTHER)
        return row

    world.store.create = slowly  # type: ignore[method-assign, assignment]
    with pytest.raises(NotOwnedError):
        await host.create("t")
    assert "t" not in host.it.registry


@pytest.mark.parametrize("address", [OTHER, None], ids=["another host's", "nobody's"])
async def test_the_id_of_another_workspace_is_taken_wherever_its_session_is(
    ownership: FakeOwnership, host: Bench, address: str | None
) -> None:
    await host.row("s", workspace=9)
    if address:
        ownership.addresses["s"] = address
    with pytest.raises(SessionIdTakenError):
        await host.create("s", 8)
    assert "s" not in ownership.epochs, "it is not claimed for that"


async def test_a_new_session_has_no_proxy_of_an_earlier_one_of_its_name_elsewhere(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    world.store.proxies.rows["s"] = Recorded(mark="of another session", at=1.0)
    await host.create("s")
    await until(host.session(), connected)
    assert await host.it.proxies.find("s") is None
    assert world.store.proxies.rows["s"].mark == ""


async def test_on_one_host_everything_is_its_own(empty: Bench, world: World) -> None:
    assert empty.it.owned is None
    process = await empty.connected()
    listed = await empty.it.sessions.views(elsewhere=True)
    assert [it.session_id for it in listed] == ["s"]
    await empty.row("t")
    assert (await empty.it.sessions.view("t")).session_id == "t", "it is started by a question"
    await until(empty.session("t"), connected)
    assert process.alive


async def test_one_that_was_deleted_on_another_host_is_created_again_here(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    """Its epochs begin at 1 again."""
    await acquired(host)
    first = ownership.epoch("s")
    await owned(host).release("s")
    ownership.leave("s", OTHER)
    del world.store.accounts["s"], ownership.addresses["s"]
    ownership.claims = 0
    await host.create("s")
    assert ownership.epoch("s") == first
    await until(host.session(), connected)


async def test_a_logout_whose_answer_was_lost_is_ended_before_its_session_moves(
    ownership: FakeOwnership,
    shared: Shared,
    host: Bench,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await acquired(host)
    profile = host.session().profile.at.profile
    leave = world.store.leave

    async def lost(session: str, *, removed: bool) -> None:
        await leave(session, removed=removed)
        raise DatabaseUnavailableError("the answer is lost")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "leave", lost)
        with pytest.raises(DatabaseUnavailableError):
            await host.it.sessions.logout("s")
    assert leaving_mark.read(profile)
    await owned(host).release("s")
    assert not layout.exists(profile)
    assert len(quarantine.quarantined(world.config.paths.sessions)) == 1
    assert shared.calls.index("clear s") < shared.calls.index("hand over s")
    assert "s" not in host.it.registry


@pytest.mark.parametrize("trouble", ["database", "profile"])
async def test_one_whose_logout_cannot_be_ended_moves_all_the_same(
    ownership: FakeOwnership, host: Bench, world: World, trouble: str
) -> None:
    """The next host ends it: nobody uses what is marked here."""
    await acquired(host)
    at = host.session().profile.at
    leaving_mark.write(at.profile, Leaving(host.session().row.generation, "logged out by the API"))
    await world.store.leave("s", removed=False)
    world.store.down = trouble == "database"
    await host.session().stop()
    with ProfileLock(at.profile) if trouble == "profile" else contextlib.nullcontext():
        await owned(host).release("s")
    world.store.down = False
    assert "s" not in host.it.registry
    assert leaving_mark.read(at.profile)


async def test_one_whose_logout_was_cut_off_here_is_acquired_and_starts_without_that_profile(
    ownership: FakeOwnership, host: Bench, world: World
) -> None:
    """Another host has wanted it up since."""
    await host.row("s")
    row = await world.store.session("s")
    assert row
    profile = layout.path(world.config.paths.sessions, 7, "s")
    leaving_mark.write(profile, Leaving(row.generation, "logged out by the API"))
    await world.store.leave("s", removed=False)
    await world.store.set_desired("s", up=True)
    world.spawn.scripts["s"] = Script(reports=(QR_SHOWN,))
    ownership.claim("s")
    await owned(host).acquire(["s"])
    await until(host.session(), lambda s: s.link is Link.QR_PENDING)
    assert not host.process().signals
    assert len(quarantine.quarantined(world.config.paths.sessions)) == 1
