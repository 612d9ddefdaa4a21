"""What is said of the database is not older than its last question."""

from collections.abc import Callable, Iterator
from unittest.mock import AsyncMock

import pytest
from loguru import logger

from tests.supervision.bench import Bench
from tests.supervision.sessions import until
from tests.supervision.world import World
from waguard.core.blame import Condition
from waguard.core.lifecycle import State
from waguard.errors import DatabaseUnavailableError, DatabaseUnfitError
from waguard.supervision.fleet.database_watch import DatabaseWatch

Down = Callable[[], Condition | None]


class Place:
    """Where the database's file is."""

    file: object = None


@pytest.fixture
def place() -> Place:
    """Of a database that is no file."""
    return Place()


@pytest.fixture
def watch(bench: Bench, world: World, place: Place) -> DatabaseWatch:
    return DatabaseWatch(world.store, bench.it.state, file=lambda: place.file)


@pytest.fixture
def down(bench: Bench) -> Down:
    def find() -> Condition | None:
        found = {it.type: it for it in bench.it.health.read().conditions}
        return found.get("database_down")

    return find


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """The event of each line that was logged at ERROR."""
    lines: list[str] = []
    sink = logger.add(
        lambda it: lines.append(it.record["extra"]["event"]), level="ERROR", format=""
    )
    yield lines
    logger.remove(sink)


async def ask(watch: DatabaseWatch) -> None:
    await watch.tick()
    await watch.asked()


async def test_a_database_that_goes_and_comes_back_is_seen_at_the_next_question(
    bench: Bench, world: World, watch: DatabaseWatch, down: Down
) -> None:
    await bench.row("a")
    await bench.restore()
    world.store.down = True
    await ask(watch)
    found = down()
    assert found
    assert found.message == "the database in memory is down"
    world.store.down = False
    await ask(watch)
    assert down() is None


async def test_at_the_start_nothing_is_said_of_a_database_that_was_not_asked(
    bench: Bench, watch: DatabaseWatch, down: Down
) -> None:
    assert [it.type for it in bench.it.health.read().conditions] == ["restoring"]
    await ask(watch)
    assert down() is None
    assert not bench.it.health.read().database


async def test_a_daemon_that_stops_asks_no_more(
    bench: Bench, world: World, watch: DatabaseWatch, down: Down
) -> None:
    await bench.row("a")
    await bench.restore()
    bench.it.state.begin_stop()
    world.store.down = True
    await ask(watch)
    assert down() is None


async def test_a_file_in_its_place_is_asked_once(
    bench: Bench, world: World, watch: DatabaseWatch, place: Place, down: Down
) -> None:
    await bench.row("a")
    await bench.restore()
    place.file = (1, 1)
    for _ in range(3):
        await ask(watch)
    assert world.store.pings == 1
    place.file = (1, 2)
    await ask(watch)
    assert world.store.pings == 2, "another one is there"
    place.file = None
    world.store.down = True
    await ask(watch)
    assert down()
    place.file = (1, 2)
    world.store.down = False
    await ask(watch)
    assert down() is None, "it is back, and was asked"


async def test_a_file_that_failed_elsewhere_is_asked_until_it_answers(
    bench: Bench, world: World, watch: DatabaseWatch, place: Place, down: Down
) -> None:
    await bench.row("a")
    await bench.restore()
    place.file = (1, 1)
    await ask(watch)
    world.store.down = True
    bench.it.state.database_failed(DatabaseUnavailableError("the disk is full"))
    await ask(watch)
    await ask(watch)
    assert down()
    world.store.down = False
    await ask(watch)
    assert down() is None


async def test_a_database_whose_rows_cannot_be_read_is_unfit_until_they_are_read(
    bench: Bench,
    world: World,
    watch: DatabaseWatch,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[str],
) -> None:
    await bench.row("a")
    await bench.restore()

    def found() -> list[tuple[str, bool]]:
        return [(it.type, it.needs_person) for it in bench.it.health.read().conditions]

    before = found()
    with monkeypatch.context() as patch:
        unfit = AsyncMock(side_effect=DatabaseUnfitError("there is no column is_active"))
        patch.setattr(world.store, "sessions_of_all_hosts", unfit)
        for _ in range(3):
            await bench.it.reconciler.reconcile()
            assert bench.it.health.read().database, "it answers"
            await ask(watch)
            assert found() == [("database_unfit", True), *before]
    await bench.it.reconciler.reconcile()
    assert found() == before
    assert errors == ["database_unfit", "reconcile_skipped"]


async def test_where_another_table_is_missing_the_rows_are_compared_all_the_same(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch, errors: list[str]
) -> None:
    await bench.row("a")
    await bench.restore()
    before = [it.type for it in bench.it.health.read().conditions]
    with monkeypatch.context() as patch:
        unfit = AsyncMock(side_effect=DatabaseUnfitError("there is no table waguard_outbox"))
        patch.setattr(world.store, "require_tables", unfit)
        world.store.accounts["a"].is_active = False
        for _ in range(2):
            await bench.it.reconciler.reconcile()
            health = bench.it.health.read()
            assert health.database, "it answers"
            [found] = [it for it in health.conditions if it.type == "database_unfit"]
            assert "waguard_outbox" in found.message
        # its row was read
        await until(bench.session("a"), lambda session: session.lifecycle is State.STOPPED)
    await bench.it.reconciler.reconcile()
    assert "database_unfit" not in [it.type for it in bench.it.health.read().conditions]
    assert errors == ["database_unfit"]
    assert "database_unfit" not in before
