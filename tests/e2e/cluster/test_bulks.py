"""A host goes in the middle of bulks, sends and incoming messages: each message is accounted for, and none is there twice."""

import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.cluster.conftest import ETCD_POSTGRESQL, ROWS_MARIADB, THREE_ETCD_MARIADB, Pair
from tests.e2e.cluster.traffic import Traffic
from tests.e2e.cluster.trial import PATIENT, Trial, signal_all, trial
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.store.conftest import new_database
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(900),
]

GOES: Final = [
    (ETCD_POSTGRESQL, "killed whole"),
    (ROWS_MARIADB, "killed"),
    (THREE_ETCD_MARIADB, "stopped"),
]


@pytest.fixture
async def three(
    request: pytest.FixtureRequest,
    world: World,
    pair: Pair,
    settings: Mapping[str, str],
    tmp_path: Path,
) -> AsyncIterator[Trial]:
    """Three hosts with four sessions."""
    url = await new_database(pair.database, request, tmp_path)
    quick = {**settings, "WAGUARD_SEND__BULK_GAP": "0.2"}
    async with trial(world, url, quick, tmp_path, hosts=3) as made:
        await made.spread(2, 1, 1)
        yield made


def left_on(host: Daemon) -> list[str]:
    """Names of files of what no host has stored, or none ever takes."""
    return [it.name for it in (host.folder / "run/workers").glob("*.un*")]


@pytest.mark.parametrize(("pair", "how"), GOES, ids=str)
async def test_every_message_is_accounted_for(three: Trial, how: str) -> None:
    first, *others = three.hosts
    assert first.process
    traffic = Traffic(three)
    async with traffic.passing():
        await traffic.more()
        pids = three.tree(first) if "whole" in how else [first.process.pid]
        began = time.monotonic()
        before = {session: len(said) for session, said in traffic.written.items()}
        signal_all(pids, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
        try:
            await three.all_owned_by(*others)
            owned = time.monotonic() - began
            await three.all_connected()
            print(f"{how}: owned after {owned:.1f} s, connected {time.monotonic() - began:.1f} s")
            await traffic.more()
        finally:
            signal_all(pids, signal.SIGCONT)
        if how != "stopped":
            await first.process.wait()
            await first.start()
        await traffic.more()
    dies_with_it = {"s0", "s1"} if "whole" in how else set()
    # what its workers had received, and its daemon had not stored, waits for its return
    await wait_until(
        lambda: traffic.lost().keys() <= dies_with_it, "all is there", deadline=PATIENT
    )
    await wait_until(lambda: not left_on(first), "nothing is left on that host", deadline=PATIENT)
    await traffic.has_ended()
    print("sends:", dict(await traffic.check_sends()))
    print("answers:", dict(traffic.answers))
    print("webhooks that came again, with the same id:", traffic.repeated())
    written, lost = sum(map(len, traffic.written.values())), traffic.lost()
    print(f"incoming: {written}, with nobody: {lost}")
    assert lost.keys() <= dies_with_it
    for session, missing in lost.items():
        # what the page of the dead host had taken from WhatsApp, and its daemon had not stored
        said = traffic.written[session]
        at = said.index(missing[0])
        assert missing == said[at : at + len(missing)]
        assert at + len(missing) <= before[session]
