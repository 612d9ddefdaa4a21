"""Which sessions are in a workspace, for keys that are for some: nothing starts by the question."""

import pytest

from tests.store.memory import Account
from tests.supervision.bench import Bench
from tests.supervision.world import World
from waguard.core.lifecycle import State
from waguard.errors import DatabaseUnavailableError

THEIRS = frozenset({7})


async def test_those_of_memory_and_of_rows(empty: Bench, world: World) -> None:
    await empty.create("mine", 7)
    await empty.create("other", 8)
    is_in = empty.it.sessions.is_in
    assert await is_in("mine", THEIRS)
    assert await is_in("other", THEIRS) is False
    assert await is_in("none", THEIRS) is None
    assert not await is_in("mine", ())
    await empty.row("new", workspace=7, profile=False)
    await empty.row("elsewhere", workspace=9, profile=False)
    assert await is_in("new", THEIRS), "the application has written its row a moment ago"
    assert not await is_in("elsewhere", THEIRS)
    for name in ("new", "elsewhere"):
        assert world.spawn.of(name) == []
        assert name not in {it.session_id for it in await empty.it.sessions.views()}


async def test_one_that_moved_is_where_its_row_is(empty: Bench, world: World) -> None:
    await empty.create("s", 8)
    assert empty.session("s").lifecycle is not State.STOPPED
    account = world.store.accounts["s"]
    assert isinstance(account, Account)
    account.workspace_id = 7
    assert await empty.it.sessions.is_in("s", THEIRS)


async def test_one_whose_row_is_gone_stays_that_of_its_workspace(
    empty: Bench, world: World
) -> None:
    await empty.create("s", 8)
    del world.store.accounts["s"]
    assert await empty.it.sessions.is_in("s", THEIRS) is False


async def test_without_the_database_another_one_is_as_unknown_as_none(
    empty: Bench, world: World
) -> None:
    await empty.create("mine", 7)
    await empty.create("other", 8)
    world.store.down = True
    assert await empty.it.sessions.is_in("mine", THEIRS)
    for name in ("other", "none"):
        with pytest.raises(DatabaseUnavailableError):
            await empty.it.sessions.is_in(name, THEIRS)
