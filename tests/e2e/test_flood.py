"""A page in other hands that reports as fast as it can: the daemon and the other sessions go on."""

from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.e2e.conftest import World
from waguard.core.session.report_quota import Quota

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.long, pytest.mark.timeout(600)]

PHONE, OTHER, FRIEND = "6281180001", "6281180003", "6281180002"
MB: Final = 1 << 20
SECONDS: Final = 20
ROOM: Final = 40 * MB  # for what the daemon does besides


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def flooded(world: World, kind: str) -> None:
    """The page of the first session reports 65 kB at a time."""
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)
    await daemon.pair(standin, "s2", OTHER)
    (device,) = standin.whatsapp.devices[PHONE]
    assert device.page
    device.page.send({"type": "flood", "kind": kind, "size": 65_000, "seconds": SECONDS})

    async def condition() -> bool:
        return "page_floods" in [it["type"] for it in (await daemon.status("s1"))["conditions"]]

    await daemon.until(condition, deadline=120)


async def other_works(world: World) -> None:
    code, reported = await world.daemon.send("s2", FRIEND, "meanwhile")
    assert code == 200, reported
    assert (await world.daemon.status("s2"))["restarts"] == 0


async def test_a_page_that_floods_fills_neither_memory_nor_disk(world: World) -> None:
    daemon = world.daemon
    await flooded(world, "edit")
    process = psutil.Process(await daemon._pid())
    most = 0

    async def over() -> Any:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return not (await daemon.status("s1"))["conditions"]

    await other_works(world)
    await daemon.until(over, deadline=200)
    quota = Quota()
    allowed = quota.beside.burst + quota.beside.rate * (SECONDS + 60)
    state = size_of(daemon.folder / "state")
    print(f"daemon at most {most / MB:.0f} MB, state {state / MB:.0f} MB")
    assert state < 2 * allowed + ROOM, "its log and its pages hold it once more"
    assert (await daemon.status("s1"))["status"] == "connected"
    world.standin.phone.incoming(phone=PHONE, from_=FRIEND, body="after it")
    await world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == "after it"
    )
