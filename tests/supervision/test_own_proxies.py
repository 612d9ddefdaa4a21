"""Sessions' own proxies: set, changed, removed, unreadable; their workers have them and nothing else does."""

import asyncio
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from tests.supervision.bench import CONNECTED, LOADING, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.core.proxy import FAILS, Proxy, parse
from waguard.errors import NotFoundError, SessionIdTakenError, UnavailableError
from waguard.host.memory import proxies
from waguard.supervision.session.worker_spec import OTHER_PROXY
from waguard.wire.worker import WorkerSpec

PROXY = parse("socks5://proxy.example:1080", "me", "hunter2", mark="m1")
AGAIN = parse("socks5://proxy.example:1080", "me", "hunter2", mark="m2")
NO_DATABASE = UnavailableError("no database")
OTHER = parse("http://10.0.0.1:3128", None, None, mark="m3")


def given(worker: FakeProcess) -> Proxy | None:
    assert isinstance(worker.spec, WorkerSpec)
    return worker.spec.proxy


def state(world: World) -> Path:
    return world.config.paths.state


async def up(bench: Bench, proxy: Proxy | None = PROXY) -> FakeProcess:
    bench.world.spawn.script = Script(reports=(CONNECTED,))
    await bench.it.sessions.create("s", 7, account_id=None, priority=0, proxy=proxy)
    await until(bench.session(), lambda it: it.link is Link.CONNECTED)
    return bench.process()


async def replaced(bench: Bench, old: FakeProcess) -> FakeProcess:
    """Its next worker, which counts as no failure."""
    await wait_until(lambda: not old.alive, "the old worker has ended")
    await until(bench.session(), lambda it: it.link is Link.CONNECTED)
    assert bench.session().state.restarts == 0
    assert bench.session().state.counted == ()
    return bench.process()


async def test_a_session_starts_with_the_proxy_that_it_is_created_with(
    empty: Bench, world: World
) -> None:
    worker = await up(empty)
    assert given(worker) == PROXY
    assert await empty.it.proxies.find("s") == PROXY
    assert empty.it.mailbox.fleet.proxied == {"s"}
    await empty.until_written()
    assert "hunter2" not in str((world.store.accounts, world.store.entries, world.bus.__dict__))


async def test_another_proxy_is_another_worker_and_the_same_one_is_not(
    empty: Bench, world: World
) -> None:
    worker = await up(empty)
    await empty.it.proxies.put("s", AGAIN)
    assert await empty.it.proxies.find("s") == PROXY
    for proxy in (OTHER, None, PROXY):
        await empty.it.proxies.put("s", proxy)
        worker = await replaced(empty, worker)
        assert given(worker) == proxy
        assert empty.it.mailbox.fleet.proxied == ({"s"} if proxy else set())
    await empty.until_written()
    assert [why for *_, why in world.audited("recycled")] == [OTHER_PROXY] * 3


async def test_a_session_that_is_down_stays_down(empty: Bench, world: World) -> None:
    await up(empty)
    await empty.it.sessions.stop("s")
    await empty.it.proxies.put("s", OTHER)
    assert world.spawn.alive == []
    await empty.it.sessions.start("s", restart=False)
    await until(empty.session(), lambda it: it.link is Link.CONNECTED)
    assert given(empty.process()) == OTHER


async def test_creating_it_again_sets_the_proxy_and_without_one_changes_nothing(
    empty: Bench,
) -> None:
    worker = await up(empty)
    await empty.create()
    assert await empty.it.proxies.find("s") == PROXY
    await empty.it.sessions.create("s", 7, account_id=None, priority=0, proxy=OTHER)
    assert given(await replaced(empty, worker)) == OTHER


async def test_a_session_of_another_workspace_keeps_its_proxy(empty: Bench, world: World) -> None:
    """Also where memory does not have it yet."""
    await empty.row("s", workspace=9, profile=False)
    await empty.it.sessions._proxies.write("s", OTHER)
    with pytest.raises(SessionIdTakenError):
        await empty.it.sessions.create("s", 7, account_id=None, priority=0, proxy=PROXY)
    assert proxies.read(state(world), "s") == OTHER


@pytest.mark.parametrize("content", [b"{", None])
async def test_a_session_whose_proxy_cannot_be_read_never_starts_without_it(
    empty: Bench, world: World, content: bytes | None
) -> None:
    proxies.write(state(world), "s", PROXY)
    path = proxies.path_of(state(world), "s")
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)
    await empty.row("s", up=False)
    await empty.create()
    session = empty.session()
    await until(session, lambda it: it.state.failure is not None)
    assert world.spawn.started == []
    (condition,) = empty.it.sessions._view(session).conditions
    assert condition.reason == "proxy_unreadable"
    assert str(path) in condition.message
    assert str(path) in condition.remedy
    with pytest.raises(UnavailableError, match="cannot be read"):
        await empty.it.proxies.find("s")
    world.spawn.script = Script(reports=(CONNECTED,))
    await empty.it.proxies.put("s", OTHER)
    await until(session, lambda it: it.link is Link.CONNECTED)
    assert given(empty.process()) == OTHER
    assert session.state.counted == ()


async def test_a_worker_that_waits_is_not_let_start_without_its_proxy(
    empty: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(LOADING,))
    for name in ("a", "b"):  # they have both slots
        await empty.create(name)
    await empty.it.sessions.create("s", 7, account_id=None, priority=0, proxy=PROXY)
    await until(empty.session(), lambda it: it.runner.report is not None)
    (waits,) = [it for it in world.spawn.started if it.spec.session == "s"]
    proxies.path_of(state(world), "s").write_bytes(b"")
    empty.process("a").report("connected")
    await until(empty.session(), lambda it: it.state.failure is not None)
    assert not waits.begun
    assert not waits.alive


@pytest.mark.parametrize("mark", [None, "m1", "m3"])
async def test_an_adopted_worker_is_kept_with_its_proxy_and_replaced_with_another(
    bench: Bench, world: World, mark: str | None
) -> None:
    """The daemon was killed between the change and the restart, or a version ran that knew no proxies."""
    session = await bench.add()
    proxies.write(state(world), "s", PROXY)
    world.spawn.scripts["s"] = Script(reports=({**CONNECTED, "proxy": mark},))
    left = await world.left_behind("s", generation=session.row.generation)
    world.spawn.scripts["s"] = Script(reports=(CONNECTED,))
    session.adopt(left.process, left.record)
    if mark == PROXY.mark:
        await until(session, lambda it: it.link is Link.CONNECTED)
        await wait_until(lambda: left.process.greeting is not None, "it is greeted")
        assert session.state.replacement is None
        assert session.runner.process is left.process
    else:
        assert given(await replaced(bench, left.process)) == PROXY


async def test_a_purge_removes_it_and_a_deletion_does_not(empty: Bench, world: World) -> None:
    await up(empty)
    await empty.it.sessions.delete("s", purge=False)
    assert proxies.read(state(world), "s") == PROXY
    await empty.it.sessions.delete("s", purge=True)
    assert list((state(world) / "proxies").iterdir()) == []
    for call in (empty.it.proxies.find("s"), empty.it.proxies.put("s", PROXY)):
        with pytest.raises(NotFoundError):
            await call
    assert list((state(world) / "proxies").iterdir()) == []


async def test_a_purge_that_fails_can_be_repeated(
    empty: Bench, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await up(empty)
    in_the_way = proxies.path_of(state(world), "s").with_name("s.json.new")
    in_the_way.mkdir()
    with pytest.raises(UnavailableError, match="cannot be stored"):
        await empty.it.sessions.delete("s", purge=True)
    in_the_way.rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "soft_delete", AsyncMock(side_effect=NO_DATABASE))
        with pytest.raises(UnavailableError, match="no database"):
            await empty.it.sessions.delete("s", purge=True)
    await wait_until(lambda: not empty.it.mailbox.fleet.proxied, "it has no proxy any more")
    await empty.it.sessions.delete("s", purge=True)
    assert list((state(world) / "proxies").iterdir()) == []
    with pytest.raises(NotFoundError):
        await empty.it.sessions.view("s")


async def test_a_session_that_is_purged_now_gets_no_proxy(empty: Bench, world: World) -> None:
    await up(empty)
    with empty.it.registry.leaving("s"), pytest.raises(UnavailableError, match="being logged out"):
        await empty.it.proxies.put("s", OTHER)
    assert proxies.read(state(world), "s") == PROXY


async def test_a_new_session_has_no_proxy_of_an_earlier_one(empty: Bench, world: World) -> None:
    """Its row was deleted by the application, or with a waguard that could not remove it."""
    proxies.write(state(world), "s", PROXY)
    in_the_way = proxies.path_of(state(world), "s").with_name("s.json.new")
    in_the_way.mkdir()
    with pytest.raises(UnavailableError, match="cannot be stored"):
        await up(empty, None)
    assert "s" not in world.store.accounts
    assert world.spawn.started == []
    in_the_way.rmdir()
    assert given(await up(empty, None)) is None
    assert list((state(world) / "proxies").iterdir()) == []


async def test_of_two_creations_at_once_none_removes_the_proxy_of_the_other(
    empty: Bench, world: World
) -> None:
    world.spawn.script = Script(reports=(CONNECTED,))
    create = empty.it.sessions.create
    for name in ("s", "t"):
        of = [
            create(name, 7, account_id=None, priority=0, proxy=it)
            for it in ((PROXY, None) if name == "s" else (None, PROXY))
        ]
        await asyncio.gather(*of)
        assert proxies.read(state(world), name) == PROXY
        await until(
            empty.session(name),
            lambda it: it.link is Link.CONNECTED and given(empty.process(it.name)) == PROXY,
        )


async def test_a_proxy_that_cannot_be_stored_is_no_session(empty: Bench, world: World) -> None:
    state(world).mkdir(exist_ok=True)
    (state(world) / "proxies").write_text("no folder")
    with pytest.raises(UnavailableError, match="cannot be stored") as raised:
        await empty.it.sessions.create("s", 7, account_id=None, priority=0, proxy=PROXY)
    assert "hunter2" not in str(raised.value)
    assert "s" not in world.store.accounts
    assert world.spawn.started == []


async def test_a_proxy_that_fails_is_what_is_said(empty: Bench) -> None:
    worker = await up(empty)
    why = f"{FAILS}socks5://proxy.example:1080 refuses the login"
    worker.report("offline", details=why)
    session = empty.session()
    await until(session, lambda it: it.link is Link.OFFLINE)
    view = await empty.it.sessions.view("s")
    (condition,) = view.conditions
    assert (condition.message, condition.reason) == (why, "proxy")
    assert view.disconnect_details == why
    assert why in str(empty.it.health.read().problems)
