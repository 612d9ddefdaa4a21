"""A session's proxy and the host that takes over: it starts the session with the newest proxy, or not at all."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import connected, until
from tests.supervision.test_own_proxies import OTHER, PROXY, given, state, up
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.proxy import Proxy, Recorded, mark_of
from waguard.errors import DatabaseUnavailableError, NotOwnedError, UnavailableError
from waguard.host.memory import proxies
from waguard.supervision.proxy_records import AHEAD, UNKNOWN, ProxyRecords

KEY = bytes(range(32))
DAMAGED = "damaged"


def lay(world: World, found: Proxy | str | None) -> Path:
    """This host's file, as it is when the host takes over."""
    path = proxies.path_of(state(world), "s")
    if isinstance(found, Proxy):
        proxies.write(state(world), "s", found)
    elif found == DAMAGED:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{")
    return path


async def published(
    world: World, proxy: Proxy | None, key: bytes | None, session: str = "s"
) -> None:
    """Another host has told the database of it."""
    elsewhere = ProxyRecords(lambda: world.folder / "elsewhere", world.store.proxies, key)
    await elsewhere.publish(session, proxy)


def marks(world: World) -> dict[str, str]:
    """What the database says."""
    return {session: it.mark for session, it in world.store.proxies.rows.items()}


async def test_where_nothing_is_brought_a_start_is_not_suspended(world: World) -> None:
    """Else a thread decides whose worker is started first."""
    await published(world, PROXY, None)
    here = ProxyRecords(lambda: state(world), world.store.proxies)
    await here.load()
    for session in ("s", "without"):
        with pytest.raises(StopIteration):
            here.have_newest(session).send(None)
    await here.changing("s").acquire()  # but a change that is under way is waited for
    starting = here.have_newest("s")
    assert starting.send(None) is not None
    starting.close()


async def start_here(bench: Bench) -> None:
    bench.world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("s")
    await bench.restore()


async def refused(bench: Bench) -> str:
    """Why it is not started."""
    await until(bench.session(), lambda it: it.state.failure is not None)
    assert bench.world.spawn.started == []
    (condition,) = bench.it.sessions._view(bench.session()).conditions
    assert condition.reason == "proxy_unreadable"
    assert "sessions proxy s --set" in condition.remedy
    return condition.message


@pytest.mark.parametrize(
    ("proxy", "found"), [(PROXY, None), (PROXY, OTHER), (PROXY, DAMAGED), (None, PROXY)]
)
async def test_without_a_key_it_waits_for_a_person(
    bench: Bench, world: World, proxy: Proxy | None, found: Proxy | str | None
) -> None:
    path = lay(world, found)
    await published(world, proxy, None)
    await start_here(bench)
    assert str(path) in await refused(bench)
    assert path.exists() == (found is not None)
    with pytest.raises(UnavailableError):
        await bench.it.proxies.find("s")
    await bench.it.proxies.put("s", proxy)
    await until(bench.session(), connected)
    assert given(bench.process()) == proxy
    assert world.store.proxies.rows["s"].mark == mark_of(proxy)


@pytest.mark.parametrize(
    ("proxy", "found"),
    [(PROXY, None), (PROXY, PROXY), (PROXY, OTHER), (PROXY, DAMAGED), (None, OTHER), (None, None)],
)
async def test_with_the_key_it_has_the_newest(
    bench: Bench, world: World, proxy: Proxy | None, found: Proxy | str | None
) -> None:
    world.key = KEY
    await bench.restart()
    path = lay(world, found)
    await published(world, proxy, KEY)
    assert "hunter2" not in repr(world.store.proxies)
    await start_here(bench)
    await until(bench.session(), connected)
    assert given(bench.process()) == proxy
    assert await bench.it.proxies.find("s") == proxy
    assert path.exists() == (proxy is not None)
    assert path.with_name("s.json.unreadable").exists() == (found == DAMAGED)


async def test_with_another_key_it_is_not_started(bench: Bench, world: World) -> None:
    world.key = bytes(32)
    await bench.restart()
    path = lay(world, OTHER)
    await published(world, PROXY, KEY)
    await start_here(bench)
    assert "cannot be brought from the database" in await refused(bench)
    assert proxies.read(state(world), "s") == OTHER
    assert path.exists()


async def test_a_database_from_a_copy_replaces_no_newer_file(bench: Bench, world: World) -> None:
    world.key = KEY
    await bench.restart()
    await published(world, PROXY, KEY)
    path = lay(world, OTHER)
    later = world.store.proxies.rows["s"].at + 2 * AHEAD
    os.utime(path, (later, later))
    await start_here(bench)
    assert "the file is newer" in await refused(bench)
    assert proxies.read(state(world), "s") == OTHER


async def test_what_was_sealed_for_another_session_is_not_used(bench: Bench, world: World) -> None:
    world.key = KEY
    await bench.restart()
    lay(world, PROXY)
    rows = world.store.proxies.rows
    await published(world, None, KEY, session="t")
    rows["s"] = rows["t"]
    await start_here(bench)
    await refused(bench)
    assert proxies.read(state(world), "s") == PROXY


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
async def test_a_file_that_the_database_does_not_know_is_published_once(
    bench: Bench, world: World, key: bytes | None
) -> None:
    """The first start of a waguard that tells, or of one that has got a key."""
    world.key = key
    await bench.restart()
    lay(world, PROXY)
    world.store.proxies.rows["s"] = Recorded(mark=PROXY.mark, at=0.0)
    if key is None:
        world.store.proxies.rows.clear()
    await start_here(bench)
    before = world.store.proxies.rows["s"]
    assert before.mark == PROXY.mark
    assert (before.sealed is not None) == (key is not None)
    await bench.restore()
    assert world.store.proxies.rows["s"] is before
    await until(bench.session(), connected)
    assert given(bench.process()) == PROXY


async def test_a_damaged_file_is_not_published_as_no_proxy(bench: Bench, world: World) -> None:
    path = lay(world, DAMAGED)
    await start_here(bench)
    await refused(bench)
    assert marks(world) == {"s": UNKNOWN}
    path.unlink()  # as on a host that takes over
    await bench.it.sessions.start("s", restart=True)
    await refused(bench)
    lay(world, PROXY)
    await bench.it.sessions.start("s", restart=True)
    await until(bench.session(), connected)
    assert marks(world) == {"s": PROXY.mark}, "its file can be read again"


async def test_each_change_is_published_first(empty: Bench, world: World) -> None:
    worker = await up(empty)
    assert marks(world) == {"s": "m1"}
    world.store.proxies.down = True
    with pytest.raises(DatabaseUnavailableError):
        await empty.it.proxies.put("s", OTHER)
    assert await empty.it.proxies.find("s") == PROXY
    assert worker.alive
    world.store.proxies.down = False
    await empty.it.proxies.put("s", OTHER)
    assert marks(world) == {"s": "m3"}
    await empty.it.proxies.put("s", None)
    assert marks(world) == {"s": ""}
    await empty.it.proxies.put("s", PROXY)
    await empty.it.sessions.delete("s", purge=True)
    assert marks(world) == {"s": ""}, "another host may have a file"


async def test_a_change_that_was_published_and_not_written_starts_nothing_without_it(
    empty: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    await empty.connected()
    state(world).mkdir(exist_ok=True)
    blocked = state(world) / "proxies"
    blocked.write_text("no folder")
    with pytest.raises(UnavailableError, match="cannot be stored"):
        await empty.it.proxies.put("s", PROXY)
    blocked.unlink()
    await empty.it.sessions.start("s", restart=True)
    await until(empty.session(), lambda it: it.state.failure is not None)
    assert world.spawn.alive == []


async def test_a_change_that_fails_is_taken_back(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next daemon would end the worker, and start none."""
    worker = await up(empty)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(proxies, "write", full)
    with pytest.raises(UnavailableError, match="No space left"):
        await empty.it.proxies.put("s", OTHER)
    assert marks(world) == {"s": "m1"}
    assert await empty.it.proxies.find("s") == PROXY
    assert worker.alive


async def test_a_worker_that_runs_without_its_proxy_is_ended(bench: Bench, world: World) -> None:
    session = await bench.add()
    await published(world, PROXY, None)
    await bench.it.restorer._ctx.proxies.load()
    world.spawn.scripts["s"] = Script(reports=(CONNECTED,))
    left = await world.left_behind("s", generation=session.row.generation)
    session.adopt(left.process, left.record)
    await wait_until(lambda: not left.process.alive, "the old worker has ended")
    await until(session, lambda it: it.state.failure is not None)
    assert [it for it in world.spawn.started if it is not left.process] == []


async def test_a_file_that_is_lost_meanwhile_is_brought_again(bench: Bench, world: World) -> None:
    world.key = KEY
    await bench.restart()
    path = lay(world, PROXY)
    await start_here(bench)
    await until(bench.session(), connected)
    first = bench.process()
    path.unlink()
    await bench.it.sessions.start("s", restart=True)
    await wait_until(lambda: not first.alive, "the old worker has ended")
    await until(bench.session(), connected)
    assert given(bench.process()) == PROXY


def unanswered(world: World, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """The next write is committed, and its answer lost; the database is away from then on."""
    record = world.store.proxies.record

    async def lost(session: str, it: Recorded) -> None:
        await record(session, it)
        world.store.proxies.down = True
        raise error("no answer")

    monkeypatch.setattr(world.store.proxies, "record", lost)


def answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    world.store.proxies.down = False


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
@pytest.mark.parametrize("then", ["get", "put", "same", "delete", "reconcile", "start"])
@pytest.mark.parametrize("error", [DatabaseUnavailableError, asyncio.CancelledError])
async def test_a_change_whose_commit_was_not_answered_is_taken_back(
    bench: Bench,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    key: bytes | None,
    then: str,
    error: type[BaseException],
) -> None:
    world.key = key
    await bench.restart()
    await bench.restore()
    worker = await up(bench)
    unanswered(world, monkeypatch, error)
    with pytest.raises(error):
        await bench.it.proxies.put("s", OTHER)
    assert await bench.it.proxies.find("s") == PROXY, "what is not confirmed is not used"
    answered(world, monkeypatch)
    assert marks(world) == {"s": OTHER.mark}
    now: Proxy | None = PROXY
    match then:
        case "get":
            assert await bench.it.proxies.find("s") == PROXY
        case "put":
            now = OTHER
            await bench.it.proxies.put("s", OTHER)
        case "same":
            await bench.it.proxies.put("s", PROXY)
        case "delete":
            now = None
            await bench.it.proxies.put("s", None)
        case "reconcile":
            await bench.it.reconciler.reconcile()
        case _:
            await bench.it.sessions.start("s", restart=True)
            await wait_until(lambda: not worker.alive, "the old worker has ended")
            await until(bench.session(), connected)
    assert marks(world) == {"s": mark_of(now)}
    if then in {"get", "same", "reconcile"}:
        assert worker.alive, "nothing has changed for it"
    await bench.until_written()
    await bench.restart()
    await bench.restore()
    await until(bench.session(), connected)
    assert given(bench.process()) == now


async def test_one_that_another_host_has_now_holds_up_no_other(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.restore()
    bench.world.spawn.script = Script(reports=(CONNECTED,))
    for name in ("a", "b"):
        await bench.it.sessions.create(name, 7, account_id=None, priority=0, proxy=PROXY)
        await until(bench.session(name), connected)
    unanswered(world, monkeypatch, DatabaseUnavailableError)
    for name in ("a", "b"):
        world.store.proxies.down = False
        with pytest.raises(DatabaseUnavailableError):
            await bench.it.proxies.put(name, OTHER)
    answered(world, monkeypatch)
    record, asked = world.store.proxies.record, list[str]()

    async def owned(session: str, it: Recorded) -> None:
        asked.append(session)
        if session == "a":
            raise NotOwnedError("another host owns the session")
        await record(session, it)

    monkeypatch.setattr(world.store.proxies, "record", owned)
    for _ in range(2):
        await bench.it.reconciler.reconcile()
    assert asked == ["a", "b"], "each once"
    assert marks(world) == {"a": OTHER.mark, "b": PROXY.mark}


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
async def test_a_creation_whose_proxy_was_not_answered_can_be_repeated_without_one(
    bench: Bench, world: World, monkeypatch: pytest.MonkeyPatch, key: bytes | None
) -> None:
    world.key = key
    await bench.restart()
    await bench.restore()
    unanswered(world, monkeypatch, DatabaseUnavailableError)
    with pytest.raises(DatabaseUnavailableError):
        await up(bench)
    answered(world, monkeypatch)
    assert given(await up(bench, None)) is None
    assert marks(world) == {"s": ""}
    await bench.restart()
    await bench.restore()
    await until(bench.session(), connected)
    assert given(bench.process()) is None
    assert not proxies.path_of(state(world), "s").exists()
