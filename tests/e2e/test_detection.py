"""What stands still or hangs is found, and what only seems to is left alone."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from waguard.host.process import procfs
from waguard.host.process.procfs import command_line, group_members
from waguard.worker.page import wajs

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

SUSPENDED = 14.0  # s; the longest limit of a silent worker is 10
QUIET = 3.0  # s; some ticks, after which a false alarm would have shown
PHONES = {"s1": "6281180001", "s2": "6281180002"}


# a page that is caught in a loop as soon as it is told to
SPINS = "\n;WPP.on('chat.new_message', (m) => { if (m.body === 'spin') for (;;); });"


async def logged(daemon: Daemon, words: str) -> None:
    async def check() -> bool:
        return words in daemon.log()

    await daemon.until(check)


def signalled(tree: Iterable[int], number: signal.Signals) -> None:
    for pid in tree:
        with contextlib.suppress(ProcessLookupError):  # Chromium ends helpers when it likes
            os.kill(pid, number)


async def gone(pid: int) -> bool:
    return procfs.start_time(pid) is None


@pytest.mark.long
async def test_a_stopped_worker_is_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    os.kill(before["worker_pid"], signal.SIGSTOP)
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["worker_pid"] != before["worker_pid"]
    assert "the worker was stopped (SIGSTOP)" in daemon.log()
    await daemon.until(lambda: gone(before["browser_pid"]))


@pytest.mark.long
async def test_an_adopted_worker_that_is_stopped_is_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    await daemon.wait_status("s1", "connected", worker_pid=before["worker_pid"])
    os.kill(before["worker_pid"], signal.SIGSTOP)
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["browser_pid"] != before["browser_pid"]
    assert "the worker was stopped (SIGSTOP)" in daemon.log()


@pytest.mark.long  # what `make test` sees of it: test_life
async def test_a_stopped_chromium_is_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    os.kill(before["browser_pid"], signal.SIGSTOP)
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["browser_pid"] != before["browser_pid"]
    assert "Chromium was stopped (SIGSTOP)" in daemon.log()
    await daemon.until(lambda: gone(before["browser_pid"]))


@pytest.mark.long
async def test_a_suspend_restarts_nobody(world: World) -> None:
    """The whole tree is stopped for longer than every limit, and goes on."""
    daemon = world.daemon
    await daemon.start()
    before = {name: await daemon.pair(world.standin, name, phone) for name, phone in PHONES.items()}
    assert daemon.process
    tree = [daemon.process.pid]
    for reported in before.values():
        tree += [reported["worker_pid"], *group_members(reported["browser_pid"])]
    log = len(daemon.log())
    # who looks is stopped first and goes on last: in between it would find that others stand still
    signalled(tree, signal.SIGSTOP)
    await asyncio.sleep(SUSPENDED)
    signalled(reversed(tree), signal.SIGCONT)

    async def beats() -> bool:
        return "waguard itself was stopped" in daemon.log()[log:]

    await daemon.until(beats)
    for name, phone in PHONES.items():  # they are more than alive
        code, reported = await daemon.send(name, "6281180009", f"from {phone}")
        assert code == 200, reported
    await asyncio.sleep(QUIET)
    for name, reported in before.items():
        after = await daemon.status(name)
        for key in ("status", "worker_pid", "browser_pid", "restarts"):
            assert after[key] == reported[key], key
        assert (after["status"], after["restarts"]) == ("connected", 0)
    assert "session is unhealthy" not in daemon.log()


@pytest.mark.long
async def test_a_page_in_a_loop_is_freed_and_not_restarted(world: World) -> None:
    daemon = world.daemon
    bundle = daemon.folder / "spins.js"
    bundle.write_text(wajs.bundle(None) + SPINS)
    daemon.settings = {**daemon.settings, "WAGUARD_WHATSAPP__WAJS": str(bundle)}
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    world.standin.phone.incoming(phone=PHONES["s1"], from_="6281180009", body="spin")
    await logged(daemon, "the page does not answer")
    await logged(daemon, "its script is terminated")
    await logged(daemon, "the page answers again")
    await logged(daemon, "the page is reloaded")

    async def sends() -> bool:
        return (await daemon.send("s1", "6281180009", "still here"))[0] == 200

    await daemon.until(sends)
    after = await daemon.status("s1")
    assert (after["restarts"], after["browser_pid"]) == (0, before["browser_pid"])


@pytest.mark.long
async def test_a_stopped_renderer_is_named_and_its_worker_replaced(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])

    async def alone() -> int | None:
        """The page's; that of the page in which it was paired may still be ending."""
        group = group_members(before["browser_pid"])
        found = [pid for pid in group if "--type=renderer" in " ".join(command_line(pid))]
        return found[0] if len(found) == 1 else None

    renderer = await daemon.until(alone)
    os.kill(renderer, signal.SIGSTOP)
    await logged(daemon, "the page does not answer")
    after = await daemon.wait_status("s1", "connected", restarts=1)
    assert after["browser_pid"] != before["browser_pid"]
    assert f"Chromium's process {renderer} was stopped (SIGSTOP)" in daemon.log()
    await daemon.until(lambda: gone(renderer))


@pytest.mark.long  # the first pause between two tries is a minute
@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", ["error", "cdn_away"])
async def test_a_whatsapp_that_serves_no_page_parks_nobody(world: World, page: str) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONES["s1"])
    world.standin.policy.update({"page": page})
    os.kill(before["browser_pid"], signal.SIGKILL)
    reported = await daemon.wait_status("s1", "disconnected", link="offline", restarts=1)
    assert reported["disconnect_details"].startswith("WhatsApp")

    async def refused() -> bool:
        conditions = (await daemon.status("s1"))["conditions"]
        return {one["type"] for one in conditions} == {"whatsapp_refuses"}

    await daemon.until(refused)
    worker = reported["worker_pid"]
    world.standin.policy.page = "ok"

    async def connected() -> bool:
        return str((await daemon.status("s1"))["status"]) == "connected"

    await daemon.until(connected, deadline=150.0)
    after = await daemon.status("s1")
    assert (after["worker_pid"], after["restarts"]) == (worker, 1)
