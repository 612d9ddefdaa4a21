"""Workers that are forked ahead: used, replaced, dropped."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec
import psutil
import pytest

from tests.host.forking import (
    PATIENT,
    STAYS,
    at_rest,
    closing,
    comm,
    gone,
    newcomers,
    open_files,
    server_of,
)
from tests.host.processes import listening, program, worker_spec
from tests.host.test_fork_server import DAEMON
from tests.waiting import DEADLINE, block_until, wait_until
from waguard.core.host.strays import Seen
from waguard.errors import WaguardError
from waguard.host.process import strays
from waguard.host.process.fork_server import ForkSpawn
from waguard.host.process.spares import Blank, Limits, Spares

pytestmark = pytest.mark.usefixtures("no_child_left", "earlier_children")

NAME: Final = "waguard.spare"
# one that ended is replaced at once, and a burst is never over
QUICK: Final = Limits(burst=600.0, after_end=0.0)


@pytest.fixture
async def spawner(stand_in: Callable[..., tuple[str]]) -> AsyncIterator[ForkSpawn]:
    made = ForkSpawn(stand_in(), PATIENT, spares=QUICK)
    made.start()
    async with closing(made):
        yield made


def waiting(spawner: ForkSpawn) -> list[int]:
    """Pids of those that have shown their name."""
    return [it.process.pid for it in spawner._spares._waiting if is_spare(it.process.pid)]


def is_spare(pid: int) -> bool:
    try:
        return comm(pid) == NAME
    except (FileNotFoundError, ProcessLookupError):
        return False


async def there(spawner: ForkSpawn, count: int = 1) -> list[int]:
    await wait_until(lambda: len(waiting(spawner)) == count, f"{count} wait")
    return waiting(spawner)


async def test_a_spare_becomes_the_worker_and_another_one_is_forked(
    spawner: ForkSpawn, tmp_path: Path
) -> None:
    [spare] = await there(spawner)
    process = await spawner.spawn(worker_spec(tmp_path, wajs=STAYS))
    assert process.pid == spare
    await listening(process)
    assert comm(spare) == "waguard.worker"
    assert os.getsid(spare) == spare
    await wait_until(lambda: waiting(spawner), "there is another one")
    assert spare not in waiting(spawner)


async def test_more_wait_while_a_burst_is_served_and_one_afterwards(
    spawner: ForkSpawn, tmp_path: Path
) -> None:
    spec = worker_spec(tmp_path, wajs=STAYS)
    for process in await asyncio.gather(*(spawner.spawn(spec) for _ in range(3 * QUICK.most))):
        await listening(process)
    surplus = await there(spawner, QUICK.most)
    spawner._spares._starts.clear()  # that was long ago
    spawner._spares._lessen()
    [kept] = await there(spawner, 1)
    await wait_until(
        lambda: all(gone(pid) for pid in surplus if pid != kept), "the others have ended"
    )


async def test_a_spare_that_dies_is_replaced(spawner: ForkSpawn) -> None:
    [spare] = await there(spawner)
    os.kill(spare, signal.SIGKILL)
    await wait_until(lambda: waiting(spawner) and waiting(spawner) != [spare], "another one waits")
    assert gone(spare)


async def test_one_that_died_unseen_is_not_used(spawner: ForkSpawn, tmp_path: Path) -> None:
    [spare] = await there(spawner)
    os.kill(spare, signal.SIGKILL)
    block_until(lambda: at_rest(spare), "it is dead, and this loop has not seen it")
    process = await spawner.spawn(worker_spec(tmp_path, wajs=STAYS))
    assert process.pid != spare
    await listening(process)


async def test_one_that_stands_still_is_not_used(spawner: ForkSpawn, tmp_path: Path) -> None:
    [spare] = await there(spawner)
    os.kill(spare, signal.SIGSTOP)
    block_until(lambda: psutil.Process(spare).status() == psutil.STATUS_STOPPED, "it stands still")
    process = await spawner.spawn(worker_spec(tmp_path, wajs=STAYS))
    assert process.pid != spare
    await wait_until(lambda: gone(spare), "it is killed")


async def test_spares_are_dropped_with_their_server(spawner: ForkSpawn, tmp_path: Path) -> None:
    [spare] = await there(spawner)
    server = server_of(spawner)
    os.kill(server, signal.SIGKILL)
    await wait_until(lambda: spawner._server and spawner._server.ended, "its end is seen")
    process = await spawner.spawn(worker_spec(tmp_path, wajs=STAYS))
    assert process.pid != spare
    await wait_until(lambda: gone(spare), "it has ended")
    await wait_until(lambda: waiting(spawner), "the new server has forked one")
    assert server_of(spawner) != server


async def test_spares_end_with_the_spawner(
    stand_in: Callable[..., tuple[str]], tmp_path: Path
) -> None:
    files = len(open_files(os.getpid()))
    made = ForkSpawn(stand_in(), PATIENT, spares=QUICK)
    made.start()
    [spare] = await there(made)
    await made.close()
    assert gone(spare)
    assert newcomers() == []
    assert len(open_files(os.getpid())) <= files + 1  # SIGCHLD's pipe stays with the loop


def test_spares_end_with_a_killed_daemon(
    stand_in: Callable[..., tuple[str]], tmp_path: Path
) -> None:
    """Which closed nothing: a pipe to them that another process had would keep them."""
    note = tmp_path / "pids"
    spec = msgspec.json.encode(worker_spec(tmp_path, wajs=STAYS)).decode()
    with program(DAEMON, *stand_in(), spec, str(note)) as daemon:
        _, worker = map(int, note.read_text().split())

        def seen() -> list[int]:
            below = psutil.Process(daemon.pid).children()
            return [it.pid for it in below if it.pid != worker and is_spare(it.pid)]

        try:
            [spare] = block_until(seen, "one waits") or []
            daemon.kill()
            daemon.wait()
            block_until(lambda: at_rest(spare), "the spare follows its daemon")
            assert not at_rest(worker)
        finally:
            os.kill(worker, signal.SIGKILL)


async def test_a_sweep_ends_no_spare_and_no_worker_that_it_just_became(
    spawner: ForkSpawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is older than the scan, its session is not."""
    [spare] = await there(spawner)
    scan, scanning, go_on = strays.scan, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def late() -> list[Seen]:
        loop.call_soon_threadsafe(scanning.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(DEADLINE)
        return scan()

    monkeypatch.setattr(strays, "scan", late)
    folder = str(tmp_path)
    sweeping = asyncio.create_task(spawner.sweep(records=folder, profiles=folder))
    await scanning.wait()
    process = await spawner.spawn(worker_spec(tmp_path, wajs=STAYS))
    assert process.pid == spare
    await listening(process)
    go_on.set()
    assert (await sweeping).ended == ()
    monkeypatch.undo()
    [found] = [it for it in strays.scan() if it.pid == spare]
    assert found.record is not None
    assert not process.ended


async def test_scans_are_shared_and_each_began_after_its_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = 0, asyncio.Event()
    loop = asyncio.get_running_loop()

    def counted() -> list[Seen]:
        nonlocal begun
        begun += 1
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(DEADLINE)
        return []

    monkeypatch.setattr(strays, "scan", counted)
    scans = strays.Scans()
    first = asyncio.create_task(scans.read())
    await wait_until(lambda: begun == 1, "the first one reads")
    others = [asyncio.create_task(scans.read()) for _ in range(10)]
    await asyncio.sleep(0)  # they have asked
    go_on.set()
    await asyncio.gather(first, *others)
    assert begun == 2


async def test_where_no_spare_can_be_forked_the_next_start_tries_again() -> None:
    tried = 0

    async def refused() -> Blank | None:
        nonlocal tried
        tried += 1
        raise WaguardError("no more processes")

    pool = Spares(refused, QUICK)
    pool.fill()
    assert pool._filling
    await pool._filling
    assert pool.begin(worker_spec(Path("/nowhere"))) is None
    await pool._filling
    assert tried == 2
    assert await pool.close() == []
