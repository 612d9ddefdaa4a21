"""Hosts are upgraded one by one to a release whose host records have a newer format, while messages pass."""

import shutil
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from signal import SIGKILL, SIGUSR2
from typing import Final

import pytest

import waguard
from tests.e2e.cluster.conftest import ETCD_POSTGRESQL, ROWS_MARIADB, Pair, on
from tests.e2e.cluster.traffic import Traffic
from tests.e2e.cluster.trial import Trial, has_logged, signal_all, trial
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.store.conftest import new_database

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(900),
]

NEWER: Final = "99.0"
# s for a lease: a fresh Python takes long on a busy machine, and a test that waits for a death takes as long as that
PATIENT, MORTAL = (pytest.mark.parametrize("lease", [it]) for it in ("120", "30"))
# file, what is there, what is there in the next release
PATCH: Final = [
    ("__init__.py", f'__version__ = "{waguard.__version__}"', f'__version__ = "{NEWER}"'),
    ("core/cluster/records.py", "FORMAT: Final = 1\n", "FORMAT: Final = 2\n"),
    ("core/cluster/records.py", "    drain: bool\n", '    berth: str = "north"\n    drain: bool\n'),
    ("cluster/record_format.py", '    "drain": True,\n', '    "drain": True,\n    "berth": "",\n'),
]


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A folder with the next release."""
    there = tmp_path / "newer"
    shutil.copytree(Path(waguard.__file__).parent, there / "waguard")
    for name, old, new in PATCH:
        path = there / "waguard" / name
        content = path.read_text()
        assert content.count(old) == 1, (name, old)
        path.write_text(content.replace(old, new))
    return there


@pytest.fixture
async def three(
    request: pytest.FixtureRequest,
    world: World,
    pair: Pair,
    settings: Mapping[str, str],
    lease: str,
    tmp_path: Path,
) -> AsyncIterator[Trial]:
    """Three hosts with four sessions."""
    url = await new_database(pair.database, request, tmp_path)
    more = {"WAGUARD_SEND__BULK_GAP": "0.2", "WAGUARD_CLUSTER__LEASE": lease}
    async with trial(world, url, {**settings, **more}, tmp_path, hosts=3) as made:
        await made.spread(2, 1, 1)
        yield made


async def upgrade(host: Daemon, newer: Path) -> None:
    """As a package does it: the files, then a restart."""
    assert await host.stop(SIGUSR2) == 0
    host.prefix = ("env", f"PYTHONPATH={newer}")
    await host.start()


async def versions(host: Daemon) -> list[str]:
    """Of the hosts h0, h1, …, as one of them sees them."""
    code, found = await host.call("GET", "/api/hosts")
    assert code == 200, found
    return [it["version"] for it in sorted(found["hosts"], key=lambda it: str(it["host"]))]


@PATIENT
@on(ETCD_POSTGRESQL, ROWS_MARIADB)
async def test_an_upgrade_host_by_host_ends_nothing_and_loses_nothing(
    three: Trial, newer: Path
) -> None:
    before = [await three.workers(host) for host in three.hosts]
    traffic = Traffic(three)
    async with traffic.passing():
        for count, host in enumerate(three.hosts, 1):
            began = time.monotonic()
            await upgrade(host, newer)
            await three.all_connected()
            print(f"upgraded and connected after {time.monotonic() - began:.1f} s")
            wanted = [NEWER] * count + [waguard.__version__] * (len(three.hosts) - count)

            async def are_seen(wanted: list[str] = wanted) -> bool:
                return [await versions(it) for it in three.hosts] == [wanted] * len(three.hosts)

            await host.until(are_seen)
            await traffic.more()
    await traffic.has_ended()
    print("sends:", dict(await traffic.check_sends()))
    print("answers:", dict(traffic.answers))
    print("webhooks that came again, with the same id:", traffic.repeated())
    print("incoming:", sum(map(len, traffic.written.values())))
    assert not traffic.lost()
    assert [await three.workers(host) for host in three.hosts] == before
    for host in three.hosts:
        assert not three.ends(host)
        assert not has_logged(host, "host_declared_dead")


@MORTAL
@on(ETCD_POSTGRESQL)
async def test_who_sees_a_newer_format_claims_nothing(three: Trial, newer: Path) -> None:
    first, second, third = three.hosts
    await upgrade(third, newer)
    await three.all_connected()

    async def are_seen() -> bool:
        return NEWER in await versions(second)

    await second.until(are_seen)
    assert first.process
    owners, epochs = await three.owners(), await three.epochs()
    assert "h0" in owners.values()
    signal_all(three.tree(first), SIGKILL)
    began = time.monotonic()
    await first.process.wait()
    await three.all_owned_by(second, third)
    print(f"owned after {time.monotonic() - began:.1f} s")
    # h1, which is older, has claimed nothing
    assert await three.owners() == {
        it: "h2" if owner == "h0" else owner for it, owner in owners.items()
    }
    await three.all_connected()
    now = await three.epochs()
    assert all(now[it] == epochs[it] + (owner == "h0") for it, owner in owners.items())
    await upgrade(second, newer)
    await first.start()  # it is older, and comes back all the same
    await three.all_connected()
    assert await three.of(first) == []
