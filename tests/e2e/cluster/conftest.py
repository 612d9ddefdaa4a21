"""Which engine a trial has with which database, and two hosts on them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.cluster.etcd_servers import Member, etcd
from tests.e2e.cluster.trial import Trial, trial
from tests.e2e.conftest import World
from tests.store.conftest import new_database


@dataclass(frozen=True)
class Pair:
    """``members``: of etcd."""

    engine: Literal["etcd", "database"]
    database: Literal["postgresql", "mariadb"]
    members: int = 0

    def __str__(self) -> str:
        kind = f"{self.members} etcd" if self.members else "rows"
        return f"{kind}, {self.database}"


# each case runs on one or two of these: a failover takes half a minute, and all of them nobody would wait for
ETCD_POSTGRESQL = Pair("etcd", "postgresql", 1)
THREE_ETCD_MARIADB = Pair("etcd", "mariadb", 3)
ROWS_POSTGRESQL = Pair("database", "postgresql")
ROWS_MARIADB = Pair("database", "mariadb")


def on(*pairs: Pair) -> pytest.MarkDecorator:
    """Run the test on these."""
    return pytest.mark.parametrize("pair", pairs, ids=str)


@pytest.fixture
def members(pair: Pair) -> Iterator[Sequence[Member]]:
    """Of etcd; none where the engine is the database."""
    if not pair.members:
        yield ()
        return
    with etcd(pair.members) as started:
        yield started


@pytest.fixture
def settings(pair: Pair, members: Sequence[Member]) -> Mapping[str, str]:
    """The engine's."""
    return engine_settings(pair, [it.endpoint for it in members])


def engine_settings(pair: Pair, endpoints: Sequence[str]) -> dict[str, str]:
    """Those of a host that has these endpoints."""
    found: dict[str, str] = {"WAGUARD_CLUSTER__ENGINE": pair.engine}
    if endpoints:
        found["WAGUARD_CLUSTER__ENDPOINTS"] = str(list(endpoints)).replace("'", '"')
    return found


@pytest.fixture
async def two(
    request: pytest.FixtureRequest,
    world: World,
    pair: Pair,
    settings: Mapping[str, str],
    tmp_path: Path,
) -> AsyncIterator[Trial]:
    """Two hosts with two sessions each."""
    url = await new_database(pair.database, request, tmp_path)
    async with trial(world, url, settings, tmp_path, hosts=2) as made:
        await made.spread(2, 2)
        yield made
