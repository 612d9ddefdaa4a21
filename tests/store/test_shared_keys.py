"""Keys that all hosts accept, on every database."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest
from sqlalchemy import insert, select, update

from tests.store.conftest import BACKENDS, Wall
from tests.store.hosts import Host, hosts
from waguard.core.cluster.shared_keys import learned, unsent
from waguard.core.issued_keys import IssuedKey, digest
from waguard.core.keys import Right
from waguard.core.replace import replace
from waguard.errors import ConflictError
from waguard.store.shared_keys import KEPT, SqlSharedKeys
from waguard.store.shared_models import KEY_CHANGES, SHARED_KEYS

ALL_HAVE: Final = b"what all hosts have in a file"
every_database = pytest.mark.parametrize("ready", BACKENDS, indirect=True)


@pytest.fixture
async def pair(ready: str) -> AsyncIterator[tuple[Host, Host]]:
    async with hosts(ready, 2) as (first, second):
        yield first, second


def key(number: int, **more: Any) -> IssuedKey:
    usual: dict[str, Any] = {
        "id": f"{number:07x}a",
        "name": f"key-{number}",
        "sha256": digest(str(number)),
        "right": Right.SEND,
        "workspaces": (7,),
        "sessions": ("a", "ü"),
        "expires_at": None,
        "created_at": 1_790_000_000.25,
        "created_by": "root by the socket",
        "made_with": "ffffffff",
    }
    return IssuedKey(**usual | more)


async def write(rows: SqlSharedKeys, *keys: IssuedKey) -> tuple[int, Sequence[IssuedKey]]:
    return await rows.exchange(lambda there: unsent(there, keys))


@every_database
async def test_what_one_writes_the_other_reads(pair: tuple[Host, Host]) -> None:
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    assert (await one.revision(), await two.keys()) == (0, (0, []))
    revision, rows = await write(one, key(1), key(2))
    assert rows == [key(1), key(2)]
    assert await two.keys() == (revision, rows)
    assert await two.revision() == revision
    assert await write(two, key(1)) == (revision, rows), "nothing has changed"
    again, rows = await write(two, key(3))
    assert again > revision
    assert await one.keys() == (again, [key(1), key(2), key(3)])


@every_database
async def test_a_revocation_is_final_and_the_first_one_stays(pair: tuple[Host, Host]) -> None:
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    await write(one, key(1))
    first = key(1, ended_at=1_790_000_007.5, ended_by="ani")
    await write(two, first)
    revision, rows = await one.exchange(lambda _: [replace(first, ended_by="another"), key(1)])
    assert rows == [first]
    assert await two.keys() == (revision, [first])


@every_database
async def test_the_last_use_is_no_change(pair: tuple[Host, Host]) -> None:
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    revision, _ = await write(one, key(1), key(2))
    await one.use({key(1).sha256: 1_790_000_009.0, digest("none"): 1.0})
    await two.use({key(1).sha256: 1_790_000_008.0})
    assert await two.keys() == (revision, [key(1, used_at=1_790_000_009.0), key(2)])


@every_database
async def test_who_changes_keys_at_once_waits_for_the_other(pair: tuple[Host, Host]) -> None:
    """Of two that want one name, the second one sees the first one's."""
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)

    async def make(rows: SqlSharedKeys, number: int) -> None:
        def with_it(there: Sequence[IssuedKey]) -> Sequence[IssuedKey]:
            if "shop" in {it.name for it in there}:
                raise ConflictError("there is a key of this name")
            return [key(number, name="shop")]

        await rows.exchange(with_it)

    ended = await asyncio.gather(make(one, 1), make(two, 2), return_exceptions=True)
    assert [type(it) for it in ended].count(ConflictError) == 1
    _, rows = await one.keys()
    assert [it.name for it in rows] == ["shop"]


@every_database
async def test_many_changes_at_once_and_no_revision_hides_one(pair: tuple[Host, Host]) -> None:
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    seen: dict[int, int] = {}

    async def watch() -> None:
        while True:
            revision, rows = await two.keys()
            seen[revision] = max(seen.get(revision, 0), len(rows))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    revisions = await asyncio.gather(
        *(write((one, two)[number % 2], key(number)) for number in range(12))
    )
    watching.cancel()
    await asyncio.wait([watching])  # else the stores are closed beneath its reading
    counts = {revision: len(rows) for revision, rows in revisions}
    assert sorted(counts.values()) == list(range(1, 13))
    assert all(count >= counts[at] for at, count in seen.items() if at)


@every_database
async def test_an_expired_key_is_forgotten_a_day_later(pair: tuple[Host, Host]) -> None:
    one, _ = (it.store.shared_keys(ALL_HAVE) for it in pair)
    now = await _now(pair[0])
    await write(one, key(1, expires_at=now - KEPT - 60), key(2, expires_at=now - KEPT + 3_600))
    _, rows = await write(one, key(3, ended_at=1.0, ended_by="ani"), key(4))
    assert [it.name for it in rows] == ["key-2", "key-4"]


async def _now(host: Host) -> float:
    database = host.store.shared_keys(ALL_HAVE)._database
    async with database.reading() as (connection, _):
        now = await connection.scalar(select(host.store.shared_keys(ALL_HAVE)._now))
    assert now is not None
    return float(now)


@every_database
async def test_a_key_of_a_newer_version_is_nobodys_here(pair: tuple[Host, Host]) -> None:
    """Its limits are not known."""
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    await write(one, key(1), key(2), key(3))
    async with one._database.writing() as work:
        newer = update(SHARED_KEYS).where(SHARED_KEYS.c.sha256 == key(1).sha256)
        await work.connection.execute(newer.values(version=2))
        strange = update(SHARED_KEYS).where(SHARED_KEYS.c.sha256 == key(2).sha256)
        await work.connection.execute(strange.values(record=json.dumps({"id": 7})))
    assert (await two.keys())[1] == [key(3)]


async def rewritten(rows: SqlSharedKeys, it: IssuedKey, **values: Any) -> None:
    """As somebody does who can write the database."""
    async with rows._database.writing() as work:
        there = update(SHARED_KEYS).where(SHARED_KEYS.c.sha256 == it.sha256)
        await work.connection.execute(there.values(**values))


@every_database
@pytest.mark.parametrize(
    "values",
    [
        {"ended_at": None, "ended_by": None},
        {"ended_by": "another"},
        {"ended_at": 1_790_000_008.5},
        {"seal": ""},
        {"seal": "ü"},
    ],
    ids=str,
)
async def test_a_row_that_no_host_has_sealed_is_nobodys(
    pair: tuple[Host, Host], values: dict[str, Any]
) -> None:
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    await write(one, key(1), key(2))
    await write(one, key(1, ended_at=1_790_000_007.5, ended_by="ani"))
    await rewritten(one, key(1), **values)
    assert (await two.keys())[1] == [key(2)]
    async with one._database.reading() as (connection, _):
        assert len((await connection.execute(select(SHARED_KEYS))).all()) == 2, "it stays"


@every_database
async def test_nobody_else_makes_a_key(pair: tuple[Host, Host]) -> None:
    """With more than its maker's, nor a key of another's text."""
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    await write(one, key(1))
    async with one._database.reading() as (connection, _):
        [row] = (await connection.execute(select(SHARED_KEYS))).mappings().all()
    record = json.dumps(json.loads(row["record"]) | {"right": "admin"})
    async with one._database.writing() as work:
        other = {**row, "sha256": digest("theirs"), "id": "0000009a"}
        await work.connection.execute(insert(SHARED_KEYS).values(other))
    await rewritten(one, key(1), record=record)
    assert (await two.keys())[1] == []
    others = pair[1].store.shared_keys(b"another file")
    assert (await write(others, key(3)))[1] == [key(3)]
    assert (await two.keys())[1] == []


@every_database
async def test_who_knows_the_key_writes_what_it_is(pair: tuple[Host, Host]) -> None:
    """After ``cluster.key_file`` was changed on all hosts, too."""
    before = pair[0].store.shared_keys(b"the file of before")
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    await write(before, key(1), key(2))
    revision, rows = await write(one, key(1))
    assert rows == [key(1)]
    assert await write(two, key(1)) == (revision, rows), "nothing has changed"
    ended = key(1, ended_at=1_790_000_007.5, ended_by="ani")
    assert (await write(two, ended))[1] == [ended]


@every_database
async def test_an_older_row_of_a_revoked_key_is_put_back(pair: tuple[Host, Host]) -> None:
    """Who knows the revocation keeps it, and writes it once more."""
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    await write(one, key(1))
    async with one._database.reading() as (connection, _):
        [row] = (await connection.execute(select(SHARED_KEYS))).mappings().all()
    ended = key(1, ended_at=1_790_000_007.5, ended_by="ani")
    await write(one, ended)
    await rewritten(one, key(1), **row)
    _, rows = await two.keys()
    assert rows == [key(1)]
    known = learned({ended.id: ended}, rows)
    assert known == {ended.id: ended}
    assert (await write(two, *known.values()))[1] == [ended]


@every_database
async def test_a_row_of_a_newer_version_stays_as_it_is(pair: tuple[Host, Host]) -> None:
    """Also where this host knows the key; how it is sealed is not known."""
    one, two = (it.store.shared_keys(ALL_HAVE) for it in pair)
    revision, _ = await write(one, key(1))
    await rewritten(one, key(1), version=2, seal="of theirs")
    assert await write(two, key(1)) == (revision, [])


@every_database
async def test_a_use_that_is_no_time(ready: str) -> None:
    """The file of keys would be unreadable with it."""
    async with hosts(ready, 1) as (host,):
        rows = host.store.shared_keys(ALL_HAVE)
        await write(rows, key(1))
        await rewritten(rows, key(1), used_at=1e300)
        assert (await rows.keys())[1] == [key(1)]


@every_database
async def test_a_revision_does_not_come_back(ready: str) -> None:
    """The database was put back from a copy of before."""
    wall = Wall()
    async with hosts(ready, 1, wall=wall) as (host,):
        rows = host.store.shared_keys(ALL_HAVE)
        before, _ = await write(rows, key(1))
        after, _ = await write(rows, key(2))
        async with rows._database.writing() as work:
            await work.connection.execute(update(KEY_CHANGES).values(revision=before))
        wall.time += 1.0
        assert (await write(rows, key(3)))[0] > after


@every_database
async def test_a_row_that_is_there_already(pair: tuple[Host, Host]) -> None:
    """Another host has begun with it a moment ago."""
    one, _ = (it.store.shared_keys(ALL_HAVE) for it in pair)
    async with one._database.writing() as work:
        await work.connection.execute(insert(KEY_CHANGES).values(id=1, revision=5))
    assert await one.revision() == 5
    assert (await write(one, key(1)))[0] > 5


@every_database
async def test_hosts_with_different_key_files_leave_each_others_rows_alone(
    pair: tuple[Host, Host],
) -> None:
    """Each would write them anew as often as it reads, and the other would take that for a change."""
    is_everybodys = False
    one = pair[0].store.shared_keys(ALL_HAVE)
    other = pair[1].store.shared_keys(b"another file", lambda: is_everybodys)
    revision, _ = await write(one, key(1), key(2))
    assert await write(other, key(1), key(2)) == (revision, [])
    _, rows = await write(other, key(3))
    assert rows == [key(3)], "its own it writes"
    ended = key(3, ended_at=1_790_000_007.5, ended_by="ani")
    revision, rows = await write(other, ended)
    assert rows == [ended]
    assert await one.keys() == (revision, [key(1), key(2)])
    is_everybodys = True
    assert (await write(other, key(1)))[1] == [key(1), ended], "nobody has the other file any more"


@every_database
async def test_a_forged_row_makes_and_revives_none_while_key_files_differ(
    pair: tuple[Host, Host],
) -> None:
    one = pair[0].store.shared_keys(ALL_HAVE, lambda: False)
    ended = key(1, ended_at=1_790_000_007.5, ended_by="ani")
    await write(one, key(1), key(2))
    await write(one, ended)
    await rewritten(one, key(1), ended_at=None, ended_by=None)
    await rewritten(one, key(2), record=json.dumps({"id": key(2).id, "right": "admin"}))
    _, rows = await one.keys()
    assert rows == []
    known = learned({it.id: it for it in (ended, key(2))}, rows)
    assert known == {it.id: it for it in (ended, key(2))}
    await write(one, *known.values())
    assert (await one.keys())[1] == []
