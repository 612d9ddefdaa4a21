"""A worker that waits for its session's start slot, while what it was started for becomes another."""

import asyncio
from collections.abc import Callable

import pytest

from tests.supervision.bench import LOADING, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import until
from tests.supervision.test_slots import two_are_starting
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.link import Link
from waguard.wire.worker import WorkerSpec


def workers(world: World) -> list[FakeProcess]:
    return [it for it in world.spawn.started if it.spec.session == "c"]


async def waiting(bench: Bench, world: World) -> FakeProcess:
    """``c`` waits with a worker, while ``a`` and ``b`` hold the two slots."""
    await two_are_starting(bench, world)
    await bench.create("c")
    session = bench.session("c")
    await until(session, lambda it: it.runner.report is not None)
    (worker,) = workers(world)
    assert not worker.begun
    return worker


def executable(world: World) -> None:
    world.change("browser", executable="/usr/lib/other/chromium")


def arguments(world: World) -> None:
    world.change("browser", extra_args=("--proxy-server=proxy:3128",))


def page(world: World) -> None:
    world.change("whatsapp", url="https://web.whatsapp.example/")


def bundle(world: World) -> None:
    world.change("whatsapp", wajs=world.folder / "wa.js")


@pytest.mark.parametrize("change", [executable, arguments, page, bundle])
async def test_chromium_starts_with_what_holds_when_the_slot_is_given(
    empty: Bench, world: World, change: Callable[[World], None]
) -> None:
    old = await waiting(empty, world)
    change(world)
    empty.process("a").report("connected")
    await wait_until(lambda: any(it.begun for it in workers(world)), "its Chromium may start")
    (new,) = [it for it in workers(world) if it.begun]
    assert new is not old
    assert not old.alive
    spec, browser, whatsapp = new.spec, world.config.browser, world.config.whatsapp
    assert isinstance(spec, WorkerSpec)
    assert (spec.executable, spec.extra_args) == (browser.executable, browser.extra_args)
    assert spec.url == whatsapp.url
    assert spec.wajs == (str(whatsapp.wajs) if whatsapp.wajs else None)
    await wait_until(lambda: new.connected, "it is greeted")
    new.report("connected")
    await until(empty.session("c"), lambda it: it.link is Link.CONNECTED)
    assert empty.session("c").state.restarts == 0
    assert empty.session("c").state.counted == ()
    await empty.until_written("c")
    assert world.audited("restart") == []


async def test_a_worker_that_waited_for_what_still_holds_is_kept(
    empty: Bench, world: World
) -> None:
    old = await waiting(empty, world)
    world.change("log", level="DEBUG")  # workers are told
    world.lent_until = 5.0
    empty.process("a").report("connected")
    await wait_until(lambda: old.begun, "its Chromium may start")
    assert workers(world) == [old]


async def test_an_earlier_daemons_worker_that_waits_has_an_unknown_spec(
    bench: Bench, world: World
) -> None:
    await bench.row("s")
    world.spawn.script = Script(reports=(LOADING,))
    left = await world.left_behind("s")
    left.process.wait_for_slot()
    restoring = asyncio.create_task(bench.restore((left.record, left.process)))
    await wait_until(lambda: world.spawn.begun, "another one may start its Chromium")
    assert world.spawn.begun != [left.process]
    assert not left.process.alive
    (new,) = world.spawn.begun
    await wait_until(lambda: new.connected, "it is greeted")
    new.report("connected")
    assert await restoring == "restored 1"
