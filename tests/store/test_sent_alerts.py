"""What was alerted, for the next host that does so, on every database."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.store.conftest import BACKENDS
from tests.store.hosts import Host, hosts

every_database = pytest.mark.parametrize("ready", BACKENDS, indirect=True)


@pytest.fixture
async def pair(ready: str) -> AsyncIterator[tuple[Host, Host]]:
    async with hosts(ready, 2) as (first, second):
        yield first, second


@every_database
async def test_the_latest_of_each_destination_stays(pair: tuple[Host, Host]) -> None:
    one, two = (it.store.sent_alerts() for it in pair)
    assert await one.read() == {}
    await one.write({"d1": (5.0, "a"), "d2": (5.0, "b")})
    await two.write({"d1": (6.0, "c")})
    await one.write({"d1": (5.5, "late"), "d3": (1.0, "x" * 100_000)})
    assert await two.read() == {"d1": "c", "d2": "b", "d3": "x" * 100_000}


@every_database
async def test_both_begin_at_once(pair: tuple[Host, Host]) -> None:
    tables = [it.store.sent_alerts() for it in pair]
    await asyncio.gather(*(it.write({"d1": (5.0, "a")}) for it in tables))
    assert await tables[0].read() == {"d1": "a"}
