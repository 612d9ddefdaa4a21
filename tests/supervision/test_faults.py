"""What goes wrong about one session is that session's condition, and no other's."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.incidents.folding import fold
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.errors import (
    DatabaseUnavailableError,
    DatabaseUnfitError,
    DatabaseUnknownError,
    printable,
)
from waguard.ports.process import Usage
from waguard.supervision.session.actor import SessionActor
from waguard.wire.events import LoggedOut


@contextlib.contextmanager
def raising(method: str) -> Iterator[None]:
    """For the session "s", and no other."""
    real = getattr(SessionActor, method)

    def broken(self: SessionActor, *args: Any, **kwargs: Any) -> Any:
        if self.row.session_id == "s":
            raise LookupError("the text of a message")
        return real(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionActor, method, broken)
        yield


def problems(bench: Bench) -> list[str]:
    return list(bench.it.health.read().problems)


async def test_an_odd_report_replaces_its_worker_and_the_watch_goes_on(
    empty: Bench, world: World
) -> None:
    world.change("restart", base_delay=0.0)
    odd, other = await empty.connected("s"), await empty.connected("other")
    odd.report("odd")
    await wait_until(lambda: not odd.alive, "the worker is replaced")
    await until(empty.session("s"), lambda s: s.link is Link.CONNECTED)
    await empty.it.watchdog.watch()
    await empty.until_written("s")
    assert empty.session("other").runner.process is other
    assert empty.process("s") is not odd
    [(_, _, why)] = world.audited("restart")
    assert "sent an invalid message" in str(why)
    assert "odd" in str(why)
    [incident] = fold(e for e in world.store.entries if e.session_id == "s")
    assert incident.result == "connected again"


async def test_a_worker_that_goes_on_talking_nonsense_spends_its_restarts(
    empty: Bench, world: World
) -> None:
    world.change("restart", base_delay=0.0, max_delay=0.0)
    await empty.connected("s")
    seen: set[FakeProcess] = set()

    def spent() -> bool:
        process = empty.session("s").runner.process
        if isinstance(process, FakeProcess) and process.connected and process not in seen:
            seen.add(process)
            process.report(phase="odd")
        return empty.session("s").lifecycle is State.PARKED

    await wait_until(spent, "it is parked")
    assert "sent an invalid message" in problems(empty)[0]


async def test_a_watch_that_fails_is_that_sessions_condition(empty: Bench, world: World) -> None:
    world.change("restart", base_delay=0.0, max_delay=0.0)
    late = await empty.connected("s")
    process = await empty.connected("zz")
    with raising("tick"):
        for _ in range(3):
            await empty.it.watchdog.watch()
        assert problems(empty) == ["s: waguard failed to watch it: LookupError"]
        assert (
            await empty.it.sessions.view("s")
        ).degraded == "waguard failed to watch it: LookupError"
        assert (await empty.it.sessions.view("zz")).degraded is None
        for _ in range(11):  # both are late
            world.clock.advance(1.0)
            await empty.it.watchdog.watch()
        await wait_until(lambda: not process.alive, "the other one is watched: it is silent")
    await empty.it.watchdog.watch()
    assert not [p for p in problems(empty) if "waguard failed" in p]
    await until(empty.session("s"), lambda it: it.runner.process not in {None, late})
    await until(empty.session("s"), lambda it: it.link is Link.CONNECTED)
    await empty.until_written("s")
    assert len(world.audited("supervision_failed")) == 1
    [incident] = fold(e for e in world.store.entries if e.session_id == "s")
    assert incident.cause == "waguard failed to watch it: LookupError"
    assert incident.result == "connected again"


async def test_a_measurement_that_fails_is_that_sessions_condition(
    empty: Bench, world: World
) -> None:
    await empty.connected("s")
    await empty.connected("zz")
    used = Usage(cpu_percent=1.0, memory=1 << 20)
    world.meter.usage = {"s": used, "zz": used}
    with raising("post"):
        await empty.it.watchdog.measure()
    assert empty.session("zz").runner.usage == used
    assert problems(empty) == ["s: waguard failed to measure it: LookupError"]


async def test_a_restore_that_fails_costs_only_its_session(bench: Bench, world: World) -> None:
    for name in ("a", "s", "zz"):
        await bench.row(name)
    with raising("start"):
        assert await bench.restore() == "restored 2, failed 1"
    await bench.until_written("s")
    assert problems(bench) == ["s: no worker runs"]
    assert world.row_status("s") == ("disconnected", "unknown")
    await bench.it.reconciler.correct()
    await until(bench.session("s"), lambda s: s.link is Link.CONNECTED)


async def test_a_correction_that_fails_costs_only_its_session(empty: Bench, world: World) -> None:
    for name in ("a", "s", "zz"):
        await empty.connected(name)
        await empty.it.sessions.stop(name)
        await world.store.set_desired(name, up=True)
    with raising("start"):
        done = await empty.it.reconciler.correct()
        assert [reported.session for reported in done] == ["a", "zz"]
        assert "s: waguard failed to reconcile it: LookupError" in problems(empty)
    await empty.it.reconciler.correct()
    assert empty.session("s").faults.words is None


async def test_a_database_that_is_down_is_no_sessions_condition(empty: Bench, world: World) -> None:
    await empty.connected("s")
    world.store.down = True
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.reconciler.correct()
    assert empty.session("s").faults.words is None


async def test_what_the_database_lacks_for_one_session_is_its_own_fault(empty: Bench) -> None:
    await empty.connected("s")
    faults = empty.session("s").faults
    with faults.alone("correct"):
        raise DatabaseUnfitError("there is no table waguard_events")
    assert "DatabaseUnfitError" in str(faults.words)
    with pytest.raises(DatabaseUnknownError), faults.alone("correct"):
        raise DatabaseUnknownError("it is another one")


async def test_a_stop_that_fails_lets_the_others_stop(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await empty.connected("s")
    await empty.connected("zz")
    real = SessionActor.stop

    async def stop(self: SessionActor, *, daemon_stopping: bool = False) -> None:
        await real(self, daemon_stopping=daemon_stopping)
        if self.row.session_id == "s":
            raise LookupError

    monkeypatch.setattr(SessionActor, "stop", stop)
    await empty.it.stop()
    assert world.row_status("zz") == ("disconnected", "instance_restart")


async def test_what_a_page_says_moves_no_terminal_of_whoever_asks_why(
    empty: Bench, world: World
) -> None:
    process = await empty.connected("s")
    said = "\x1b[2J\x9bA\r\n\u202eblocked"
    process.report("blocked", details=said)
    process.event(LoggedOut(reason=said))
    await until(empty.session("s"), lambda s: s.lifecycle is State.PARKED)
    await wait_until(lambda: world.audited("logged_out"), "it is on the trail")
    await empty.until_written("s")
    reported = (await empty.it.sessions.view("s")).disconnect_details
    assert reported == printable(said)
    assert world.store.accounts["s"].disconnect_details == printable(said)
    reasons = [entry.reason for entry in world.store.entries if entry.reason]
    assert printable(said) in reasons
    assert all(reason.isprintable() for reason in reasons)
