"""A daemon without sessions, so without Chromium: what happens around it."""

from collections.abc import AsyncIterator, Mapping

import pytest

from tests.e2e.harness import Daemon, short_folder
from tests.host.odd_files import Spoil, all_spoilt

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
ALONE: Mapping[str, str] = {
    "WAGUARD_API__PORT": "0",
    "WAGUARD_FLEET__NETWORK": "off",
    "WAGUARD_LOG__LEVEL": "DEBUG",
}


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_folder() as folder:
        async with Daemon(folder, ALONE) as made:
            yield made


async def test_odd_files_do_not_stop_the_restore_and_are_told_of(daemon: Daemon) -> None:
    spoilt: dict[str, Spoil] = all_spoilt()
    workers = daemon.folder / "run/workers"
    workers.mkdir(parents=True)
    for number, spoil in enumerate(spoilt.values()):
        spoil(workers / f"{number}.json", b"boot")
    (daemon.folder / "run/waguard.pid").write_bytes(b'{"api":"\xff"}')
    await daemon.start()
    assert (await daemon.call("GET", "/api/sessions"))[0] == 200
    assert daemon.log().count("a file cannot be read and is put aside") == len(spoilt) + 1

    async def on_the_trail() -> bool:
        _, told = await daemon.call("GET", "/api/incidents")
        causes = [one["cause"] for one in told["incidents"]]
        return sum("was put aside" in cause for cause in causes) == len(spoilt) + 1

    await daemon.until(on_the_trail)
