"""The daemon's own death, with workers that outlive it or do not."""

import os
import signal

import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE = "6281180001"


async def incident(world: World) -> str:
    """The newest of the fleet that has ended, in sentences."""

    async def check() -> str | None:
        _, reported = await world.daemon.call("GET", "/api/incidents")
        ended = [" ".join(one["sentences"]) for one in reported["incidents"] if one["ended"]]
        return ended[-1] if ended else None

    return str(await world.daemon.until(check))


@pytest.mark.parametrize(
    ("also", "done"),
    [
        (False, "Done: 1 worker was adopted. Result"),
        (True, "Done: 1 worker was gone already, 1 session was started. Result"),
    ],
    ids=["the daemon", "both"],
)
@pytest.mark.long  # what `make test` sees of it: test_life, tests/daemon/test_last_run.py
async def test_the_next_daemon_says_what_became_of_the_workers(
    world: World, *, also: bool, done: str
) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    await daemon.stop(signal.SIGKILL)
    if also:
        os.kill(before["worker_pid"], signal.SIGKILL)
    await daemon.start()
    assert done in await incident(world)
    await daemon.wait_status("s1", "connected")


@pytest.mark.long  # what `make test` sees of it: test_life, tests/host/test_restart_memory.py
@pytest.mark.parametrize("readable", [True, False])
async def test_restarts_outlive_it_where_they_can_be_read(world: World, *, readable: bool) -> None:
    daemon, kept = world.daemon, world.daemon.folder / "state/restarts.json"
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    os.kill(before["worker_pid"], signal.SIGKILL)

    async def restarted() -> bool:
        reported = await daemon.status("s1")
        return (reported["status"], reported["restarts"]) == ("connected", 1)

    async def written() -> bool:
        return kept.exists() and '"restarts":1' in kept.read_text()

    await daemon.until(restarted)
    await daemon.until(written)
    await daemon.stop(signal.SIGKILL)
    if not readable:
        kept.write_text("{")
    await daemon.start()
    reported = await daemon.wait_status("s1", "connected")
    assert reported["restarts"] == readable
    assert kept.with_name("restarts.json.unreadable").exists() is not readable

    async def said() -> str | None:
        _, found = await daemon.call("GET", "/api/incidents")
        words = " ".join(words for one in found["incidents"] for words in one["sentences"])
        return words if "1 worker was adopted" in words else None  # the last entry of a start

    assert ("restarts.json" in str(await daemon.until(said))) is not readable
