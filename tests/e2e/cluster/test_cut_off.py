"""A host of several that lacks a part: the engine's leader, the engine, the database, its watch, its workers."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGUSR2
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cluster.etcd_servers import Member
from tests.cluster.relay import Relay
from tests.cluster.test_etcd_members import leader_first
from tests.e2e.cluster.conftest import (
    ETCD_POSTGRESQL,
    ROWS_MARIADB,
    ROWS_POSTGRESQL,
    THREE_ETCD_MARIADB,
    Pair,
    engine_settings,
    on,
)
from tests.e2e.cluster.test_hosts import is_over, is_shown
from tests.e2e.cluster.trial import LEASE, Trial, has_logged, signal_all, trial
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, short_folder
from tests.store.conftest import new_database

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]

WATCH: Final = b"/v3/watch"


@dataclass
class Lines:
    """Between the host h0 and what all hosts have."""

    engine: Sequence[Relay]
    """To each member of etcd."""
    database: Relay

    async def cut(self) -> None:
        """Nothing passes, and nobody is reached."""
        for it in (*self.engine, self.database):
            await it.cut()

    def mute(self) -> None:
        """What is asked passes, and no answer comes back."""
        for it in (*self.engine, self.database):
            it.swallow = b""

    def mend(self) -> None:
        """All passes again."""
        for it in (*self.engine, self.database):
            it.mend()


@asynccontextmanager
async def lines(
    members: Sequence[Member], url: str, place: Path
) -> AsyncIterator[tuple[Lines, str]]:
    """With the URL of the database by its line, whose socket is in ``place``."""
    options = parse_qs(urlsplit(url).query)
    if "unix_socket" in options:
        socket = Path(options["unix_socket"][0])
        here = place / socket.name
        relayed = url.replace(str(socket), str(here))
    else:
        socket = Path(options["host"][0]) / ".s.PGSQL.5432"
        here = place / socket.name
        relayed = url.replace(str(socket.parent), str(place))
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Relay(socket, at=here))
        engine = [await stack.enter_async_context(Relay(("127.0.0.1", it.port))) for it in members]
        yield Lines(engine, database), relayed


@dataclass
class Lined:
    """Two hosts with two sessions each, of which h0 has lines that can be cut."""

    trial: Trial
    lines: Lines


@pytest.fixture
async def lined(
    request: pytest.FixtureRequest,
    world: World,
    pair: Pair,
    members: Sequence[Member],
    settings: Mapping[str, str],
    tmp_path: Path,
) -> AsyncIterator[Lined]:
    url = await new_database(pair.database, request, tmp_path)
    with short_folder() as place:
        async with lines(members, url, place) as (made, relayed):
            endpoints = [f"http://127.0.0.1:{it.port}" for it in made.engine]
            lined = {**engine_settings(pair, endpoints), "WAGUARD_DATABASE__URL": relayed}

            def own(host: Daemon) -> Mapping[str, str]:
                return lined if host is world.daemon else {}

            async with trial(world, url, settings, tmp_path, hosts=2, own=own) as two:
                await two.spread(2, 2)
                yield Lined(two, made)


@pytest.mark.parametrize("dies", [True, False], ids=["killed", "frozen"])
@on(THREE_ETCD_MARIADB)
async def test_the_leader_of_etcd_is_gone_and_nothing_ends(
    two: Trial,
    members: Sequence[Member],
    dies: bool,  # noqa: FBT001 - of a table
) -> None:
    before = [await two.workers(host) for host in two.hosts]
    leader, *others = leader_first(members)
    if dies:
        leader.kill()
        await asyncio.sleep(LEASE * 2)
    else:
        with leader.frozen():
            await asyncio.sleep(LEASE * 2)
    assert leader_first(others)[0] in others
    for host in two.hosts:
        await host.until(partial(is_over, host, "engine_away"))
        assert not two.ends(host)
        assert not has_logged(host, "host_declared_dead")
    assert [await two.workers(host) for host in two.hosts] == before


@pytest.mark.parametrize(
    ("pair", "how"),
    [
        (THREE_ETCD_MARIADB, "cut"),
        (ETCD_POSTGRESQL, "unanswered"),
        (ROWS_POSTGRESQL, "cut"),
        (ROWS_MARIADB, "unanswered"),
    ],
    ids=str,
)
async def test_a_host_that_is_cut_off_from_all_ends_its_sessions_before_another_has_them(
    lined: Lined, how: str
) -> None:
    two = lined.trial
    first, second = two.hosts
    before = await two.epochs()
    began = time.monotonic()
    if how == "cut":
        await lined.lines.cut()
    else:
        lined.lines.mute()
    await two.all_owned_by(second)
    owned = time.monotonic() - began
    await two.all_connected()
    print(f"{how}: owned after {owned:.1f} s, connected {time.monotonic() - began:.1f} s")
    assert set(two.ends(first)) <= {"0", "24", "-9"}
    await first.until(partial(is_shown, first, "host_without_lease"))
    lined.lines.mend()
    await first.logs("event=host_lease_acquired", 2)
    await second.until(partial(is_over, second, "host_missing"))
    await first.until(partial(is_over, first, "host_without_lease"))
    assert await two.of(first) == []
    epochs = await two.epochs()
    assert [epochs[it] - before[it] for it in two.sessions] == [1, 1, 0, 0]


@on(ETCD_POSTGRESQL)
async def test_workers_that_stand_still_are_replaced_where_they_are(two: Trial) -> None:
    first, second = two.hosts
    assert first.process
    before, owners = await two.workers(first), await two.owners()
    pids = two.tree(first)[1:]
    signal_all(pids, SIGSTOP)
    try:

        async def are_others() -> bool:
            now = await two.workers(first)
            return now.keys() == before.keys() and all(
                now[it] not in {None, before[it]} for it in now
            )

        began = time.monotonic()
        await first.until(are_others)
        await two.all_connected()
        print(f"connected after {time.monotonic() - began:.1f} s")
    finally:
        signal_all(pids, SIGCONT)
    assert await two.owners() == owners
    assert not has_logged(second, "host_declared_dead")


@on(ETCD_POSTGRESQL, THREE_ETCD_MARIADB)
async def test_a_host_with_a_broken_watch_claims_what_is_dead_and_nothing_else(
    lined: Lined,
) -> None:
    two = lined.trial
    first, second = two.hosts
    assert second.process
    for it in lined.lines.engine:  # the watch that it has ends, and a new one reports nothing
        await it.cut()
        it.mend()
        it.swallow = WATCH
    assert await first.stop(SIGUSR2) == 0
    await first.start()
    await two.all_connected()
    # what lived there is dead, and lives again at once: the one that sees nothing may not believe the one or the other
    signal_all(two.tree(second), SIGKILL)
    await second.process.wait()
    await second.start()
    began = time.monotonic()
    await two.all_connected()
    print(f"after a restart: connected {time.monotonic() - began:.1f} s")
    signal_all(two.tree(second), SIGKILL)
    await second.process.wait()
    began = time.monotonic()
    await two.all_owned_by(first)
    owned = time.monotonic() - began
    await two.all_connected()
    print(f"owned after {owned:.1f} s, connected {time.monotonic() - began:.1f} s")
    await second.start()
    assert has_logged(first, "host_declared_dead")
