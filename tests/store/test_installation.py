"""The marker of the installation, on every database."""

from collections.abc import Callable

import pytest

from tests.store.application import SqlApplication
from tests.store.conftest import BACKENDS
from waguard.core.installation import Found
from waguard.errors import DatabaseUnavailableError, DatabaseUnknownError
from waguard.store.revision import VERSION_TABLE
from waguard.store.sql import SqlStore

pytestmark = pytest.mark.parametrize("database", BACKENDS, indirect=True)


async def nothing() -> None:
    """Nobody has to be waited for."""


def refusing(seen: list[Found]) -> Callable[[Found], None]:
    def recognize(found: Found) -> None:
        seen.append(found)
        raise DatabaseUnknownError("it is not ours")

    return recognize


async def test_the_marker_is_written_once_and_read_without_a_lease(database: str) -> None:
    store = SqlStore(database)
    await store.open()
    store.guard(why_barred=lambda: "there is no lease", before_migration=nothing)
    try:
        assert (await store.installation.found(counted=False)).installation is None
        assert await store.installation.mark("a") == "a"
        assert await store.installation.mark("b") == "a", "who comes second has the first one's"
        found = await store.installation.found(counted=True)
        assert (found.installation, found.rows) == ("a", 0)
        assert "@" not in found.name
    finally:
        await store.close()


async def test_the_first_etcd_is_that_of_the_owners_until_a_person_changes_it(
    database: str,
) -> None:
    store = SqlStore(database)
    await store.open()
    store.guard(why_barred=lambda: "there is no lease", before_migration=nothing)
    try:
        assert await store.installation.mark("a") == "a"
        assert await store.installation.etcd("17") == "17"
        assert await store.installation.etcd("18") == "17"
        await store.installation.change_etcd("18")
        assert await store.installation.etcd("17") == "18"
        assert await store.installation.mark("b") == "a", "the other marker is as it was"
    finally:
        await store.close()


async def test_a_database_that_is_not_recognized_gets_no_table(database: str) -> None:
    store, app, seen = SqlStore(database), SqlApplication(database), list[Found]()
    await store.open()
    await store.close()
    await app.run(f"UPDATE {VERSION_TABLE} SET version_num = '0008'")
    await app.run("DROP TABLE waguard_installation")
    store.guard(before_migration=nothing, recognize=refusing(seen))
    with pytest.raises(DatabaseUnknownError):
        await store.open()
    assert [(it.installation, it.rows) for it in seen] == [(None, None)], "they were not read yet"
    store.guard(before_migration=nothing)
    await store.open()
    assert (await store.installation.found(counted=True)).rows == 0
    await store.close()


async def test_rows_come_only_from_a_database_that_is_recognized(database: str) -> None:
    store, seen = SqlStore(database), list[Found]()
    await store.open()
    try:
        await store.create("s1", 1, account_id=None, priority=0)
        await store.installation.mark("b")
        store.guard(before_migration=nothing, recognize=refusing(seen))
        with pytest.raises(DatabaseUnavailableError):
            await store.sessions()
        assert [(it.installation, it.rows) for it in seen] == [("b", 1)]
    finally:
        await store.close()
