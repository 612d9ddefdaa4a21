"""What a start that fails says of itself, and that it is over when one works."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.supervision.bench import Bench
from tests.supervision.conftest import bench, world
from tests.supervision.fake_workers import FakeProcess, Script
from tests.waiting import wait_until
from waguard.daemon import stop_sequence
from waguard.daemon.restore_loop import RestoreLoop
from waguard.daemon.stop_request import StopRequest
from waguard.errors import (
    DatabaseUnavailableError,
    DatabaseUnfitError,
    InstanceHeldError,
    WaguardError,
)

__all__ = ["bench", "world"]  # pytest finds fixtures by name
LOST = WaguardError("the table whatsapp_accounts has no column status")
AWAY = DatabaseUnavailableError("the database is away")
UNFIT = DatabaseUnfitError("there is no table waguard_inbox")


async def _nothing(*_: object, **__: object) -> None:
    """There is nothing to do."""


class Start:
    """A start whose database is opened as often as it takes: ``error`` says why it is not. A standby ``waits``."""

    beginning: asyncio.Task[None]

    def __init__(self, bench: Bench, state: Path) -> None:
        self.error: Exception | None = LOST
        self.waits = False
        self.attempts = 0
        self.replaced: list[WaguardError] = []
        """Why another daemon has to begin."""
        self.bench = bench
        record: Any = SimpleNamespace(session="s1", pid=7, protocol=1, socket="/nonexistent")
        self.worker = FakeProcess(7, record, Script())
        """Left by an earlier daemon."""
        other: Any = SimpleNamespace(
            **dict.fromkeys(
                ("begin", "close", "check_folder", "mark", "report_restored"), _nothing
            ),
            acquire=self._acquire,
            held_elsewhere=None,
            lost=(),
            open=self._open,
            standby=False,
            hand_over_after=self.replaced.append,
            workers=lambda: [(record, self.worker)],
        )
        self.other = other
        timings: Any = SimpleNamespace(greet_after=60.0, greet_again=60.0, stop_grace=1.0)
        self.it = RestoreLoop(
            *(other, other, other, other, bench.it),
            leftovers=other,
            history=other,
            state=state,
            outages=bench.it.fleet.outages,
            stop=other,
            instance="i",
            timings=timings,
            retry=(0.01,),
        )

    async def _open(self) -> None:
        self.attempts += 1
        if self.error:
            raise self.error

    async def _acquire(self, before_waiting: Any) -> None:
        if self.waits:
            await before_waiting()
            await asyncio.Event().wait()

    async def fails(self, error: Exception) -> list[str]:
        """The conditions after a further attempt."""
        self.error, before = error, self.attempts
        await wait_until(lambda: self.attempts >= before + 2, "it is tried again", deadline=10.0)
        return self.conditions

    async def stopped(self, stop: StopRequest, cluster: Any = None) -> None:
        """As the daemon ends it."""
        self.beginning.cancel()
        await asyncio.gather(self.beginning, return_exceptions=True)
        parts: Any = SimpleNamespace(close=_nothing, wind_down=_nothing)
        supervisor: Any = SimpleNamespace(
            stop=_nothing, leave=_nothing, begin_stop=self.bench.it.begin_stop
        )
        await stop_sequence.stop_sessions(stop, supervisor, self.it, parts, parts, cluster)

    @property
    def conditions(self) -> list[str]:
        return [it.type for it in self.bench.it.health.read().conditions]


@pytest.fixture
async def start(bench: Bench, tmp_path: Path) -> AsyncIterator[Start]:
    (tmp_path / "state").mkdir()
    made = Start(bench, tmp_path / "state")
    made.beginning = asyncio.create_task(made.it.run())
    yield made
    made.beginning.cancel()


async def test_a_start_that_fails_for_good_is_for_a_person_until_it_works(start: Start) -> None:
    assert await start.fails(AWAY) == ["restoring", "database_down"]
    start.bench.it.fleet.outages.update("database_down", None)
    assert await start.fails(LOST) == ["begin_failed"]
    [found] = start.bench.it.health.read().conditions
    assert (found.message, found.needs_person) == (LOST.line(), True)
    assert await start.fails(AWAY) == ["restoring", "database_down"]
    await start.fails(LOST)
    start.error = None
    await start.beginning
    assert start.conditions == []


async def test_a_start_without_a_table_is_for_a_person_too(start: Start) -> None:
    assert await start.fails(AWAY) == ["restoring", "database_down"]
    assert await start.fails(UNFIT) == ["begin_failed"]
    [found] = start.bench.it.health.read().conditions
    assert found.message == UNFIT.line()


async def test_what_failed_is_over_where_another_daemon_has_the_lease(start: Start) -> None:
    start.waits = True
    assert await start.fails(LOST) == ["begin_failed"]
    start.error = None
    await wait_until(lambda: start.conditions == ["restoring"], "it waits")


async def test_a_state_folder_that_comes_after_the_start_is_read_by_another_one(
    start: Start, tmp_path: Path
) -> None:
    """This one would supervise without its keys and parked sessions."""
    await start.fails(AWAY)
    (tmp_path / "state").rename(tmp_path / "not mounted")
    (tmp_path / "state").mkdir()
    start.error = None
    await start.beginning
    [error] = start.replaced
    assert f"{tmp_path / 'state'} was mounted or replaced after the start" in error.line()
    assert start.conditions == ["restoring", "database_down"], "nothing has begun"


async def test_a_state_folder_that_is_back_is_the_one_that_was_read(
    start: Start, tmp_path: Path
) -> None:
    await start.fails(AWAY)
    (tmp_path / "state").rename(tmp_path / "away")
    await start.fails(AWAY)
    (tmp_path / "away").rename(tmp_path / "state")
    start.error = None
    await start.beginning
    assert start.replaced == []


def _asked(how: str) -> StopRequest:
    stop = StopRequest()
    if how == "restart":
        stop.hand_over()
    elif how == "lost":
        stop.lose_database(InstanceHeldError("another daemon has taken it"))
    else:
        stop.by_signal(signal.SIGTERM)
    return stop


@pytest.mark.parametrize("how", ["stop", "lost", "restart"])
async def test_a_stop_before_the_sessions_are_restored_ends_the_workers_that_were_left(
    start: Start, how: str
) -> None:
    """Its lease is released after that, and a standby begins at once."""
    await start.fails(AWAY)
    await start.stopped(_asked(how))
    assert start.worker.signals == ([] if how == "restart" else ["TERM"])
    assert start.worker.alive is (how == "restart")


async def test_in_a_cluster_they_have_ended_before_another_host_may_have_their_sessions(
    start: Start,
) -> None:
    """They are this host's already, and no session has adopted them."""
    alive: list[bool] = []

    async def release_all(_: float) -> None:
        alive.append(start.worker.alive)

    await start.fails(AWAY)
    await start.stopped(_asked("stop"), SimpleNamespace(release_all=release_all))
    assert alive == [False]


async def test_a_worker_that_its_session_has_adopted_is_its_sessions_to_end(start: Start) -> None:
    await start.fails(AWAY)
    session = await start.bench.add("s1")
    session.runner.process = start.worker
    await start.it.end_unadopted()
    assert start.worker.signals == []


async def test_a_stop_while_a_standby_ends_its_workers_waits_for_them(start: Start) -> None:
    start.waits, start.worker.script, start.error = True, Script(obeys=False), None
    await wait_until(lambda: start.worker.signals, "its worker is ended")
    assert start.worker.alive
    await start.stopped(_asked("stop"))
    assert start.worker.signals[-1] == "KILL"
    assert not start.worker.alive
