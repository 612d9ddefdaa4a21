"""The one door to the decisions: order, time, and what an effect that fails costs."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tests.supervision.fake_host import FakeClock, NoChance
from tests.waiting import wait_until
from waguard.config.sections import Browser, Config, Restore
from waguard.core.fleet.facts import FleetEffect, HostRead
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.metrics.families import DETECT, HEAL, SLOT_WAIT
from waguard.core.metrics.tally import Histogram, Tally
from waguard.core.row_status import DerivedStatus, Status
from waguard.core.session.effects import (
    Effect,
    Record,
    RequestSlot,
    ResponsivenessChanged,
    Spawn,
    WriteStatus,
)
from waguard.core.session.facts import (
    Beat,
    Fact,
    Reported,
    Spawned,
    StartRequested,
    StopRequested,
    TimerDue,
)
from waguard.core.session.probe import STALL
from waguard.core.session.state import SessionState
from waguard.core.session.views import lifecycle
from waguard.core.session.worker import can_wait
from waguard.ports.clock import Clock
from waguard.supervision import measures
from waguard.supervision.mailbox import Handle, Mailbox, Timers, loop_timer
from waguard.supervision.timings import Timings


class Fleet:
    """The host has all."""

    def __init__(self) -> None:
        self.reads: list[bool] = []
        self.effects: list[FleetEffect] = []

    def perform(self, effect: FleetEffect) -> None:
        self.effects.append(effect)

    def read_host(self, *, network: bool) -> HostRead:
        self.reads.append(network)
        return HostRead()


class Actor:
    """Does what a test has it do with an effect."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.notified = 0
        self.on: Callable[[Effect], None] = lambda _: None

    def perform(self, effect: Effect) -> None:
        self.effects.append(effect)
        self.on(effect)

    def notify(self) -> None:
        self.notified += 1

    def hear(self) -> None:
        """Nothing is written: its heartbeats are posted."""


class Desk:
    """A mailbox, with timers that fire by hand."""

    def __init__(self) -> None:
        self.config = Config()
        self.clock, self.fleet = FakeClock(), Fleet()
        self.tally = Tally()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.it = mailbox(self, self.clock, self.timer)

    def timer(self, when: float, callback: Callable[[], None]) -> Handle:
        self.timers.append((when, callback))
        return asyncio.get_running_loop().call_later(3_600, lambda: None)

    def add(self, name: str) -> Actor:
        actor = Actor()
        gone = DerivedStatus(Status.DISCONNECTED)
        self.it.add(SessionState(session=name, status=gone), actor)
        return actor

    def spawned(self, name: str) -> bool:
        """Whether its Chromium may start."""
        worker = self.it.state(name).worker
        return worker is not None and not worker.waits

    def starts(self, name: str) -> None:
        self.it.post(name, StartRequested())
        self.it.post(name, Spawned(worker=1))

    def connected(self, name: str) -> None:
        self.starts(name)
        now = self.clock.monotonic()
        ready = Reported(worker=1, at=now, phase="ready", link=Link.CONNECTED)
        self.it.post(name, ready)


def mailbox(desk: Desk, clock: Clock, timers: Timers) -> Mailbox:
    return Mailbox(
        lambda: desk.config,
        clock,
        desk.fleet,
        timings=Timings(),
        timers=timers,
        chance=NoChance(),
        tally=desk.tally,
    )


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_from_a_request_to_the_spawn_in_one_go_and_the_host_is_read_once(desk: Desk) -> None:
    one, other = desk.add("a"), desk.add("b")
    desk.it.post("a", StartRequested())
    assert [it for it in one.effects if isinstance(it, Spawn)] == [Spawn(worker=1)]
    assert desk.fleet.reads == [False]
    desk.it.post("b", StartRequested())
    assert any(isinstance(it, Spawn) for it in other.effects)
    assert desk.fleet.reads == [False], "a second has not passed"
    assert one.notified
    assert other.notified


async def test_what_an_effect_posts_comes_after_what_was_there(desk: Desk) -> None:
    actor = desk.add("a")

    def stop_at_once(effect: Effect) -> None:
        if isinstance(effect, RequestSlot):
            desk.it.post("a", StopRequested())
            assert lifecycle(desk.it.state("a")) is State.STARTING, "not in the middle of a fact"

    actor.on = stop_at_once
    desk.it.post("a", StartRequested())
    assert lifecycle(desk.it.state("a")) in {State.STOPPED, State.STOPPING}


async def test_an_effect_that_fails_costs_no_other(desk: Desk) -> None:
    broken, well = desk.add("a"), desk.add("b")

    def fail(effect: Effect) -> None:
        fails = isinstance(effect, WriteStatus)
        if fails:
            raise LookupError("the text of a message")

    broken.on = fail
    desk.it.post("a", StartRequested())
    desk.it.post("b", StartRequested())
    assert any(isinstance(it, Record) for it in broken.effects), "what came after it is done"
    assert desk.spawned("a")
    assert any(isinstance(it, Spawn) for it in well.effects)


async def test_a_configuration_that_is_read_again_counts_with_the_next_tick(desk: Desk) -> None:
    desk.add("a")
    desk.config = msgspec.structs.replace(desk.config, restore=Restore(concurrency=7, timeout=5.0))
    desk.it.tick()
    assert desk.it.fleet.rules.limits.places == 7
    limits = desk.it.state("a").rules.limits
    assert limits.start == desk.config.browser.launch_timeout + 5.0


async def test_a_timer_that_comes_too_early_is_set_again(desk: Desk) -> None:
    """A deadline that moved away: the timer finds out when it fires."""
    desk.add("a")
    desk.starts("a")
    when, callback = desk.timers[-1]
    desk.config = msgspec.structs.replace(desk.config, restore=Restore(timeout=120.0))
    desk.it.tick()
    before = len(desk.timers)
    desk.clock.advance(when - desk.clock.monotonic())
    callback()
    assert len(desk.timers) > before
    assert lifecycle(desk.it.state("a")) is State.STARTING


async def test_a_ready_page_has_no_timer_the_tick_sees_what_is_due(desk: Desk) -> None:
    actor = desk.add("a")
    desk.connected("a")
    before, notified = len(desk.timers), actor.notified
    desk.clock.advance(1.0)
    now = desk.clock.monotonic()
    desk.it.post("a", Beat(worker=1, at=now, page_at=now))
    assert (len(desk.timers), actor.notified) == (before, notified)
    desk.clock.advance(1.9)
    desk.it.tick()
    assert _unresponsive(desk.it) is None
    desk.clock.advance(0.1)
    desk.it.tick()
    assert _unresponsive(desk.it) == "the worker does not answer"
    assert len(desk.timers) == before


async def test_routine_heartbeats_put_deadlines_off_and_cost_nothing_else(desk: Desk) -> None:
    desk.add("a")
    desk.connected("a")
    before = desk.it.state("a")
    for _ in range(60):
        desk.clock.advance(1.9)
        now = desk.clock.monotonic()
        desk.it.post("a", Beat(worker=1, at=now, page_at=now))
        desk.it.tick()
        assert _unresponsive(desk.it) is None
    assert desk.it.state("a") is before
    desk.clock.advance(2.0)
    desk.it.tick()
    assert _unresponsive(desk.it) == "the worker does not answer"


async def test_a_tick_outlives_that_one_session_s_deadline_ends_another(desk: Desk) -> None:
    actors = {name: desk.add(name) for name in ("a", "b")}
    for name in actors:
        desk.connected(name)

    def forget_others(effect: Effect) -> None:
        if isinstance(effect, ResponsivenessChanged):
            for name, actor in actors.items():
                desk.it.forget(name, actor)

    for actor in actors.values():
        actor.on = forget_others
    desk.clock.advance(3.0)
    desk.it.tick()
    assert desk.it.actors == {}


@pytest.mark.parametrize("fact", [StopRequested(), TimerDue(late=1.0)], ids=["stop", "stall"])
async def test_a_routine_heartbeat_is_applied_before_the_sessions_next_fact(
    desk: Desk, fact: Fact
) -> None:
    desk.add("a")
    desk.connected("a")
    desk.clock.advance(1.0)
    now = desk.clock.monotonic()
    desk.it.post("a", Beat(worker=1, at=now, page_at=now))
    desk.it.post("a", fact)
    worker = desk.it.state("a").worker
    assert worker
    assert worker.heard_at == now


@pytest.mark.parametrize(
    "beat",
    [
        Beat(worker=1, at=2.0),
        Beat(worker=1, at=2.0, page_at=2.0, unrecoverable=True),
        Beat(worker=2, at=2.0, page_at=2.0),
    ],
    ids=["page is silent", "unrecoverable", "of another worker"],
)
async def test_any_other_heartbeat_is_a_fact_at_once(desk: Desk, beat: Beat) -> None:
    desk.add("a")
    desk.connected("a")
    state = desk.it.state("a")
    assert not can_wait(state, beat)
    assert can_wait(state, Beat(worker=1, at=2.0, page_at=2.0))
    desk.it.post("a", msgspec.structs.replace(beat, at=desk.clock.monotonic() + 1.0))
    assert (desk.it.state("a") is state) is (beat.worker == 2)


async def test_the_timer_of_a_start_says_nothing_of_a_page_that_is_ready(desk: Desk) -> None:
    """Its heartbeats are read at each tick, and some may be read no more than 2 s after they were written."""
    desk.add("a")
    desk.starts("a")
    _, fire = desk.timers[-1]
    desk.connected("a")
    state = desk.it.state("a")
    desk.clock.advance(state.rules.limits.start)
    fire()
    assert desk.it.state("a") is state


@pytest.mark.parametrize(("late", "stage"), [(0.5, State.RECYCLING), (STALL + 1, State.STARTING)])
async def test_a_timer_that_is_late_says_that_the_daemon_stood_still(
    desk: Desk, *, late: float, stage: State
) -> None:
    desk.add("a")
    desk.starts("a")
    when, callback = desk.timers[-1]
    desk.clock.advance(when - desk.clock.monotonic() + late)
    callback()
    assert lifecycle(desk.it.state("a")) is stage


async def test_a_session_that_is_forgotten_leaves_its_place_to_the_next(desk: Desk) -> None:
    desk.config = msgspec.structs.replace(desk.config, restore=Restore(concurrency=1))
    first, second = desk.add("a"), desk.add("b")
    desk.it.post("a", StartRequested())
    desk.it.post("b", StartRequested())
    assert not desk.spawned("b")
    desk.it.forget("a", second)
    assert not desk.spawned("b"), "another one's name is not its own"
    desk.it.forget("a", first)
    desk.clock.advance(1.0)
    desk.it.tick()
    assert desk.spawned("b")
    assert any(isinstance(it, Spawn) for it in second.effects)
    desk.it.post("a", StartRequested())  # nobody is there


async def test_the_loops_own_timers(desk: Desk) -> None:
    """Without a test's hands: a deadline is kept."""
    box = mailbox(desk, _LoopClock(), loop_timer)
    actor = Actor()
    box.add(SessionState(session="a", status=DerivedStatus(Status.DISCONNECTED)), actor)
    desk.config = msgspec.structs.replace(
        desk.config, browser=Browser(launch_timeout=0.04), restore=Restore(timeout=0.01)
    )
    box.post("a", StartRequested())
    box.post("a", Spawned(worker=1))
    await wait_until(lambda: lifecycle(box.state("a")) is not State.STARTING, "it is noticed")


def _unresponsive(box: Mailbox) -> str | None:
    worker = box.state("a").worker
    return worker.unresponsive if worker else None


class _LoopClock:
    def wall(self) -> float:
        return 1_790_000_000.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def _measured(desk: Desk) -> list[int]:
    found = [desk.tally.series[SLOT_WAIT][()]]
    found += [desk.tally.series[it][("session",)] for it in (DETECT, HEAL)]
    return [it.below()[-1] for it in found if isinstance(it, Histogram)]


async def test_what_happens_to_a_session_is_measured(desk: Desk) -> None:
    desk.add("a")
    desk.connected("a")
    assert _measured(desk) == [1, 0, 0]
    desk.clock.advance(2.9)
    desk.it.tick()
    assert _measured(desk) == [1, 1, 0]
    now = desk.clock.monotonic()
    desk.it.post("a", Beat(worker=1, at=now, page_at=now))
    assert _measured(desk) == [1, 1, 1]


async def test_a_measurement_that_fails_costs_no_decision(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(measures, "compare", fail)
    actor = desk.add("a")
    desk.starts("a")
    assert any(isinstance(it, Spawn) for it in actor.effects)
